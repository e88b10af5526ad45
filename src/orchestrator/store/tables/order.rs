//! The order of a job's nodes.

use super::{SqlStore, written};
use crate::orchestrator::model::{JobId, NodeState};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::order::{Ended, OrderStore, Precedence, Wait};
use crate::orchestrator::store::sql::{Session, SqlError, Value, values};

impl<S: SqlStore> OrderStore for S {
    fn waits(&self, job: JobId) -> Result<Vec<Wait>, StoreError> {
        self.read("read the order of a job's nodes", |session| waits(session, job))
    }
}

/// The reader's part, also for the list of unfinished jobs.
pub fn waits(session: &mut dyn Session, job: JobId) -> Result<Vec<Wait>, SqlError> {
    let sql = "SELECT node_order.position, node_order.after_position, earlier.name, earlier.state FROM node_order \
               JOIN nodes waiting ON waiting.job = node_order.job AND waiting.position = node_order.position \
               JOIN nodes earlier ON earlier.job = node_order.job AND earlier.position = node_order.after_position \
               WHERE node_order.job = ?1 AND waiting.state IN ('new', 'ready') AND earlier.state <> 'finished' \
               ORDER BY node_order.position, node_order.after_position";
    session.all(sql, values![job.0], |row| {
        let state = row.word("state", NodeState::from_word)?;
        let precedence = Precedence { node: row.get("position")?, after: row.get("after_position")? };
        let name = row.get("name")?;
        Ok(Wait { precedence, ended: state.is_final().then_some(Ended { name, state }) })
    })
}

/// The writer's part.
pub fn add(session: &mut dyn Session, job: i64, order: &[Precedence]) -> Result<(), StoreError> {
    let rows: Vec<Vec<Value<'_>>> = order.iter().map(|one| values![job, one.node, one.after].to_vec()).collect();
    session.insert("INSERT INTO node_order (job, position, after_position)", &rows).map_err(written)
}
