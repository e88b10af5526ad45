//! Plan jobs: the readers' part and the writer's.

use serde_json::{Value, json};

use super::rows::job_status;
use super::{SqlStore, execute, next_number};
use crate::clock::WallTime;
use crate::limits::EVENTS_PAGE_MAX;
use crate::orchestrator::model::{
    JobId, JobOrder, JobStatus, Page, PlanCommand, PlanDetail, PlanEnd, PlanEvent, PlanEventType, PlanJob, PlanJobId,
    PlanQuery, PlanState,
};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::plans::{NewPlanJob, PlanFinish, PlanStore};
use crate::orchestrator::store::sql::{self, Row, Session, SqlError, json as text, values};
use crate::orchestrator::store::writer::Write;

impl<S: SqlStore> PlanStore for S {
    fn start_plan(&self, plan: NewPlanJob) -> Result<PlanJobId, StoreError> {
        self.queue().write(|done| Write::StartPlan(Box::new(plan), done))
    }

    fn finish_plan(&self, end: PlanEnd, at: WallTime) -> Result<PlanFinish, StoreError> {
        self.queue().write(|done| Write::FinishPlan(Box::new(end), at, done))
    }

    fn plan_job(&self, id: PlanJobId) -> Result<Option<PlanDetail>, StoreError> {
        self.read("read a plan job", |session| {
            let found = session.first("SELECT * FROM plan_jobs WHERE id = ?1", values![id.0], plan_job)?;
            let Some(plan) = found else { return Ok(None) };
            Ok(Some(PlanDetail { plan, jobs: jobs_of(session, id)? }))
        })
    }

    fn plan_jobs(&self, query: &PlanQuery) -> Result<Page<PlanJob>, StoreError> {
        self.read("list plan jobs", |session| list(session, query, self.answer_bytes_max()))
    }

    fn plan_events(&self, id: PlanJobId, start: i64) -> Result<Option<Vec<PlanEvent>>, StoreError> {
        self.read("read a plan's events", |session| {
            if !session.exists("SELECT 1 FROM plan_jobs WHERE id = ?1", values![id.0])? {
                return Ok(None);
            }
            let sql = "SELECT * FROM plan_events WHERE plan_job = ?1 AND id >= ?2 ORDER BY id LIMIT ?3";
            session.all(sql, values![id.0, start, EVENTS_PAGE_MAX], plan_event).map(Some)
        })
    }
}

fn plan_event(row: &Row<'_>) -> Result<PlanEvent, SqlError> {
    Ok(PlanEvent {
        id: row.get("id")?,
        kind: row.word("kind", PlanEventType::from_word)?,
        timestamp: row.get("timestamp")?,
        details: row.parsed("details")?,
    })
}

fn plan_job(row: &Row<'_>) -> Result<PlanJob, SqlError> {
    let asked = PlanCommand {
        plan: row.get("plan")?,
        environment: row.get("environment")?,
        params: row.parsed("params")?,
        sensitive: row.parsed("sensitive")?,
        description: row.get("description")?,
        userdata: row.parsed("userdata")?,
    };
    Ok(PlanJob {
        id: PlanJobId(row.get("id")?),
        asked,
        state: row.word("state", PlanState::from_word)?,
        result: row.parsed_option("result")?,
        owner: row.parsed("owner")?,
        created: row.get("created")?,
        finished: row.option("finished")?,
    })
}

fn jobs_of(session: &mut dyn Session, id: PlanJobId) -> Result<Vec<(JobId, Vec<JobStatus>)>, SqlError> {
    let sql = "SELECT job_status.* FROM job_status JOIN jobs ON jobs.id = job_status.job WHERE jobs.plan_job = ?1 \
               ORDER BY job, seq";
    let mut jobs: Vec<(JobId, Vec<JobStatus>)> = Vec::new();
    for (job, status) in session.all(sql, values![id.0], |row| Ok((JobId(row.get("job")?), job_status(row)?)))? {
        match jobs.last_mut() {
            Some((last, statuses)) if *last == job => statuses.push(status),
            _ => jobs.push((job, vec![status])),
        }
    }
    Ok(jobs)
}

fn list(session: &mut dyn Session, query: &PlanQuery, bytes_max: usize) -> Result<Page<PlanJob>, SqlError> {
    let order = match query.order_by {
        JobOrder::Owner => "owner_login",
        JobOrder::Timestamp => "coalesce(finished, created)",
        JobOrder::Environment => "environment",
        JobOrder::Name => "id",
        JobOrder::State => "state",
    };
    let direction = if query.descending { "DESC" } else { "ASC" };
    let filter = "(?1 IS NULL OR finished >= ?1) AND (?2 IS NULL OR finished <= ?2)";
    let filters: [sql::Value<'_>; 2] = [query.min_finish.into(), query.max_finish.into()];
    let total = session.number(&format!("SELECT count(*) AS n FROM plan_jobs WHERE {filter}"), &filters)?;
    let result = if query.with_results { "result" } else { "NULL AS result" };
    let columns = "id, state, plan, environment, params, sensitive, description, userdata, owner, created, finished";
    let sql = format!(
        "SELECT {columns}, {result} FROM plan_jobs WHERE {filter} ORDER BY {order} {direction}, id {direction} \
         LIMIT ?3 OFFSET ?4"
    );
    let sliced = [&filters[..], values![query.limit, query.offset]].concat();
    let large = ["params", "description", "userdata", "result"];
    let items = session.within((&sql, &sliced), &large, bytes_max, plan_job)?;
    Ok(Page { items, total: total.unsigned_abs() })
}

/// The writer's part of [`PlanStore::start_plan`].
pub fn start(session: &mut dyn Session, new: &NewPlanJob) -> Result<PlanJobId, StoreError> {
    let NewPlanJob { asked, owner, created } = new;
    let id = next_number(session, "plan_jobs")?;
    execute(
        session,
        "INSERT INTO plan_jobs (id, state, plan, environment, params, sensitive, description, userdata, owner, owner_login, \
         created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        values![
            id,
            PlanState::Running.word(),
            &asked.plan,
            &asked.environment,
            text(&asked.params),
            text(&asked.sensitive),
            &asked.description,
            text(&asked.userdata),
            text(owner),
            &owner.login,
            *created,
        ],
    )?;
    Ok(PlanJobId(id))
}

/// The writer's part of [`PlanStore::finish_plan`].
pub fn finish(session: &mut dyn Session, end: &PlanEnd, at: WallTime) -> Result<PlanFinish, StoreError> {
    let sql = "SELECT state FROM plan_jobs WHERE id = ?1";
    let state: Result<Option<String>, _> = session.first(sql, values![end.plan_job.0], |row| row.get("state"));
    let state = state.map_err(|error| error.during("look up a plan job"))?;
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
        session,
        "UPDATE plan_jobs SET state = ?2, result = ?3, finished = ?4 WHERE id = ?1",
        values![end.plan_job.0, state.word(), text(&end.result), at.as_millis()],
    )?;
    let details = json!({"plan-id": end.plan_job.to_string(), "result": end.result});
    add_event(session, end.plan_job, kind, at, &details)?;
    Ok(PlanFinish::Now)
}

/// The plan has made a job.
pub fn add_task(session: &mut dyn Session, plan: PlanJobId, job: JobId, at: WallTime) -> Result<(), StoreError> {
    add_event(session, plan, PlanEventType::TaskStart, at, &json!({"job-id": job.to_string()}))
}

fn add_event(
    session: &mut dyn Session,
    plan: PlanJobId,
    kind: PlanEventType,
    at: WallTime,
    details: &Value,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO plan_events (plan_job, kind, timestamp, details) VALUES (?1, ?2, ?3, ?4)";
    execute(session, sql, values![plan.0, kind.word(), at.as_millis(), text(details)]).map(drop)
}
