//! Type aliases of modules (`type A::B = <type>`), each read once, and the types of expressions that may name them.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Alias, Type, TypeError, build};
use crate::limits::{TYPE_BYTES_MAX, TYPE_DEPTH_MAX, TYPE_NODES_MAX, TYPE_READ_DEPTH_MAX};
use crate::puppet_lang::pattern::Pattern;
use crate::puppet_lang::source::Source;
use crate::puppet_lang::syntax::ast::{Definition, Expr, Kind};
use crate::puppet_lang::syntax::parse_file;
use crate::puppet_lang::value::Value;

/// The aliases that are known, those that are being read, and where others come from.
pub struct Aliases {
    known: HashMap<Arc<str>, Arc<Alias>>,
    open: Vec<Arc<Alias>>,
    /// Read since no other was open: dropped together if one of them is wrong.
    fresh: Vec<Arc<str>>,
    nodes_left: usize,
    /// Of expressions within each other, those of the aliases that are being read included.
    depth: usize,
}

/// Gives the text of the file that should define an alias, with the file's name.
pub type Files<'a> = &'a dyn Fn(&str) -> Option<(String, String)>;

impl Aliases {
    pub fn new() -> Self {
        Self { known: HashMap::new(), open: vec![], fresh: vec![], nodes_left: TYPE_NODES_MAX, depth: 0 }
    }

    /// An alias that a text defines without a file of its own.
    pub fn define(&mut self, name: &str, body: &Expr, files: Files<'_>) -> Result<Type, TypeError> {
        let alias = Alias::new(name);
        self.open.push(alias.clone());
        let read = self.data_type(body, files);
        self.open.pop();
        let read = read.and_then(|body| real(name, body));
        if self.open.is_empty() {
            self.nodes_left = TYPE_NODES_MAX;
        }
        match read {
            Ok(body) => {
                // Only this call has set out to give it one.
                drop(alias.body.set(body));
                self.known.insert(name.into(), alias.clone());
                self.fresh.push(name.into());
                if self.open.is_empty() {
                    self.fresh.clear();
                }
                Ok(Type::Alias(alias))
            }
            Err(error) => {
                if self.open.is_empty() {
                    for name in self.fresh.drain(..) {
                        self.known.remove(&name);
                    }
                }
                Err(error)
            }
        }
    }

    /// The type of a name with arguments.
    pub fn named(&mut self, name: &str, arguments: &[Value], files: Files<'_>) -> Result<Type, TypeError> {
        let built = match build(name, arguments) {
            Some(built) => built.map_err(TypeError::Syntax)?,
            None if !arguments.is_empty() => return Err(TypeError::Syntax(format!("{name} takes no arguments"))),
            None => return self.alias(name, files),
        };
        let (depth, nodes) = built.measure();
        if depth > TYPE_DEPTH_MAX {
            return Err(TypeError::TooLarge(format!("the type is nested more than {TYPE_DEPTH_MAX} deep")));
        }
        if nodes > self.nodes_left {
            return Err(TypeError::TooLarge(format!("the type has more than {TYPE_NODES_MAX} parts")));
        }
        Ok(built)
    }

    fn alias(&mut self, name: &str, files: Files<'_>) -> Result<Type, TypeError> {
        if let Some(open) = self.open.iter().find(|alias| *alias.name == *name) {
            return Ok(Type::Within(Arc::downgrade(open)));
        }
        if let Some(alias) = self.known.get(name) {
            return Ok(Type::Alias(alias.clone()));
        }
        let (file, text) = files(name).ok_or_else(|| TypeError::Unknown(name.to_owned()))?;
        if self.open.len() >= TYPE_DEPTH_MAX {
            return Err(TypeError::TooLarge(format!("more than {TYPE_DEPTH_MAX} aliases stand for each other")));
        }
        if text.len() > TYPE_BYTES_MAX {
            return Err(TypeError::TooLarge(format!(
                "the file of the alias {name} has more than {TYPE_BYTES_MAX} bytes"
            )));
        }
        let parsed = parse_file(&Source::new(file, text))
            .map_err(|error| TypeError::Syntax(format!("in the alias {name}: {error}")))?;
        let body = match parsed.definitions.as_slice() {
            [Definition::Alias(defined, body)] if **defined == *name => body.clone(),
            [Definition::Alias(defined, ..)] => {
                return Err(TypeError::Syntax(format!("the file of the alias {name} defines {defined}")));
            }
            _ => return Err(TypeError::Syntax(format!("the file of the alias {name} is not `type {name} = ...`"))),
        };
        self.define(name, &body, files).map_err(|error| match error {
            TypeError::Syntax(what) => TypeError::Syntax(format!("in the alias {name}: {what}")),
            other => other,
        })
    }

    /// The type that an expression without variables and calls stands for.
    pub fn data_type(&mut self, expression: &Expr, files: Files<'_>) -> Result<Type, TypeError> {
        match self.value(expression, files)? {
            Value::Type(data_type) => {
                let (depth, nodes) = data_type.measure();
                match self.nodes_left.checked_sub(nodes) {
                    Some(left) if depth <= TYPE_DEPTH_MAX => self.nodes_left = left,
                    _ => return Err(TypeError::TooLarge(format!("the type has more than {TYPE_NODES_MAX} parts"))),
                }
                Ok((*data_type).clone())
            }
            other => Err(TypeError::Syntax(format!("expected a type, found {}", super::mismatch::kind_of(&other)))),
        }
    }

    fn value(&mut self, expression: &Expr, files: Files<'_>) -> Result<Value, TypeError> {
        if self.depth >= TYPE_READ_DEPTH_MAX {
            let what = format!("types and the aliases in them are more than {TYPE_READ_DEPTH_MAX} levels deep");
            return Err(TypeError::TooLarge(what));
        }
        self.depth += 1;
        let value = self.value_of(expression, files);
        self.depth -= 1;
        value
    }

    fn value_of(&mut self, expression: &Expr, files: Files<'_>) -> Result<Value, TypeError> {
        let mut all = |items: &[Expr]| items.iter().map(|item| self.value(item, files)).collect::<Result<Vec<_>, _>>();
        Ok(match &expression.kind {
            Kind::Undef => Value::Undef,
            Kind::Default => Value::Default,
            Kind::Boolean(value) => Value::Boolean(*value),
            Kind::Integer(value) => Value::Integer(*value),
            Kind::Float(value) => Value::Float(*value),
            Kind::Text(text) | Kind::Name(text) => Value::String(text.clone()),
            Kind::Regex(text) => Value::Regexp(Pattern::new(text).map_err(TypeError::Syntax)?),
            Kind::Parentheses(inner) => self.value(inner, files)?,
            Kind::Array(items) => Value::array(all(items)?),
            Kind::Hash(entries) => {
                let mut hash = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    hash.push((self.value(key, files)?, self.value(value, files)?));
                }
                Value::hash(hash)
            }
            Kind::TypeName(name) => self.named(name, &[], files)?.into(),
            Kind::Access(of, keys) => match &of.kind {
                Kind::TypeName(name) => {
                    let keys = all(keys)?;
                    self.named(name, &keys, files)?.into()
                }
                _ => return Err(TypeError::Syntax("only types take arguments between brackets".to_owned())),
            },
            _ => {
                return Err(TypeError::Syntax(
                    "only names of types, literals, arrays and hashes can be in a type".to_owned(),
                ));
            }
        })
    }
}

/// An alias that stands for itself, without an array or hash between, stands for nothing.
fn real(name: &str, body: Type) -> Result<Type, TypeError> {
    // One of several that stands for the whole says nothing, and is left out.
    let body = match body {
        Type::Variant(types) => {
            let is_whole = |one: &Type| matches!(one, Type::Within(alias) if alias.upgrade().is_some_and(|alias| *alias.name == *name));
            Type::Variant(types.into_iter().filter(|one| !is_whole(one)).collect())
        }
        other => other,
    };
    if matches!(&body, Type::Variant(types) if types.is_empty()) {
        return Err(TypeError::Syntax(format!("the alias {name} stands for itself and for nothing else")));
    }
    if body.through_aliases(|one, next| is_circular(name, one, next)) {
        return Err(TypeError::Syntax(format!("the alias {name} stands for itself and for nothing else")));
    }
    Ok(body)
}

/// Whether the same value comes back to the alias.
fn is_circular(name: &str, body: &Type, next: &mut Vec<Arc<Alias>>) -> bool {
    match body {
        Type::Within(alias) => alias.upgrade().is_some_and(|alias| *alias.name == *name),
        Type::Alias(_) => body.hand_over(next),
        Type::Optional(inner) | Type::NotUndef(inner) | Type::Sensitive(inner) => is_circular(name, inner, next),
        Type::Variant(types) => types.iter().any(|one| is_circular(name, one, next)),
        _ => false,
    }
}
