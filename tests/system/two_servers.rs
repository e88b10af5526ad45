//! Two servers on one PostgreSQL: the one that runs jobs is killed and the other finishes them, each task once; one that was
//! paused for too long finds itself fenced; the database is killed in the middle.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use podium::https::Method;
use rustix::process::Signal;
use rustls::version::TLS13;
use serde_json::{Value, json};

use super::campaign::{Api, Asked, Over, Simulated, check, finish};
use crate::support::pki::{Keys, Pki};
use crate::support::postgres::Cluster;
use crate::support::server::Server;

const AGENTS: usize = 12;

/// A server on the database, with the key of another one if there is one.
pub(super) fn server(pki: &Pki, url: &str, first: Option<&Server>, more: &str) -> Server {
    let more = format!(
        "orchestrator.status-interval: 300ms\norchestrator.database: \"{url}?sslmode=disable\"\n\
         orchestrator.task-concurrency: 4\n{more}"
    );
    Server::start_prepared(&pki.server_files(), &more, &[], |directory| {
        let tasks = directory.join("code/environments/production/modules/demo/tasks");
        fs::create_dir_all(&tasks).unwrap();
        fs::write(tasks.join("mark.sh"), "#!/bin/sh\n").unwrap();
        if let Some(first) = first {
            copy_key(&first.path("data"), &directory.join("data"));
        }
    })
}

fn copy_key(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("keys")).unwrap();
    for dir in [to.to_owned(), to.join("keys")] {
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    fs::copy(from.join("keys/job-parameters"), to.join("keys/job-parameters")).unwrap();
}

#[test]
fn another_server_finishes_what_a_killed_one_has_begun() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (pki, url) = (Pki::new(Keys::P256), cluster.database("site"));
    let mut a = server(&pki, &url, None, "");
    let b = server(&pki, &url, Some(&a), "");
    let mut api = Api { tls: pki.anonymous(&TLS13), port: a.api.port(), token: String::new() };
    api.log_in(&fs::read_to_string(a.path("data/admin-password")).unwrap());
    let names: Vec<String> = (0..AGENTS).map(|number| format!("node{number}.example.test")).collect();
    let fleet: Vec<Simulated> =
        names.iter().map(|name| Simulated { name: name.clone(), spool: Arc::default() }).collect();
    let is_over = AtomicBool::new(false);
    let addresses = [a.address, b.address];
    std::thread::scope(|scope| {
        // Also if the test fails: its agents would look for a server for ever.
        let _over = Over(&is_over);
        for agent in &fleet {
            let (config, is_over, addresses) = (pki.agent(&agent.name, &TLS13), &is_over, &addresses);
            scope.spawn(move || agent.live(addresses, &config, is_over));
        }
        let mut asked = BTreeMap::new();
        let start = |api: &Api, asked: &mut BTreeMap<String, Asked>| {
            let number = asked.len() as u64 + 1;
            let job = api.start(number, &names).expect("a job");
            asked.insert(job.clone(), Asked { number, nodes: names.iter().cloned().collect() });
            job
        };
        for _ in 0..3 {
            start(&api, &mut asked);
        }
        // What a runs can be stopped at b, and is then stopped by a.
        let stopped = api.start(99, &["nobody.example.test".to_owned()]).unwrap();
        let at_b = Api { tls: api.tls.clone(), port: b.api.port(), token: api.token.clone() };
        let (_, answer) =
            at_b.ask(Method::POST, "/orchestrator/v1/command/stop", Some(&json!({"job": stopped}))).expect("b is up");
        assert_eq!(answer["job"]["name"], Value::from(stopped.clone()), "{answer}");
        a.wait("a to have stopped it", || at_b.get(&format!("jobs/{stopped}"))["state"] == "stopped");
        start(&api, &mut asked);
        a.signal(Signal::KILL);
        a.wait_exit();
        finish(&b, &at_b, &asked);
        // The database goes away in the middle of the next one.
        start(&at_b, &mut asked);
        cluster.kill();
        std::thread::sleep(Duration::from_millis(500));
        cluster.resume();
        b.wait("the database", || at_b.ask(Method::GET, "/orchestrator/v1/jobs", None).is_some_and(|(s, _)| s == 200));
        finish(&b, &at_b, &asked);
        let has_run = |node: &str, number: u64| {
            let agent = fleet.iter().find(|agent| agent.name == node).unwrap();
            agent.spool.lock().unwrap().ran.contains_key(&number)
        };
        let mut seen = HashSet::new();
        asked.iter().for_each(|(job, asked)| check(&at_b, job, asked, &has_run, &mut seen));
        let checked = b.run("check-database");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        drop(b);
    });
    for agent in &fleet {
        let spool = agent.spool.lock().unwrap();
        assert!(spool.ran.values().all(|times| *times == 1), "a task ran twice on {}: {:?}", agent.name, spool.ran);
    }
}

#[test]
fn a_server_that_was_paused_for_too_long_ends() {
    let Some(cluster) = Cluster::start() else { return };
    let (pki, url) = (Pki::new(Keys::P256), cluster.database("site"));
    let mut a = server(&pki, &url, None, "");
    a.signal(Signal::STOP);
    let b = server(&pki, &url, Some(&a), "");
    b.wait("a to be ended", || cluster.execute("site", "SELECT count(*) FROM servers WHERE ended > 0").unwrap() == "1");
    a.signal(Signal::CONT);
    let status = a.wait_exit();
    assert!(!status.success());
    assert!(a.log().contains("had no heartbeat for"), "{}", a.log());
    drop(b);
}
