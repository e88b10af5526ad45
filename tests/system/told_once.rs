//! What two servers on one PostgreSQL tell others, and start by themselves: a webhook gets each event once and in order, and
//! again only what was on its way when the server that delivers was killed; a schedule makes one job of each of its times.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use podium::https::Method;
use podium::tls::material::provider;
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::campaign::{Api, Over, Simulated};
use super::two_servers::server;
use crate::support::pki::{Keys, Pki, ServerFiles};
use crate::support::postgres::Cluster;
use crate::support::server::Server;

const AGENTS: usize = 3;

/// Jobs that a schedule makes before one of the servers is killed, and afterwards.
const TIMES: usize = 4;

/// Every kind of event.
const KINDS: [&str; 8] = [
    "node_running",
    "node_finished",
    "node_failed",
    "node_errored",
    "node_skipped",
    "job_stopping",
    "job_finished",
    "job_aborted",
];

/// Takes deliveries.
#[derive(Clone, Default)]
struct Receiver {
    /// Numbers of the events of all deliveries that it has answered or was about to answer.
    taken: Arc<Mutex<Vec<u64>>>,
    is_gone: Arc<AtomicBool>,
}

impl Receiver {
    /// Its port. It listens until the test's process ends.
    fn listen(&self, files: &ServerFiles) -> u16 {
        let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, receiver) = (listener.local_addr().unwrap().port(), self.clone());
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (receiver, connection) = (receiver.clone(), ServerConnection::new(config.clone()).unwrap());
                thread::spawn(move || receiver.serve(&mut StreamOwned::new(connection, socket)));
            }
        });
        port
    }

    /// The requests of a connection, one after the other, until it ends in whatever way.
    fn serve(&self, stream: &mut (impl Read + Write)) -> Option<()> {
        let (mut waiting, mut some) = (Vec::new(), [0; 16_384]);
        loop {
            while let Some((body, length)) = request(&waiting) {
                let body: Value = serde_json::from_slice(body).unwrap();
                let numbers = body["events"].as_array().unwrap().iter();
                let numbers = numbers.map(|event| event["id"].as_str().unwrap().parse::<u64>().unwrap());
                let is_gone = self.is_gone.load(Ordering::SeqCst);
                if !is_gone {
                    self.taken.lock().unwrap().extend(numbers);
                }
                let status = if is_gone { "410 Gone" } else { "200 OK" };
                stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).ok()?;
                stream.flush().ok()?;
                waiting.drain(..length);
            }
            match stream.read(&mut some).ok()? {
                0 => return None,
                read => waiting.extend_from_slice(&some[..read]),
            }
        }
    }

    fn taken(&self) -> Vec<u64> {
        self.taken.lock().unwrap().clone()
    }

    fn has(&self, events: &[u64]) -> bool {
        let taken: BTreeSet<u64> = self.taken().into_iter().collect();
        events.iter().all(|event| taken.contains(event))
    }
}

/// The body of the first request, and the length of all of it, once it is there.
fn request(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).expect("a length");
    let length = end + length.trim().parse::<usize>().unwrap();
    Some((bytes.get(end..length)?, length))
}

/// Two servers, the first of which delivers, and their nodes.
struct Site<'a> {
    cluster: &'a Cluster,
    names: Vec<String>,
}

impl Site<'_> {
    fn numbers(&self, sql: &str) -> Vec<u64> {
        let text = self.cluster.execute("site", sql).unwrap();
        text.split_whitespace().map(|number| number.parse().expect(sql)).collect()
    }

    fn events(&self, from: u64) -> Vec<u64> {
        self.numbers(&format!("SELECT id FROM events WHERE id >= {from} ORDER BY id"))
    }

    /// The jobs of the schedule so far.
    fn scheduled(&self) -> usize {
        self.numbers("SELECT id FROM jobs WHERE schedule IS NOT NULL").len()
    }

    fn run(&self, server: &Server, api: &Api, number: u64) {
        let job = api.start(number, &self.names).expect("a job");
        server.wait("a job to end", || api.get(&format!("jobs/{job}"))["state"] == "finished");
    }
}

fn post(api: &Api, path: &str, body: &Value) -> Value {
    let (status, answer) = api.ask(Method::POST, path, Some(body)).expect("the server is up");
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

fn hook(api: &Api, port: u16) -> String {
    let body = json!({"url": format!("https://localhost:{port}/hook"), "events": KINDS});
    post(api, "/podium/v1/webhooks", &body)["webhook"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_two_servers_tell_and_start_happens_once() {
    let Some(cluster) = Cluster::start() else { return };
    let (pki, url) = (Pki::new(Keys::P256), cluster.database("site"));
    let files = pki.server_files();
    let more = format!(
        "orchestrator.webhook-ca: {:?}\norchestrator.webhook-loopback: true\n\
         orchestrator.scheduled-jobs-v1-api: true\n",
        files.ca
    );
    let mut a = server(&pki, &url, None, &more);
    let b = server(&pki, &url, Some(&a), &more);
    let mut at_a = Api { tls: pki.anonymous(&TLS13), port: a.api.port(), token: String::new() };
    at_a.log_in(&fs::read_to_string(a.path("data/admin-password")).unwrap());
    let at_b = Api { tls: at_a.tls.clone(), port: b.api.port(), token: at_a.token.clone() };
    let site =
        Site { cluster: &cluster, names: (0..AGENTS).map(|number| format!("node{number}.example.test")).collect() };
    let fleet: Vec<Simulated> =
        site.names.iter().map(|name| Simulated { name: name.clone(), spool: Arc::default() }).collect();
    let (is_over, addresses) = (AtomicBool::new(false), [a.address, b.address]);
    thread::scope(|scope| {
        // Also if the test fails: its agents would look for a server for ever.
        let _over = Over(&is_over);
        for agent in &fleet {
            let (config, is_over, addresses) = (pki.agent(&agent.name, &TLS13), &is_over, &addresses);
            scope.spawn(move || agent.live(addresses, &config, is_over));
        }
        let (receiver, moody) = (Receiver::default(), Receiver::default());
        // Added where nobody delivers.
        let (port, moody_port) = (receiver.listen(&files), moody.listen(&files));
        hook(&at_b, port);
        moody.is_gone.store(true, Ordering::SeqCst);
        let resumed = hook(&at_b, moody_port);
        site.run(&a, &at_a, 1);
        a.wait("the first events", || receiver.has(&site.events(0)));
        // Given up by a, resumed at b.
        let path = format!("/podium/v1/webhooks/{resumed}");
        b.wait("a webhook to be given up", || at_b.ask(Method::GET, &path, None).unwrap().1["state"] == "dead");
        moody.is_gone.store(false, Ordering::SeqCst);
        post(&at_b, &format!("{path}/resume"), &json!({}));
        b.wait("the events of a webhook that was resumed", || moody.has(&site.events(0)));
        // A stream at b of a job of a ends with the job.
        let job = at_a.start(2, &site.names).expect("a job");
        let heard = stream(&at_b, &job);
        let told = site.numbers(&format!("SELECT id FROM events WHERE job = {job} ORDER BY id"));
        assert_eq!(heard, told, "each event of the job, in order");
        schedule(&at_b, &site.names);
        a.wait("scheduled jobs", || site.scheduled() >= TIMES);
        a.signal(Signal::KILL);
        a.wait_exit();
        let before = site.scheduled();
        b.wait("more scheduled jobs", || site.scheduled() >= before + TIMES);
        b.wait("the last schedule", || site.numbers("SELECT id FROM schedules WHERE next_run IS NOT NULL").is_empty());
        site.run(&b, &at_b, 3);
        b.wait("the other server's jobs to end", || {
            site.numbers("SELECT id FROM jobs WHERE finished IS NULL").is_empty()
        });
        b.wait("all events", || receiver.has(&site.events(0)) && moody.has(&site.events(0)));
        // Nothing comes late.
        thread::sleep(Duration::from_secs(2));
        for receiver in [&receiver, &moody] {
            once_but_for_the_takeover(&receiver.taken(), &site.events(0));
        }
        one_job_for_each_time(&[a.log(), b.log()], site.scheduled());
        drop(b);
    });
    each_ran_as_often_as_is_stored(&fleet, &site);
}

/// Also with the jobs of the schedules.
fn each_ran_as_often_as_is_stored(fleet: &[Simulated], site: &Site<'_>) {
    for agent in fleet {
        let spool = agent.spool.lock().unwrap();
        let is_once = spool.ran.iter().all(|(number, times)| *number == SCHEDULED || *times == 1);
        assert!(is_once, "a task ran twice on {}: {:?}", agent.name, spool.ran);
        // A server of which the agent's broker knows nothing has started some, and then it has not run.
        let sql = format!(
            "SELECT count(*) FROM nodes JOIN jobs ON jobs.id = nodes.job \
             WHERE schedule IS NOT NULL AND nodes.state = 'finished' AND nodes.name = '{}'",
            agent.name
        );
        assert_eq!(u64::from(spool.ran[&SCHEDULED]), site.numbers(&sql)[0], "scheduled jobs on {}", agent.name);
    }
}

/// The number of the task that the schedules start.
const SCHEDULED: u64 = 77;

/// Schedules, each of which starts one job.
const SLOTS: i32 = 40;

/// Every second, from soon on: the API has whole seconds, and refuses those that are over.
fn schedule(api: &Api, names: &[String]) {
    let start = jiff::Timestamp::now() + Duration::from_secs(10);
    for second in 0..SLOTS {
        let at = start + jiff::SignedDuration::from_secs(second.into());
        let body = json!({
            "type": "task", "environment": "production",
            "input": {"name": "demo::mark", "parameters": {"number": {"value": SCHEDULED}}, "scope": {"nodes": names}},
            "schedule": {"start_time": at.to_string(), "interval": null}, "description": "", "userdata": {},
        });
        post(api, "/orchestrator/v1/scheduled_jobs/environment_jobs", &body);
    }
}

/// The numbers of the events of a job's stream, which ends with the job.
fn stream(api: &Api, job: &str) -> Vec<u64> {
    let path = format!("/orchestrator/v1/jobs/{job}/events/stream");
    let text = api.text(&path).expect("the server is up");
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let number = |event| serde_json::from_str::<Value>(event).unwrap()["id"].as_str().unwrap().parse().unwrap();
    events.map(number).collect()
}

/// In order, but at most one step back, which is to where the one before had said it was; nothing left out.
fn once_but_for_the_takeover(taken: &[u64], events: &[u64]) {
    let back: Vec<usize> = (1..taken.len()).filter(|at| taken[*at] <= taken[*at - 1]).collect();
    assert!(back.len() <= 1, "more than one takeover in {taken:?}");
    let (first, second) = taken.split_at(back.first().copied().unwrap_or(taken.len()));
    let repeated = second.iter().filter(|event| first.contains(event)).count();
    println!("{} events, {repeated} of them again at the takeover", events.len());
    let distinct: BTreeSet<u64> = taken.iter().copied().collect();
    assert_eq!(distinct.into_iter().collect::<Vec<_>>(), events);
}

/// What both servers say that they have started.
fn one_job_for_each_time(logs: &[String], jobs: usize) {
    let slots: Vec<&str> = logs
        .iter()
        .flat_map(|log| log.lines())
        .filter(|line| line.contains("a scheduled job has started"))
        .map(|line| line.split("slot=").nth(1).expect("a time").split_whitespace().next().expect("a time"))
        .collect();
    let distinct: BTreeSet<&str> = slots.iter().copied().collect();
    assert_eq!(distinct.len(), slots.len(), "two jobs for one time: {slots:?}");
    // One that was killed may not have said it.
    assert!((slots.len()..=slots.len() + 1).contains(&jobs), "{jobs} jobs: {slots:?}");
}
