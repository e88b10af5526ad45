//! The embedded classifier's groups.

use super::{SqlStore, execute};
use crate::orchestrator::classifier::Group;
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::groups::{GroupsChange, GroupsStore};
use crate::orchestrator::store::sql::{Session, json, values};

impl<S: SqlStore> GroupsStore for S {
    fn groups(&self) -> Result<(Vec<Group>, i64), StoreError> {
        let (bodies, revision) = self.read("list groups", |session| {
            let sql = "SELECT body FROM classifier_groups ORDER BY id";
            let bodies: Vec<String> = session.all(sql, &[], |row| row.get("body"))?;
            Ok((bodies, session.number("SELECT revision AS n FROM classifier_state", &[])?))
        })?;
        let parse = |body: &String| serde_json::from_str(body);
        let groups = bodies.iter().map(parse).collect::<Result<_, _>>();
        groups.map(|groups| (groups, revision)).map_err(|error| StoreError::Corrupt(format!("a group: {error}")))
    }
}

/// Makes a change.
pub fn apply(session: &mut dyn Session, change: &GroupsChange) -> Result<(), StoreError> {
    let sql = "UPDATE classifier_state SET revision = revision + 1 WHERE revision = ?1";
    if execute(session, sql, values![change.seen])? == 0 {
        let cause = "somebody else has changed them at the same time: try again".to_owned();
        return Err(StoreError::Database { action: "change the groups", cause });
    }
    if let Some(id) = &change.removed {
        execute(session, "DELETE FROM classifier_groups WHERE id = ?1", values![id])?;
    }
    if let Some(group) = &change.set {
        let sql = "INSERT INTO classifier_groups (id, name, environment, body) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT (id) DO UPDATE SET name = ?2, environment = ?3, body = ?4";
        execute(session, sql, values![&group.id, &group.name, &group.environment, json(group)])?;
    }
    Ok(())
}
