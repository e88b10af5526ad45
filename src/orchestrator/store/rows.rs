//! Rows of the database as the orchestrator's types.

use std::str::FromStr;

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{StoreError, UnfinishedNode};
use crate::clock::WallTime;
use crate::orchestrator::model::schedule::ScheduleId;
use crate::orchestrator::model::{
    Event, EventType, Job, JobId, JobKind, JobSpec, JobState, JobStatus, Node, NodeState, PlanJobId, TaskWork, Terms,
    Work,
};

/// Names what was being done when the database failed.
pub fn database(action: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| StoreError::Database { action, cause: error.to_string() }
}

/// Bytes that columns of a row have.
pub fn bytes(row: &Row<'_>, columns: &[&str]) -> rusqlite::Result<usize> {
    columns.iter().try_fold(0, |sum, column| {
        let value = row.get_ref(*column)?;
        Ok(sum + value.as_bytes_or_null().ok().flatten().map_or(0, <[u8]>::len))
    })
}

/// A value as JSON text.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is stored has string keys only")
}

/// A column that fails to be what it should be is an error of the conversion, with the column's name.
pub fn column<T>(row: &Row<'_>, name: &str, convert: impl Fn(String) -> Option<T>) -> rusqlite::Result<T> {
    convert(row.get(name)?).ok_or_else(|| rusqlite::Error::InvalidColumnName(format!("{name} holds an unknown value")))
}

/// A column with JSON text.
pub fn parsed<T: DeserializeOwned>(row: &Row<'_>, name: &str) -> rusqlite::Result<T> {
    column(row, name, |text| serde_json::from_str(&text).ok())
}

/// A column with a time.
pub fn time(row: &Row<'_>, name: &str) -> rusqlite::Result<WallTime> {
    row.get(name).map(WallTime::from_millis)
}

/// A column with a time or nothing.
pub fn time_option(row: &Row<'_>, name: &str) -> rusqlite::Result<Option<WallTime>> {
    Ok(row.get::<_, Option<i64>>(name)?.map(WallTime::from_millis))
}

/// A row of `jobs`, without what other tables say of it.
pub fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: JobId(row.get("id")?),
        state: column(row, "state", |word| JobState::from_word(&word))?,
        spec: spec(row)?,
        created: time(row, "created")?,
        started: time_option(row, "started")?,
        finished: time_option(row, "finished")?,
        timestamp: time(row, "timestamp")?,
        node_count: row.get::<_, i64>("node_count")?.unsigned_abs(),
        node_states: std::collections::BTreeMap::new(),
        status: Vec::new(),
    })
}

/// What a row of `jobs` says was asked for.
pub fn spec(row: &Row<'_>) -> rusqlite::Result<JobSpec> {
    let work = match column(row, "kind", |word| JobKind::from_word(&word))? {
        JobKind::Deploy => Work::Deploy(parsed(row, "options")?),
        JobKind::Task | JobKind::PlanTask => Work::Task(TaskWork {
            task: row.get("task")?,
            params: parsed(row, "params")?,
            sensitive: parsed(row, "sensitive")?,
            plan_job: row.get::<_, Option<i64>>("plan_job")?.map(PlanJobId),
        }),
    };
    let terms = Terms {
        environment: row.get("environment")?,
        scope: parsed(row, "scope")?,
        noop: row.get("noop")?,
        concurrency: row.get("concurrency")?,
        timeout: row.get::<_, Option<i64>>("timeout")?.map(i64::unsigned_abs),
        description: row.get("description")?,
        userdata: parsed(row, "userdata")?,
        schedule: row.get::<_, Option<i64>>("schedule")?.map(ScheduleId),
    };
    Ok(JobSpec { work, terms, owner: parsed(row, "owner")? })
}

/// Adds to a job what other tables say of it.
pub fn complete(connection: &Connection, job: &mut Job) -> rusqlite::Result<()> {
    let mut counts =
        connection.prepare_cached("SELECT state, count(*) AS n FROM nodes WHERE job = ?1 GROUP BY state")?;
    let mut rows = counts.query(params![job.id.0])?;
    while let Some(row) = rows.next()? {
        let state = column(row, "state", |word| NodeState::from_word(&word))?;
        job.node_states.insert(state, row.get::<_, i64>("n")?.unsigned_abs());
    }
    let mut history = connection.prepare_cached("SELECT * FROM job_status WHERE job = ?1 ORDER BY seq")?;
    let statuses = history.query_map(params![job.id.0], job_status)?;
    job.status = statuses.collect::<Result<_, _>>()?;
    Ok(())
}

/// A row of `job_status`.
pub fn job_status(row: &Row<'_>) -> rusqlite::Result<JobStatus> {
    Ok(JobStatus {
        state: column(row, "state", |word| JobState::from_word(&word))?,
        enter: time(row, "enter")?,
        exit: time_option(row, "exit")?,
    })
}

/// A row of `nodes`.
pub fn node(row: &Row<'_>) -> rusqlite::Result<Node> {
    Ok(Node {
        name: row.get("name")?,
        state: column(row, "state", |word| NodeState::from_word(&word))?,
        start: time_option(row, "start")?,
        finish: time_option(row, "finish")?,
        timestamp: time(row, "timestamp")?,
        latest_event_id: row.get("latest_event_id")?,
        details: parsed(row, "details")?,
        result: match row.get::<_, Option<String>>("result")? {
            Some(_) => Some(parsed(row, "result")?),
            None => None,
        },
    })
}

/// A row of `nodes` whose state is not final.
pub fn unfinished_node(row: &Row<'_>) -> rusqlite::Result<UnfinishedNode> {
    Ok(UnfinishedNode {
        position: row.get("position")?,
        name: row.get("name")?,
        transaction: column(row, "transaction_id", |text| Uuid::from_str(&text).ok())?,
        start: time_option(row, "start")?,
        acknowledged: row.get("acknowledged")?,
        resent: row.get("resent")?,
    })
}

/// The column `state` of `jobs`.
pub fn job_state(row: &Row<'_>) -> rusqlite::Result<JobState> {
    column(row, "state", |word| JobState::from_word(&word))
}

/// A row of `events`.
pub fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: row.get("id")?,
        kind: column(row, "kind", |word| EventType::from_word(&word))?,
        timestamp: time(row, "timestamp")?,
        details: parsed(row, "details")?,
        message: row.get("message")?,
    })
}
