//! The store against a PostgreSQL of its own.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::{Change, Servers, StopWanted, Store, conformance};
use super::testing::Cluster;
use super::*;
use crate::clock::WallTime;
use crate::orchestrator::model::{JobState, NodeState};
use crate::tls::testing::Pki;

fn nobody() -> Arc<ArcSwap<ClientConfig>> {
    Arc::new(ArcSwap::new(crate::orchestrator::tests::identity().tls.load_full()))
}

fn at(url: String) -> DatabaseSettings {
    DatabaseSettings { url, tls: DatabaseTls::Off, password_file: None }
}

fn open(data_dir: &Path, settings: &DatabaseSettings) -> PostgresStore {
    let name = data_dir.file_name().unwrap().to_string_lossy().into_owned();
    let mut opened = None;
    // A process that another test is just starting holds the lock of the store before for an instant, until it executes
    // its program.
    until("the lock", || match PostgresStore::open(data_dir, settings, &name, &nobody()) {
        Err(StoreError::InUse(_)) => false,
        outcome => opened.replace(outcome.unwrap()).is_none(),
    });
    opened.unwrap()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn seen(name: &str) -> Vec<Change> {
    vec![Change::NodesSeen(vec![name.to_owned()])]
}

#[test]
fn it_conforms_and_outlives_the_database() {
    let Some(mut cluster) = Cluster::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let settings = at(cluster.database("conforms"));
    conformance::run(&|| Box::new(open(&dir.path().join("a"), &settings)));
    let log = at(cluster.database("log"));
    let inspected = || inspect(&log, &nobody()).unwrap().problems;
    conformance::log::run(&|| Box::new(open(&dir.path().join("log"), &log)), 6, &inspected);
    two_servers(&cluster, dir.path());
    several_start_at_once(&cluster, dir.path());
    every_version_is_migrated(&cluster, dir.path());
    text_of_agents_is_taken(&cluster, dir.path());
    another_key_is_refused(&cluster, dir.path());
    the_database_goes_away(&mut cluster, dir.path());
}

fn two_servers(cluster: &Cluster, dir: &Path) {
    let settings = at(cluster.database("two"));
    let (a, b) = (open(&dir.join("two-a"), &settings), open(&dir.join("two-b"), &settings));
    assert_eq!((a.leads(), b.leads()), (Ok(true), Ok(false)));
    let job = a.create_job(conformance::new_job("t", &["x", "y"])).unwrap();
    a.commit(vec![conformance::started(conformance::key(job, 0), 5)]).unwrap();
    assert_eq!((b.unfinished().unwrap(), b.take_over().unwrap()), (vec![], vec![]), "it is not b's");
    assert_eq!((b.other_owner(job).unwrap().as_deref(), a.other_owner(job).unwrap()), (Some("two-a"), None));
    // A stop goes to the one that runs it.
    b.want_stop(StopWanted { job, is_forced: false }).unwrap();
    b.want_stop(StopWanted { job, is_forced: true }).unwrap();
    b.want_stop(StopWanted { job, is_forced: false }).unwrap();
    assert_eq!(
        (b.stops_wanted().unwrap(), a.stops_wanted().unwrap()),
        (vec![], vec![StopWanted { job, is_forced: true }])
    );
    let stopping = Change::JobEntered { job, state: JobState::Stopping, at: WallTime::from_millis(6), event: None };
    a.commit(vec![stopping, Change::JobForced(job)]).unwrap();
    assert_eq!(a.stops_wanted().unwrap(), vec![]);
    // A server without a heartbeat, for which its own thread is stopped here: b takes over, and a is fenced.
    silence(cluster, "two", &a);
    assert_eq!((a.leads(), b.leads()), (Ok(true), Ok(false)), "it may still write");
    let left = b.take_over().unwrap();
    assert_eq!((a.leads(), b.leads()), (Ok(false), Ok(true)));
    assert_eq!((left.len(), left[0].id, left[0].nodes.len(), left[0].is_forced), (1, job, 2, true));
    assert!(left[0].nodes[0].start.is_some() && left[0].nodes[1].start.is_none());
    let fenced = a.commit(seen("late")).unwrap_err();
    assert!(matches!(&fenced, StoreError::Fenced(why) if why.contains("no heartbeat")), "{fenced}");
    assert!(matches!(a.create_job(conformance::new_job("t", &["x"])), Err(StoreError::Fenced(_))));
    assert!(a.fenced().is_some() && b.fenced().is_none());
    assert_eq!(b.known_nodes().unwrap(), Vec::<String>::new(), "nothing of it was written");
    b.commit(vec![conformance::ended(conformance::key(job, 0), NodeState::Finished, 9)]).unwrap();
    // It starts anew, with another number, and gets nothing back.
    drop(a);
    let a = open(&dir.join("two-a"), &settings);
    assert_eq!(a.unfinished().unwrap(), vec![]);
    assert_eq!((a.leads(), b.leads()), (Ok(false), Ok(true)));
    // One that ends in order is followed at once.
    drop(b);
    assert_eq!(a.unfinished().unwrap().len(), 1);
}

/// As if it had said nothing for longer than its lease, and could not.
fn silence(cluster: &Cluster, database: &str, store: &PostgresStore) {
    let server = store.fence.server;
    let trigger = format!(
        "CREATE FUNCTION mute() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF new.id = {server} AND new.ended IS NULL THEN new.heartbeat := 1; END IF; RETURN new; END $$; \
         CREATE TRIGGER mute BEFORE UPDATE ON servers FOR EACH ROW EXECUTE FUNCTION mute(); \
         UPDATE servers SET heartbeat = 1 WHERE id = {server}"
    );
    cluster.execute(database, &trigger).unwrap();
}

fn several_start_at_once(cluster: &Cluster, dir: &Path) {
    let settings = at(cluster.database("crowd"));
    let stores: Vec<PostgresStore> = thread::scope(|scope| {
        let start = |number: usize| {
            let settings = &settings;
            scope.spawn(move || open(&dir.join(format!("crowd-{number}")), settings))
        };
        let starting: Vec<_> = (0..4).map(start).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // Whoever creates a job gets the next number.
    let mut numbers: Vec<i64> = thread::scope(|scope| {
        let create = |store: &PostgresStore| {
            (0..5).map(|_| store.create_job(conformance::new_job("t", &["a"])).unwrap().0).collect::<Vec<_>>()
        };
        let creating: Vec<_> = stores.iter().map(|store| scope.spawn(move || create(store))).collect();
        creating.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    // Only one at a time has it for itself.
    let alone = stores[0].alone().unwrap();
    let (to, had) = crossbeam_channel::bounded(1);
    thread::scope(|scope| {
        let other = &stores[1];
        scope.spawn(move || to.send(other.alone().is_ok()).unwrap());
        assert!(had.recv_timeout(Duration::from_millis(200)).is_err(), "another one has it");
        drop(alone);
        assert_eq!(had.recv_timeout(Duration::from_secs(15)), Ok(true));
    });
}

fn every_version_is_migrated(cluster: &Cluster, dir: &Path) {
    for version in 0..super::super::sql::schema::newest() {
        let settings = at(cluster.database(&format!("version{version}")));
        let connector = Connector::new(&settings.url, None, None).unwrap();
        let mut link = connector.connect().unwrap();
        migrate::migrate_to(&mut link, version).unwrap();
        let store = open(&dir.join(format!("version-{version}")), &settings);
        let job = store.create_job(conformance::new_job("t", &["a"])).unwrap();
        assert_eq!(job.0, 1, "from version {version}");
    }
    cluster.execute("version0", "INSERT INTO podium_schema (version) VALUES (99)").unwrap();
    let settings = at(cluster.url("version0"));
    let error = PostgresStore::open(&dir.join("newer"), &settings, "newer", &nobody()).err().unwrap();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error}");
}

fn text_of_agents_is_taken(cluster: &Cluster, dir: &Path) {
    let store = open(&dir.join("text"), &at(cluster.database("texts")));
    let mut job = conformance::new_job("t", &["a"]);
    job.spec.terms.description = "nothing\0 here".to_owned();
    let id = store.create_job(job).unwrap();
    assert_eq!(store.job(id).unwrap().unwrap().spec.terms.description, "nothing\u{fffd} here");
}

fn another_key_is_refused(cluster: &Cluster, dir: &Path) {
    let settings = at(cluster.database("keys"));
    let (a, b) = (open(&dir.join("key-a"), &settings), open(&dir.join("key-b"), &settings));
    a.check_key("k", "one").unwrap();
    b.check_key("k", "one").unwrap();
    let refused = b.check_key("k", "two").unwrap_err().to_string();
    assert!(refused.contains("keys/k") && refused.contains("one") && refused.contains("two"), "{refused}");
}

fn the_database_goes_away(cluster: &mut Cluster, dir: &Path) {
    let settings = at(cluster.database("away"));
    let store = open(&dir.join("away"), &settings);
    let job = store.create_job(conformance::new_job("t", &["a"])).unwrap();
    cluster.kill();
    let refused = store.create_job(conformance::new_job("t", &["a"])).unwrap_err();
    assert!(matches!(&refused, StoreError::Unreachable { .. }), "{refused}");
    assert!(matches!(store.job(job), Err(StoreError::Unreachable { .. })));
    thread::scope(|scope| {
        // What runs goes on when it is back.
        let patient =
            scope.spawn(|| store.commit_patiently(Arc::new(vec![conformance::started(conformance::key(job, 0), 5)])));
        thread::sleep(Duration::from_millis(300));
        assert!(!patient.is_finished());
        cluster.resume();
        patient.join().unwrap().unwrap();
    });
    until("the readers", || store.job(job).is_ok());
    assert_eq!(store.events(job, 0).unwrap().unwrap().len(), 1);
    assert_eq!(store.create_job(conformance::new_job("t", &["a"])).unwrap().0, 2, "what was refused used up no number");
    assert_eq!(store.fenced(), None);
}

#[test]
fn the_database_s_certificate_and_the_password_must_be_right() {
    let pki = Pki::new("ca");
    let files = pki.paths(&pki.issue("localhost"));
    let Some(cluster) = Cluster::start_secured(&files.certificate, &files.key) else { return };
    cluster.database("secured");
    let dir = tempfile::tempdir().unwrap();
    let password_file = dir.path().join("password");
    std::fs::write(&password_file, "secret\n").unwrap();
    let attempt = |tls: DatabaseTls, host: &str, own: &Pki| {
        let url = cluster.url("secured").replace("127.0.0.1", host);
        let settings = DatabaseSettings { url, tls, password_file: Some(password_file.clone()) };
        let own = Arc::new(ArcSwap::new(own.material("orch.example").client_config().unwrap()));
        PostgresStore::open(&dir.path().join("data"), &settings, "a", &own).map(drop).map_err(|error| error.to_string())
    };
    let other = Pki::new("another ca");
    assert_eq!(attempt(DatabaseTls::Own, "localhost", &pki), Ok(()));
    assert_eq!(attempt(DatabaseTls::Authorities(pki.ca()), "localhost", &other), Ok(()));
    let untrusted = attempt(DatabaseTls::Own, "localhost", &other).unwrap_err();
    assert!(untrusted.contains("UnknownIssuer"), "{untrusted}");
    let misnamed = attempt(DatabaseTls::Own, "127.0.0.1", &pki).unwrap_err();
    assert!(misnamed.contains("not valid for name"), "{misnamed}");
    let open = attempt(DatabaseTls::Off, "localhost", &pki).unwrap_err();
    assert!(open.contains("no encryption"), "{open}");
    std::fs::write(&password_file, "wrong").unwrap();
    let refused = attempt(DatabaseTls::Own, "localhost", &pki).unwrap_err();
    assert!(refused.contains("password authentication failed") && !refused.contains("wrong"), "{refused}");
}
