//! kill -9 of the server at many random moments, with jobs under way on many simulated agents. Whatever was acknowledged is
//! complete in the end, no task has run twice on a node, and no event is lost, repeated or out of order.
//! `CRASHES` (8), `CRASH_AGENTS` (24) and `CRASH_SEED` say how much of it there is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use podium::https::{Client, Method, Request, StatusCode};
use podium::pxp::message_type;
use rustls::ClientConfig;
use rustls::version::TLS13;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::fleet::Agent;
use crate::support::pki::{Keys, Pki};
use crate::support::server::{PATIENCE, Server};

/// Time between two status queries to a node.
const STATUS_INTERVAL: &str = "orchestrator.status-interval: 300ms\n";

/// How long the server may live at most between two kills.
const LIFE: Duration = Duration::from_millis(1500);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Numbers that look random and are the same for the same seed (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What an agent has on its disk.
#[derive(Default)]
pub(super) struct Spool {
    /// Transactions that were run, with the number of status queries about each.
    known: HashMap<String, u32>,
    /// How often the task ran with each number.
    pub(super) ran: BTreeMap<u64, u32>,
}

/// An agent that answers in every way that agents do: at once, later than it is asked, or only when it is asked.
pub(super) struct Simulated {
    pub(super) name: String,
    pub(super) spool: Arc<Mutex<Spool>>,
}

impl Simulated {
    /// Connects to one of these, again and again until the test is over.
    pub(super) fn live(&self, addresses: &[SocketAddr], config: &Arc<ClientConfig>, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let connected = addresses.iter().find_map(|address| Agent::connect(*address, config.clone()).ok());
            let Some(mut agent) = connected else {
                // Nobody listens at present.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            while let Ok(message) = agent.receive() {
                let message: Value = serde_json::from_slice(&message).unwrap();
                if self.answers(&message).iter().any(|answer| agent.send(answer.to_string().as_bytes()).is_err()) {
                    break;
                }
            }
        }
    }

    fn answers(&self, message: &Value) -> Vec<Value> {
        let data = &message["data"];
        let transaction = data["transaction_id"].as_str().unwrap_or_default();
        match message["message_type"].as_str() {
            Some(message_type::NON_BLOCKING_REQUEST) => {
                self.run(transaction, &data["params"]["input"]);
                let provisional =
                    self.answer(message, message_type::PROVISIONAL_RESPONSE, json!({"transaction_id": transaction}));
                let results = json!({"transaction_id": transaction, "results": self.results()});
                let last = self.answer(message, message_type::NON_BLOCKING_RESPONSE, results);
                match manner(transaction) {
                    Manner::AtOnce => vec![provisional, last],
                    Manner::WhenAsked | Manner::WhenAskedTwice => vec![provisional],
                }
            }
            Some(message_type::BLOCKING_REQUEST) => {
                let about = data["params"]["transaction_id"].as_str().unwrap_or_default();
                let results = json!({"transaction_id": transaction, "results": self.status(about)});
                vec![self.answer(message, message_type::BLOCKING_RESPONSE, results)]
            }
            // Errors, and what the broker itself says.
            _ => vec![],
        }
    }

    /// Runs the task unless the transaction is known, as agents do.
    fn run(&self, transaction: &str, input: &Value) {
        let mut spool = self.spool.lock().unwrap();
        if spool.known.insert(transaction.to_owned(), 0).is_none() {
            *spool.ran.entry(input["number"].as_u64().unwrap()).or_default() += 1;
        }
    }

    fn results(&self) -> Value {
        json!({"exitcode": 0, "stdout": json!({"node": self.name}).to_string()})
    }

    fn status(&self, transaction: &str) -> Value {
        let mut spool = self.spool.lock().unwrap();
        let Some(asked) = spool.known.get_mut(transaction) else {
            return json!({"transaction_id": transaction, "status": "unknown"});
        };
        *asked += 1;
        if manner(transaction) == Manner::WhenAskedTwice && *asked == 1 {
            return json!({"transaction_id": transaction, "status": "running"});
        }
        let mut status = self.results();
        status["transaction_id"] = transaction.into();
        status["status"] = "success".into();
        status
    }

    fn answer(&self, to: &Value, message_type: &str, data: Value) -> Value {
        json!({
            "id": Uuid::new_v4().to_string(),
            "message_type": message_type,
            "target": to["sender"],
            "sender": format!("pcp://{}/agent", self.name),
            "in_reply_to": to["id"],
            "data": data,
        })
    }
}

/// How an agent tells a result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    AtOnce,
    WhenAsked,
    WhenAskedTwice,
}

fn manner(transaction: &str) -> Manner {
    match transaction.bytes().last().unwrap_or_default() % 4 {
        0 | 1 => Manner::AtOnce,
        2 => Manner::WhenAsked,
        _ => Manner::WhenAskedTwice,
    }
}

/// The API of the server under test.
pub(super) struct Api {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) port: u16,
    pub(super) token: String,
}

impl Api {
    /// An answer, or nothing if the server is not there or goes away meanwhile.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Option<(StatusCode, Value)> {
        let (status, body) = self.bytes(method, path, body)?;
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// What is no JSON, to its end.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.bytes(Method::GET, path, None).map(|(_, body)| String::from_utf8(body).unwrap())
    }

    fn bytes(&self, method: Method, path: &str, body: Option<&Value>) -> Option<(StatusCode, Vec<u8>)> {
        let mut client = Client::new(self.tls.clone(), PATIENCE, PATIENCE).unwrap();
        let headers = [("X-Authentication", self.token.as_str()), ("Content-Type", "application/json")];
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request =
            Request { method, host: "localhost", port: self.port, path_and_query: path, headers: &headers, body };
        let response = client.request(&request, 64 << 20).ok()?;
        Some((response.status, response.body))
    }

    pub(super) fn get(&self, path: &str) -> Value {
        let path = format!("/orchestrator/v1/{path}");
        let (status, body) = self.ask(Method::GET, &path, None).expect("the server is up");
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub(super) fn log_in(&mut self, password: &str) {
        let body = json!({"login": "admin", "password": password.trim(), "lifetime": "1d"});
        let (_, body) = self.ask(Method::POST, "/rbac-api/v1/auth/token", Some(&body)).unwrap();
        body["token"].as_str().expect("a token").clone_into(&mut self.token);
    }

    /// Starts a job; its name if that was acknowledged.
    pub(super) fn start(&self, number: u64, nodes: &[String]) -> Option<String> {
        let body = json!({"environment": "production", "task": "demo::mark", "params": {"number": number},
                          "scope": {"nodes": nodes}});
        let (status, body) = self.ask(Method::POST, "/orchestrator/v1/command/task", Some(&body))?;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        Some(body["job"]["name"].as_str().unwrap().to_owned())
    }
}

#[test]
fn kills_at_random_moments_lose_nothing_and_repeat_nothing() {
    let (crashes, agents) = (number("CRASHES", 8), number("CRASH_AGENTS", 24));
    let seed = number("CRASH_SEED", 1);
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let pki = Pki::new(Keys::P256);
    let mut server = Server::start_with(&pki.server_files(), STATUS_INTERVAL, &[]);
    let tasks = server.path("code/environments/production/modules/demo/tasks");
    std::fs::create_dir_all(&tasks).unwrap();
    std::fs::write(tasks.join("mark.sh"), "#!/bin/sh\n").unwrap();
    let mut api = Api { tls: pki.anonymous(&TLS13), port: server.api.port(), token: String::new() };
    api.log_in(&std::fs::read_to_string(server.path("data/admin-password")).unwrap());
    let names: Vec<String> = (0..agents).map(|number| format!("node{number}.example.test")).collect();
    let fleet: Vec<Simulated> =
        names.iter().map(|name| Simulated { name: name.clone(), spool: Arc::default() }).collect();
    let is_over = AtomicBool::new(false);
    let address = server.address;
    std::thread::scope(|scope| {
        // Also if the test fails: its agents would look for a server for ever.
        let _over = Over(&is_over);
        for agent in &fleet {
            let config = pki.agent(&agent.name, &TLS13);
            let is_over = &is_over;
            scope.spawn(move || agent.live(&[address], &config, is_over));
        }
        let asked = campaign(&mut server, &api, &mut dice, crashes, &names);
        finish(&server, &api, &asked);
        let mut seen = HashSet::new();
        let has_run = |node: &str, number: u64| {
            let agent = fleet.iter().find(|agent| agent.name == node).unwrap();
            agent.spool.lock().unwrap().ran.contains_key(&number)
        };
        asked.iter().for_each(|(job, asked)| check(&api, job, asked, &has_run, &mut seen));
        assert!(asked.len() as u64 >= crashes / 2, "{} jobs were acknowledged", asked.len());
        let checked = server.run("check-database");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        println!("{} jobs acknowledged, {crashes} kills, {} events, seed {seed}", asked.len(), seen.len());
        drop(server);
    });
    for agent in &fleet {
        let spool = agent.spool.lock().unwrap();
        assert!(spool.ran.values().all(|times| *times == 1), "a task ran twice on {}: {:?}", agent.name, spool.ran);
    }
}

/// Ends the agents when it is dropped.
pub(super) struct Over<'a>(pub(super) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What was asked for with a job.
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) nodes: BTreeSet<String>,
}

/// Starts jobs and kills the server, in turn and at once; the jobs that were acknowledged.
fn campaign(
    server: &mut Server,
    api: &Api,
    dice: &mut Dice,
    crashes: u64,
    names: &[String],
) -> BTreeMap<String, Asked> {
    let mut asked = BTreeMap::new();
    let mut number = 0;
    for _ in 0..crashes {
        let end = Instant::now() + Duration::from_millis(dice.below(LIFE.as_millis() as u64));
        std::thread::scope(|scope| {
            let starter = scope.spawn(|| {
                let mut accepted = Vec::new();
                // Until the server is gone, which is when it does not answer.
                loop {
                    number += 1;
                    let first = dice.below(names.len() as u64) as usize;
                    let nodes = &names[first..names.len().min(first + 1 + dice.below(names.len() as u64) as usize)];
                    match api.start(number, nodes) {
                        Some(job) => accepted.push((job, Asked { number, nodes: nodes.iter().cloned().collect() })),
                        None => return accepted,
                    }
                    if accepted.len() >= 5 {
                        return accepted;
                    }
                }
            });
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            server.kill_and_start();
            asked.extend(starter.join().unwrap());
        });
    }
    asked
}

/// Waits until all jobs have ended.
pub(super) fn finish(server: &Server, api: &Api, asked: &BTreeMap<String, Asked>) {
    for job in asked.keys() {
        server.wait(&format!("job {job} to end"), || {
            let state = api.get(&format!("jobs/{job}"))["state"].as_str().unwrap().to_owned();
            ["finished", "failed", "stopped"].contains(&&*state)
        });
    }
}

pub(super) fn check(api: &Api, job: &str, asked: &Asked, has_run: &dyn Fn(&str, u64) -> bool, seen: &mut HashSet<u64>) {
    let nodes = api.get(&format!("jobs/{job}/nodes"));
    let items = nodes["items"].as_array().unwrap();
    let names: BTreeSet<String> = items.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!((names.len(), names), (items.len(), asked.nodes.clone()), "job {job}");
    // An agent that is not back in time after a restart, or that two crashes have kept from two requests, has an error; then
    // it must not have run the task either.
    let mut errored = BTreeSet::new();
    for node in items {
        let name = node["name"].as_str().unwrap();
        if node["state"] == "errored" {
            assert!(!has_run(name, asked.number), "job {job}: it has run on {name}");
            errored.insert(name.to_owned());
            continue;
        }
        assert_eq!((&node["state"], &node["result"]["node"]), (&json!("finished"), &node["name"]), "job {job}: {node}");
        assert!(has_run(name, asked.number), "job {job}: it has not run on {name}");
    }
    let state = api.get(&format!("jobs/{job}"))["state"].clone();
    assert_eq!(state, if errored.is_empty() { "finished" } else { "failed" }, "job {job}");
    let events = events(api, job);
    let mut told: HashMap<(String, String), u32> = HashMap::new();
    let (mut last, mut running) = (0, HashSet::new());
    for event in &events {
        let id: u64 = event["id"].as_str().unwrap().parse().unwrap();
        assert!(id > last && seen.insert(id), "job {job}: event {id} after {last}, or twice");
        last = id;
        let (kind, node) = (event["type"].as_str().unwrap(), event["details"]["node"].as_str().unwrap_or(""));
        if kind == "node_running" {
            running.insert(node.to_owned());
        } else if kind == "node_finished" {
            assert!(running.contains(node), "job {job}: {node} ended before it started");
        }
        *told.entry((kind.to_owned(), node.to_owned())).or_default() += 1;
    }
    assert_eq!(events.last().unwrap()["type"], "job_finished", "job {job}");
    for node in &errored {
        let started = told.remove(&("node_running".to_owned(), node.clone()));
        assert!(started.is_none_or(|times| times == 1), "job {job}: {node} started more than once");
    }
    let expected = asked.nodes.iter().flat_map(|node| {
        let kinds: &[&str] =
            if errored.contains(node) { &["node_errored"] } else { &["node_running", "node_finished"] };
        kinds.iter().map(|kind| (*kind, node.as_str()))
    });
    let expected = expected.chain([("job_finished", "")]).map(|(kind, node)| ((kind.to_owned(), node.to_owned()), 1));
    assert_eq!(told, expected.collect(), "job {job}: each of its events once and no other");
}

/// All events of a job, page by page.
fn events(api: &Api, job: &str) -> Vec<Value> {
    let (mut all, mut start) = (Vec::new(), "0".to_owned());
    loop {
        let page = api.get(&format!("jobs/{job}/events?start={start}"));
        let items = page["items"].as_array().unwrap();
        if items.is_empty() {
            return all;
        }
        all.extend(items.iter().cloned());
        page["next-events"]["event"].as_str().unwrap().clone_into(&mut start);
    }
}
