//! Plan jobs in SQLite: the writer's part and the readers'.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use serde_json::{Value, json};

use super::{SqliteStore, within};
use crate::clock::WallTime;
use crate::limits::{EVENTS_PAGE_MAX, PLAN_JOBS_RUNNING_MAX};
use crate::orchestrator::model::{
    JobId, JobOrder, JobStatus, Page, PlanCommand, PlanDetail, PlanEnd, PlanEvent, PlanEventType, PlanJob, PlanJobId,
    PlanQuery, PlanState,
};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::plans::{NewPlanJob, PlanFinish, PlanStore};
use crate::orchestrator::store::rows::{self, column, database, json as text, parsed, time, time_option};
use crate::orchestrator::store::writer::{Write, execute};

impl PlanStore for SqliteStore {
    fn start_plan(&self, plan: NewPlanJob) -> Result<PlanJobId, StoreError> {
        self.write(|done| Write::StartPlan(Box::new(plan), done))
    }

    fn finish_plan(&self, end: PlanEnd, at: WallTime) -> Result<PlanFinish, StoreError> {
        self.write(|done| Write::FinishPlan(Box::new(end), at, done))
    }

    fn running_plans(&self) -> Result<Vec<PlanJobId>, StoreError> {
        self.read("list running plan jobs", |connection| {
            let mut statement = connection.prepare_cached("SELECT id FROM plan_jobs WHERE state = ?1 ORDER BY id")?;
            statement.query_map(params![PlanState::Running.word()], |row| row.get(0).map(PlanJobId))?.collect()
        })
    }

    fn plan_job(&self, id: PlanJobId) -> Result<Option<PlanDetail>, StoreError> {
        self.read("read a plan job", |connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM plan_jobs WHERE id = ?1")?;
            let Some(plan) = statement.query_row(params![id.0], plan_job).optional()? else { return Ok(None) };
            Ok(Some(PlanDetail { plan, jobs: jobs_of(connection, id)? }))
        })
    }

    fn plan_jobs(&self, query: &PlanQuery) -> Result<Page<PlanJob>, StoreError> {
        self.read("list plan jobs", |connection| list(connection, query, self.answer_bytes_max))?
    }

    fn plan_events(&self, id: PlanJobId, start: i64) -> Result<Option<Vec<PlanEvent>>, StoreError> {
        self.read("read a plan's events", |connection| {
            if !connection.prepare_cached("SELECT 1 FROM plan_jobs WHERE id = ?1")?.exists(params![id.0])? {
                return Ok(None);
            }
            let sql = "SELECT * FROM plan_events WHERE plan_job = ?1 AND id >= ?2 ORDER BY id LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            let events = statement.query_map(params![id.0, start, EVENTS_PAGE_MAX], |row| {
                Ok(PlanEvent {
                    id: row.get("id")?,
                    kind: column(row, "kind", |word| PlanEventType::from_word(&word))?,
                    timestamp: time(row, "timestamp")?,
                    details: parsed(row, "details")?,
                })
            })?;
            events.collect::<Result<_, _>>().map(Some)
        })
    }
}

fn plan_job(row: &Row<'_>) -> rusqlite::Result<PlanJob> {
    let asked = PlanCommand {
        plan: row.get("plan")?,
        environment: row.get("environment")?,
        params: parsed(row, "params")?,
        sensitive: parsed(row, "sensitive")?,
        description: row.get("description")?,
        userdata: parsed(row, "userdata")?,
    };
    let result = match row.get::<_, Option<String>>("result")? {
        Some(_) => Some(parsed(row, "result")?),
        None => None,
    };
    Ok(PlanJob {
        id: PlanJobId(row.get("id")?),
        asked,
        state: column(row, "state", |word| PlanState::from_word(&word))?,
        result,
        owner: parsed(row, "owner")?,
        created: time(row, "created")?,
        finished: time_option(row, "finished")?,
    })
}

fn jobs_of(connection: &Connection, id: PlanJobId) -> rusqlite::Result<Vec<(JobId, Vec<JobStatus>)>> {
    let sql = "SELECT job_status.* FROM job_status JOIN jobs ON jobs.id = job_status.job WHERE jobs.plan_job = ?1 \
               ORDER BY job, seq";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params![id.0])?;
    let mut jobs: Vec<(JobId, Vec<JobStatus>)> = Vec::new();
    while let Some(row) = found.next()? {
        let (job, status) = (JobId(row.get("job")?), rows::job_status(row)?);
        match jobs.last_mut() {
            Some((last, statuses)) if *last == job => statuses.push(status),
            _ => jobs.push((job, vec![status])),
        }
    }
    Ok(jobs)
}

fn list(
    connection: &Connection,
    query: &PlanQuery,
    bytes_max: usize,
) -> rusqlite::Result<Result<Page<PlanJob>, StoreError>> {
    let order = match query.order_by {
        JobOrder::Owner => "owner_login",
        JobOrder::Timestamp => "coalesce(finished, created)",
        JobOrder::Environment => "environment",
        JobOrder::Name => "id",
        JobOrder::State => "state",
    };
    let direction = if query.descending { "DESC" } else { "ASC" };
    let filter = "(?1 IS NULL OR finished >= ?1) AND (?2 IS NULL OR finished <= ?2)";
    let (min, max) = (query.min_finish.map(WallTime::as_millis), query.max_finish.map(WallTime::as_millis));
    let filters: [&dyn ToSql; 2] = [&min, &max];
    let total: i64 = connection
        .prepare_cached(&format!("SELECT count(*) FROM plan_jobs WHERE {filter}"))?
        .query_row(filters, |row| row.get(0))?;
    let result = if query.with_results { "result" } else { "NULL AS result" };
    let columns = "id, state, plan, environment, params, sensitive, description, userdata, owner, created, finished";
    let sql = format!(
        "SELECT {columns}, {result} FROM plan_jobs WHERE {filter} ORDER BY {order} {direction}, id {direction} \
         LIMIT ?3 OFFSET ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query(params![min, max, query.limit, query.offset])?;
    let items = within(found, &["params", "description", "userdata", "result"], bytes_max, plan_job)?;
    Ok(items.map(|items| Page { items, total: total.unsigned_abs() }))
}

/// The writer's part of [`PlanStore::start_plan`].
pub(in crate::orchestrator::store) fn start(
    connection: &Connection,
    new: &NewPlanJob,
) -> Result<PlanJobId, StoreError> {
    let NewPlanJob { asked, owner, created } = new;
    let running = "SELECT count(*) FROM plan_jobs WHERE state = ?1 AND owner_login = ?2";
    let running: i64 = connection
        .query_row(running, params![PlanState::Running.word(), owner.login], |row| row.get(0))
        .map_err(database("count plan jobs"))?;
    if running.unsigned_abs() >= PLAN_JOBS_RUNNING_MAX {
        return Err(StoreError::Conflict(format!(
            "{running} plan jobs of {:?} run, and no more may: end those whose plans are gone with plan_finish",
            owner.login
        )));
    }
    execute(
        connection,
        "INSERT INTO plan_jobs (state, plan, environment, params, sensitive, description, userdata, owner, owner_login, \
         created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            PlanState::Running.word(),
            asked.plan,
            asked.environment,
            text(&asked.params),
            text(&asked.sensitive),
            asked.description,
            text(&asked.userdata),
            text(owner),
            owner.login,
            created.as_millis(),
        ],
    )?;
    Ok(PlanJobId(connection.last_insert_rowid()))
}

/// The writer's part of [`PlanStore::finish_plan`].
pub(in crate::orchestrator::store) fn finish(
    connection: &Connection,
    end: &PlanEnd,
    at: WallTime,
) -> Result<PlanFinish, StoreError> {
    let state: Option<String> = connection
        .query_row("SELECT state FROM plan_jobs WHERE id = ?1", params![end.plan_job.0], |row| row.get(0))
        .optional()
        .map_err(database("look up a plan job"))?;
    match state.as_deref().and_then(PlanState::from_word) {
        None => return Ok(PlanFinish::Unknown),
        Some(PlanState::Running) => {}
        Some(PlanState::Success | PlanState::Failure) => return Ok(PlanFinish::Before),
    }
    let (state, kind) = match end.is_success {
        true => (PlanState::Success, PlanEventType::PlanFinished),
        false => (PlanState::Failure, PlanEventType::PlanFailed),
    };
    execute(
        connection,
        "UPDATE plan_jobs SET state = ?2, result = ?3, finished = ?4 WHERE id = ?1",
        params![end.plan_job.0, state.word(), text(&end.result), at.as_millis()],
    )?;
    let details = json!({"plan-id": end.plan_job.to_string(), "result": end.result});
    add_event(connection, end.plan_job, kind, at, &details)?;
    Ok(PlanFinish::Now)
}

/// The plan makes a job, which it may do as long as it runs.
pub(in crate::orchestrator::store) fn add_task(
    connection: &Connection,
    plan: PlanJobId,
    job: JobId,
    at: WallTime,
) -> Result<(), StoreError> {
    let sql = "SELECT state FROM plan_jobs WHERE id = ?1";
    let state: Option<String> = connection
        .query_row(sql, params![plan.0], |row| row.get(0))
        .optional()
        .map_err(database("look up a plan job"))?;
    if state.as_deref().and_then(PlanState::from_word) != Some(PlanState::Running) {
        return Err(StoreError::PlanEnded(plan));
    }
    add_event(connection, plan, PlanEventType::TaskStart, at, &json!({"job-id": job.to_string()}))
}

fn add_event(
    connection: &Connection,
    plan: PlanJobId,
    kind: PlanEventType,
    at: WallTime,
    details: &Value,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO plan_events (plan_job, kind, timestamp, details) VALUES (?1, ?2, ?3, ?4)";
    execute(connection, sql, params![plan.0, kind.word(), at.as_millis(), text(details)]).map(drop)
}
