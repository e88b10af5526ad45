//! The disk is full: the driver waits, tells nobody anything that is not stored, and goes on.

use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvError, bounded, unbounded};
use uuid::Uuid;

use super::super::driver::{Command, Driver, DriverParts};
use super::super::stall::Resumed;
use super::super::{DispatchSettings, Dispatcher, Stop};
use crate::clock::{Clock, WallTime};
use crate::limits::PRUNE_ROWS_MAX;
use crate::orchestrator::disk::Disk;
use crate::orchestrator::inventory::Inventory;
use crate::orchestrator::model::{JobId, JobState, NodeState};
use crate::orchestrator::store::sqlite::SqliteStore;
use crate::orchestrator::store::{Change, Pruned, Store, StoreError, conformance};

/// Pages of the database.
const PAGES_MAX: u32 = 400;

fn driver(store: &Arc<SqliteStore>, disk: &Arc<Disk>) -> (Driver, crossbeam_channel::Sender<Command>) {
    let settings = DispatchSettings {
        task_concurrency: 1,
        deploy_concurrency: 1,
        allowed_status_requests: 1,
        status_interval: Duration::from_secs(1),
    };
    let (clock, inventory) = (Clock::start(), Arc::new(RwLock::new(Inventory::new(Vec::new()))));
    let (commander, commands) = unbounded();
    let parts = DriverParts {
        dispatcher: Dispatcher::new(settings, inventory, Box::new(Uuid::nil), clock.now()),
        recovered: Vec::new(),
        store: store.clone(),
        links: Vec::new(),
        commands,
        clock,
        unfinished_nodes: Arc::default(),
        reports: None,
        disk: disk.clone(),
        bell: Arc::default(),
    };
    (Driver::new(parts), commander)
}

/// A store with an old job in it, and no room for another name.
fn full_store(dir: &std::path::Path) -> Arc<SqliteStore> {
    let store = SqliteStore::open_within(dir, Some(PAGES_MAX)).unwrap();
    let names: Vec<String> = (0..500).map(|node| format!("{node}.{}", "n".repeat(300))).collect();
    let old =
        store.create_job(conformance::new_job("old", &names.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    let at = WallTime::from_millis(1000);
    store.commit(vec![Change::JobEntered { job: old, state: JobState::Finished, at, event: None }]).unwrap();
    let full = (0..).find_map(|name: u64| store.commit(vec![Change::NodesSeen(vec![long(name)])]).err());
    assert!(matches!(full, Some(StoreError::Full { .. })), "{full:?}");
    Arc::new(store)
}

fn long(name: u64) -> String {
    format!("{name}.{}", "x".repeat(3000))
}

fn batch() -> Vec<Change> {
    vec![Change::NodesSeen((1_000_000..1_000_005).map(long).collect())]
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within 20 s");
        thread::yield_now();
    }
}

#[test]
fn a_batch_that_does_not_fit_is_stored_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = full_store(dir.path());
    let before = store.known_nodes().unwrap().len();
    let disk = Arc::new(Disk::new(dir.path().to_owned(), 0));
    let (mut driver, commander) = driver(&store, &disk);
    let (asked, answer) = bounded(1);
    driver.answers.push((asked, super::super::StopAnswer::Stopping));
    let committing = thread::spawn(move || (driver.commit(batch()).map(|end| matches!(end, Resumed::Stored)), driver));
    until("the stall", || disk.is_full());
    assert!(disk.check().is_err(), "no job is accepted");
    // Nobody is told that a job is being stopped before that is stored, nor waits for it.
    assert_eq!(answer.recv(), Err(RecvError));
    let (later, not_answered) = bounded(1);
    commander.send(Command::Stop(JobId(1), Stop::Gently, later)).unwrap();
    assert_eq!(not_answered.recv(), Err(RecvError));
    let (_, link) = super::super::driver::tests::link(0);
    commander.send(Command::Attach(link)).unwrap();
    assert_eq!(store.known_nodes().unwrap().len(), before, "nothing of it is stored, and reading goes on");
    while store.prune(WallTime::from_millis(2000), PRUNE_ROWS_MAX).unwrap() != Pruned::Nothing {}
    let (stored, mut driver) = committing.join().unwrap();
    assert_eq!(stored, Ok(true));
    assert!(!disk.is_full() && driver.stalled > Duration::ZERO);
    assert_eq!(store.known_nodes().unwrap().len(), before + 5);
    assert!(matches!(driver.next_command(), Ok(Command::Attach(_))), "what came meanwhile is carried out");
    assert!(store.create_job(conformance::new_job("new", &["a"])).is_ok());
}

#[test]
fn a_stop_of_the_process_ends_the_wait() {
    let dir = tempfile::tempdir().unwrap();
    let store = full_store(dir.path());
    let disk = Arc::new(Disk::new(dir.path().to_owned(), 0));
    let (mut driver, commander) = driver(&store, &disk);
    commander.send(Command::Quit).unwrap();
    assert!(matches!(driver.commit(batch()), Ok(Resumed::Stopping)));
    assert!(driver.is_stopping);
    // Other failures stop the dispatcher, as ever.
    let unknown = conformance::ended(conformance::key(JobId(99), 0), NodeState::Finished, 1);
    assert!(matches!(driver.commit(vec![unknown]), Err(StoreError::Database { .. })));
}
