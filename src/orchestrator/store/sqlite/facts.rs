//! What is known of nodes, in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

use super::super::StoreError;
use super::super::facts::{FactsChange, FactsStore, StoredNode};
use super::super::rows::{database, json};
use super::super::writer::execute;
use super::SqliteStore;
use crate::clock::WallTime;
use crate::limits::{FACTS_BYTES_MAX, NODE_FACTS_BYTES_MAX};

/// Nodes that are read at once.
const PAGE: u32 = 250;

impl FactsStore for SqliteStore {
    fn nodes_known_since(&self, sequence: i64) -> Result<Vec<StoredNode>, StoreError> {
        self.read("list what is known of nodes", |connection| {
            let sql = "SELECT * FROM known_facts WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
            connection.prepare_cached(sql)?.query_map(params![sequence, PAGE], stored_node)?.collect()
        })
    }
}

fn stored_node(row: &Row<'_>) -> rusqlite::Result<StoredNode> {
    let object = |column: &str| -> rusqlite::Result<Option<Map<String, Value>>> {
        let text: Option<String> = row.get(column)?;
        let parse =
            |text: String| serde_json::from_str(&text).map_err(|_| rusqlite::Error::InvalidColumnName(column.into()));
        text.map(parse).transpose()
    };
    let stored: Option<i64> = row.get("stored")?;
    Ok(StoredNode {
        name: row.get("name")?,
        facts: object("facts")?.zip(stored.map(WallTime::from_millis)),
        extensions: object("extensions")?,
        sequence: row.get("sequence")?,
    })
}

/// Makes a change.
pub fn apply(connection: &Connection, change: &FactsChange) -> Result<(), StoreError> {
    let (node, column, text, at) = match change {
        FactsChange::Facts { node, facts, at } => (node, "facts", json(facts), Some(at.as_millis())),
        FactsChange::Certificate { node, extensions } => (node, "extensions", json(extensions), None),
    };
    let sql = format!("SELECT octet_length({column}) FROM known_facts WHERE name = ?1");
    let known: Option<Option<i64>> = connection
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row(params![node], |row| row.get(0)).optional())
        .map_err(database("look up a node's facts"))?;
    let before = known.flatten().unwrap_or(0);
    let bytes = i64::try_from(text.len()).unwrap_or(i64::MAX);
    if text.len() > NODE_FACTS_BYTES_MAX {
        tracing::warn!(node, bytes, max = NODE_FACTS_BYTES_MAX, "what a node says of itself is too large to be stored");
        return Ok(());
    }
    let sql = "UPDATE known_facts_state SET bytes = bytes + ?1, sequence = sequence + 1 WHERE bytes + ?1 <= ?2";
    let most = i64::try_from(FACTS_BYTES_MAX).unwrap_or(i64::MAX);
    if execute(connection, sql, params![bytes - before, most])? == 0 {
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
        Some(at) => execute(connection, &sql, params![node, text, at]),
        None => execute(connection, &sql, params![node, text]),
    }
    .map(drop)
}
