//! User-space memory and descriptors of `podium broker` or `podium server` per idle agent (mTLS and WebSocket, associated,
//! a name of 30 characters, certificate and CA sent as deployed agents do), with one subscriber to the inventory: before
//! anybody is there, with all of them, after all of them have reconnected at once, and after each has sent a message of
//! 64 KB and got it back. The process measured is another one, on the same machine.
//!
//! ```text
//! cargo bench --bench memory                                       1,000 agents, P-256 and RSA-4096, TLS 1.2 and 1.3
//! cargo bench --bench memory -- --connections 19000 --keys rsa4096 --tls 1.2
//! cargo bench --bench memory -- --process server                   the broker is the default
//! cargo bench --bench memory -- --tls-session rustls               compact is the default
//! cargo bench --bench memory -- --record NAME                      also writes benches/runs/<date>-NAME/memory.{json,md}
//! ```
//!
//! Each agent is one descriptor here and one there: see `ulimit -n`. `PODIUM_BINARY` names another binary to be measured.

mod machine;
#[allow(dead_code, reason = "tests need a little more of it")]
#[path = "../../tests/support/mod.rs"]
mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use machine::Machine;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use serde_json::{Value, json};
use support::fleet::{Agent, in_parallel, in_parallel_on, in_parallel_over};
use support::pki::{Keys, Pki};
use support::server::{PRIVILEGED, Server};

/// Agents that connect at once otherwise.
const CONNECT_THREADS: usize = 8;

/// Agents that reconnect at once in a storm: more than there are handshakes in flight.
const STORM_THREADS: usize = 700;

/// Bytes of each message.
const MESSAGE_BYTES: usize = 64 * 1024;

/// How long everything may take to get where it must.
const PATIENCE: Duration = Duration::from_secs(300);

/// What to measure.
struct Plan {
    process: &'static str,
    session: &'static str,
    agents: usize,
    keys: Vec<Keys>,
    versions: Vec<&'static SupportedProtocolVersion>,
    record: Option<String>,
}

impl Plan {
    /// From the command line. Only `cargo bench` gives `--bench`: everything else wants to see that it runs at all.
    fn from_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let value = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1).map(String::as_str);
        if has("--test") || !has("--bench") {
            return Self {
                process: "broker",
                session: "compact",
                agents: 20,
                keys: vec![Keys::P256],
                versions: vec![&TLS13],
                record: None,
            };
        }
        Self {
            process: match value("--process") {
                None | Some("broker") => "broker",
                Some("server") => "server",
                Some(other) => panic!("--process {other}: broker or server"),
            },
            session: match value("--tls-session") {
                None | Some("compact") => "compact",
                Some("rustls") => "rustls",
                Some(other) => panic!("--tls-session {other}: compact or rustls"),
            },
            agents: value("--connections").map_or(1_000, |count| count.parse().expect("--connections takes a number")),
            keys: match value("--keys") {
                Some("p256") => vec![Keys::P256],
                Some("rsa4096") => vec![Keys::Rsa4096],
                Some(other) => panic!("--keys {other}: p256 or rsa4096"),
                None => vec![Keys::P256, Keys::Rsa4096],
            },
            versions: match value("--tls") {
                Some("1.2") => vec![&TLS12],
                Some("1.3") => vec![&TLS13],
                Some(other) => panic!("--tls {other}: 1.2 or 1.3"),
                None => vec![&TLS12, &TLS13],
            },
            record: value("--record").map(str::to_owned),
        }
    }
}

fn main() {
    let plan = Plan::from_arguments();
    let machine = Machine::look("memory");
    let mut rows = Vec::new();
    println!("{}", table_head());
    for &keys in &plan.keys {
        let pki = Pki::new(keys);
        for &version in &plan.versions {
            let row = measure(&plan, &pki, keys, version);
            println!("{}", table_line(&row));
            rows.push(row);
        }
    }
    let Some(name) = &plan.record else { return };
    let lines: Vec<String> = rows.iter().map(table_line).collect();
    let table = format!("{}\n{}\n", table_head(), lines.join("\n"));
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/runs/{}-{name}", machine.date()));
    machine.record(&dir, "memory", "Memory per idle agent", &table, EXPLANATION, &json!(rows)).expect("files written");
}

const EXPLANATION: &str = "RSS is `VmRSS`, anon the part of it that is not mapped from files. *each* is the growth of RSS from no \
agent to all of them, divided by their number; *storm* and *messages* are RSS after all of them have reconnected at once and after \
each has sent 64 KB and got them back, against RSS before. Each figure is taken when nothing has changed for a while.\n";

/// What the kernel says of the process at one point.
struct Look {
    resident: usize,
    anonymous: usize,
    descriptors: usize,
}

fn look(server: &Server) -> Look {
    let anonymous = server.settled_memory();
    Look { resident: server.resident(), anonymous, descriptors: server.descriptors() }
}

/// A process, its agents, and who is in its inventory.
struct Scene<'a> {
    plan: &'a Plan,
    server: Server,
    configs: Vec<Arc<ClientConfig>>,
    agents: Vec<(usize, Agent)>,
    present: Arc<AtomicI64>,
}

fn measure(plan: &Plan, pki: &Pki, keys: Keys, version: &'static SupportedProtocolVersion) -> Value {
    let configs = in_parallel(plan.agents, |number| (number, pki.agent(&name(number), version)));
    let setting = format!("pcp-broker.tls-session: {}\n", plan.session);
    let server = match plan.process {
        "broker" => Server::broker(pki, &setting),
        _ => Server::start_with(&pki.server_files(), &setting, &[]),
    };
    let bare = look(&server);
    let mut scene = Scene { plan, server, configs: sorted(configs), agents: Vec::new(), present: Arc::default() };
    scene.subscribe(pki, version);
    scene.connect(CONNECT_THREADS);
    let idle = look(&scene.server);
    scene.agents.clear();
    let began = Instant::now();
    scene.connect(STORM_THREADS);
    let storm_seconds = began.elapsed().as_secs_f64();
    let storm = look(&scene.server);
    scene.speak();
    let spoken = look(&scene.server);
    let change = |now: &Look| (now.resident as f64 / idle.resident as f64 - 1.0) * 100.0;
    json!({
        "process": plan.process, "keys": format!("{keys:?}"), "agents": plan.agents, "tls_session": plan.session,
        "tls": if version.version == TLS12.version { "1.2" } else { "1.3" },
        "bytes_each": idle.resident.saturating_sub(bare.resident) / plan.agents,
        "anonymous_bytes_each": idle.anonymous.saturating_sub(bare.anonymous) / plan.agents,
        "bare": described(&bare), "idle": described(&idle), "storm": described(&storm), "messages": described(&spoken),
        "storm_percent": change(&storm), "messages_percent": change(&spoken), "storm_seconds": storm_seconds,
    })
}

impl Scene<'_> {
    /// Subscribes to the inventory of a broker and counts whom it reports. A server's own orchestrator is its subscriber.
    fn subscribe(&self, pki: &Pki, version: &'static SupportedProtocolVersion) {
        if self.plan.process == "server" {
            return;
        }
        let config = pki.agent(PRIVILEGED, version);
        let mut watcher = Agent::connect_to(self.server.address, "/pcp2/ctl", config).expect("a connection");
        let request = json!({
            "id": MESSAGE_ID,
            "message_type": "http://puppetlabs.com/inventory_request",
            "target": "pcp:///server",
            "data": {"query": ["pcp://*/agent"], "subscribe": true},
        });
        watcher.send(request.to_string().as_bytes()).expect("a request is taken");
        let present = self.present.clone();
        std::thread::spawn(move || {
            loop {
                let message = match watcher.receive() {
                    Ok(message) => message,
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                        continue;
                    }
                    // The process has ended.
                    Err(_) => return,
                };
                let message: Value = serde_json::from_slice(&message).expect("the broker writes JSON");
                let changes = message["data"]["changes"].as_array().cloned().unwrap_or_default();
                present.fetch_add(changes.iter().filter_map(|one| one["change"].as_i64()).sum(), Ordering::Relaxed);
            }
        });
    }

    /// Connects all agents, so many at once; whoever is sent away comes again.
    fn connect(&mut self, threads: usize) {
        let began = Instant::now();
        let connect = |number: usize| {
            loop {
                match Agent::connect(self.server.address, self.configs[number].clone()) {
                    Ok(agent) => return (number, agent),
                    Err(error) => assert!(began.elapsed() < PATIENCE, "no connection: {error}\n{}", self.server.log()),
                }
            }
        };
        self.agents = in_parallel_on(threads, self.plan.agents, connect);
        let wanted = self.plan.agents as i64;
        while self.plan.process == "broker" && self.present.load(Ordering::Relaxed) != wanted {
            let present = self.present.load(Ordering::Relaxed);
            assert!(began.elapsed() < PATIENCE, "{present} of {wanted} are in the inventory");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Each agent sends itself a message and waits for it.
    fn speak(&mut self) {
        in_parallel_over(&mut self.agents, |(number, agent)| {
            let message = message_to_itself(&name(*number));
            agent.send(&message).expect("a message is taken");
            assert!(agent.receive().expect("a message comes back") == message, "something else came back");
        });
    }
}

fn sorted<T>(mut numbered: Vec<(usize, T)>) -> Vec<T> {
    numbered.sort_unstable_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, one)| one).collect()
}

/// 30 characters.
fn name(number: usize) -> String {
    format!("node{number:06}.agents.example.test")
}

const MESSAGE_ID: &str = "f93df7fa-5168-4f8d-a7b5-180d46019213";

/// An answer without a question, which anyone may send to oneself.
fn message_to_itself(name: &str) -> Vec<u8> {
    let uri = format!("pcp://{name}/agent");
    let message = json!({
        "id": MESSAGE_ID,
        "message_type": "http://puppetlabs.com/rpc_non_blocking_response",
        "target": uri,
        "sender": uri,
        "data": {"transaction_id": "1", "results": {"stdout": "x".repeat(MESSAGE_BYTES)}},
    });
    message.to_string().into_bytes()
}

fn described(look: &Look) -> Value {
    json!({"rss_kib": look.resident / 1024, "anonymous_kib": look.anonymous / 1024, "descriptors": look.descriptors})
}

fn table_head() -> String {
    let titles = "| process | session | keys | TLS | agents | each, bytes | anon each | RSS KiB: none | all | storm | messages \
                  | anon KiB: none | all | storm | messages | descriptors: none | all | reconnected in |";
    format!("{titles}\n{}|", "|---".repeat(titles.matches('|').count() - 1))
}

fn table_line(row: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let at = |look: &str, what: &str| text(&row[look][what]);
    let percent = |name: &str| format!("{:+.1} %", row[name].as_f64().unwrap_or_default());
    let cells = [
        text(&row["process"]),
        text(&row["tls_session"]),
        text(&row["keys"]),
        text(&row["tls"]),
        text(&row["agents"]),
        text(&row["bytes_each"]),
        text(&row["anonymous_bytes_each"]),
        at("bare", "rss_kib"),
        at("idle", "rss_kib"),
        format!("{} ({})", at("storm", "rss_kib"), percent("storm_percent")),
        format!("{} ({})", at("messages", "rss_kib"), percent("messages_percent")),
        at("bare", "anonymous_kib"),
        at("idle", "anonymous_kib"),
        at("storm", "anonymous_kib"),
        at("messages", "anonymous_kib"),
        at("bare", "descriptors"),
        at("idle", "descriptors"),
        format!("{:.1} s", row["storm_seconds"].as_f64().unwrap_or_default()),
    ];
    format!("| {} |", cells.join(" | "))
}
