//! Rows of jobs, nodes and events as the orchestrator's types.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::orchestrator::model::schedule::ScheduleId;
use crate::orchestrator::model::{
    Event, EventType, Job, JobId, JobKind, JobSpec, JobState, JobStatus, Node, NodeState, PlanJobId, TaskWork, Terms,
    Work,
};
use crate::orchestrator::store::UnfinishedNode;
use crate::orchestrator::store::sql::{Row, Session, SqlError, values};

/// A row of `jobs`, without what other tables say of it.
pub fn job(row: &Row<'_>) -> Result<Job, SqlError> {
    Ok(Job {
        id: JobId(row.get("id")?),
        state: job_state(row)?,
        spec: spec(row)?,
        created: row.get("created")?,
        started: row.option("started")?,
        finished: row.option("finished")?,
        timestamp: row.get("timestamp")?,
        node_count: row.get("node_count")?,
        node_states: BTreeMap::new(),
        status: Vec::new(),
    })
}

/// What a row of `jobs` says was asked for.
pub fn spec(row: &Row<'_>) -> Result<JobSpec, SqlError> {
    let work = match row.word("kind", JobKind::from_word)? {
        JobKind::Deploy => Work::Deploy(row.parsed("options")?),
        JobKind::Task | JobKind::PlanTask => Work::Task(TaskWork {
            task: row.get("task")?,
            params: row.parsed("params")?,
            sensitive: row.parsed("sensitive")?,
            plan_job: row.option("plan_job")?.map(PlanJobId),
        }),
    };
    let terms = Terms {
        environment: row.get("environment")?,
        scope: row.parsed("scope")?,
        noop: row.get("noop")?,
        concurrency: row.option("concurrency")?,
        timeout: row.option("timeout")?,
        description: row.get("description")?,
        userdata: row.parsed("userdata")?,
        schedule: row.option("schedule")?.map(ScheduleId),
    };
    Ok(JobSpec { work, terms, owner: row.parsed("owner")? })
}

/// Adds to a job what other tables say of it.
pub fn complete(session: &mut dyn Session, job: &mut Job) -> Result<(), SqlError> {
    let counts = "SELECT state, count(*) AS n FROM nodes WHERE job = ?1 GROUP BY state";
    let states = session
        .all(counts, values![job.id.0], |row| Ok((row.word("state", NodeState::from_word)?, row.get::<u64>("n")?)))?;
    job.node_states = states.into_iter().collect();
    let history = "SELECT * FROM job_status WHERE job = ?1 ORDER BY seq";
    job.status = session.all(history, values![job.id.0], job_status)?;
    Ok(())
}

/// A row of `job_status`.
pub fn job_status(row: &Row<'_>) -> Result<JobStatus, SqlError> {
    Ok(JobStatus { state: job_state(row)?, enter: row.get("enter")?, exit: row.option("exit")? })
}

/// A row of `nodes`.
pub fn node(row: &Row<'_>) -> Result<Node, SqlError> {
    Ok(Node {
        name: row.get("name")?,
        state: row.word("state", NodeState::from_word)?,
        start: row.option("start")?,
        finish: row.option("finish")?,
        timestamp: row.get("timestamp")?,
        latest_event_id: row.get("latest_event_id")?,
        details: row.parsed("details")?,
        result: row.parsed_option("result")?,
    })
}

/// A row of `nodes` whose state is not final.
pub fn unfinished_node(row: &Row<'_>) -> Result<UnfinishedNode, SqlError> {
    Ok(UnfinishedNode {
        position: row.get("position")?,
        name: row.get("name")?,
        transaction: row.word("transaction_id", |text| text.parse::<Uuid>().ok())?,
        start: row.option("start")?,
        acknowledged: row.get("acknowledged")?,
        resent: row.get("resent")?,
    })
}

/// The column `state` of `jobs` and `job_status`.
pub fn job_state(row: &Row<'_>) -> Result<JobState, SqlError> {
    row.word("state", JobState::from_word)
}

/// A row of `events`.
pub fn event(row: &Row<'_>) -> Result<Event, SqlError> {
    Ok(Event {
        id: row.get("id")?,
        kind: row.word("kind", EventType::from_word)?,
        timestamp: row.get("timestamp")?,
        details: row.parsed("details")?,
        message: row.get("message")?,
    })
}
