//! The check of a command's parameters against a task's metadata: unknown ones, missing ones, wrong types, all reported
//! at once; defaults are filled in here because agents do not know them.

use serde_json::{Map, Value};

use super::metadata::{Parameter, TaskMetadata};
use crate::puppet_lang::{Resolver, Type, parse};

/// Parameters that passed the check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedParameters {
    /// What the task gets: with defaults.
    pub input: Map<String, Value>,
    /// What the caller gave, without the sensitive ones.
    pub shown: Map<String, Value>,
    /// Names of the sensitive ones that the caller gave.
    pub sensitive: Vec<String>,
}

/// Checks `given`; the error lists every problem, each a sentence without its subject. No value of a sensitive
/// parameter is in it.
pub fn check(
    metadata: &TaskMetadata,
    given: &Map<String, Value>,
    resolver: Resolver<'_>,
) -> Result<CheckedParameters, Vec<String>> {
    let Some(parameters) = &metadata.parameters else {
        return Ok(CheckedParameters { input: given.clone(), shown: given.clone(), sensitive: vec![] });
    };
    let mut checked = CheckedParameters { input: given.clone(), shown: given.clone(), sensitive: vec![] };
    let mut problems: Vec<String> = given
        .keys()
        .filter(|name| !parameters.contains_key(*name))
        .map(|name| format!("has no parameter named '{name}'"))
        .collect();
    for (name, parameter) in parameters {
        let data_type = match parse(parameter.data_type.as_deref().unwrap_or("Any"), resolver) {
            Ok(data_type) => data_type,
            Err(error) => {
                problems.push(format!("parameter '{name}' has a type in its metadata that cannot be used: {error}"));
                continue;
            }
        };
        let is_sensitive = parameter.sensitive || data_type.is_sensitive();
        problems.extend(check_one(name, parameter, &data_type, given.get(name), is_sensitive, &mut checked.input));
        if is_sensitive && checked.shown.remove(name).is_some() {
            checked.sensitive.push(name.clone());
        }
    }
    if problems.is_empty() { Ok(checked) } else { Err(problems) }
}

fn check_one(
    name: &str,
    parameter: &Parameter,
    data_type: &Type,
    given: Option<&Value>,
    is_sensitive: bool,
    input: &mut Map<String, Value>,
) -> Option<String> {
    match (given, &parameter.default) {
        (Some(value), _) if is_sensitive && !data_type.accepts_json(value) => Some(format!(
            "parameter '{name}' does not match its type {data_type} (its value is sensitive and not shown)"
        )),
        (Some(value), _) => data_type.problem_json(value).map(|problem| format!("parameter '{name}' {problem}")),
        (None, Some(default)) => {
            input.insert(name.to_owned(), default.clone());
            None
        }
        (None, None) if data_type.accepts_undef() => None,
        (None, None) => Some(format!("expects a value for parameter '{name}'")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(metadata: Value, given: Value) -> Result<CheckedParameters, Vec<String>> {
        let metadata = TaskMetadata::read(metadata.as_object().unwrap()).unwrap();
        check(&metadata, given.as_object().unwrap(), &|_| None)
    }

    fn metadata() -> Value {
        json!({"parameters": {
            "name": {"type": "String[1]"},
            "count": {"type": "Integer", "default": 3},
            "secret": {"type": "Optional[String]", "sensitive": true},
            "pin": {"type": "Optional[Sensitive[Integer]]"},
            "free": {},
        }})
    }

    #[test]
    fn fills_in_defaults_and_hides_secrets() {
        let checked = run(metadata(), json!({"name": "a", "secret": "hunter2", "pin": 4711})).unwrap();
        assert_eq!(json!(checked.input), json!({"name": "a", "count": 3, "secret": "hunter2", "pin": 4711}));
        assert_eq!(json!(checked.shown), json!({"name": "a"}));
        assert_eq!(checked.sensitive, ["pin", "secret"]);
    }

    #[test]
    fn a_secret_within_a_value_hides_the_whole_value() {
        let types = [
            ("Array[Sensitive[String]]", json!(["hunter2"])),
            ("Hash[String, Sensitive]", json!({"k": "hunter2"})),
            ("Tuple[String, Sensitive[String]]", json!(["a", "hunter2"])),
            (
                "Optional[Struct[{user => String, password => Sensitive[String]}]]",
                json!({"user": "a", "password": "hunter2"}),
            ),
        ];
        for (data_type, value) in types {
            let metadata = json!({"parameters": {"p": {"type": data_type}}});
            let checked = run(metadata.clone(), json!({"p": value})).unwrap();
            assert_eq!((json!(checked.shown), &*checked.sensitive), (json!({}), &["p".to_owned()][..]), "{data_type}");
            let problems = run(metadata, json!({"p": "hunter2"})).unwrap_err();
            assert!(!problems.concat().contains("hunter2"), "{problems:?}");
        }
    }

    #[test]
    fn reports_every_problem_and_no_secret() {
        let problems = run(metadata(), json!({"count": "x", "nosuch": 1, "secret": 4711})).unwrap_err();
        assert_eq!(
            problems,
            [
                "has no parameter named 'nosuch'",
                "parameter 'count' expects an Integer value, got String",
                "expects a value for parameter 'name'",
                "parameter 'secret' does not match its type Optional[String] (its value is sensitive and not shown)",
            ]
        );
    }

    #[test]
    fn a_missing_or_wrong_collection_is_a_problem() {
        let metadata = json!({"parameters": {"p": {"type": "Array[String]"}}});
        assert_eq!(run(metadata.clone(), json!({})).unwrap_err(), ["expects a value for parameter 'p'"]);
        let problems = run(metadata, json!({"p": "x"})).unwrap_err();
        assert_eq!(problems, ["parameter 'p' expects an Array[String] value, got String"]);
    }

    #[test]
    fn without_parameters_anything_goes_and_with_none_nothing() {
        assert!(run(json!({}), json!({"a": 1})).is_ok());
        assert!(run(json!({"parameters": {}}), json!({"a": 1})).is_err());
    }

    #[test]
    fn names_a_type_that_it_does_not_know() {
        let problems = run(json!({"parameters": {"p": {"type": "Stdlib::Port"}}}), json!({"p": 1})).unwrap_err();
        assert!(problems[0].contains("`Stdlib::Port`"), "{problems:?}");
    }
}
