//! The view of a task's metadata file that running it needs. Unknown keys are tolerated, as the specification demands.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::pxp::task::{Implementation, RunMetadata};

/// A task's metadata, read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct TaskMetadata {
    /// For people.
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    /// Absent or `null`: any parameters are allowed. Empty: none.
    #[serde(default)]
    pub parameters: Option<BTreeMap<String, Parameter>>,
    /// Whether the task understands `_noop`.
    #[serde(default, deserialize_with = "or_default")]
    pub supports_noop: bool,
    /// `stdin`, `environment`, `both` or `powershell`.
    #[serde(default)]
    pub input_method: Option<String>,
    /// The first whose requirements the node has is run.
    #[serde(default, deserialize_with = "or_default")]
    pub implementations: Vec<Implementation>,
    /// Extra files, `<module>/<mount>/<path>`.
    #[serde(default, deserialize_with = "or_default")]
    pub files: Vec<String>,
    /// Features of all nodes, beyond those that agents know of.
    #[serde(default, deserialize_with = "or_default")]
    pub features: Vec<String>,
    /// Hidden from ordinary lists.
    #[serde(default, deserialize_with = "or_default")]
    pub private: bool,
}

/// A parameter of a task.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Parameter {
    /// A Puppet data type; absent means `Any`.
    #[serde(default, rename = "type")]
    pub data_type: Option<String>,
    /// Its values reach agents and nothing else.
    #[serde(default, deserialize_with = "or_default")]
    pub sensitive: bool,
    /// Used if the caller gives nothing; `Some(null)` is a default too.
    #[serde(default, deserialize_with = "present")]
    pub default: Option<Value>,
}

/// Reads `null` as the default: authors write it for "nothing".
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Tells `null` from absent.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl TaskMetadata {
    /// Reads the metadata object; the error says which key is not what it should be.
    pub fn read(metadata: &Map<String, Value>) -> Result<Self, String> {
        Self::deserialize(metadata).map_err(|error| error.to_string())
    }

    /// What an agent is told.
    pub fn for_agent(&self) -> RunMetadata {
        RunMetadata {
            input_method: self.input_method.clone(),
            implementations: self.implementations.clone(),
            files: self.files.clone(),
            features: self.features.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<TaskMetadata, String> {
        TaskMetadata::read(value.as_object().unwrap())
    }

    #[test]
    fn tolerates_what_authors_write() {
        let metadata = read(json!({
            "puppet_task_version": 1, "description": null, "extensions": {"discovery": {}}, "private": null,
            "parameters": {"a": {"type": "String", "default": null}, "b": {"sensitive": true}},
        }))
        .unwrap();
        let parameters = metadata.parameters.unwrap();
        assert_eq!(parameters["a"].default, Some(Value::Null));
        assert_eq!(parameters["b"].default, None);
        assert!(parameters["b"].sensitive);
        assert_eq!(read(json!({"parameters": null})).unwrap().parameters, None);
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(read(json!({"supports_noop": "yes"})).unwrap_err().contains("yes"));
    }
}
