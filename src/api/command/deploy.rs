//! `POST /command/deploy`: from bytes to a [`DeployCommand`]. What agents would refuse is refused here, with the key.

use serde_json::{Map, Value};

use super::{missing, object, scope, take, take_bool, take_object, take_string, terms, wrong_type};
use crate::api::problem::Problem;
use crate::orchestrator::model::{DeployCommand, DeployOptions};
use crate::orchestrator::puppet_run::is_argument_value;

/// Reads the command.
pub(in crate::api) fn deploy(body: &[u8]) -> Result<DeployCommand, Problem> {
    deploy_of(object(body)?)
}

/// Reads the command from the object that it is.
pub(super) fn deploy_of(mut object: Map<String, Value>) -> Result<DeployCommand, Problem> {
    let environment = take_string(&mut object, "environment")?.ok_or_else(|| missing("environment"))?;
    let enforce_environment = take_bool(&mut object, "enforce_environment")?.unwrap_or(true);
    if environment.is_empty() && enforce_environment {
        let message = "environment is empty, which leaves it to the nodes: then enforce_environment must be false.";
        return Err(Problem::invalid(message).with("key", "enforce_environment"));
    }
    if !environment.is_empty() {
        check_value("environment", &environment)?;
    }
    refuse_application(&mut object)?;
    let scope = match take_object(&mut object, "scope")? {
        Some(given) => scope(given)?,
        None => {
            let message =
                "The required key scope is missing; name the nodes, the query or the node group to run Puppet on.";
            return Err(Problem::invalid(message).with("key", "scope"));
        }
    };
    let options = options(&mut object, enforce_environment)?;
    let terms = terms(&mut object, environment, scope)?;
    if terms.noop && options.no_noop {
        return Err(Problem::invalid("noop and no_noop cannot both be true.").with("key", "no_noop"));
    }
    Ok(DeployCommand { options, terms })
}

fn options(object: &mut Map<String, Value>, enforce_environment: bool) -> Result<DeployOptions, Problem> {
    Ok(DeployOptions {
        enforce_environment,
        no_noop: take_bool(object, "no_noop")?.unwrap_or(false),
        debug: take_bool(object, "debug")?.unwrap_or(false),
        trace: take_bool(object, "trace")?.unwrap_or(false),
        evaltrace: take_bool(object, "evaltrace")?.unwrap_or(false),
        use_cached_catalog: take_bool(object, "use_cached_catalog")?,
        usecacheonfailure: take_bool(object, "usecacheonfailure")?,
        tags: take_value(object, "tags")?,
        skip_tags: take_value(object, "skip_tags")?,
        ordering: take_value(object, "ordering")?,
        filetimeout: take_seconds(object, "filetimeout")?,
        http_connect_timeout: take_seconds(object, "http_connect_timeout")?,
        http_keepalive_timeout: take_seconds(object, "http_keepalive_timeout")?,
        http_read_timeout: take_seconds(object, "http_read_timeout")?,
    })
}

/// A value that goes to agents as it is; the empty one is as good as none.
fn take_value(object: &mut Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    let value = take_string(object, key)?.filter(|value| !value.is_empty());
    value.iter().try_for_each(|value| check_value(key, value))?;
    Ok(value)
}

fn check_value(key: &str, value: &str) -> Result<(), Problem> {
    if is_argument_value(value) {
        return Ok(());
    }
    let rule = "agents accept letters, digits and _ : , . - and no - at the beginning";
    Err(Problem::invalid(format!("{key} cannot be {value:?}: {rule}.")).with("key", key))
}

fn take_seconds(object: &mut Map<String, Value>, key: &str) -> Result<Option<u64>, Problem> {
    match take(object, key) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(wrong_type(key, "a number of whole seconds, 0 or more", &value)),
        },
    }
}

/// Applications went out with Puppet 7; the key may be there as long as it names none.
fn refuse_application(object: &mut Map<String, Value>) -> Result<(), Problem> {
    match take_string(object, "target")? {
        Some(target) if !target.trim().is_empty() => {
            let message = "target (an application) is not offered by this server; say which nodes in scope.";
            Err(Problem::invalid(message).with("key", "target"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::orchestrator::model::{Scope, Terms};

    fn parse(value: &Value) -> Result<DeployCommand, String> {
        deploy(value.to_string().as_bytes()).map_err(|problem| problem.message().to_owned())
    }

    #[test]
    fn the_least_command_gets_the_defaults() {
        let command = parse(&json!({"environment": "production", "scope": {"nodes": ["a"]}, "target": ""})).unwrap();
        let options = DeployOptions { enforce_environment: true, ..DeployOptions::default() };
        let terms = Terms::new("production", Scope::Nodes(vec!["a".into()]));
        assert_eq!(command, DeployCommand { options, terms });
    }

    #[test]
    fn everything_that_can_be_said() {
        let command = parse(&json!({
            "environment": "", "enforce_environment": false, "scope": {"nodes": ["a"]}, "concurrency": 3, "noop": false,
            "no_noop": true, "debug": true, "trace": true, "evaltrace": true, "tags": "a,b::c", "skip_tags": "",
            "ordering": "manifest", "filetimeout": 0, "http_connect_timeout": 1, "http_keepalive_timeout": 2,
            "http_read_timeout": 3, "use_cached_catalog": false, "usecacheonfailure": true, "description": "d",
            "userdata": {"ticket": 1}, "timeout": 60
        }))
        .unwrap();
        let options = DeployOptions {
            enforce_environment: false,
            no_noop: true,
            debug: true,
            trace: true,
            evaltrace: true,
            use_cached_catalog: Some(false),
            usecacheonfailure: Some(true),
            tags: Some("a,b::c".into()),
            skip_tags: None,
            ordering: Some("manifest".into()),
            filetimeout: Some(0),
            http_connect_timeout: Some(1),
            http_keepalive_timeout: Some(2),
            http_read_timeout: Some(3),
        };
        assert_eq!(command.options, options);
        assert_eq!((command.terms.concurrency, command.terms.timeout), (Some(3), Some(60)));
        assert_eq!((command.terms.environment.as_str(), command.terms.userdata["ticket"].as_u64()), ("", Some(1)));
    }

    #[test]
    fn errors_name_the_key() {
        let cases = [
            ("environment", json!(null), "The required key environment is missing."),
            ("environment", json!(""), "then enforce_environment must be false"),
            ("environment", json!("a b"), "environment cannot be \"a b\": agents accept"),
            ("scope", json!(null), "The required key scope is missing; name the nodes"),
            ("noop", json!(1), "noop must be a boolean, not a number."),
            ("tags", json!("--noop"), "tags cannot be \"--noop\""),
            ("tags", json!(["a"]), "tags must be a string, not an array."),
            ("filetimeout", json!(-1), "filetimeout must be a number of whole seconds"),
            ("concurrency", json!(0), "concurrency must be a positive integer of nodes, not 0."),
            ("target", json!("App[x]"), "target (an application) is not offered"),
        ];
        for (key, value, expected) in cases {
            let mut command = json!({"environment": "production", "scope": {"nodes": ["a"]}});
            command[key] = value;
            let message = parse(&command).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let both = json!({"environment": "production", "scope": {"nodes": ["a"]}, "noop": true, "no_noop": true});
        assert_eq!(parse(&both).unwrap_err(), "noop and no_noop cannot both be true.");
    }
}
