//! What is stored of nodes for queries: facts and the extensions of their certificates.

use serde_json::{Map, Value};

use super::StoreError;
use crate::clock::WallTime;

/// Keeps what is known of nodes.
pub trait FactsStore {
    /// Nodes of which something has changed after the change with number `sequence`, some at a time, in the order of their
    /// last changes; none if there are no more. The first change has number 1.
    fn nodes_known_since(&self, sequence: i64) -> Result<Vec<StoredNode>, StoreError>;
}

/// What is stored of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredNode {
    /// Its certificate name.
    pub name: String,
    /// Its facts and when they were stored.
    pub facts: Option<(Map<String, Value>, WallTime)>,
    /// Extensions in its certificate by short name.
    pub extensions: Option<Map<String, Value>>,
    /// Number of the last change.
    pub sequence: i64,
}

/// Something becomes known of a node, in the place of what was known. What is too large is left out and said in the log:
/// the job that the facts come from must not fail over them.
#[derive(Debug, Clone, PartialEq)]
pub enum FactsChange {
    /// Its facts.
    Facts {
        /// Whose.
        node: String,
        /// By name.
        facts: Map<String, Value>,
        /// When.
        at: WallTime,
    },
    /// Its certificate's extensions.
    Certificate {
        /// Whose.
        node: String,
        /// By short name.
        extensions: Map<String, Value>,
    },
}
