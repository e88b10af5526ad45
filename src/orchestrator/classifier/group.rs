//! Groups, and how a request becomes one (node classifier API v1, "groups endpoint").

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::GroupError;
use super::rule::Rule;
use crate::limits::GROUP_BYTES_MAX;

/// Id of the group that all nodes are in, the only one that is its own parent.
pub const ROOT: &str = "00000000-0000-4000-8000-000000000000";

/// A group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// UUID in lower case.
    pub id: String,
    /// Unique within its environment.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Environment of its nodes.
    pub environment: String,
    /// Whether its environment comes before those of other groups.
    pub environment_trumps: bool,
    /// Id of the group above it.
    pub parent: String,
    /// Which nodes are in it, besides what the groups above ask for; none if only groups below it have nodes.
    pub rule: Option<Value>,
    /// Classes, and values of their parameters.
    pub classes: Map<String, Value>,
    /// Values for parameters of classes that something else declares.
    pub config_data: Map<String, Value>,
    /// Top-level variables.
    pub variables: Map<String, Value>,
    /// When it was last changed.
    pub last_edited: String,
    /// Number of its changes.
    pub serial_number: u64,
}

/// What a request may say of a group, and what it must be.
const KEYS: [(&str, &str); 9] = [
    ("name", "a string that is not empty"),
    ("description", "a string"),
    ("environment", "a string that is not empty"),
    ("environment_trumps", "a boolean"),
    ("parent", "a UUID"),
    ("rule", "a condition"),
    ("classes", "an object of objects"),
    ("config_data", "an object of objects"),
    ("variables", "an object"),
];

/// Keys of an answer that clients send back.
const READ_ONLY: [&str; 4] = ["id", "last_edited", "serial_number", "deleted"];

impl Group {
    /// The group of all nodes as it is before anybody changes it.
    pub fn root() -> Self {
        Self {
            id: ROOT.to_owned(),
            name: "All Nodes".to_owned(),
            description: None,
            environment: "production".to_owned(),
            environment_trumps: false,
            parent: ROOT.to_owned(),
            rule: Some(serde_json::json!(["and", ["~", "name", ".*"]])),
            classes: Map::new(),
            config_data: Map::new(),
            variables: Map::new(),
            last_edited: String::new(),
            serial_number: 0,
        }
    }

    /// A new group.
    pub fn created(id: &str, body: &Value) -> Result<Self, GroupError> {
        let object = checked(body)?;
        for required in ["name", "parent", "classes"] {
            if object.get(required).is_none_or(Value::is_null) {
                return Err(GroupError::schema(body, format!("the key {required} is required")));
            }
        }
        let empty = Self {
            id: id.to_owned(),
            name: String::new(),
            environment: "production".to_owned(),
            parent: String::new(),
            rule: None,
            ..Self::root()
        };
        empty.changed(body)
    }

    /// The group after a change: classes, data and variables are merged with what there is and go if they become null,
    /// all other keys replace what there is.
    pub fn changed(&self, body: &Value) -> Result<Self, GroupError> {
        let object = checked(body)?;
        let text = |key: &str, old: &str| object.get(key).and_then(Value::as_str).unwrap_or(old).to_owned();
        let merged = |key: &str, old: &Map<String, Value>, depth| {
            let mut merged = old.clone();
            if let Some(delta) = object.get(key).and_then(Value::as_object) {
                merge(&mut merged, delta, depth);
            }
            merged
        };
        let group = Self {
            id: self.id.clone(),
            name: text("name", &self.name),
            description: match object.get("description") {
                Some(description) => description.as_str().filter(|text| !text.is_empty()).map(str::to_owned),
                None => self.description.clone(),
            },
            environment: text("environment", &self.environment),
            environment_trumps: match object.get("environment_trumps") {
                Some(trumps) => trumps.as_bool().unwrap_or(false),
                None => self.environment_trumps,
            },
            parent: text("parent", &self.parent).to_ascii_lowercase(),
            rule: match object.get("rule") {
                Some(rule) => Some(rule.clone()).filter(|rule| !rule.is_null()),
                None => self.rule.clone(),
            },
            classes: merged("classes", &self.classes, 2),
            config_data: merged("config_data", &self.config_data, 2),
            variables: merged("variables", &self.variables, 1),
            last_edited: self.last_edited.clone(),
            serial_number: self.serial_number,
        };
        let bytes = serde_json::to_string(&group).map_or(0, |text| text.len());
        if bytes > GROUP_BYTES_MAX {
            let error = format!("the group has {bytes} bytes and may have {GROUP_BYTES_MAX}");
            return Err(GroupError::schema(body, error));
        }
        Ok(group)
    }

    /// Whether it says the same as another, whenever that was said.
    pub fn says_what(&self, other: &Self) -> bool {
        let timeless =
            Self { last_edited: other.last_edited.clone(), serial_number: other.serial_number, ..self.clone() };
        timeless == *other
    }
}

/// Puts the changes of `delta` in; what becomes null goes.
fn merge(values: &mut Map<String, Value>, delta: &Map<String, Value>, depth: usize) {
    for (key, change) in delta {
        match (values.get_mut(key), change) {
            (_, Value::Null) => drop(values.remove(key)),
            (Some(Value::Object(inner)), Value::Object(change)) if depth > 1 => merge(inner, change, depth - 1),
            (_, Value::Object(change)) if depth > 1 => {
                let mut inner = Map::new();
                merge(&mut inner, change, depth - 1);
                values.insert(key.clone(), Value::Object(inner));
            }
            _ => drop(values.insert(key.clone(), change.clone())),
        }
    }
}

/// A UUID in the one form that the API has.
pub fn uuid(text: &str) -> Option<String> {
    Some(text).filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok()).map(|uuid| uuid.to_string())
}

/// The body as an object all of whose keys are known and hold what they must.
fn checked(body: &Value) -> Result<&Map<String, Value>, GroupError> {
    let Some(object) = body.as_object() else {
        return Err(GroupError::schema(body, "a group must be an object".to_owned()));
    };
    for (key, value) in object {
        if READ_ONLY.contains(&key.as_str()) {
            continue;
        }
        let Some((_, expected)) = KEYS.iter().find(|(known, _)| known == key) else {
            let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
            let error = format!(
                "the key {} is not known; there are {}",
                crate::orchestrator::query::shortened(key),
                known.join(", ")
            );
            return Err(GroupError::schema(body, error));
        };
        let may_be_null = !["name", "environment", "parent", "classes"].contains(&key.as_str());
        if key == "rule" && !value.is_null() {
            Rule::parse(value).map_err(|error| GroupError::schema(body, error))?;
        } else if !(fits(key, value) || (value.is_null() && may_be_null)) {
            return Err(GroupError::schema(body, format!("the key {key} must be {expected}")));
        }
    }
    Ok(object)
}

fn fits(key: &str, value: &Value) -> bool {
    match (key, value) {
        ("name" | "environment", Value::String(text)) => !text.trim().is_empty(),
        ("description", Value::String(_))
        | ("environment_trumps", Value::Bool(_))
        | ("variables", Value::Object(_)) => true,
        ("parent", Value::String(text)) => uuid(text).is_some(),
        ("classes" | "config_data", Value::Object(classes)) => {
            classes.values().all(|parameters| parameters.is_object() || parameters.is_null())
        }
        _ => false,
    }
}

/// What a request's group must look like, for the details of an error.
pub fn schema() -> Value {
    KEYS.iter().map(|(key, expected)| ((*key).to_owned(), Value::from(*expected))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PARENT: &str = "01522c99-627c-4a07-b28e-a25dd563d756";

    #[test]
    fn a_change_is_merged() {
        let group = Group::created(
            "58463036-0efa-4365-b367-b5401c0711d3",
            &json!({
                "name": "Webservers", "environment": "staging", "parent": ROOT, "rule": ["~", "name", "www"],
                "classes": {"apache": {"admin": "a", "keepalive": 5}, "ssl": {"keystore": "/etc"}},
                "variables": {"ntp": ["0", "1"]}
            }),
        )
        .unwrap();
        let changed = group.changed(&json!({
            "id": group.id, "name": "Production", "environment": "production", "parent": PARENT,
            "classes": {"apache": {"admin": "b", "keepalive": null}, "ssl": null, "new": {}},
            "variables": {"dns": {"x": null}}
        }));
        let expected = Group {
            name: "Production".into(),
            environment: "production".into(),
            parent: PARENT.into(),
            classes: json!({"apache": {"admin": "b"}, "new": {}}).as_object().cloned().unwrap(),
            variables: json!({"ntp": ["0", "1"], "dns": {"x": null}}).as_object().cloned().unwrap(),
            ..group.clone()
        };
        assert_eq!(changed.unwrap(), expected);
        assert_eq!(group.changed(&json!({"rule": null})).unwrap().rule, None);
    }

    #[test]
    fn says_what_is_wrong() {
        let base = || json!({"name": "a", "parent": ROOT, "classes": {}});
        assert!(Group::created("x", &base()).is_ok());
        for (key, value, expected) in [
            ("name", json!(null), "the key name is required"),
            ("classes", json!(null), "the key classes is required"),
            ("name", json!(" "), "the key name must be a string that is not empty"),
            ("parent", json!("x"), "the key parent must be a UUID"),
            ("environment_trumps", json!("yes"), "the key environment_trumps must be a boolean"),
            ("classes", json!({"a": 1}), "the key classes must be an object of objects"),
            ("variables", json!([]), "the key variables must be an object"),
            ("rule", json!(["="]), "rule: a condition has the form [operator, property, text]; numbers are texts too"),
            (
                "colour",
                json!(1),
                "the key colour is not known; there are name, description, environment, \
                                  environment_trumps, parent, rule, classes, config_data, variables",
            ),
        ] {
            let mut body = base();
            body[key] = value;
            let error = match Group::created("x", &body).unwrap_err() {
                GroupError::Schema { error, .. } => error,
                other => panic!("{other:?}"),
            };
            // A key that is null is refused before it is missed.
            assert!(error == expected || error.starts_with(&format!("the key {key} must be")), "{error}");
        }
    }
}
