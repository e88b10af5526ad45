//! Who evaluates the `query` of a scope.

use std::sync::Arc;

use serde_json::Value;

use super::puppetdb::PuppetDb;
use crate::orchestrator::model::{Refusal, RefusalKind};

/// Evaluates queries for nodes.
pub enum QueryEngine {
    /// Knows what PuppetDB knows.
    PuppetDb(Arc<PuppetDb>),
    /// Nobody.
    Nobody,
}

impl QueryEngine {
    /// The names in the rows of a query in PQL text or as a syntax tree; may block as long as PuppetDB's timeouts.
    pub fn certnames(&self, query: &Value) -> Result<Vec<String>, Refusal> {
        match self {
            Self::PuppetDb(puppetdb) => puppetdb.certnames(query),
            Self::Nobody => {
                let message = "This server has no PuppetDB to ask (orchestrator.puppetdb-url) and cannot evaluate `query`: \
                               give the nodes by name in `nodes`.";
                Err(Refusal::new(RefusalKind::QueryError, message))
            }
        }
    }
}
