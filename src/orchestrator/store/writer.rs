//! The store's only writer: a thread that takes requests from a queue and gives as many of them as are waiting one
//! transaction, so that they share one flush to disk. Each request has a savepoint of its own: one that fails takes
//! nothing with it.

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, Savepoint, params};
use serde_json::{Map, Value};

use super::plans::{NewPlanJob, PlanFinish};
use super::rows::{database, json};
use super::schedules::{Added, NewSchedule};
use super::sqlite::{apply_facts, apply_groups, apply_task_target, apply_usage, plans, schedules};
use super::{Change, NewEvent, NewJob, Pruned, StoreError, prune, sqlite_access};
use crate::clock::WallTime;
use crate::limits::STORE_BATCH_CHANGES_MAX;
use crate::orchestrator::model::{JobId, JobSpec, JobState, NodeState, PlanEnd, PlanJobId, Work};

/// A request to the writer, with where to put its outcome.
pub enum Write {
    /// A new job.
    Create(Box<NewJob>, Sender<Result<JobId, StoreError>>),
    /// A new plan job.
    StartPlan(Box<NewPlanJob>, Sender<Result<PlanJobId, StoreError>>),
    /// The end of a plan job.
    FinishPlan(Box<PlanEnd>, WallTime, Sender<Result<PlanFinish, StoreError>>),
    /// A new schedule, unless there are so many.
    AddSchedule(Box<NewSchedule>, u32, Sender<Result<Added, StoreError>>),
    /// Changes, all or none.
    Commit(Vec<Change>, Sender<Result<(), StoreError>>),
    /// Rows of old jobs, see [`super::Store::prune`].
    Prune(WallTime, usize, Sender<Result<Pruned, StoreError>>),
}

impl Write {
    fn weight(&self) -> usize {
        match self {
            Self::Create(job, _) => 1 + job.nodes.len(),
            Self::StartPlan(..) | Self::FinishPlan(..) | Self::AddSchedule(..) => 1,
            Self::Commit(changes, _) => changes.len(),
            Self::Prune(_, rows, _) => *rows,
        }
    }
}

/// An outcome that is told once the transaction is on disk.
enum Outcome {
    Created(Sender<Result<JobId, StoreError>>, Result<JobId, StoreError>),
    PlanStarted(Sender<Result<PlanJobId, StoreError>>, Result<PlanJobId, StoreError>),
    PlanFinished(Sender<Result<PlanFinish, StoreError>>, Result<PlanFinish, StoreError>),
    ScheduleAdded(Sender<Result<Added, StoreError>>, Result<Added, StoreError>),
    Committed(Sender<Result<(), StoreError>>, Result<(), StoreError>),
    Pruned(Sender<Result<Pruned, StoreError>>, Result<Pruned, StoreError>),
}

impl Outcome {
    /// Tells it; `commit` is how the transaction as a whole went. Nobody may be waiting any more, which is fine.
    fn tell(self, commit: &Result<(), StoreError>) {
        match self {
            Self::Created(to, result) => drop(to.send(commit.clone().and(result))),
            Self::PlanStarted(to, result) => drop(to.send(commit.clone().and(result))),
            Self::PlanFinished(to, result) => drop(to.send(commit.clone().and(result))),
            Self::ScheduleAdded(to, result) => drop(to.send(commit.clone().and(result))),
            Self::Committed(to, result) => drop(to.send(commit.clone().and(result))),
            Self::Pruned(to, result) => drop(to.send(commit.clone().and(result))),
        }
    }
}

/// Serves requests until all senders are gone.
pub fn run(mut connection: Connection, requests: &Receiver<Write>) {
    while let Ok(first) = requests.recv() {
        let mut weight = first.weight();
        let mut batch = vec![first];
        while weight < STORE_BATCH_CHANGES_MAX {
            let Ok(next) = requests.try_recv() else { break };
            weight += next.weight();
            batch.push(next);
        }
        write_batch(&mut connection, batch);
    }
}

fn write_batch(connection: &mut Connection, batch: Vec<Write>) {
    let mut outcomes = Vec::with_capacity(batch.len());
    let commit = (|| {
        let mut transaction = connection.transaction().map_err(database("begin a transaction"))?;
        for write in batch {
            let savepoint = transaction.savepoint().map_err(database("set a savepoint"))?;
            outcomes.push(perform(savepoint, write));
            // A full disk can make SQLite take everything back at once. What came after would be committed by itself,
            // though its callers are told that it was not.
            if transaction.is_autocommit() {
                let cause = "the database has taken the transaction back".to_owned();
                return Err(StoreError::Database { action: "go on with a transaction", cause });
            }
        }
        transaction.commit().map_err(database("commit"))
    })();
    for outcome in outcomes {
        outcome.tell(&commit);
    }
}

fn perform(savepoint: Savepoint<'_>, write: Write) -> Outcome {
    // A savepoint that is dropped rolls back.
    let release = |savepoint: Savepoint<'_>| savepoint.commit().map_err(database("release a savepoint"));
    match write {
        Write::Create(job, to) => {
            let result = create_job(&savepoint, &job).and_then(|id| release(savepoint).map(|()| id));
            Outcome::Created(to, result)
        }
        Write::StartPlan(plan, to) => {
            let result = plans::start(&savepoint, &plan).and_then(|id| release(savepoint).map(|()| id));
            Outcome::PlanStarted(to, result)
        }
        Write::FinishPlan(end, at, to) => {
            let result = plans::finish(&savepoint, &end, at).and_then(|finish| release(savepoint).map(|()| finish));
            Outcome::PlanFinished(to, result)
        }
        Write::AddSchedule(schedule, most, to) => {
            let result = schedules::add(&savepoint, &schedule, most);
            Outcome::ScheduleAdded(to, result.and_then(|added| release(savepoint).map(|()| added)))
        }
        Write::Commit(changes, to) => {
            let result = changes.iter().try_for_each(|change| apply(&savepoint, change));
            Outcome::Committed(to, result.and_then(|()| release(savepoint)))
        }
        Write::Prune(before, rows, to) => {
            let result = prune::step(&savepoint, before, rows);
            Outcome::Pruned(to, result.and_then(|pruned| release(savepoint).map(|()| pruned)))
        }
    }
}

/// Executes one statement.
pub fn execute(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(database("prepare a change"))?;
    statement.execute(values).map_err(database("write a row"))
}

fn create_job(connection: &Connection, job: &NewJob) -> Result<JobId, StoreError> {
    let created = job.created.as_millis();
    let JobSpec { work, terms, owner } = &job.spec;
    let (task, options, plan_job) = match work {
        Work::Task(task) => (Some(task), "{}".to_owned(), task.plan_job),
        Work::Deploy(options) => (None, json(options), None),
    };
    execute(
        connection,
        "INSERT INTO jobs (state, kind, environment, task, params, sensitive, options, plan_job, scope, noop, \
         concurrency, description, userdata, timeout, owner, owner_login, created, timestamp, node_count, payload, \
         schedule) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?17, ?18, ?19, ?20)",
        params![
            JobState::Ready.word(),
            work.kind().word(),
            terms.environment,
            task.map_or("", |task| &task.task),
            task.map_or_else(|| "{}".to_owned(), |task| json(&task.params)),
            task.map_or_else(|| "[]".to_owned(), |task| json(&task.sensitive)),
            options,
            plan_job.map(|plan| plan.0),
            json(&terms.scope),
            terms.noop,
            terms.concurrency,
            terms.description,
            json(&terms.userdata),
            terms.timeout.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)),
            json(owner),
            owner.login,
            created,
            i64::try_from(job.nodes.len()).unwrap_or(i64::MAX),
            job.payload,
            terms.schedule.map(|schedule| schedule.0),
        ],
    )?;
    let id = connection.last_insert_rowid();
    if let Some(firing) = &job.firing {
        schedules::fire(connection, firing, JobId(id), job.created)?;
    }
    if let Some(plan_job) = plan_job {
        plans::add_task(connection, plan_job, JobId(id), job.created)?;
    }
    let status = "INSERT INTO job_status (job, seq, state, enter, exit) VALUES (?1, ?2, ?3, ?4, ?5)";
    execute(connection, status, params![id, 0, JobState::New.word(), created, created])?;
    execute(connection, status, params![id, 1, JobState::Ready.word(), created, None::<i64>])?;
    for (position, node) in job.nodes.iter().enumerate() {
        execute(
            connection,
            "INSERT INTO nodes (job, position, name, transaction_id, state, timestamp) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                i64::try_from(position).unwrap_or(i64::MAX),
                node.name,
                node.transaction.to_string(),
                NodeState::Ready.word(),
                created
            ],
        )?;
    }
    Ok(JobId(id))
}

fn apply(connection: &Connection, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::JobEntered { job, state, at, event } => {
            enter_job_state(connection, *job, *state, *at)?;
            event.iter().try_for_each(|event| add_event(connection, *job, *at, event).map(drop))
        }
        Change::JobForced(job) => {
            execute(connection, "UPDATE jobs SET forced = 1 WHERE id = ?1", params![job.0]).map(drop)
        }
        Change::NodeNoted { node, message } => {
            let sql = "UPDATE nodes SET details = json_object('message', ?3) WHERE job = ?1 AND position = ?2";
            execute(connection, sql, params![node.job.0, node.position, message]).map(drop)
        }
        Change::NodeStarted { node, at, event } => {
            let event = add_event(connection, node.job, *at, event)?;
            let sql = "UPDATE nodes SET state = ?3, start = ?4, timestamp = ?4, latest_event_id = ?5 \
                       WHERE job = ?1 AND position = ?2";
            let state = NodeState::Running.word();
            execute(connection, sql, params![node.job.0, node.position, state, at.as_millis(), event]).map(drop)
        }
        Change::NodeAcknowledged(node) => {
            let sql = "UPDATE nodes SET acknowledged = 1 WHERE job = ?1 AND position = ?2";
            execute(connection, sql, params![node.job.0, node.position]).map(drop)
        }
        Change::NodeResent(node) => {
            let sql = "UPDATE nodes SET resent = 1 WHERE job = ?1 AND position = ?2";
            execute(connection, sql, params![node.job.0, node.position]).map(drop)
        }
        Change::NodeEnded { node, state, at, details, result, event } => {
            let event = add_event(connection, node.job, *at, event)?;
            let sql = "UPDATE nodes SET state = ?3, finish = ?4, timestamp = ?4, latest_event_id = ?5, details = ?6, \
                       result = ?7 WHERE job = ?1 AND position = ?2";
            let (details, result) = (json(details), json(result));
            let key = (node.job.0, node.position);
            execute(connection, sql, params![key.0, key.1, state.word(), at.as_millis(), event, details, result])
                .map(drop)
        }
        Change::NodesSeen(names) => names.iter().try_for_each(|name| {
            execute(connection, "INSERT OR IGNORE INTO known_nodes (name) VALUES (?1)", params![name]).map(drop)
        }),
        Change::Access(change) => sqlite_access::apply(connection, change),
        Change::Facts(change) => apply_facts(connection, change),
        Change::Groups(change) => apply_groups(connection, change),
        Change::TaskTargetCreated(target) => apply_task_target(connection, target),
        Change::Schedule(change) => schedules::apply(connection, change),
        Change::Usage(change) => apply_usage(connection, change),
    }
}

fn enter_job_state(connection: &Connection, job: JobId, state: JobState, at: WallTime) -> Result<(), StoreError> {
    let at = at.as_millis();
    execute(connection, "UPDATE job_status SET exit = ?2 WHERE job = ?1 AND exit IS NULL", params![job.0, at])?;
    execute(
        connection,
        "INSERT INTO job_status (job, seq, state, enter) \
         SELECT ?1, 1 + max(seq), ?2, ?3 FROM job_status WHERE job = ?1",
        params![job.0, state.word(), at],
    )?;
    execute(
        connection,
        "UPDATE jobs SET state = ?2, timestamp = ?3, started = CASE WHEN ?4 THEN coalesce(started, ?3) ELSE started END, \
         finished = CASE WHEN ?5 THEN ?3 END, payload = CASE WHEN ?5 THEN NULL ELSE payload END WHERE id = ?1",
        params![job.0, state.word(), at, state == JobState::Running, state.is_final()],
    )
    .map(drop)
}

fn add_event(connection: &Connection, job: JobId, at: WallTime, event: &NewEvent) -> Result<i64, StoreError> {
    let sql = "INSERT INTO events (job, kind, timestamp, details, message) VALUES (?1, ?2, ?3, ?4, ?5)";
    let details: &Map<String, Value> = &event.details;
    execute(connection, sql, params![job.0, event.kind.word(), at.as_millis(), json(details), event.message])?;
    Ok(connection.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn nothing_of_a_batch_is_kept_once_the_database_has_taken_the_transaction_back() {
        let mut connection = Connection::open_in_memory().unwrap();
        // What SQLite does by itself when the disk is full.
        let schema = "CREATE TABLE known_nodes (name TEXT PRIMARY KEY); CREATE TRIGGER full BEFORE INSERT ON known_nodes \
                      WHEN new.name = 'full' BEGIN SELECT RAISE(ROLLBACK, 'disk full'); END;";
        connection.execute_batch(schema).unwrap();
        let (outcomes, batch): (Vec<_>, Vec<_>) = ["before", "full", "after"]
            .map(|name| {
                let (to, outcome) = bounded(1);
                (outcome, Write::Commit(vec![Change::NodesSeen(vec![name.to_owned()])], to))
            })
            .into_iter()
            .unzip();
        write_batch(&mut connection, batch);
        // An answer that never comes is a failure too.
        assert!(!outcomes.iter().any(|outcome| outcome.try_recv().is_ok_and(|told| told.is_ok())));
        let kept: i64 = connection.query_row("SELECT count(*) FROM known_nodes", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 0);
        let (to, outcome) = bounded(1);
        write_batch(&mut connection, vec![Write::Commit(vec![Change::NodesSeen(vec!["later".to_owned()])], to)]);
        assert_eq!(outcome.recv().unwrap(), Ok(()));
    }
}
