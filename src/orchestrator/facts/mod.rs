//! What nodes say of themselves, and what their certificates say of them: stored by the orchestrator, so that queries and
//! the classifier's rules can choose nodes without PuppetDB. Facts come from tasks that print them; they are what an agent
//! claims. Extensions come from certificates alone, never from an agent: rules about `trusted` must not be open to claims.

mod value;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

pub use value::{Fact, Names, Structure};

use super::store::{Store, StoreError};
use crate::clock::WallTime;
use crate::config::authorization::extension_name;
use crate::link::CertificateAttributes;

/// Tasks other than those of the module `facts` whose result is a node's facts: Bolt runs this one for `apply_prep`.
const FACT_TASKS: [&str; 1] = ["apply_helpers::custom_facts"];

/// The facts in a task's result, if it is a task that prints facts and has not failed. They take the place of the node's
/// earlier ones.
pub fn from_task_result(task: &str, result: &Map<String, Value>) -> Option<Map<String, Value>> {
    let prints_facts = task == "facts" || task.starts_with("facts::") || FACT_TASKS.contains(&task);
    if !prints_facts || result.contains_key("_error") {
        return None;
    }
    // Keys with an underscore are the orchestrator's own, `_output` above all.
    let facts = result.iter().filter(|(name, _)| !name.starts_with('_'));
    let facts: Map<String, Value> = facts.map(|(name, value)| (name.clone(), value.clone())).collect();
    (!facts.is_empty()).then_some(facts)
}

/// A certificate's extensions as `trusted.extensions` has them: by short name, or by OID if there is none.
pub fn extensions(attributes: &CertificateAttributes) -> Map<String, Value> {
    let named = |oid: &str| extension_name(oid).map_or_else(|| oid.to_owned(), str::to_owned);
    attributes.extensions.iter().map(|(oid, value)| (named(oid), Value::from(&**value))).collect()
}

/// The facts of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFacts {
    /// By name.
    pub facts: Structure,
    /// When they were stored.
    pub stored: WallTime,
}

/// What is known of a node besides its connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnownNode {
    /// Its facts.
    pub facts: Option<NodeFacts>,
    /// Extensions in its certificate: a structure.
    pub extensions: Option<Fact>,
}

/// All nodes of which something is known, by name.
pub type KnownNodes = BTreeMap<Box<str>, Arc<KnownNode>>;

/// What is stored, in memory. Whoever asks gets what was stored before: changes since the last time are read first, so
/// that it does not matter which thread, or which process, has written them.
#[derive(Default)]
pub struct FactsCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    nodes: Arc<KnownNodes>,
    names: Names,
    /// Of the last change that is in `nodes`.
    sequence: i64,
}

impl FactsCache {
    /// Everything stored until now.
    pub fn current(&self, store: &dyn Store) -> Result<Arc<KnownNodes>, StoreError> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let changed = store.nodes_known_since(cached.sequence)?;
            let Some(last) = changed.last() else { return Ok(cached.nodes.clone()) };
            let sequence = last.sequence;
            let Cached { nodes, names, .. } = &mut *cached;
            // A copy of the map, not of the facts, if somebody still uses it.
            let nodes = Arc::make_mut(nodes);
            for node in changed {
                let facts = node
                    .facts
                    .as_ref()
                    .map(|(facts, stored)| NodeFacts { facts: Structure::new(facts, names), stored: *stored });
                let extensions = node.extensions.as_ref().map(|found| Fact::Object(Structure::new(found, names)));
                nodes.insert(node.name.into(), Arc::new(KnownNode { facts, extensions }));
            }
            cached.sequence = sequence;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_taken_from_tasks_that_print_them() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let facts = object(json!({"os": {"family": "RedHat"}, "_output": "x"}));
        let expected = json!({"os": {"family": "RedHat"}}).as_object().cloned();
        for task in ["facts", "facts::bash", "apply_helpers::custom_facts"] {
            assert_eq!(from_task_result(task, &facts), expected, "{task}");
        }
        for task in ["factsx", "package", "my::facts", ""] {
            assert_eq!(from_task_result(task, &facts), None, "{task}");
        }
        for nothing in [json!({"_output": "no JSON"}), json!({}), json!({"a": 1, "_error": {"msg": "x"}})] {
            assert_eq!(from_task_result("facts", &object(nothing.clone())), None, "{nothing}");
        }
    }

    #[test]
    fn extensions_have_their_short_names() {
        let found = |oid: &str, value: &str| (oid.into(), value.into());
        let attributes = CertificateAttributes {
            extensions: vec![found("1.3.6.1.4.1.34380.1.1.13", "web"), found("1.3.6.1.4.1.34380.1.2.9", "x")],
            ..CertificateAttributes::default()
        };
        let expected = json!({"pp_role": "web", "1.3.6.1.4.1.34380.1.2.9": "x"});
        assert_eq!(Value::Object(extensions(&attributes)), expected);
    }
}
