//! From JSON to values and back.

use serde_json::{Map, Number, Value as Json};

use super::Value;
use crate::limits::PUPPET_VALUE_DEPTH_MAX;

impl Value {
    /// A value of the same meaning. An integer that does not fit into 64 bits with a sign becomes a float.
    pub fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Undef,
            Json::Bool(value) => Self::Boolean(*value),
            Json::Number(number) => {
                number.as_i64().map_or_else(|| Self::Float(number.as_f64().unwrap_or_default()), Self::Integer)
            }
            Json::String(text) => Self::from(text.as_str()),
            Json::Array(items) => Self::array(items.iter().map(Self::from_json)),
            Json::Object(entries) => {
                Self::hash(entries.iter().map(|(key, value)| (Self::from(key.as_str()), Self::from_json(value))))
            }
        }
    }

    /// The JSON that tasks and results have for it: what JSON cannot express becomes its text, objects become their
    /// attributes. A secret is `shown` or not; `None` if the value is nested too deep.
    pub fn to_json(&self, shown: Secrets) -> Option<Json> {
        self.json(shown, 0)
    }

    fn json(&self, shown: Secrets, depth: usize) -> Option<Json> {
        if depth > PUPPET_VALUE_DEPTH_MAX {
            return None;
        }
        let object = |hash: &super::Hash| {
            let entries = hash.iter().map(|(key, value)| Some((key.to_string(), value.json(shown, depth + 1)?)));
            entries.collect::<Option<Map<_, _>>>().map(Json::Object)
        };
        Some(match self {
            Self::Undef => Json::Null,
            Self::Boolean(value) => Json::Bool(*value),
            Self::Integer(value) => Json::from(*value),
            Self::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Self::Array(items) => {
                Json::Array(items.iter().map(|item| item.json(shown, depth + 1)).collect::<Option<_>>()?)
            }
            Self::Hash(hash) => object(hash)?,
            Self::Object(target) if *target.class == *"Target" => Json::String(self.to_string()),
            Self::Object(value) => object(&value.attributes)?,
            Self::Sensitive(inner) if shown == Secrets::Shown => inner.json(shown, depth + 1)?,
            other => Json::String(other.to_string()),
        })
    }
}

/// What becomes of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// They are in clear: for an agent.
    Shown,
    /// A text stands in their place: for everything else.
    Hidden,
}
