//! The order of a job's nodes in SQLite.

use rusqlite::{Connection, params};

use super::SqliteStore;
use crate::orchestrator::model::{JobId, NodeState};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::order::{Ended, OrderStore, Precedence, Wait};
use crate::orchestrator::store::rows::column;
use crate::orchestrator::store::writer::execute;

impl OrderStore for SqliteStore {
    fn waits(&self, job: JobId) -> Result<Vec<Wait>, StoreError> {
        self.read("read the order of a job's nodes", |connection| waits(connection, job))
    }
}

/// The reader's part, also for the list of unfinished jobs.
pub(in crate::orchestrator::store) fn waits(connection: &Connection, job: JobId) -> rusqlite::Result<Vec<Wait>> {
    let sql = "SELECT node_order.position, node_order.after_position, earlier.name, earlier.state FROM node_order \
               JOIN nodes waiting ON waiting.job = node_order.job AND waiting.position = node_order.position \
               JOIN nodes earlier ON earlier.job = node_order.job AND earlier.position = node_order.after_position \
               WHERE node_order.job = ?1 AND waiting.state IN ('new', 'ready') AND earlier.state <> 'finished' \
               ORDER BY node_order.position, node_order.after_position";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![job.0], |row| {
        let state = column(row, "state", |word| NodeState::from_word(&word))?;
        let precedence = Precedence { node: row.get("position")?, after: row.get("after_position")? };
        let name = row.get("name")?;
        Ok(Wait { precedence, ended: state.is_final().then_some(Ended { name, state }) })
    })?;
    found.collect()
}

/// The writer's part.
pub(in crate::orchestrator::store) fn add(
    connection: &Connection,
    job: i64,
    order: &[Precedence],
) -> Result<(), StoreError> {
    let sql = "INSERT INTO node_order (job, position, after_position) VALUES (?1, ?2, ?3)";
    order.iter().try_for_each(|one| execute(connection, sql, params![job, one.node, one.after]).map(drop))
}
