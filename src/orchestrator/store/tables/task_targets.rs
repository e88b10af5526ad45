//! Task targets.

use super::{SqlStore, execute};
use crate::orchestrator::model::TaskTarget;
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::sql::{Session, json, values};
use crate::orchestrator::store::task_targets::TaskTargetStore;

impl<S: SqlStore> TaskTargetStore for S {
    fn task_targets(&self) -> Result<Vec<TaskTarget>, StoreError> {
        let bodies: Vec<String> = self.read("list task targets", |session| {
            session.all("SELECT body FROM task_targets ORDER BY id", &[], |row| row.get("body"))
        })?;
        bodies.iter().map(|body| parsed(body)).collect()
    }

    fn task_target(&self, id: i64) -> Result<Option<TaskTarget>, StoreError> {
        let body: Option<String> = self.read("read a task target", |session| {
            session.first("SELECT body FROM task_targets WHERE id = ?1", values![id], |row| row.get("body"))
        })?;
        body.as_deref().map(parsed).transpose()
    }
}

fn parsed(body: &str) -> Result<TaskTarget, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Corrupt(format!("a task target: {error}")))
}

/// Adds one.
pub fn apply(session: &mut dyn Session, target: &TaskTarget) -> Result<(), StoreError> {
    let sql = "INSERT INTO task_targets (id, body) VALUES (?1, ?2)";
    execute(session, sql, values![target.id, json(target)]).map(drop)
}
