//! The embedded classifier's groups, in SQLite.

use rusqlite::{Connection, params};

use super::super::StoreError;
use super::super::groups::{GroupsChange, GroupsStore};
use super::super::rows::json;
use super::super::writer::execute;
use super::SqliteStore;
use crate::orchestrator::classifier::Group;

impl GroupsStore for SqliteStore {
    fn groups(&self) -> Result<(Vec<Group>, i64), StoreError> {
        let (bodies, revision) = self.read("list groups", |connection| {
            let mut statement = connection.prepare_cached("SELECT body FROM classifier_groups ORDER BY id")?;
            let bodies = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            let revision = connection
                .prepare_cached("SELECT revision FROM classifier_state")?
                .query_row([], |row| row.get::<_, i64>(0))?;
            Ok((bodies, revision))
        })?;
        let parse = |body: &String| serde_json::from_str(body);
        let groups = bodies.iter().map(parse).collect::<Result<_, _>>();
        groups.map(|groups| (groups, revision)).map_err(|error| StoreError::Corrupt(format!("a group: {error}")))
    }
}

/// Makes a change.
pub fn apply(connection: &Connection, change: &GroupsChange) -> Result<(), StoreError> {
    let sql = "UPDATE classifier_state SET revision = revision + 1 WHERE revision = ?1";
    if execute(connection, sql, params![change.seen])? == 0 {
        let cause = "somebody else has changed them at the same time: try again".to_owned();
        return Err(StoreError::Database { action: "change the groups", cause });
    }
    if let Some(id) = &change.removed {
        execute(connection, "DELETE FROM classifier_groups WHERE id = ?1", params![id])?;
    }
    if let Some(group) = &change.set {
        let sql = "INSERT INTO classifier_groups (id, name, environment, body) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT (id) DO UPDATE SET name = ?2, environment = ?3, body = ?4";
        execute(connection, sql, params![group.id, group.name, group.environment, json(group)])?;
    }
    Ok(())
}
