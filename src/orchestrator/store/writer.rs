//! The store's only writer: a thread that takes requests from a queue and gives as many of them as are waiting one
//! transaction, so that they share one flush to disk. Each request is a part of its own: one that fails takes nothing with
//! it. While the database is out of reach requests are refused, except for those that are kept until it is back.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use super::plans::{NewPlanJob, PlanFinish};
use super::schedules::{Added, Most, NewSchedule};
use super::sql::{Database, Failed, Session, SqlError};
use super::tables::{access, facts, groups, jobs, plans, prune, reports, schedules, task_targets, usage, webhooks};
use super::{Change, NewJob, Pruned, StoreError, UnfinishedJob};
use crate::clock::WallTime;
use crate::limits::{STORE_BATCH_CHANGES_MAX, STORE_QUEUE_MAX, STORE_RETRY_PAUSE};
use crate::orchestrator::model::{JobId, PlanEnd, PlanJobId};

/// Where an outcome goes once the transaction is on disk.
pub type Done<T> = Sender<Result<T, StoreError>>;

/// What is done in the writer's transaction by the store itself.
pub type Custom = Box<dyn FnMut(&mut dyn Session) -> Result<Vec<UnfinishedJob>, StoreError> + Send>;

/// A request to the writer, with where to put its outcome.
pub enum Write {
    /// A new job.
    Create(Box<NewJob>, Done<JobId>),
    /// A new plan job.
    StartPlan(Box<NewPlanJob>, Done<PlanJobId>),
    /// The end of a plan job.
    FinishPlan(Box<PlanEnd>, WallTime, Done<PlanFinish>),
    /// A new schedule, unless there are so many.
    AddSchedule(Box<NewSchedule>, Most, Done<Added>),
    /// Changes, all or none.
    Commit(Vec<Change>, Done<()>),
    /// The same, kept while the database is out of reach.
    CommitPatiently(Arc<Vec<Change>>, Done<()>),
    /// Rows of old jobs, see [`super::Store::prune`].
    Prune(WallTime, usize, Done<Pruned>),
    /// What only one kind of store does.
    Custom(Custom, Done<Vec<UnfinishedJob>>),
}

impl Write {
    fn weight(&self) -> usize {
        match self {
            Self::Create(job, _) => 1 + job.nodes.len(),
            Self::StartPlan(..) | Self::FinishPlan(..) | Self::AddSchedule(..) | Self::Custom(..) => 1,
            Self::Commit(changes, _) => changes.len(),
            Self::CommitPatiently(changes, _) => changes.len(),
            Self::Prune(_, rows, _) => *rows,
        }
    }
}

/// What came of a request, if the transaction is committed.
enum Outcome {
    Created(Result<JobId, StoreError>),
    PlanStarted(Result<PlanJobId, StoreError>),
    PlanFinished(Result<PlanFinish, StoreError>),
    ScheduleAdded(Result<Added, StoreError>),
    Committed(Result<(), StoreError>),
    Pruned(Result<Pruned, StoreError>),
    Custom(Result<Vec<UnfinishedJob>, StoreError>),
}

impl Outcome {
    fn error(&self) -> Option<&StoreError> {
        match self {
            Self::Created(result) => result.as_ref().err(),
            Self::PlanStarted(result) => result.as_ref().err(),
            Self::PlanFinished(result) => result.as_ref().err(),
            Self::ScheduleAdded(result) => result.as_ref().err(),
            Self::Committed(result) => result.as_ref().err(),
            Self::Pruned(result) => result.as_ref().err(),
            Self::Custom(result) => result.as_ref().err(),
        }
    }
}

/// The way to the writer's thread.
pub struct Queue {
    writer: Mutex<Option<(Sender<Write>, JoinHandle<()>)>>,
    /// How long an outcome may take; `None` where it always comes.
    patience: Option<Duration>,
    /// Held while a job's outcome is told, and while somebody gives up waiting for one: either it is had or it is not.
    telling: Arc<Mutex<()>>,
}

impl Queue {
    /// Starts the thread. Jobs that were committed after whoever had asked for them had given up go to `unclaimed`.
    pub fn start(
        database: Box<dyn Database>,
        unclaimed: Sender<JobId>,
        patience: Option<Duration>,
    ) -> std::io::Result<Self> {
        let (requests, queue) = bounded(STORE_QUEUE_MAX);
        let telling = Arc::new(Mutex::new(()));
        let mut writer = Writer { database, unclaimed, telling: telling.clone(), reach: Reach::There };
        let thread = thread::Builder::new().name("store".into()).spawn(move || writer.run(&queue))?;
        Ok(Self { writer: Mutex::new(Some((requests, thread))), patience, telling })
    }

    /// As [`Self::write`], however long it takes.
    pub fn write_patiently<T>(&self, request: impl FnOnce(Done<T>) -> Write) -> Result<T, StoreError> {
        self.ask(request)?.recv().map_err(|_| StoreError::Closed)?
    }

    /// Has the writer do something, and waits for it.
    pub fn write<T>(&self, request: impl FnOnce(Done<T>) -> Write) -> Result<T, StoreError> {
        let outcome = self.ask(request)?;
        let Some(patience) = self.patience else { return outcome.recv().map_err(|_| StoreError::Closed)? };
        match outcome.recv_timeout(patience) {
            Ok(told) => told,
            Err(RecvTimeoutError::Disconnected) => Err(StoreError::Closed),
            Err(RecvTimeoutError::Timeout) => {
                let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
                let told = outcome.try_recv();
                drop(outcome);
                told.unwrap_or(Err(StoreError::InDoubt))
            }
        }
    }

    fn ask<T>(&self, request: impl FnOnce(Done<T>) -> Write) -> Result<Receiver<Result<T, StoreError>>, StoreError> {
        let requests = {
            let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.as_ref().map(|(requests, _)| requests.clone()).ok_or(StoreError::Closed)?
        };
        let (done, outcome) = bounded(1);
        requests.send(request(done)).map_err(|_| StoreError::Closed)?;
        Ok(outcome)
    }

    /// Ends the writer after what was asked for before.
    pub fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((requests, thread)) = writer {
            drop(requests);
            // A panic of the writer has been reported by its own hook.
            drop(thread.join());
        }
    }
}

struct Writer {
    database: Box<dyn Database>,
    unclaimed: Sender<JobId>,
    telling: Arc<Mutex<()>>,
    reach: Reach,
}

/// Whether the database answered when it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    There,
    Away,
}

/// What comes next for the writer.
enum Next {
    Batch(Vec<Write>),
    End,
}

impl Writer {
    /// Serves requests until all senders are gone.
    fn run(&mut self, requests: &Receiver<Write>) {
        let mut kept = Vec::new();
        while let Next::Batch(batch) = next(&mut kept, requests) {
            kept = self.write_batch(batch);
        }
    }

    /// Writes a batch and tells what came of it; what is to be kept comes back.
    fn write_batch(&mut self, mut batch: Vec<Write>) -> Vec<Write> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let written = self.database.transact(&mut |transaction| {
            outcomes.clear();
            for write in &mut batch {
                transaction.begin()?;
                let outcome = perform(transaction.session(), write);
                match outcome.error() {
                    None => transaction.keep()?,
                    Some(StoreError::Unreachable { cause }) => return Err(SqlError::Lost(cause.clone())),
                    // A full disk may have taken back more than the part.
                    Some(StoreError::Full { cause, .. }) => {
                        transaction.take_back().map_err(|_| SqlError::Full(cause.clone()))?;
                    }
                    Some(_) => transaction.take_back()?,
                }
                outcomes.push(outcome);
            }
            Ok(())
        });
        let undone = match written {
            Ok(()) => None,
            Err(Failed::Undone(error)) => Some(error),
            Err(Failed::InDoubt) => self.settle(),
        };
        self.note(undone.as_ref());
        match undone {
            None => {
                batch.into_iter().zip(outcomes).for_each(|(write, outcome)| self.tell(write, outcome));
                Vec::new()
            }
            Some(error) => batch.into_iter().filter_map(|write| refuse(write, &error)).collect(),
        }
    }

    /// Says once when the database has gone, and once when it is back.
    fn note(&mut self, undone: Option<&StoreError>) {
        match (self.reach, undone) {
            (Reach::There, Some(error @ StoreError::Unreachable { .. })) => {
                tracing::error!(%error, "nothing can be written; tried again until it can");
                self.reach = Reach::Away;
            }
            (Reach::Away, None) => {
                tracing::info!("the database is back");
                self.reach = Reach::There;
            }
            _ => {}
        }
    }

    /// Finds out what became of a transaction in doubt; nobody may be told anything before. The error if it was undone.
    fn settle(&mut self) -> Option<StoreError> {
        loop {
            match self.database.was_committed() {
                Ok(true) => return None,
                Ok(false) => {
                    let cause = "the connection was lost while it was committed, and it was not".to_owned();
                    return Some(StoreError::Unreachable { cause });
                }
                Err(error @ StoreError::Fenced(_)) => return Some(error),
                Err(_) => thread::sleep(STORE_RETRY_PAUSE),
            }
        }
    }

    /// Tells what is on disk. Nobody may be waiting any more, which is fine, except for a job: it has to be run.
    fn tell(&self, write: Write, outcome: Outcome) {
        match (write, outcome) {
            (Write::Create(_, to), Outcome::Created(result)) => {
                let id = result.as_ref().ok().copied();
                let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
                if to.send(result).is_err()
                    && let Some(id) = id
                {
                    // Nobody looks for these in a store with one server, which runs them at its next start.
                    let _ = self.unclaimed.send(id);
                }
            }
            (Write::StartPlan(_, to), Outcome::PlanStarted(result)) => drop(to.send(result)),
            (Write::FinishPlan(_, _, to), Outcome::PlanFinished(result)) => drop(to.send(result)),
            (Write::AddSchedule(_, _, to), Outcome::ScheduleAdded(result)) => drop(to.send(result)),
            (Write::Commit(_, to) | Write::CommitPatiently(_, to), Outcome::Committed(result)) => drop(to.send(result)),
            (Write::Prune(_, _, to), Outcome::Pruned(result)) => drop(to.send(result)),
            (Write::Custom(_, to), Outcome::Custom(result)) => drop(to.send(result)),
            _ => unreachable!("an outcome is that of its request"),
        }
    }
}

/// What was kept, or what comes next, with all that waits behind it.
fn next(kept: &mut Vec<Write>, requests: &Receiver<Write>) -> Next {
    let mut batch = mem::take(kept);
    if batch.is_empty() {
        let Ok(first) = requests.recv() else { return Next::End };
        batch.push(first);
    } else {
        // Whoever else comes meanwhile has the next attempt begin at once, and is refused if it fails.
        match requests.recv_timeout(STORE_RETRY_PAUSE) {
            Ok(write) => batch.push(write),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                batch.into_iter().for_each(|write| refuse_for_good(write, &StoreError::Closed));
                return Next::End;
            }
        }
    }
    let mut weight: usize = batch.iter().map(Write::weight).sum();
    while weight < STORE_BATCH_CHANGES_MAX {
        match requests.try_recv() {
            Ok(write) => {
                weight += write.weight();
                batch.push(write);
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    Next::Batch(batch)
}

/// Tells that a request came to nothing, unless it is one to be kept.
fn refuse(write: Write, error: &StoreError) -> Option<Write> {
    match (write, error) {
        (write @ Write::CommitPatiently(..), StoreError::Unreachable { .. }) => Some(write),
        (write, error) => {
            refuse_for_good(write, error);
            None
        }
    }
}

fn refuse_for_good(write: Write, error: &StoreError) {
    let error = error.clone();
    match write {
        Write::Create(_, to) => drop(to.send(Err(error))),
        Write::StartPlan(_, to) => drop(to.send(Err(error))),
        Write::FinishPlan(_, _, to) => drop(to.send(Err(error))),
        Write::AddSchedule(_, _, to) => drop(to.send(Err(error))),
        Write::Commit(_, to) | Write::CommitPatiently(_, to) => drop(to.send(Err(error))),
        Write::Prune(_, _, to) => drop(to.send(Err(error))),
        Write::Custom(_, to) => drop(to.send(Err(error))),
    }
}

fn perform(session: &mut dyn Session, write: &mut Write) -> Outcome {
    match write {
        Write::Create(job, _) => Outcome::Created(jobs::create(session, job)),
        Write::StartPlan(plan, _) => Outcome::PlanStarted(plans::start(session, plan)),
        Write::FinishPlan(end, at, _) => Outcome::PlanFinished(plans::finish(session, end, *at)),
        Write::AddSchedule(schedule, most, _) => Outcome::ScheduleAdded(schedules::add(session, schedule, *most)),
        Write::Commit(changes, _) => Outcome::Committed(all(session, changes)),
        Write::CommitPatiently(changes, _) => Outcome::Committed(all(session, changes)),
        Write::Prune(before, rows, _) => Outcome::Pruned(prune::step(session, *before, *rows)),
        Write::Custom(work, _) => Outcome::Custom(work(session)),
    }
}

fn all(session: &mut dyn Session, changes: &[Change]) -> Result<(), StoreError> {
    changes.iter().try_for_each(|change| apply(session, change))
}

fn apply(session: &mut dyn Session, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Access(change) => access::apply(session, change),
        Change::Facts(change) => facts::apply(session, change),
        Change::Groups(change) => groups::apply(session, change),
        Change::ReportFound { job, node, report } => reports::apply(session, *job, node, report),
        Change::TaskTargetCreated(target) => task_targets::apply(session, target),
        Change::Schedule(change) => schedules::apply(session, change),
        Change::Usage(change) => usage::apply(session, change),
        Change::Webhooks(change) => webhooks::apply(session, change),
        change => jobs::apply(session, change),
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;
    use rusqlite::Connection;

    use super::super::sql::Transaction;
    use super::super::sql::sqlite::SqliteDatabase;
    use super::*;

    #[test]
    fn nothing_of_a_batch_is_kept_once_the_database_has_taken_the_transaction_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let connection = Connection::open(&path).unwrap();
        // What SQLite does by itself when the disk is full.
        let schema = "CREATE TABLE known_nodes (name TEXT PRIMARY KEY); CREATE TRIGGER full BEFORE INSERT ON known_nodes \
                      WHEN new.name = 'full' BEGIN SELECT RAISE(ROLLBACK, 'disk full'); END;";
        connection.execute_batch(schema).unwrap();
        let mut writer = Writer {
            database: Box::new(SqliteDatabase(connection)),
            unclaimed: unbounded().0,
            telling: Arc::default(),
            reach: Reach::There,
        };
        let (outcomes, batch): (Vec<_>, Vec<_>) = ["before", "full", "after"]
            .map(|name| {
                let (to, outcome) = bounded(1);
                (outcome, Write::Commit(vec![Change::NodesSeen(vec![name.to_owned()])], to))
            })
            .into_iter()
            .unzip();
        writer.write_batch(batch);
        assert!(outcomes.iter().all(|outcome| outcome.recv().unwrap().is_err()));
        let reader = Connection::open(&path).unwrap();
        let kept: i64 = reader.query_row("SELECT count(*) FROM known_nodes", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 0);
        let (to, outcome) = bounded(1);
        writer.write_batch(vec![Write::Commit(vec![Change::NodesSeen(vec!["later".to_owned()])], to)]);
        assert_eq!(outcome.recv().unwrap(), Ok(()));
    }

    /// A database that is out of reach, then loses a connection in the middle of commits, then works.
    struct Shaky {
        failures: Vec<Failed>,
        doubts: Vec<Result<bool, StoreError>>,
    }

    struct Nothing;

    impl Session for Nothing {
        fn execute(&mut self, _: &str, _: &[super::super::sql::Value<'_>]) -> Result<usize, SqlError> {
            Ok(1)
        }

        fn query(
            &mut self,
            _: &str,
            _: &[super::super::sql::Value<'_>],
            _: super::super::sql::Look<'_>,
        ) -> Result<(), SqlError> {
            Ok(())
        }
    }

    impl Transaction for Nothing {
        fn session(&mut self) -> &mut dyn Session {
            self
        }

        fn begin(&mut self) -> Result<(), SqlError> {
            Ok(())
        }

        fn keep(&mut self) -> Result<(), SqlError> {
            Ok(())
        }

        fn take_back(&mut self) -> Result<(), SqlError> {
            Ok(())
        }
    }

    impl Database for Shaky {
        fn transact(&mut self, work: super::super::sql::Work<'_>) -> Result<(), Failed> {
            work(&mut Nothing).unwrap();
            self.failures.pop().map_or(Ok(()), Err)
        }

        fn was_committed(&mut self) -> Result<bool, StoreError> {
            self.doubts.pop().unwrap()
        }
    }

    #[test]
    fn while_the_database_is_away_only_the_patient_wait_and_doubt_is_settled_first() {
        let away = || StoreError::Unreachable { cause: "away".to_owned() };
        let failures = vec![Failed::InDoubt, Failed::InDoubt, Failed::Undone(away())];
        let doubts = vec![Ok(true), Err(away()), Ok(false), Err(away())];
        let mut writer = Writer {
            database: Box::new(Shaky { failures, doubts }),
            unclaimed: unbounded().0,
            telling: Arc::default(),
            reach: Reach::There,
        };
        let seen = || vec![Change::NodesSeen(vec!["a".to_owned()])];
        let (to, told) = bounded(1);
        let (patient_to, patient) = bounded(1);
        let kept =
            writer.write_batch(vec![Write::Commit(seen(), to), Write::CommitPatiently(Arc::new(seen()), patient_to)]);
        assert_eq!(told.recv().unwrap(), Err(away()));
        // In doubt and not committed: once more; in doubt and committed: told so.
        let kept = writer.write_batch(kept);
        assert_eq!((kept.len(), patient.try_recv()), (1, Err(TryRecvError::Empty)));
        assert!(writer.write_batch(kept).is_empty());
        assert_eq!(patient.recv().unwrap(), Ok(()));
    }
}
