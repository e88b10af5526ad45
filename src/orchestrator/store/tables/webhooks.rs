//! Webhooks, and the events of all jobs.

use std::ops::ControlFlow;

use super::rows::event;
use super::{SqlStore, execute};
use crate::limits::EVENTS_PART_BYTES_MAX;
use crate::orchestrator::model::{EventType, JobEvent, JobId};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::sql::{Row, Session, SqlError, json, values};
use crate::orchestrator::store::webhooks::{WebhookStore, WebhooksChange};
use crate::orchestrator::webhooks::{HookState, Standing, Webhook};

impl<S: SqlStore> WebhookStore for S {
    fn events_from(&self, job: Option<JobId>, start: i64, events: u32) -> Result<Vec<JobEvent>, StoreError> {
        self.read("list events", |session| {
            let (sql, all) = match job {
                Some(job) => ("SELECT * FROM events WHERE job = ?3 AND id >= ?1 ORDER BY id LIMIT ?2", Some(job.0)),
                None => ("SELECT * FROM events WHERE id >= ?1 ORDER BY id LIMIT ?2", None),
            };
            let values = [values![start, events], all.map(Into::into).as_slice()].concat();
            let (mut part, mut size) = (Vec::new(), 0);
            session.query(sql, &values, &mut |row| {
                size += row.bytes(&["details", "message"])?;
                part.push(JobEvent { job: JobId(row.get("job")?), event: event(row)? });
                let is_full = size > EVENTS_PART_BYTES_MAX;
                Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            Ok(part)
        })
    }

    fn last_event(&self) -> Result<i64, StoreError> {
        self.read("read the number of the newest event", |session| {
            session.number("SELECT coalesce(max(id), 0) AS n FROM events", &[])
        })
    }

    fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        self.read("list webhooks", |session| session.all("SELECT * FROM webhooks ORDER BY created, id", &[], webhook))
    }
}

fn webhook(row: &Row<'_>) -> Result<Webhook, SqlError> {
    let words: Vec<String> = row.parsed("kinds")?;
    Ok(Webhook {
        id: row.get("id")?,
        url: row.get("url")?,
        // One that this version does not know is one that it never writes.
        kinds: words.iter().filter_map(|word| EventType::from_word(word)).collect(),
        description: row.get("description")?,
        owner: row.get("owner")?,
        created: row.get("created")?,
        secret: row.get("secret")?,
        resumed: row.get("resumed")?,
        standing: Standing {
            state: row.word("state", HookState::from_word)?,
            next_event: row.get("next_event")?,
            failures: row.get("failures")?,
            failing_since: row.option("failing_since")?,
            last_error: row.option("last_error")?,
            delivered: row.option("delivered")?,
        },
    })
}

/// Makes a change.
pub fn apply(session: &mut dyn Session, change: &WebhooksChange) -> Result<(), StoreError> {
    match change {
        WebhooksChange::Added(hook) => {
            let kinds: Vec<&str> = hook.kinds.iter().map(|kind| kind.word()).collect();
            let sql = "INSERT INTO webhooks (id, url, kinds, description, owner, created, secret, state, next_event, \
                       failures) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)";
            let Standing { state, next_event, .. } = &hook.standing;
            let values = values![
                &hook.id,
                &hook.url,
                json(&kinds),
                &hook.description,
                &hook.owner,
                hook.created,
                &hook.secret,
                state.word(),
                *next_event,
            ];
            execute(session, sql, values).map(drop)
        }
        WebhooksChange::Removed(id) => execute(session, "DELETE FROM webhooks WHERE id = ?1", values![id]).map(drop),
        WebhooksChange::Resumed(id) => {
            let sql = "UPDATE webhooks SET resumed = resumed + 1, state = ?2, \
                       failures = CASE WHEN state = ?2 THEN failures ELSE 0 END, \
                       failing_since = CASE WHEN state = ?2 THEN failing_since END, \
                       last_error = CASE WHEN state = ?2 THEN last_error END WHERE id = ?1";
            execute(session, sql, values![id, HookState::Active.word()]).map(drop)
        }
        WebhooksChange::Stands(id, standing) => {
            let sql = "UPDATE webhooks SET state = ?2, next_event = ?3, failures = ?4, failing_since = ?5, \
                       last_error = ?6, delivered = ?7 WHERE id = ?1";
            let Standing { state, next_event, failures, failing_since, last_error, delivered } = standing;
            let values = values![id, state.word(), *next_event, *failures, *failing_since, last_error, *delivered];
            execute(session, sql, values).map(drop)
        }
    }
}
