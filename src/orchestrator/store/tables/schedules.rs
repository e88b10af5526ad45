//! Scheduled jobs: the writer's part and the readers'.

use serde_json::{Map, Value, json};

use super::{SqlStore, execute, insert_numbered};
use crate::clock::WallTime;
use crate::limits::SCHEDULES_DUE_PAGE;
use crate::orchestrator::model::schedule::{
    LastRun, Repeat, RunOutcome, Schedule, ScheduleId, ScheduleOrder, ScheduleQuery, ScheduleSpec, ScheduledTask,
    ScheduledWork, Timing,
};
use crate::orchestrator::model::{JobId, JobKind, Page};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::schedules::{
    Added, EditedSchedule, Firing, Most, NewSchedule, ScheduleChange, ScheduleStore, StoredSchedule,
};
use crate::orchestrator::store::sql::{Row, Session, SqlError, json as text, values};
use crate::orchestrator::store::writer::Write;

impl<S: SqlStore> ScheduleStore for S {
    fn add_schedule(&self, schedule: NewSchedule, most: Most) -> Result<Added, StoreError> {
        self.queue().write(|done| Write::AddSchedule(Box::new(schedule), most, done))
    }

    fn schedule(&self, id: ScheduleId) -> Result<Option<StoredSchedule>, StoreError> {
        self.read("read a schedule", |session| {
            session.first("SELECT * FROM schedules WHERE id = ?1", values![id.0], stored)
        })
    }

    fn schedules(&self, query: &ScheduleQuery) -> Result<Page<Schedule>, StoreError> {
        self.read("list schedules", |session| list(session, query, self.answer_bytes_max()))
    }

    fn due_schedules(
        &self,
        now: WallTime,
        after: Option<(WallTime, ScheduleId)>,
    ) -> Result<Vec<StoredSchedule>, StoreError> {
        let (time, id) = after.map_or((i64::MIN, i64::MIN), |(time, id)| (time.as_millis(), id.0));
        self.read("look for due schedules", |session| {
            let sql = "SELECT * FROM schedules WHERE next_run <= ?1 AND (next_run > ?2 OR (next_run = ?2 AND id > ?3)) \
                       ORDER BY next_run, id LIMIT ?4";
            session.all(sql, values![now, time, id, SCHEDULES_DUE_PAGE], stored)
        })
    }

    fn next_due(&self) -> Result<Option<WallTime>, StoreError> {
        self.read("look for the next schedule", |session| {
            let sql = "SELECT min(next_run) AS next_run FROM schedules WHERE next_run IS NOT NULL";
            Ok(session.first(sql, &[], |row| row.option("next_run"))?.flatten())
        })
    }
}

fn stored(row: &Row<'_>) -> Result<StoredSchedule, SqlError> {
    let last_job = row.option("last_job")?.map(JobId);
    let (schedule, revision, payload) = (shown(row)?, row.get("revision")?, row.option("payload")?);
    Ok(StoredSchedule { schedule, revision, payload, last_job })
}

fn shown(row: &Row<'_>) -> Result<Schedule, SqlError> {
    let kind = row.word("kind", JobKind::from_word)?;
    let spec = ScheduleSpec {
        work: row.word("work", |text| work(kind, text))?,
        terms: row.parsed("terms")?,
        timing: Timing {
            start: row.get("start")?,
            repeat: row.word("repeats", |text| Repeat::from_keys(&serde_json::from_str(text).ok()?))?,
        },
    };
    let last_job = row.option("last_job")?.map(JobId);
    let last_run = match row.option("last_run")? {
        None => None,
        Some(time) => {
            let outcome = match row.parsed_option("last_error")? {
                Some(error) => RunOutcome::NotSubmitted(error),
                None => RunOutcome::Job(last_job.unwrap_or(JobId(0))),
            };
            Some(LastRun { time, outcome })
        }
    };
    Ok(Schedule {
        id: ScheduleId(row.get("id")?),
        is_enabled: row.get("enabled")?,
        spec,
        owner: row.parsed("owner")?,
        next_run: row.option("next_run")?,
        last_run,
    })
}

fn work(kind: JobKind, text: &str) -> Option<ScheduledWork> {
    match kind {
        JobKind::Deploy => serde_json::from_str(text).ok().map(ScheduledWork::Deploy),
        JobKind::Task | JobKind::PlanTask => {
            let mut keys: Map<String, Value> = serde_json::from_str(text).ok()?;
            let mut take = |key: &str| keys.remove(key);
            Some(ScheduledWork::Task(ScheduledTask {
                task: serde_json::from_value(take("task")?).ok()?,
                params: serde_json::from_value(take("params")?).ok()?,
                sensitive: serde_json::from_value(take("sensitive")?).ok()?,
            }))
        }
    }
}

fn written(work: &ScheduledWork) -> String {
    match work {
        ScheduledWork::Deploy(options) => text(options),
        ScheduledWork::Task(ScheduledTask { task, params, sensitive }) => {
            text(&json!({"task": task, "params": params, "sensitive": sensitive}))
        }
    }
}

fn list(session: &mut dyn Session, query: &ScheduleQuery, bytes_max: usize) -> Result<Page<Schedule>, SqlError> {
    let direction = if query.descending { "DESC" } else { "ASC" };
    let order = match query.order_by {
        ScheduleOrder::NextRunTime => format!("next_run IS NULL, next_run {direction}"),
        ScheduleOrder::Environment => format!("environment {direction}"),
        ScheduleOrder::Owner => format!("owner_login {direction}"),
        ScheduleOrder::Name => format!("id {direction}"),
        ScheduleOrder::Type => format!("kind {direction}"),
    };
    let kind = query.kind.map(JobKind::word);
    let total = session
        .number("SELECT count(*) AS n FROM schedules WHERE (?1 IS NULL OR kind = ?1)", values![kind])?
        .unsigned_abs();
    let sql = format!(
        "SELECT * FROM schedules WHERE (?1 IS NULL OR kind = ?1) ORDER BY {order}, id {direction} LIMIT ?2 OFFSET ?3"
    );
    let sliced = values![kind, query.limit, query.offset];
    let items = session.within((&sql, sliced), &["work", "terms", "last_error"], bytes_max, shown)?;
    Ok(Page { items, total })
}

/// The writer's part of [`ScheduleStore::add_schedule`].
pub fn add(session: &mut dyn Session, new: &NewSchedule, most: Most) -> Result<Added, StoreError> {
    // No schedule has the number 0.
    if let Some(full) = full(session, ScheduleId(0), &new.owner.login, most)? {
        return Ok(full);
    }
    let NewSchedule { spec: ScheduleSpec { work, terms, timing }, owner, payload, next_run } = new;
    let sql = "INSERT INTO schedules (revision, enabled, kind, environment, work, terms, payload, start, repeats, owner, \
               owner_login, next_run) VALUES (1, 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let values = values![
        work.kind().word(),
        &terms.environment,
        written(work),
        text(terms),
        payload.as_deref(),
        timing.start.as_millis(),
        text(&timing.repeat.keys()),
        text(owner),
        &owner.login,
        next_run.as_millis(),
    ];
    Ok(Added::As(ScheduleId(insert_numbered(session, sql, values)?)))
}

/// Whether there is no room for a schedule beside the others that have a next run.
fn full(session: &mut dyn Session, id: ScheduleId, owner: &str, most: Most) -> Result<Option<Added>, StoreError> {
    let mut others = |sql, values: &[_]| session.number(sql, values).map_err(|error| error.during("count schedules"));
    let sql = "SELECT count(*) AS n FROM schedules WHERE next_run IS NOT NULL AND id <> ?1";
    if others(sql, values![id.0])? >= i64::from(most.all) {
        return Ok(Some(Added::Full));
    }
    let sql = "SELECT count(*) AS n FROM schedules WHERE next_run IS NOT NULL AND id <> ?1 AND owner_login = ?2";
    let is_full = others(sql, values![id.0, owner])? >= i64::from(most.of_owner);
    Ok(is_full.then_some(Added::FullOfOwner))
}

/// The writer's part of [`ScheduleChange`].
pub fn apply(session: &mut dyn Session, change: &ScheduleChange) -> Result<(), StoreError> {
    match change {
        ScheduleChange::Edited(edited) => edit(session, edited),
        ScheduleChange::Passed { firing, at, error } => {
            go_on(session, firing, *at)?;
            let Some(error) = error else { return Ok(()) };
            let sql = "UPDATE schedules SET last_run = ?2, last_error = ?3 WHERE id = ?1";
            execute(session, sql, values![firing.schedule.0, at.as_millis(), text(error)]).map(drop)
        }
    }
}

/// With the job that a firing makes, in its transaction.
pub fn fire(session: &mut dyn Session, firing: &Firing, job: JobId, at: WallTime) -> Result<(), StoreError> {
    go_on(session, firing, at)?;
    let sql = "UPDATE schedules SET last_run = ?2, last_job = ?3, last_error = NULL WHERE id = ?1";
    execute(session, sql, values![firing.schedule.0, at.as_millis(), job.0]).map(drop)
}

/// Moves to the next run, if the one that has come is still the next.
fn go_on(session: &mut dyn Session, firing: &Firing, at: WallTime) -> Result<(), StoreError> {
    let then = firing.then.map(WallTime::as_millis);
    let ended = firing.then.is_none().then_some(at.as_millis());
    let sql = "UPDATE schedules SET next_run = ?4, ended = ?5, payload = CASE WHEN ?4 IS NULL THEN NULL ELSE payload END \
               WHERE id = ?1 AND revision = ?2 AND next_run = ?3 AND enabled = 1";
    let Firing { schedule, revision, slot, .. } = firing;
    let moved = execute(session, sql, values![schedule.0, *revision, *slot, then, ended])?;
    expect_one(moved, *schedule)
}

fn edit(session: &mut dyn Session, edited: &EditedSchedule) -> Result<(), StoreError> {
    let EditedSchedule { id, revision, is_enabled, spec: ScheduleSpec { work, terms, timing }, .. } = edited;
    if edited.next_run.is_some() {
        let sql = "SELECT owner_login FROM schedules WHERE id = ?1";
        let owner = session.first(sql, values![id.0], |row| row.get::<String>("owner_login"));
        let owner = owner.map_err(|error| error.during("look up a schedule"))?.unwrap_or_default();
        if full(session, *id, &owner, edited.most)?.is_some() {
            return Err(StoreError::Conflict(format!(
                "there are too many scheduled jobs beside {id}: disable some first"
            )));
        }
    }
    let next_run = edited.next_run.map(WallTime::as_millis);
    let ended = edited.next_run.is_none().then_some(edited.at.as_millis());
    let sql = "UPDATE schedules SET revision = revision + 1, enabled = ?3, kind = ?4, environment = ?5, work = ?6, \
               terms = ?7, payload = ?8, start = ?9, repeats = ?10, next_run = ?11, ended = ?12 \
               WHERE id = ?1 AND revision = ?2 AND enabled = 1";
    let changed = execute(
        session,
        sql,
        values![
            id.0,
            *revision,
            *is_enabled,
            work.kind().word(),
            &terms.environment,
            written(work),
            text(terms),
            edited.payload.as_deref(),
            timing.start.as_millis(),
            text(&timing.repeat.keys()),
            next_run,
            ended,
        ],
    )?;
    expect_one(changed, *id)
}

fn expect_one(changed: usize, id: ScheduleId) -> Result<(), StoreError> {
    if changed == 1 {
        return Ok(());
    }
    Err(StoreError::Conflict(format!("scheduled job {id} has changed in the meantime: look at it again")))
}

/// Removes at most so many that ended before a time. Whether there may be more.
pub fn prune(session: &mut dyn Session, before: WallTime, rows: usize) -> Result<bool, SqlError> {
    let sql = "DELETE FROM schedules WHERE id IN (SELECT id FROM schedules WHERE ended < ?1 ORDER BY ended LIMIT ?2)";
    let limit = i64::try_from(rows).unwrap_or(i64::MAX);
    Ok(session.execute(sql, values![before, limit])? > 0)
}
