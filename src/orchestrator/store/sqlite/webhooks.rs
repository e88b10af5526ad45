//! Webhooks and the events of all jobs, in SQLite.

use rusqlite::{Connection, Row, params};

use super::super::StoreError;
use super::super::rows::{bytes, column, event, json, parsed, time, time_option};
use super::super::webhooks::{WebhookStore, WebhooksChange};
use super::super::writer::execute;
use super::SqliteStore;
use crate::limits::EVENTS_PART_BYTES_MAX;
use crate::orchestrator::model::{EventType, JobEvent, JobId};
use crate::orchestrator::webhooks::{HookState, Standing, Webhook};

impl WebhookStore for SqliteStore {
    fn events_from(&self, job: Option<JobId>, start: i64, events: u32) -> Result<Vec<JobEvent>, StoreError> {
        self.read("list events", |connection| {
            let sql = match job {
                Some(_) => "SELECT * FROM events WHERE job = ?3 AND id >= ?1 ORDER BY id LIMIT ?2",
                None => "SELECT * FROM events WHERE id >= ?1 ORDER BY id LIMIT ?2",
            };
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = match job {
                Some(job) => statement.query(params![start, events, job.0])?,
                None => statement.query(params![start, events])?,
            };
            let (mut part, mut size) = (Vec::new(), 0);
            while size <= EVENTS_PART_BYTES_MAX
                && let Some(row) = found.next()?
            {
                size += bytes(row, &["details", "message"])?;
                part.push(JobEvent { job: JobId(row.get("job")?), event: event(row)? });
            }
            Ok(part)
        })
    }

    fn last_event(&self) -> Result<i64, StoreError> {
        self.read("read the number of the newest event", |connection| {
            let mut statement = connection.prepare_cached("SELECT coalesce(max(id), 0) FROM events")?;
            statement.query_row([], |row| row.get(0))
        })
    }

    fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        self.read("list webhooks", |connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM webhooks ORDER BY created, id")?;
            statement.query_map([], webhook)?.collect()
        })
    }
}

fn webhook(row: &Row<'_>) -> rusqlite::Result<Webhook> {
    let words: Vec<String> = parsed(row, "kinds")?;
    Ok(Webhook {
        id: row.get("id")?,
        url: row.get("url")?,
        // One that this version does not know is one that it never writes.
        kinds: words.iter().filter_map(|word| EventType::from_word(word)).collect(),
        description: row.get("description")?,
        owner: row.get("owner")?,
        created: time(row, "created")?,
        secret: row.get("secret")?,
        standing: Standing {
            state: column(row, "state", |word| HookState::from_word(&word))?,
            next_event: row.get("next_event")?,
            failures: row.get("failures")?,
            failing_since: time_option(row, "failing_since")?,
            last_error: row.get("last_error")?,
            delivered: time_option(row, "delivered")?,
        },
    })
}

/// Makes a change.
pub fn apply(connection: &Connection, change: &WebhooksChange) -> Result<(), StoreError> {
    match change {
        WebhooksChange::Added(hook) => {
            let kinds: Vec<&str> = hook.kinds.iter().map(|kind| kind.word()).collect();
            let sql = "INSERT INTO webhooks (id, url, kinds, description, owner, created, secret, state, next_event, \
                       failures) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)";
            let Standing { state, next_event, .. } = &hook.standing;
            let values = params![
                hook.id,
                hook.url,
                json(&kinds),
                hook.description,
                hook.owner,
                hook.created.as_millis(),
                hook.secret,
                state.word(),
                next_event
            ];
            execute(connection, sql, values).map(drop)
        }
        WebhooksChange::Removed(id) => execute(connection, "DELETE FROM webhooks WHERE id = ?1", params![id]).map(drop),
        WebhooksChange::Stands(id, standing) => {
            let sql = "UPDATE webhooks SET state = ?2, next_event = ?3, failures = ?4, failing_since = ?5, \
                       last_error = ?6, delivered = ?7 WHERE id = ?1";
            let Standing { state, next_event, failures, failing_since, last_error, delivered } = standing;
            let (since, delivered) = (failing_since.map(|at| at.as_millis()), delivered.map(|at| at.as_millis()));
            execute(connection, sql, params![id, state.word(), next_event, failures, since, last_error, delivered])
                .map(drop)
        }
    }
}
