//! Facts as they are kept in memory: JSON with the names that all nodes have in common kept once. A node's facts have
//! some hundred values; as a tree of maps they would take five times their text.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::limits::FACT_NAMES_SWEEP;

/// A fact's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number without a fraction.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Box<str>),
    /// A list.
    Array(Box<[Fact]>),
    /// A structure.
    Object(Structure),
}

/// Values by name, sorted by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Structure(Box<[(Arc<str>, Fact)]>);

impl Structure {
    /// From JSON; with names that others have already.
    pub fn new(object: &Map<String, Value>, names: &mut Names) -> Self {
        // serde_json's maps are sorted by key.
        Self(object.iter().map(|(name, value)| (names.shared(name), Fact::new(value, names))).collect())
    }

    /// The value with this name.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        let index = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[index].1)
    }

    /// All values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

impl Fact {
    /// From JSON.
    pub fn new(value: &Value, names: &mut Names) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => Self::Integer(integer),
                None => Self::Float(number.as_f64().unwrap_or(f64::MAX)),
            },
            Value::String(text) => Self::Text(text.as_str().into()),
            Value::Array(items) => Self::Array(items.iter().map(|item| Self::new(item, names)).collect()),
            Value::Object(object) => Self::Object(Structure::new(object, names)),
        }
    }
}

/// Names of facts that are in use.
#[derive(Debug)]
pub struct Names {
    known: HashSet<Arc<str>>,
    /// When there are so many, those that nobody uses any more are dropped.
    sweep_at: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: HashSet::new(), sweep_at: FACT_NAMES_SWEEP }
    }
}

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.sweep_at = FACT_NAMES_SWEEP.max(2 * self.known.len());
        }
        let name: Arc<str> = name.into();
        self.known.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_shared_and_dropped_when_nobody_has_them() {
        let mut names = Names::default();
        let facts = json!({"os": {"family": "RedHat", "b": [1, 2.5, null, true]}, "n": u64::MAX});
        let a = Fact::new(&facts, &mut names);
        let b = Fact::new(&facts, &mut names);
        assert_eq!(a, b);
        let Fact::Object(top) = &a else { panic!("an object") };
        let Some(Fact::Object(os)) = top.get("os") else { panic!("has os") };
        assert_eq!(os.get("family"), Some(&Fact::Text("RedHat".into())));
        assert_eq!((os.get("c"), top.iter().count()), (None, 2));
        assert_eq!(names.known.len(), 4);
        names.sweep_at = 4;
        drop((a, b));
        names.shared("new");
        assert_eq!(names.known.len(), 1);
    }

    #[test]
    fn a_value_is_small() {
        assert!(size_of::<Fact>() <= 24);
    }
}
