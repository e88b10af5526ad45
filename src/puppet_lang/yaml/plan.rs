//! The top of a plan in YAML: description, parameters, steps, what it returns.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::code::{constant, expression, parsed};
use super::document::{Key, Node};
use super::steps::step;
use super::{Parsed, fail, is_variable_name};
use crate::puppet_lang::environment::Program;
use crate::puppet_lang::source::{Diagnostic, Source};
use crate::puppet_lang::syntax::ast::{Definition, Expr, File, Kind, Lambda, Parameter};
use crate::puppet_lang::value::{Secrets, Value};

const KEYS: [&str; 6] = ["description", "parameters", "private", "return", "steps", "version"];

/// A plan in YAML.
#[derive(Debug, Clone)]
pub struct YamlPlan {
    /// What it does.
    pub program: Program,
    /// For people; empty if it has none.
    pub description: String,
    /// For other plans only.
    pub private: bool,
    /// In their order.
    pub parameters: Vec<YamlParameter>,
}

/// A parameter of a plan in YAML.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlParameter {
    /// Its name.
    pub name: String,
    /// Its type as it is written.
    pub data_type: String,
    /// Its default, if it has one.
    pub default: Option<serde_json::Value>,
    /// For people; empty if it has none.
    pub description: String,
}

impl YamlPlan {
    /// Reads the plan `name`; what it calls may not be there, as with [`Program::read`].
    pub fn read(name: &str, source: &Arc<Source>) -> Result<Self, Diagnostic> {
        read(name, source).map_err(|(at, message)| source.diagnostic(at, message))
    }
}

fn read(name: &str, source: &Arc<Source>) -> Parsed<YamlPlan> {
    let document = Node::read(source)?;
    let entries = document.map("a plan")?;
    if let Some((key, _)) = entries.iter().find(|(key, _)| !KEYS.contains(&key.text.as_str())) {
        return Err((key.at, format!("a plan has no key `{}`; it may have {}", key.text, KEYS.join(", "))));
    }
    let get = |wanted: &str| entries.iter().find(|(key, _)| key.text == wanted).map(|(_, node)| node);
    let steps = get("steps").ok_or_else(|| (document.at, "the plan has no `steps`".to_owned()))?;
    let (mut parameters, mut described) = (Vec::new(), Vec::new());
    let given = get("parameters").filter(|node| !node.is_null());
    for entry in given.map(|node| node.map("`parameters`")).transpose()?.unwrap_or_default() {
        let (one, shown) = parameter(source, entry)?;
        parameters.push(one);
        described.push(shown);
    }
    let mut names: BTreeSet<String> = described.iter().map(|parameter| parameter.name.clone()).collect();
    let mut statements = Vec::new();
    for (index, node) in steps.list("`steps`")?.iter().enumerate() {
        statements.extend(step(source, node, index + 1, &mut names)?);
    }
    let undef = Expr { at: document.at, kind: Kind::Undef };
    statements.push(get("return").map(|node| expression(source, node)).transpose()?.unwrap_or(undef));
    let body = Expr { at: document.at, kind: Kind::Block(statements) };
    let lambda = Lambda { parameters, returns: None, body, source: source.clone() };
    let definitions = vec![Definition::Plan(name.into(), Arc::new(lambda))];
    let file = File { source: source.clone(), definitions, body: Expr { at: document.at, kind: Kind::Nop } };
    Ok(YamlPlan {
        program: Program::of(file),
        description: get("description").map(description).transpose()?.unwrap_or_default(),
        private: match get("private").map(|node| (node, node.value())) {
            None => false,
            Some((_, Value::Boolean(private))) => private,
            Some((node, _)) => return fail(node, "`private` must be true or false"),
        },
        parameters: described,
    })
}

fn description(node: &Node) -> Parsed<String> {
    match node.as_text() {
        Some(text) => Ok(text.trim().to_owned()),
        None if node.is_null() => Ok(String::new()),
        None => fail(node, "`description` must be a string"),
    }
}

fn parameter(source: &Arc<Source>, (key, node): &(Key, Node)) -> Parsed<(Parameter, YamlParameter)> {
    let name = key.text.as_str();
    if !is_variable_name(name) {
        let message = "expected lower-case letters, digits and underscores, and no digit first";
        return Err((key.at, format!("`{name}` cannot be a parameter: {message}")));
    }
    let entries = if node.is_null() { &[] } else { node.map("a parameter")? };
    let (mut data_type, mut type_text, mut default, mut about) = (None, "Any", None, String::new());
    for (key, node) in entries {
        match key.text.as_str() {
            "type" => {
                let Some(text) = node.as_text() else { return fail(node, "`type` must be a string") };
                let parsed = parsed(source, node.inside(), text)
                    .map_err(|(at, message)| (at, format!("the type `{text}`: {message}")))?;
                if matches!(parsed.kind, Kind::Block(_) | Kind::Nop) {
                    return fail(node, format!("`{text}` is no type"));
                }
                data_type = Some(parsed);
                type_text = text;
            }
            "default" if node.is_null() => {}
            "default" => default = Some((node.at, node.value())),
            "description" => about = description(node)?,
            other => {
                let message = "it may have type, default and description";
                return Err((key.at, format!("the parameter `{name}` has no key `{other}`; {message}")));
            }
        }
    }
    let shown = default.as_ref().and_then(|(_, value)| value.to_json(Secrets::Shown));
    let parameter = Parameter {
        name: name.into(),
        data_type,
        type_text: Some(type_text.into()),
        default: default.as_ref().map(|(at, value)| constant(*at, value)),
        default_text: None,
        takes_rest: false,
        at: key.at,
    };
    let described =
        YamlParameter { name: name.to_owned(), data_type: type_text.to_owned(), default: shown, description: about };
    Ok((parameter, described))
}
