//! The steps of a plan in YAML, each a call of a function of plans.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::code::{enclosed, expression};
use super::document::{Content, Key, Node};
use super::{Parsed, call, fail, is_variable_name, text};
use crate::puppet_lang::source::Source;
use crate::puppet_lang::syntax::ast::{CatalogBlock, Expr, Kind};

/// A kind of step.
struct Action {
    /// The key that it is known by.
    key: &'static str,
    /// The key of older manuals for the same.
    older: Option<&'static str>,
    function: &'static str,
    /// Other keys that it must have.
    required: &'static [&'static str],
    /// Other keys that it may have.
    own: &'static [&'static str],
    /// Keys that become arguments with an underscore before them.
    options: &'static [&'static str],
}

const fn action(key: &'static str, function: &'static str) -> Action {
    Action { key, older: None, function, required: &[], own: &[], options: &[] }
}

const ON_TARGETS: &[&str] = &["catch_errors", "run_as"];
const OF_COMMANDS: &[&str] = &["catch_errors", "env_vars", "run_as"];

const ACTIONS: &[Action] = &[
    Action { required: &["targets"], options: OF_COMMANDS, ..action("command", "run_command") },
    Action {
        required: &["targets"],
        own: &["arguments", "pwsh_params"],
        options: OF_COMMANDS,
        ..action("script", "run_script")
    },
    Action {
        required: &["targets"],
        own: &["parameters"],
        options: &["catch_errors", "noop", "run_as"],
        ..action("task", "run_task")
    },
    Action {
        older: Some("source"),
        required: &["destination", "targets"],
        options: ON_TARGETS,
        ..action("upload", "upload_file")
    },
    Action { required: &["destination", "targets"], options: ON_TARGETS, ..action("download", "download_file") },
    Action { own: &["parameters"], options: ON_TARGETS, ..action("plan", "run_plan") },
    Action {
        required: &["targets"],
        options: &["catch_errors", "description", "noop", "run_as"],
        ..action("resources", "apply")
    },
    action("eval", ""),
    action("message", "out::message"),
    action("verbose", "out::verbose"),
];

const COMMON: [&str; 4] = ["description", "name", "targets", "target"];

struct Step<'a> {
    source: &'a Arc<Source>,
    at: u32,
    action: &'static Action,
    entries: &'a [(Key, Node)],
}

/// The statements of a step; its result gets a name that is new among `names`.
pub fn step(source: &Arc<Source>, node: &Node, number: usize, names: &mut BTreeSet<String>) -> Parsed<Vec<Expr>> {
    let entries = node.map(&format!("step {number}"))?;
    let name = entries.iter().find(|(key, _)| key.text == "name").map(|(_, node)| node);
    let called = match name.and_then(Node::as_text) {
        Some(name) => format!("step \"{name}\""),
        None => format!("step {number}"),
    };
    let labelled = |(at, message): (u32, String)| (at, format!("{called}: {message}"));
    let found: Vec<&Action> = ACTIONS.iter().filter(|action| action.is_of(entries)).collect();
    let action = match found.as_slice() {
        [action] => *action,
        [] => {
            let keys: Vec<_> = ACTIONS.iter().map(|action| action.key).collect();
            return fail(node, format!("{called} does nothing: it must have one of {}", keys.join(", ")));
        }
        several => {
            let keys: Vec<_> = several.iter().map(|action| action.key).collect();
            return fail(node, format!("{called} does several things: {}; make them steps", keys.join(", ")));
        }
    };
    let step = Step { source, at: node.at, action, entries };
    step.check_keys().map_err(labelled)?;
    let mut statements = step.statements().map_err(labelled)?;
    let Some(node) = name else { return Ok(statements) };
    let name = node.as_text().filter(|name| is_variable_name(name)).ok_or_else(|| {
        let message = "its name must be lower-case letters, digits and underscores, and no digit first";
        labelled((node.at, message.to_owned()))
    })?;
    if !names.insert(name.to_owned()) {
        return Err(labelled((node.at, format!("there is a step or a parameter named `{name}` already"))));
    }
    if let Some(result) = statements.pop() {
        let variable = Expr { at: node.at, kind: Kind::Variable(name.into()) };
        statements.push(Expr { at: step.at, kind: Kind::Assign(Box::new((variable, result))) });
    }
    Ok(statements)
}

impl Action {
    fn is_of(&self, entries: &[(Key, Node)]) -> bool {
        let has = |wanted: &str| entries.iter().any(|(key, _)| key.text == wanted);
        has(self.key) || self.older.is_some_and(has)
    }
}

impl Step<'_> {
    /// The value of a key, or of what older manuals call it.
    fn get(&self, wanted: &str) -> Option<&Node> {
        let older = match wanted {
            "targets" => Some("target"),
            key if key == self.action.key => self.action.older,
            _ => None,
        };
        let is_wanted = |key: &Key| key.text == wanted || Some(key.text.as_str()) == older;
        self.entries.iter().find(|(key, _)| is_wanted(key)).map(|(_, node)| node)
    }

    fn expression(&self, key: &str) -> Parsed<Expr> {
        match self.get(key) {
            Some(node) => expression(self.source, node),
            None => Err((self.at, format!("a `{}` step needs `{key}`", self.action.key))),
        }
    }

    fn check_keys(&self) -> Parsed<()> {
        let Action { key, older, required, own, options, .. } = self.action;
        let is_known = |found: &str| {
            found == *key
                || Some(found) == *older
                || COMMON.contains(&found)
                || [required, own, options].iter().any(|keys| keys.contains(&found))
        };
        if let Some((unknown, _)) = self.entries.iter().find(|(key, _)| !is_known(&key.text)) {
            return Err((unknown.at, format!("a `{key}` step has no key `{}`", unknown.text)));
        }
        for needed in *required {
            if self.get(needed).is_none() {
                return Err((self.at, format!("a `{key}` step needs `{needed}`")));
            }
        }
        if let Some(node) = self.get("arguments").filter(|node| !node.is_null()) {
            node.list("`arguments`")?;
        }
        if let Some(node) = self.get("pwsh_params").filter(|node| !node.is_null()) {
            node.map("`pwsh_params`")?;
        }
        if let Some(node) = self.get("env_vars")
            && !matches!(node.content, Content::Map(_))
            && node.as_text().is_none()
        {
            return fail(node, "`env_vars` must be a map, or code that makes one");
        }
        self.parameters().map(|_| ())
    }

    fn parameters(&self) -> Parsed<&[(Key, Node)]> {
        let Some(node) = self.get("parameters").filter(|node| !node.is_null()) else { return Ok(&[]) };
        let parameters = node.map("`parameters`")?;
        for (key, _) in parameters {
            if let Some(option) = key.text.strip_prefix('_')
                && self.get(option).is_some()
            {
                return Err((key.at, format!("`{}` and the key `{option}` are the same; give one of them", key.text)));
            }
        }
        Ok(parameters)
    }

    fn statements(&self) -> Parsed<Vec<Expr>> {
        let value = || self.expression(self.action.key);
        let mut arguments = match self.action.key {
            "eval" => return Ok(vec![enclosed(self.source, value()?)]),
            "resources" => return self.resources(),
            "plan" => vec![value()?],
            "message" | "verbose" => return Ok(vec![call(self.at, self.action.function, vec![value()?], None)]),
            "upload" | "download" => vec![value()?, self.expression("destination")?],
            _ => vec![value()?],
        };
        if self.get("targets").is_some() {
            arguments.push(self.expression("targets")?);
        }
        if self.action.key != "plan" && self.get("description").is_some_and(|node| !node.is_null()) {
            arguments.push(self.expression("description")?);
        }
        let options = self.options()?;
        if !options.is_empty() {
            arguments.push(Expr { at: self.at, kind: Kind::Hash(options) });
        }
        Ok(vec![call(self.at, self.action.function, arguments, None)])
    }

    /// Parameters, and what else is given by name.
    fn options(&self) -> Parsed<Vec<(Expr, Expr)>> {
        let entry = |key: &Key, name: &str, node: &Node| Ok((text(key.at, name), expression(self.source, node)?));
        let mut options: Vec<(Expr, Expr)> =
            self.parameters()?.iter().map(|(key, node)| entry(key, &key.text, node)).collect::<Parsed<_>>()?;
        for (key, node) in self.entries {
            let name = key.text.as_str();
            if self.action.options.contains(&name) {
                options.push(entry(key, &format!("_{name}"), node)?);
            } else if matches!(name, "arguments" | "pwsh_params") && self.action.own.contains(&name) && !is_empty(node)
            {
                options.push(entry(key, name, node)?);
            }
        }
        Ok(options)
    }

    /// `apply_prep`, and `apply` of resources that follow each other. They are evaluated here, so that the catalog's code is
    /// the same for all of them.
    fn resources(&self) -> Parsed<Vec<Expr>> {
        let Some(node) = self.get("resources") else { return Ok(vec![]) };
        let mut code = String::new();
        let mut values = Vec::new();
        for (index, resource) in node.list("`resources`")?.iter().enumerate() {
            let (kind, title, parameters) = described(resource)?;
            let arrow = if index == 0 { "" } else { "-> " };
            code.push_str(&format!(
                "{arrow}{kind} {{ $podium_resources[{index}]['title']: * => $podium_resources[{index}]['parameters'] }}\n"
            ));
            let parameters = match parameters {
                Some(node) => expression(self.source, node)?,
                None => Expr { at: resource.at, kind: Kind::Hash(vec![]) },
            };
            let at = resource.at;
            let entries =
                vec![(text(at, "title"), expression(self.source, title)?), (text(at, "parameters"), parameters)];
            values.push(Expr { at, kind: Kind::Hash(entries) });
        }
        let mut arguments = vec![self.expression("targets")?];
        let options = self.options()?;
        if !options.is_empty() {
            arguments.push(Expr { at: self.at, kind: Kind::Hash(options) });
        }
        let at = self.at;
        let variable = Expr { at, kind: Kind::Variable("podium_resources".into()) };
        let values = Expr { at, kind: Kind::Array(values) };
        let set = Expr { at, kind: Kind::Assign(Box::new((variable, values))) };
        let apply = Expr { at, kind: Kind::Catalog(Box::new(CatalogBlock { arguments, code: code.into() })) };
        let prepare = call(at, "apply_prep", vec![self.expression("targets")?], None);
        let body = Expr { at, kind: Kind::Block(vec![set, apply]) };
        Ok(vec![prepare, enclosed(self.source, body)])
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.content {
        Content::List(items) => items.is_empty(),
        Content::Map(entries) => entries.is_empty(),
        Content::Scalar(..) => node.is_null(),
    }
}

/// Type, title and parameters of a resource, written in either way.
fn described(resource: &Node) -> Parsed<(String, &Node, Option<&Node>)> {
    let entries = resource.map("a resource")?;
    let get = |wanted: &str| entries.iter().find(|(key, _)| key.text == wanted);
    let parameters = get("parameters").map(|(_, node)| node).filter(|node| !node.is_null());
    if let Some(parameters) = parameters {
        parameters.map("`parameters` of a resource")?;
    }
    let (at, kind, title) = match (get("type"), get("title")) {
        (Some((_, kind)), Some((_, title))) => (kind.at, kind.as_text().unwrap_or_default(), title),
        (None, None) => {
            let mut others = entries.iter().filter(|(key, _)| key.text != "parameters");
            match (others.next(), others.next()) {
                (Some((key, title)), None) => (key.at, key.text.as_str(), title),
                (None, _) => return fail(resource, "the resource has no type"),
                (Some((one, _)), Some((other, _))) => {
                    let message = format!("the resource's type could be `{}` or `{}`", one.text, other.text);
                    return Err((other.at, message));
                }
            }
        }
        (None, Some(_)) => return fail(resource, "a resource with a `title` needs a `type`"),
        (Some(_), None) => return fail(resource, "a resource with a `type` needs a `title`"),
    };
    if kind.is_empty() || !kind.split("::").all(|part| is_variable_name(&part.to_lowercase())) {
        return Err((at, format!("`{kind}` is no type of resources")));
    }
    Ok((kind.to_lowercase(), title, parameters))
}
