//! Plans in YAML (Bolt, "Writing plans in YAML"): read into the same syntax tree as plans in the Puppet language.

mod code;
mod document;
mod plan;
mod shift;
mod steps;
#[cfg(test)]
mod tests;

pub use plan::{YamlParameter, YamlPlan};

use document::Node;

use super::syntax::ast::{Call, Callee, Expr, Kind, Lambda};
use super::value::Value;
use std::sync::Arc;

/// What is wrong, and at which byte.
type Parsed<T> = Result<T, (u32, String)>;

fn fail<T>(node: &Node, message: impl Into<String>) -> Parsed<T> {
    Err((node.at, message.into()))
}

fn call(at: u32, name: &str, arguments: Vec<Expr>, block: Option<Arc<Lambda>>) -> Expr {
    let call = Call { callee: Callee::Name(name.into()), arguments, block, is_chained: false };
    Expr { at, kind: Kind::Call(Box::new(call)) }
}

fn text(at: u32, text: &str) -> Expr {
    Expr { at, kind: Kind::Text(text.into()) }
}

/// A scalar that is no string, as an expression.
fn literal(value: Value) -> Kind {
    match value {
        Value::Boolean(value) => Kind::Boolean(value),
        Value::Integer(value) => Kind::Integer(value),
        Value::Float(value) => Kind::Float(value),
        Value::String(text) => Kind::Text(text),
        _ => Kind::Undef,
    }
}

/// The names of variables.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
