//! What a task costs the server per node, and what the API's callers notice meanwhile: `podium server` with a played fleet
//! (`podium capacity load idle`) of each size in turn, a task on all of it, and a caller who asks for the job, its newest
//! events and its counts all the time. Server, fleet and caller share the machine.
//!
//! ```text
//! cargo bench --bench tasks                                   1,000 and 10,000 agents, P-256, three tasks each
//! cargo bench --bench tasks -- --agents 1000,5000 --tasks 5
//! cargo bench --bench tasks -- --record NAME                  also writes benches/runs/<date>-NAME/tasks.{json,md}
//! ```
//!
//! CPU is what the kernel has counted for the server's process, resident memory its high-water mark during the task. Each
//! agent is one descriptor here and one there: see `ulimit -n`. `PODIUM_BINARY` names another binary to be measured.

mod api;
#[allow(dead_code, reason = "it is shared")]
#[path = "../memory/machine.rs"]
mod machine;
#[allow(dead_code, reason = "tests need more of it")]
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use api::{Api, Watch};
use machine::Machine;
use serde_json::{Value, json};
use support::pki::ServerFiles;
use support::server::{Server, binary};

/// How long everything may take to get where it must.
const PATIENCE: Duration = Duration::from_secs(300);

/// Between two questions of the caller.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Of processor time in `/proc`: `USER_HZ`, which is part of the kernel's interface and not its timer.
const TICKS_PER_SECOND: f64 = 100.0;

/// What to measure.
struct Plan {
    agents: Vec<usize>,
    tasks: usize,
    record: Option<String>,
}

impl Plan {
    /// From the command line. Only `cargo bench` gives `--bench`: everything else wants to see that it runs at all.
    fn from_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let value = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1).map(String::as_str);
        if has("--test") || !has("--bench") {
            return Self { agents: vec![20], tasks: 1, record: None };
        }
        let sizes = value("--agents").unwrap_or("1000,10000").split(',');
        Self {
            agents: sizes.map(|size| size.parse().expect("--agents takes numbers with commas")).collect(),
            tasks: value("--tasks").map_or(3, |count| count.parse().expect("--tasks takes a number")),
            record: value("--record").map(str::to_owned),
        }
    }
}

fn main() {
    let plan = Plan::from_arguments();
    let machine = Machine::look("tasks");
    let mut rows = Vec::new();
    println!("{HEAD}");
    for &agents in &plan.agents {
        for row in measure(agents, plan.tasks) {
            println!("{}", line(&row));
            rows.push(row);
        }
    }
    let Some(name) = &plan.record else { return };
    let lines: Vec<String> = rows.iter().map(line).collect();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/runs/{}-{name}", machine.date()));
    let table = format!("{HEAD}\n{}\n", lines.join("\n"));
    machine.record(&dir, "tasks", "A task on all agents", &table, EXPLANATION, &json!(rows)).expect("files written");
}

const EXPLANATION: &str = "CPU is the server's own, user and system. Latency is what one caller of the API sees while the task \
runs, over one connection, 100 questions a second. Stolen is what the host took of the machine's processor time meanwhile.\n";

const HEAD: &str = "| agents | task | seconds | nodes per second | server CPU µs per node | peak RSS, MiB | API p50, ms | p99 | max \
| questions | stolen |\n|---|---|---|---|---|---|---|---|---|---|---|";

fn line(row: &Value) -> String {
    let float = |name: &str, digits: usize| format!("{:.digits$}", row[name].as_f64().unwrap_or_default());
    let cells = [
        row["agents"].to_string(),
        row["task"].to_string(),
        float("seconds", 2),
        float("nodes_per_second", 0),
        float("cpu_us_per_node", 0),
        float("peak_mib", 1),
        float("p50_ms", 1),
        float("p99_ms", 1),
        float("max_ms", 1),
        row["questions"].to_string(),
        format!("{} %", float("stolen_percent", 1)),
    ];
    format!("| {} |", cells.join(" | "))
}

/// The played agents; they end with this.
struct Fleet(Child);

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended by itself, which then shows in what was measured.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(agents: usize, tasks: usize) -> Vec<Value> {
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca");
    let podium = |arguments: &[&str]| {
        let status = Command::new(binary()).args(arguments).stdout(Stdio::null()).status().expect("podium runs");
        assert!(status.success(), "podium {arguments:?} failed");
    };
    let ca_dir = ca.to_str().expect("a plain path");
    podium(&["ca", "init", ca_dir]);
    podium(&["ca", "issue", ca_dir, "server", "--dns-alt-names", "localhost"]);
    let files = ServerFiles {
        certificate: ca.join("certs/server.pem"),
        key: ca.join("private_keys/server.pem"),
        ca: ca.join("certs/ca.pem"),
        crl: Some(ca.join("crl.pem")),
    };
    let server = Server::start_with(&files, "", &[]);
    let tasks_dir = server.path("code/environments/production/modules/demo/tasks");
    std::fs::create_dir_all(&tasks_dir).expect("a directory");
    std::fs::write(tasks_dir.join("init.sh"), "#!/bin/sh\necho done\n").expect("a file");
    let mut api = Api::login(&server, &files.ca);
    let log = File::create(directory.path().join("fleet.log")).expect("a file");
    let fleet = Command::new(binary())
        .args(["capacity", "load", "idle", "--broker", &format!("localhost:{}", server.address.port()), "--ca-dir"])
        .args([ca_dir, "--connections", &agents.to_string(), "--name-suffix", ".agents.example.test"])
        .args(["--from", "127.0.0.1/24", "--without-controller", "--ramp", "1000", "--duration", "1h"])
        .args(["--deadline", "2h"])
        .stdout(log.try_clone().expect("a file"))
        .stderr(log)
        .spawn()
        .expect("podium runs");
    let _fleet = Fleet(fleet);
    let began = Instant::now();
    while api.connected() != agents {
        assert!(began.elapsed() < PATIENCE, "{} of {agents} are in the inventory\n{}", api.connected(), server.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    (1..=tasks).map(|task| run(agents, task, &server, &mut api)).collect()
}

/// One task on all, and its row.
fn run(agents: usize, task: usize, server: &Server, api: &mut Api) -> Value {
    server.settled_memory();
    std::fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("the high-water mark is ours to reset");
    let (cpu, machine, began) = (cpu_seconds(server.pid()), machine_ticks(), Instant::now());
    let job = api.start_task();
    let mut watch = Watch::new(job);
    while !watch.is_over() {
        let next = Instant::now() + ASK_EVERY;
        watch.ask(api);
        assert!(began.elapsed() < PATIENCE, "job {} does not end\n{}", watch.job, server.log());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds(server.pid()) - cpu;
    let [all, stolen] = machine_ticks();
    watch.check(api, agents);
    let latency = |quantile: f64| watch.latencies.value_at_quantile(quantile) as f64 / 1000.0;
    json!({
        "agents": agents, "task": task, "seconds": seconds, "nodes_per_second": agents as f64 / seconds,
        "cpu_us_per_node": cpu * 1e6 / agents as f64, "peak_mib": peak_mib(server.pid()), "p50_ms": latency(0.5),
        "p99_ms": latency(0.99), "max_ms": watch.latencies.max() as f64 / 1000.0, "questions": watch.latencies.len(),
        "stolen_percent": (stolen - machine[1]) as f64 / (all - machine[0]).max(1) as f64 * 100.0,
    })
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    let ticks: f64 = [fields[11], fields[12]].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
    ticks / TICKS_PER_SECOND
}

/// Of all processors since the start: everything, and what the host took.
fn machine_ticks() -> [u64; 2] {
    let stat = std::fs::read_to_string("/proc/stat").expect("the kernel says so");
    let ticks: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect();
    [ticks.iter().take(8).sum(), ticks.get(7).copied().unwrap_or_default()]
}

fn peak_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
