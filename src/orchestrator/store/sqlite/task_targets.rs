//! Task targets, in SQLite.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::StoreError;
use super::super::rows::json;
use super::super::task_targets::TaskTargetStore;
use super::super::writer::execute;
use super::SqliteStore;
use crate::orchestrator::model::TaskTarget;

impl TaskTargetStore for SqliteStore {
    fn task_targets(&self) -> Result<Vec<TaskTarget>, StoreError> {
        let bodies = self.read("list task targets", |connection| {
            let mut statement = connection.prepare_cached("SELECT body FROM task_targets ORDER BY id")?;
            statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        })?;
        bodies.iter().map(|body| parsed(body)).collect()
    }

    fn task_target(&self, id: i64) -> Result<Option<TaskTarget>, StoreError> {
        let body = self.read("read a task target", |connection| {
            let mut statement = connection.prepare_cached("SELECT body FROM task_targets WHERE id = ?1")?;
            statement.query_row(params![id], |row| row.get::<_, String>(0)).optional()
        })?;
        body.as_deref().map(parsed).transpose()
    }
}

fn parsed(body: &str) -> Result<TaskTarget, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Corrupt(format!("a task target: {error}")))
}

/// Adds one.
pub fn apply(connection: &Connection, target: &TaskTarget) -> Result<(), StoreError> {
    let sql = "INSERT INTO task_targets (id, body) VALUES (?1, ?2)";
    execute(connection, sql, params![target.id, json(target)]).map(drop)
}
