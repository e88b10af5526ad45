//! Jobs, their nodes and events, and the inventory's names: the readers' part and the writer's.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Map, json as value};

use super::{SqlStore, execute, insert_numbered, next_number, order, plans, rows, schedules, written};
use crate::clock::WallTime;
use crate::limits::EVENTS_PAGE_MAX;
use crate::orchestrator::model::{
    Event, Job, JobId, JobKind, JobOrder, JobQuery, JobSpec, JobState, Node, NodeOrder, NodeQuery, NodeState, Page,
    Work,
};
use crate::orchestrator::store::sql::{Session, SqlError, Value, json, values};
use crate::orchestrator::store::writer::Write;
use crate::orchestrator::store::{Change, NewEvent, NewJob, NodeKey, Pruned, Store, StoreError, UnfinishedJob};

impl<S: SqlStore> Store for S {
    fn create_job(&self, job: NewJob) -> Result<JobId, StoreError> {
        self.queue().write(|done| Write::Create(Box::new(job), done))
    }

    fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.queue().write(|done| Write::Commit(changes, done))
    }

    fn commit_patiently(&self, changes: Arc<Vec<Change>>) -> Result<(), StoreError> {
        self.queue().write_patiently(|done| Write::CommitPatiently(changes, done))
    }

    fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.read("read a job", |session| {
            let Some(mut job) = session.first("SELECT * FROM jobs WHERE id = ?1", values![id.0], rows::job)? else {
                return Ok(None);
            };
            rows::complete(session, &mut job)?;
            Ok(Some(job))
        })
    }

    fn jobs(&self, query: &JobQuery) -> Result<Page<Job>, StoreError> {
        self.read("list jobs", |session| list_jobs(session, query, self.answer_bytes_max()))
    }

    fn nodes(&self, id: JobId, query: &NodeQuery) -> Result<Option<Page<Node>>, StoreError> {
        self.read("list nodes", |session| list_nodes(session, id, query, self.answer_bytes_max()))
    }

    fn events(&self, id: JobId, start: i64) -> Result<Option<Vec<Event>>, StoreError> {
        self.read("list events", |session| {
            if !job_exists(session, id)? {
                return Ok(None);
            }
            let sql = "SELECT * FROM events WHERE job = ?1 AND id >= ?2 ORDER BY id LIMIT ?3";
            let (mut events, mut bytes) = (Vec::new(), 0);
            session.query(sql, values![id.0, start, EVENTS_PAGE_MAX], &mut |row| {
                bytes += row.bytes(&["details", "message"])?;
                events.push(rows::event(row)?);
                // The rest is found from the number of the last one on.
                let is_full = bytes > self.answer_bytes_max();
                Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            Ok(Some(events))
        })
    }

    fn unfinished(&self) -> Result<Vec<UnfinishedJob>, StoreError> {
        self.recovered()
    }

    fn prune(&self, before: WallTime, rows: usize) -> Result<Pruned, StoreError> {
        self.queue().write(|done| Write::Prune(before, rows, done))
    }

    fn known_nodes(&self) -> Result<Vec<String>, StoreError> {
        self.read("list known nodes", |session| {
            session.all("SELECT name FROM known_nodes ORDER BY name", &[], |row| row.get("name"))
        })
    }

    fn close(&self) {
        self.end();
    }
}

fn job_exists(session: &mut dyn Session, id: JobId) -> Result<bool, SqlError> {
    session.exists("SELECT 1 FROM jobs WHERE id = ?1", values![id.0])
}

fn list_jobs(session: &mut dyn Session, query: &JobQuery, bytes_max: usize) -> Result<Page<Job>, SqlError> {
    let order = match query.order_by {
        JobOrder::Owner => "owner_login",
        JobOrder::Timestamp => "timestamp",
        JobOrder::Environment => "environment",
        JobOrder::Name => "id",
        JobOrder::State => "state",
    };
    let direction = if query.descending { "DESC" } else { "ASC" };
    // Every name contains the empty one.
    let task = query.task.as_deref().filter(|task| !task.is_empty());
    let filter = "(?1 IS NULL OR replace(task, ?1, '') <> task) AND (?2 IS NULL OR finished >= ?2) AND \
                  (?3 IS NULL OR finished <= ?3) AND (?4 IS NULL OR kind = ?4)";
    let filters: [Value<'_>; 4] =
        [task.into(), query.min_finish.into(), query.max_finish.into(), query.kind.map(JobKind::word).into()];
    let total = session.number(&format!("SELECT count(*) AS n FROM jobs WHERE {filter}"), &filters)?;
    let sql =
        format!("SELECT * FROM jobs WHERE {filter} ORDER BY {order} {direction}, id {direction} LIMIT ?5 OFFSET ?6");
    let sliced = [&filters[..], values![query.limit, query.offset]].concat();
    let columns = ["params", "scope", "description", "userdata"];
    let mut items = session.within((&sql, &sliced), &columns, bytes_max, rows::job)?;
    items.iter_mut().try_for_each(|job| rows::complete(session, job))?;
    Ok(Page { items, total: total.unsigned_abs() })
}

fn list_nodes(
    session: &mut dyn Session,
    id: JobId,
    query: &NodeQuery,
    bytes_max: usize,
) -> Result<Option<Page<Node>>, SqlError> {
    if !job_exists(session, id)? {
        return Ok(None);
    }
    let order = match query.order_by {
        NodeOrder::Name => "name",
        NodeOrder::Duration => "finish - start",
        NodeOrder::State => "state",
        NodeOrder::StartTimestamp => "start",
        NodeOrder::FinishTimestamp => "finish",
    };
    let (direction, nulls) = if query.descending { ("DESC", "NULLS LAST") } else { ("ASC", "NULLS FIRST") };
    let state = query.state.map(|state| state.word());
    let filter = "job = ?1 AND (?2 IS NULL OR state = ?2)";
    let total = session.number(&format!("SELECT count(*) AS n FROM nodes WHERE {filter}"), values![id.0, state])?;
    let result = if query.with_results { "result" } else { "NULL AS result" };
    let columns = format!("name, state, start, finish, timestamp, latest_event_id, details, {result}");
    let sql = format!(
        "SELECT {columns} FROM nodes WHERE {filter} ORDER BY {order} {direction} {nulls}, name {direction} \
         LIMIT ?3 OFFSET ?4"
    );
    let limit = query.limit.map_or(i64::MAX, i64::from);
    let sliced = values![id.0, state, limit, query.offset];
    let items = session.within((&sql, sliced), &["details", "result"], bytes_max, rows::node)?;
    Ok(Some(Page { items, total: total.unsigned_abs() }))
}

/// The jobs that pass a filter, ascending, with those of their nodes that have not ended.
pub fn unfinished(
    session: &mut dyn Session,
    filter: &str,
    values: &[Value<'_>],
) -> Result<Vec<UnfinishedJob>, SqlError> {
    let sql = format!("SELECT * FROM jobs WHERE {filter} ORDER BY id");
    let mut jobs = session.all(&sql, values, |row| {
        Ok(UnfinishedJob {
            id: JobId(row.get("id")?),
            state: rows::job_state(row)?,
            spec: rows::spec(row)?,
            is_forced: row.get("forced")?,
            payload: row.option("payload")?.unwrap_or_default(),
            succeeded: 0,
            unsuccessful: 0,
            nodes: Vec::new(),
            waits: Vec::new(),
        })
    })?;
    let ended = "SELECT count(*) FILTER (WHERE state = 'finished') AS succeeded, \
                 count(*) FILTER (WHERE state IN ('failed', 'errored', 'skipped', 'stopped')) AS unsuccessful \
                 FROM nodes WHERE job = ?1";
    let waiting = "SELECT * FROM nodes WHERE job = ?1 AND state IN ('new', 'ready', 'running') ORDER BY position";
    for job in &mut jobs {
        let counts =
            session.first(ended, values![job.id.0], |row| Ok((row.get("succeeded")?, row.get("unsuccessful")?)))?;
        (job.succeeded, job.unsuccessful) = counts.unwrap_or_default();
        job.nodes = session.all(waiting, values![job.id.0], rows::unfinished_node)?;
        job.waits = order::waits(session, job.id)?;
    }
    Ok(jobs)
}

/// The writer's part of [`Store::create_job`].
pub fn create(session: &mut dyn Session, job: &NewJob) -> Result<JobId, StoreError> {
    let created = job.created;
    let JobSpec { work, terms, owner } = &job.spec;
    let (task, options, plan_job) = match work {
        Work::Task(task) => (Some(task), "{}".to_owned(), task.plan_job),
        Work::Deploy(options) => (None, json(options), None),
    };
    let id = next_number(session, "jobs")?;
    execute(
        session,
        "INSERT INTO jobs (id, state, kind, environment, task, params, sensitive, options, plan_job, scope, noop, \
         concurrency, description, userdata, timeout, owner, owner_login, created, timestamp, node_count, payload, schedule) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?18, ?19, ?20, ?21)",
        values![
            id,
            JobState::Ready.word(),
            work.kind().word(),
            &terms.environment,
            task.map_or("", |task| &task.task),
            task.map_or_else(|| "{}".to_owned(), |task| json(&task.params)),
            task.map_or_else(|| "[]".to_owned(), |task| json(&task.sensitive)),
            options,
            plan_job.map(|plan| plan.0),
            json(&terms.scope),
            terms.noop,
            terms.concurrency,
            &terms.description,
            json(&terms.userdata),
            terms.timeout.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)),
            json(owner),
            &owner.login,
            created,
            i64::try_from(job.nodes.len()).unwrap_or(i64::MAX),
            &job.payload,
            terms.schedule.map(|schedule| schedule.0),
        ],
    )?;
    if let Some(firing) = &job.firing {
        schedules::fire(session, firing, JobId(id), created)?;
    }
    if let Some(plan_job) = plan_job {
        plans::add_task(session, plan_job, JobId(id), created)?;
    }
    let status = "INSERT INTO job_status (job, seq, state, enter, exit) VALUES (?1, ?2, ?3, ?4, ?5)";
    execute(session, status, values![id, 0_i64, JobState::New.word(), created, created])?;
    execute(session, status, values![id, 1_i64, JobState::Ready.word(), created, None::<i64>])?;
    insert_nodes(session, id, job).map_err(written)?;
    order::add(session, id, &job.order)?;
    Ok(JobId(id))
}

/// Nodes whose values are held at once.
const NODES_AT_ONCE: usize = 1024;

fn insert_nodes(session: &mut dyn Session, id: i64, job: &NewJob) -> Result<(), SqlError> {
    let insert = "INSERT INTO nodes (job, position, name, transaction_id, state, timestamp)";
    let mut positions = 0_u32..;
    for nodes in job.nodes.chunks(NODES_AT_ONCE) {
        let mut rows = Vec::with_capacity(nodes.len());
        for (node, position) in nodes.iter().zip(positions.by_ref()) {
            let transaction = node.transaction.to_string();
            let state = NodeState::Ready.word();
            rows.push(values![id, position, &node.name, transaction, state, job.created].to_vec());
        }
        session.insert(insert, &rows)?;
    }
    Ok(())
}

/// Makes one of the changes of jobs, nodes and the inventory's names.
pub fn apply(session: &mut dyn Session, change: &Change) -> Result<(), StoreError> {
    let key = |node: &NodeKey| (node.job.0, node.position);
    match change {
        Change::JobEntered { job, state, at, event } => {
            enter_state(session, *job, *state, *at)?;
            event.iter().try_for_each(|event| add_event(session, *job, *at, event).map(drop))
        }
        Change::JobForced(job) => {
            execute(session, "UPDATE jobs SET forced = 1 WHERE id = ?1", values![job.0]).map(drop)
        }
        Change::NodeNoted { node, message } => {
            let sql = "UPDATE nodes SET details = ?3 WHERE job = ?1 AND position = ?2";
            let ((job, position), details) = (key(node), value!({"message": message}).to_string());
            execute(session, sql, values![job, position, details]).map(drop)
        }
        Change::NodeStarted { node, at, event } => {
            let event = add_event(session, node.job, *at, event)?;
            let sql = "UPDATE nodes SET state = ?3, start = ?4, timestamp = ?4, latest_event_id = ?5 \
                       WHERE job = ?1 AND position = ?2";
            let (job, position) = key(node);
            execute(session, sql, values![job, position, NodeState::Running.word(), *at, event]).map(drop)
        }
        Change::NodeAcknowledged(node) => {
            let sql = "UPDATE nodes SET acknowledged = 1 WHERE job = ?1 AND position = ?2";
            let (job, position) = key(node);
            execute(session, sql, values![job, position]).map(drop)
        }
        Change::NodeResent(node) => {
            let sql = "UPDATE nodes SET resent = 1 WHERE job = ?1 AND position = ?2";
            let (job, position) = key(node);
            execute(session, sql, values![job, position]).map(drop)
        }
        Change::NodeEnded { node, state, at, details, result, event } => {
            let event = add_event(session, node.job, *at, event)?;
            let sql = "UPDATE nodes SET state = ?3, finish = ?4, timestamp = ?4, latest_event_id = ?5, details = ?6, \
                       result = ?7 WHERE job = ?1 AND position = ?2";
            let (job, position) = key(node);
            let values = values![job, position, state.word(), *at, event, json(details), json(result)];
            execute(session, sql, values).map(drop)
        }
        Change::NodesSeen(names) => {
            let sql = "INSERT INTO known_nodes (name) VALUES (?1) ON CONFLICT DO NOTHING";
            names.iter().try_for_each(|name| execute(session, sql, values![name]).map(drop))
        }
        Change::Access(_)
        | Change::Facts(_)
        | Change::Groups(_)
        | Change::ReportFound { .. }
        | Change::Schedule(_)
        | Change::Usage(_)
        | Change::TaskTargetCreated(_)
        | Change::Webhooks(_) => {
            unreachable!("the writer has others make these")
        }
    }
}

fn enter_state(session: &mut dyn Session, job: JobId, state: JobState, at: WallTime) -> Result<(), StoreError> {
    execute(session, "UPDATE job_status SET exit = ?2 WHERE job = ?1 AND exit IS NULL", values![job.0, at])?;
    execute(
        session,
        "INSERT INTO job_status (job, seq, state, enter) \
         SELECT ?1, 1 + max(seq), ?2, ?3 FROM job_status WHERE job = ?1",
        values![job.0, state.word(), at],
    )?;
    execute(
        session,
        "UPDATE jobs SET state = ?2, timestamp = ?3, \
         started = CASE WHEN ?4 = 1 THEN coalesce(started, ?3) ELSE started END, \
         finished = CASE WHEN ?5 = 1 THEN ?3 END, payload = CASE WHEN ?5 = 1 THEN NULL ELSE payload END WHERE id = ?1",
        values![job.0, state.word(), at, state == JobState::Running, state.is_final()],
    )
    .map(drop)
}

fn add_event(session: &mut dyn Session, job: JobId, at: WallTime, event: &NewEvent) -> Result<i64, StoreError> {
    let sql = "INSERT INTO events (job, kind, timestamp, details, message) VALUES (?1, ?2, ?3, ?4, ?5)";
    let NewEvent { kind, details, message } = event;
    let details: &Map<_, _> = details;
    insert_numbered(session, sql, values![job.0, kind.word(), at, json(details), message])
}
