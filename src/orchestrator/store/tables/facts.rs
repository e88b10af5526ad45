//! What is known of nodes.

use super::{SqlStore, execute};
use crate::limits::{FACTS_BYTES_MAX, NODE_FACTS_BYTES_MAX};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::facts::{FactsChange, FactsStore, StoredNode};
use crate::orchestrator::store::sql::{Row, Session, SqlError, json, values};

/// Nodes that are read at once.
const PAGE: u32 = 250;

impl<S: SqlStore> FactsStore for S {
    fn nodes_known_since(&self, sequence: i64) -> Result<Vec<StoredNode>, StoreError> {
        self.read("list what is known of nodes", |session| {
            let sql = "SELECT * FROM known_facts WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
            session.all(sql, values![sequence, PAGE], stored_node)
        })
    }
}

fn stored_node(row: &Row<'_>) -> Result<StoredNode, SqlError> {
    Ok(StoredNode {
        name: row.get("name")?,
        facts: row.parsed_option("facts")?.zip(row.option("stored")?),
        extensions: row.parsed_option("extensions")?,
        sequence: row.get("sequence")?,
    })
}

/// Makes a change.
pub fn apply(session: &mut dyn Session, change: &FactsChange) -> Result<(), StoreError> {
    let (node, column, text, at) = match change {
        FactsChange::Facts { node, facts, at } => (node, "facts", json(facts), Some(at.as_millis())),
        FactsChange::Certificate { node, extensions } => (node, "extensions", json(extensions), None),
    };
    let sql = format!("SELECT octet_length({column}) AS n FROM known_facts WHERE name = ?1");
    let known = session.first(&sql, values![node], |row| row.option::<i64>("n"));
    let before = known.map_err(|error| error.during("look up a node's facts"))?.flatten().unwrap_or(0);
    let bytes = i64::try_from(text.len()).unwrap_or(i64::MAX);
    if text.len() > NODE_FACTS_BYTES_MAX {
        tracing::warn!(node, bytes, max = NODE_FACTS_BYTES_MAX, "what a node says of itself is too large to be stored");
        return Ok(());
    }
    let sql = "UPDATE known_facts_state SET bytes = bytes + ?1, sequence = sequence + 1 WHERE bytes + ?1 <= ?2";
    let most = i64::try_from(FACTS_BYTES_MAX).unwrap_or(i64::MAX);
    if execute(session, sql, values![bytes - before, most])? == 0 {
        tracing::warn!(
            node,
            max = FACTS_BYTES_MAX,
            "the facts of all nodes take all the room there is: a node's are left out"
        );
        return Ok(());
    }
    let (columns, update) = match at {
        Some(_) => ("facts, stored", "facts = ?2, stored = ?3"),
        None => ("extensions", "extensions = ?2"),
    };
    let values = if at.is_some() { "?2, ?3" } else { "?2" };
    let sql = format!(
        "INSERT INTO known_facts (name, {columns}, sequence) \
         SELECT ?1, {values}, sequence FROM known_facts_state WHERE true \
         ON CONFLICT (name) DO UPDATE SET {update}, sequence = excluded.sequence"
    );
    match at {
        Some(at) => execute(session, &sql, values![node, text, at]),
        None => execute(session, &sql, values![node, text]),
    }
    .map(drop)
}
