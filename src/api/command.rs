//! The bodies of commands: from bytes to a [`TaskCommand`] and the like, with an error that names the key. Optional keys may be null,
//! as Bolt sends them; unknown keys are let through, as newer clients may send more.

mod deploy;
mod plan;
mod schedule;

use serde_json::{Map, Value};

use super::parameters::job_id;
use super::problem::Problem;
use crate::limits::JSON_DEPTH_MAX;
use crate::orchestrator::dispatch::Stop;
use crate::orchestrator::model::{JobId, Scope, TaskCommand, Terms, is_deeper};

pub(super) use deploy::deploy;
pub(super) use plan::{plan_finish, plan_start, plan_task};
pub(super) use schedule::{asked, edit as edit_schedule, environment_job, schedule_deploy, schedule_task};

/// Keys of a scope that this server can resolve.
const SCOPES: [&str; 3] = ["nodes", "query", "node_group"];

/// Reads a JSON object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::invalid("The request has no body; it must be a JSON object."));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) if object.values().all(|value| !is_deeper(value, JSON_DEPTH_MAX - 1)) => Ok(object),
        Ok(Value::Object(_)) => {
            Err(Problem::invalid(format!("The request's body is nested more than {JSON_DEPTH_MAX} levels deep.")))
        }
        Ok(other) => {
            Err(Problem::invalid(format!("The request's body must be a JSON object, not {}.", type_of(&other))))
        }
        Err(error) => Err(Problem::invalid(format!("The request's body is not valid JSON: {error}."))),
    }
}

/// Reads the command.
pub(super) fn task(body: &[u8]) -> Result<TaskCommand, Problem> {
    task_of(object(body)?)
}

fn task_of(mut object: Map<String, Value>) -> Result<TaskCommand, Problem> {
    let task = match take(&mut object, "task") {
        Some(Value::String(task)) => task,
        Some(other) => return Err(wrong_type("task", "a string", &other)),
        None => return Err(missing("task")),
    };
    if !is_task_name(&task) {
        return Err(Problem::invalid(format!("{task:?} is not a valid task name.")).with("task", task));
    }
    let params = take_object(&mut object, "params")?.ok_or_else(|| missing("params"))?;
    let scope = scope(take_object(&mut object, "scope")?.ok_or_else(|| missing("scope"))?)?;
    let environment = take_string(&mut object, "environment")?.unwrap_or_else(|| "production".to_owned());
    if environment.is_empty() {
        return Err(Problem::invalid("environment must not be empty; leave it out for production."));
    }
    refuse_targets(&mut object)?;
    Ok(TaskCommand { task, params, plan_job: None, terms: terms(&mut object, environment, scope)? })
}

/// Reads `POST /command/stop`. Numbers of jobs are texts; a number is taken for one.
pub(super) fn stop(body: &[u8]) -> Result<(JobId, Stop), Problem> {
    let mut object = object(body)?;
    let job = match take(&mut object, "job") {
        Some(Value::String(text)) => job_id(&text)?,
        Some(Value::Number(number)) => job_id(&number.to_string())?,
        Some(other) => return Err(wrong_type("job", "a string", &other)),
        None => return Err(missing("job")),
    };
    let is_forced = take_bool(&mut object, "force")?.unwrap_or(false);
    Ok((job, if is_forced { Stop::ByForce } else { Stop::Gently }))
}

/// What every command may say.
fn terms(object: &mut Map<String, Value>, environment: String, scope: Scope) -> Result<Terms, Problem> {
    Ok(Terms {
        environment,
        scope,
        noop: take_bool(object, "noop")?.unwrap_or(false),
        concurrency: take_positive(object, "concurrency", "of nodes")?
            .map(|nodes| u32::try_from(nodes).unwrap_or(u32::MAX)),
        timeout: take_positive(object, "timeout", "of seconds")?,
        description: take_string(object, "description")?.unwrap_or_default(),
        userdata: take_object(object, "userdata")?.unwrap_or_default(),
        schedule: None,
    })
}

/// The names in the body of `POST /inventory`.
pub(super) fn node_names(body: &[u8]) -> Result<Vec<String>, Problem> {
    let mut object = object(body)?;
    let nodes = take(&mut object, "nodes").ok_or_else(|| missing("nodes"))?;
    strings("nodes", nodes)
}

/// A value that is present and not null.
pub(super) fn take(object: &mut Map<String, Value>, key: &str) -> Option<Value> {
    object.remove(key).filter(|value| !value.is_null())
}

/// A string, if present.
pub(super) fn take_string(object: &mut Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    match take(object, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong_type(key, "a string", &other)),
    }
}

fn take_object(object: &mut Map<String, Value>, key: &str) -> Result<Option<Map<String, Value>>, Problem> {
    match take(object, key) {
        None => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(other) => Err(wrong_type(key, "an object", &other)),
    }
}

/// A boolean, if present.
pub(super) fn take_bool(object: &mut Map<String, Value>, key: &str) -> Result<Option<bool>, Problem> {
    match take(object, key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(other) => Err(wrong_type(key, "a boolean", &other)),
    }
}

fn take_positive(object: &mut Map<String, Value>, key: &str, unit: &str) -> Result<Option<u64>, Problem> {
    match take(object, key) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) if number > 0 => Ok(Some(number)),
            _ => {
                Err(Problem::invalid(format!("{key} must be a positive integer {unit}, not {value}.")).with("key", key))
            }
        },
    }
}

/// SSH and WinRM targets need credentials that this server does not keep.
fn refuse_targets(object: &mut Map<String, Value>) -> Result<(), Problem> {
    match take(object, "targets") {
        None => Ok(()),
        Some(Value::Array(targets)) if targets.is_empty() => Ok(()),
        Some(_) => Err(Problem::invalid(
            "targets (nodes over SSH or WinRM) are not offered by this server; name nodes with an agent in scope.",
        )),
    }
}

fn scope(object: Map<String, Value>) -> Result<Scope, Problem> {
    let mut entries = object.into_iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else {
        return Err(Problem::invalid(format!("scope must have exactly one key, one of {}.", SCOPES.join(", "))));
    };
    match (key.as_str(), value) {
        ("nodes", value) => Ok(Scope::Nodes(strings("scope.nodes", value)?)),
        ("query", query @ (Value::String(_) | Value::Array(_))) => Ok(Scope::Query(query)),
        ("query", other) => Err(wrong_type("scope.query", "a string or an array", &other)),
        ("node_group", Value::String(group)) => Ok(Scope::NodeGroup(group)),
        ("node_group", other) => Err(wrong_type("scope.node_group", "a string", &other)),
        (unknown, _) => {
            let known = SCOPES.join(", ");
            Err(Problem::invalid(format!("scope has the unknown key {unknown:?}; it must have one of {known}.")))
        }
    }
}

/// An array of strings that are not empty.
pub(super) fn strings(key: &str, value: Value) -> Result<Vec<String>, Problem> {
    let Value::Array(items) = value else { return Err(wrong_type(key, "an array of strings", &value)) };
    let string = |item| match item {
        Value::String(text) if !text.is_empty() => Ok(text),
        other => Err(Problem::invalid(format!("{key} must hold strings that are not empty, not {other}."))),
    };
    items.into_iter().map(string).collect()
}

/// `module`, `module::task`, in Puppet's letters.
fn is_task_name(name: &str) -> bool {
    let is_segment = |segment: &str| {
        segment.starts_with(|c: char| c.is_ascii_lowercase())
            && segment.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    name.split("::").all(is_segment)
}

/// A required key is absent.
pub(super) fn missing(key: &str) -> Problem {
    Problem::invalid(format!("The required key {key} is missing.")).with("key", key)
}

fn wrong_type(key: &str, expected: &str, value: &Value) -> Problem {
    Problem::invalid(format!("{key} must be {expected}, not {}.", type_of(value))).with("key", key)
}

const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<TaskCommand, String> {
        task(value.to_string().as_bytes()).map_err(|problem| problem.message().to_owned())
    }

    #[test]
    fn the_least_command_gets_the_defaults() {
        let command = parse(json!({"task": "package", "params": {}, "scope": {"nodes": ["a"]}})).unwrap();
        let expected = TaskCommand {
            task: "package".into(),
            params: Map::new(),
            plan_job: None,
            terms: Terms::new("production", Scope::Nodes(vec!["a".into()])),
        };
        assert_eq!(command, expected);
    }

    #[test]
    fn null_is_absent_and_unknown_keys_are_let_through() {
        let command = parse(json!({
            "task": "a::b", "params": {"x": null}, "scope": {"query": "nodes {}"}, "noop": null, "timeout": null,
            "environment": null, "description": null, "userdata": null, "targets": [], "plan_job": "7"
        }))
        .unwrap();
        assert_eq!(command.terms.scope, Scope::Query(json!("nodes {}")));
        assert_eq!(command.params["x"], Value::Null);
        assert!(!command.terms.noop);
    }

    #[test]
    fn errors_name_the_key() {
        let base = || json!({"task": "package", "params": {}, "scope": {"nodes": ["a"]}});
        let cases = [
            ("task", json!(null), "The required key task is missing."),
            ("task", json!(7), "task must be a string, not a number."),
            ("task", json!("/x/y"), "\"/x/y\" is not a valid task name."),
            ("task", json!("Package"), "\"Package\" is not a valid task name."),
            ("params", json!(null), "The required key params is missing."),
            ("params", json!([]), "params must be an object, not an array."),
            ("scope", json!(null), "The required key scope is missing."),
            ("scope", json!({}), "scope must have exactly one key, one of nodes, query, node_group."),
            (
                "scope",
                json!({"nodes": [], "query": ""}),
                "scope must have exactly one key, one of nodes, query, node_group.",
            ),
            (
                "scope",
                json!({"application": "x"}),
                "scope has the unknown key \"application\"; it must have one of nodes, query, node_group.",
            ),
            ("scope", json!({"nodes": "a"}), "scope.nodes must be an array of strings, not a string."),
            ("scope", json!({"nodes": [1]}), "scope.nodes must hold strings that are not empty, not 1."),
            ("scope", json!({"query": 1}), "scope.query must be a string or an array, not a number."),
            ("noop", json!("yes"), "noop must be a boolean, not a string."),
            ("timeout", json!(0), "timeout must be a positive integer of seconds, not 0."),
            ("timeout", json!("5"), "timeout must be a positive integer of seconds, not \"5\"."),
            ("environment", json!(""), "environment must not be empty; leave it out for production."),
            ("userdata", json!("x"), "userdata must be an object, not a string."),
        ];
        for (key, value, expected) in cases {
            let mut command = base();
            command[key] = value;
            assert_eq!(parse(command).unwrap_err(), expected);
        }
    }

    #[test]
    fn which_job_to_stop_and_how() {
        let parse = |value: Value| stop(value.to_string().as_bytes()).map_err(|problem| problem.message().to_owned());
        assert_eq!(parse(json!({"job": "81", "force": null})), Ok((JobId(81), Stop::Gently)));
        assert_eq!(parse(json!({"job": 81, "force": true})), Ok((JobId(81), Stop::ByForce)));
        assert_eq!(parse(json!({})).unwrap_err(), "The required key job is missing.");
        assert_eq!(
            parse(json!({"job": "x"})).unwrap_err(),
            "Invalid value \"x\" for id: the id of a job is an integer."
        );
        assert_eq!(parse(json!({"job": "1", "force": 1})).unwrap_err(), "force must be a boolean, not a number.");
    }

    #[test]
    fn bodies_that_are_no_object() {
        let message = |body: &[u8]| object(body).unwrap_err().message().to_owned();
        assert_eq!(message(b" "), "The request has no body; it must be a JSON object.");
        assert_eq!(message(b"[]"), "The request's body must be a JSON object, not an array.");
        assert!(message(b"{").starts_with("The request's body is not valid JSON: EOF"));
    }
}
