//! `podium capacity load` against a started broker: every scenario in small, what it writes, its exit codes, and what it
//! says when it cannot do what it was asked for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::port::free_port;
use crate::support::server::PATIENCE;

fn podium() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podium"));
    command.stdin(Stdio::null());
    command
}

/// A broker with a throw-away CA, as `--make-ca` explains it.
struct Lab {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Lab {
    fn new() -> Self {
        Self::with_privileged("load-controller")
    }

    fn with_privileged(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca");
        let made = podium().args(["capacity", "load", "--make-ca"]).arg(&ca).output().unwrap();
        let told = String::from_utf8_lossy(&made.stdout).into_owned();
        assert!(made.status.success() && told.contains("privileged-clients: [load-controller]"), "{told}");
        let path = |name: &str| ca.join(name).display().to_string();
        let port = free_port();
        let configuration = format!(
            "global.certs: {{ ssl-cert: {:?}, ssl-key: {:?}, ssl-ca-cert: {:?} }}\n\
             webserver: {{ ssl-host: \"127.0.0.1\", ssl-port: {port} }}\n\
             pcp-broker: {{ privileged-clients: [{name}], workers: 2 }}\n",
            path("certs/localhost.pem"),
            path("private_keys/localhost.pem"),
            path("certs/ca.pem")
        );
        fs::create_dir(dir.path().join("conf")).unwrap();
        fs::write(dir.path().join("conf/podium.conf"), configuration).unwrap();
        let child = start_broker(dir.path());
        Self { dir, port, child }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A run with these arguments that writes its results to `out`.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = podium();
        command.args(["capacity", "load"]).args(arguments);
        command.args(["--broker", &format!("localhost:{}", self.port), "--ca-dir"]).arg(self.path("ca"));
        command.args(["--watch-pid", &self.child.id().to_string(), "--output"]).arg(self.path("out"));
        command
    }

    /// Runs it; its results must be those of a run that passed.
    fn passes(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(code(&output), 0, "{arguments:?}\n{}{}", text(&output.stdout), text(&output.stderr));
        let results = self.results();
        assert_eq!(results["passed"], true);
        let page = fs::read_to_string(self.path("out/report.html")).unwrap();
        assert!(page.contains("<svg") && page.contains("all checks passed"));
        results
    }

    fn results(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("out/results.json")).unwrap()).unwrap()
    }

    fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = start_broker(self.dir.path());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn start_broker(dir: &Path) -> Child {
    let log = dir.join("log");
    let file = File::create(&log).unwrap();
    let mut command = podium();
    command.args(["broker", "--config"]).arg(dir.join("conf"));
    let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    await_text(&log, "the broker is up");
    child
}

fn await_text(file: &Path, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.contains(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "no {wanted:?} in:\n{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A step of results.json.
fn step<'a>(results: &'a Value, name: &str) -> &'a Value {
    let steps = results["steps"].as_array().unwrap();
    steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step {name} in {steps:?}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn agents_of_both_versions_are_asked_and_answer() {
    let lab = Lab::new();
    let arguments = ["request", "-n", "12", "--duration", "2", "--rate", "50", "--protocol", "both"];
    let results = lab.passes(&arguments);
    let asked = step(&results, "requests");
    let counts = &asked["counts"];
    assert!(number(&counts["sent"]) >= 99.0, "{counts}");
    for same in ["provisional", "answered", "received"] {
        assert_eq!(counts[same], counts["sent"], "{same}");
    }
    assert_eq!(asked["latencies"][1][0], "answer");
    let times = &asked["latencies"][1][1];
    assert_eq!(times["count"], counts["sent"]);
    assert!(number(&times["p50"]) > 0.0 && number(&times["p50"]) <= number(&times["p99"]));
    assert!(number(&asked["processes"][0]["resident_after"]) > 1e6 && asked["cpu_micros_per_message"].is_number());
    // The agents, and the controller, which is none.
    assert_eq!(results["samples"].as_array().unwrap().last().unwrap()["counts"]["inventory"], 12);
    let blocking = ["request", "-n", "3", "--duration", "1", "--in-flight", "2", "--request", "blocking"];
    let blocking = lab.passes(&blocking);
    let counts = &step(&blocking, "requests")["counts"];
    assert!(number(&counts["answered"]) > 2.0 && counts["provisional"] == 0, "{counts}");
}

#[test]
fn two_processes_play_one_fleet() {
    let lab = Lab::new();
    let arguments =
        ["fanout", "-n", "9", "--rounds", "2", "--processes", "2", "--from", "127.0.0.1/29", "--tls", "1.2"];
    let results = lab.passes(&arguments);
    assert_eq!(step(&results, "connect")["counts"]["opened"], 9);
    let fanouts: Vec<&Value> = results["steps"].as_array().unwrap().iter().filter(|s| s["name"] == "fan-out").collect();
    assert_eq!(fanouts.len(), 2);
    for fanout in fanouts {
        assert_eq!((&fanout["counts"]["sent"], &fanout["counts"]["answered"]), (&9.into(), &9.into()));
        assert!(number(&fanout["rounds"][0]) > 0.0);
    }
    let log = fs::read_to_string(lab.path("log")).unwrap();
    assert!(log.contains("pcp://load-controller/controller-2") && log.contains("127.0.0.6:"), "{log}");
}

#[test]
fn a_storm_and_a_restart_are_survived() {
    let mut lab = Lab::new();
    let results = lab.passes(&["storm", "-n", "8", "--duration", "5", "--without-controller"]);
    let storm = step(&results, "storm");
    assert_eq!((&storm["counts"]["left"], &storm["counts"]["opened"]), (&8.into(), &8.into()));
    assert_eq!((&storm["connected"], &storm["connected_least"]), (&8.into(), &0.into()));
    let told = lab.path("told");
    let restart = ["storm", "-n", "8", "--duration", "5", "--storm", "restart", "--reconnect", "jitter"];
    // Another process is watched than the one that comes back.
    let mut run = lab.command(&restart).stderr(File::create(&told).unwrap()).stdout(Stdio::null()).spawn().unwrap();
    await_text(&told, "Restart the broker now");
    lab.restart();
    assert!(run.wait().unwrap().success(), "{}", fs::read_to_string(&told).unwrap());
    let storm = &lab.results()["steps"][1];
    assert_eq!((&storm["counts"]["lost"], &storm["connected"]), (&8.into(), &8.into()));
}

#[test]
fn agents_come_and_go_and_some_do_not_read() {
    let lab = Lab::new();
    let results = lab.passes(&["churn", "-n", "10", "--duration", "2", "--churn", "10"]);
    let churn = &step(&results, "churn")["counts"];
    assert!(number(&churn["left"]) > 5.0 && churn["left"] == churn["opened"], "{churn}");
    let slow = ["slow", "-n", "5", "--slow", "2", "--duration", "3", "--rate", "20", "--request-bytes", "10"];
    let output = lab.command(&slow).output().unwrap();
    // Whether the others suffer depends on the machine that runs this test.
    assert!([0, 1].contains(&code(&output)), "{}", text(&output.stderr));
    let results = lab.results();
    let counts = &step(&results, "some do not")["counts"];
    assert!(number(&counts["sent_to_slow"]) > 10.0 && counts["answered"] == counts["sent"], "{counts}");
    let mixed = lab.passes(&["mixed", "-n", "6", "--duration", "5", "--rate", "20"]);
    assert_eq!(mixed["steps"].as_array().unwrap().len(), 7);
}

#[test]
fn what_was_measured_before_an_interruption_is_kept() {
    let lab = Lab::new();
    let told = lab.path("told");
    let mut run = lab.command(&["idle", "-n", "5", "--duration", "10m", "--processes", "2"]);
    let mut run = run.stderr(File::create(&told).unwrap()).stdout(Stdio::null()).spawn().unwrap();
    await_text(&told, "idle ...");
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(1), "{}", fs::read_to_string(&told).unwrap());
    let results = lab.results();
    assert_eq!((&results["ended_early"], &results["passed"]), (&"interrupted".into(), &false.into()));
    assert_eq!(step(&results, "connect")["connected"], 5);
}

#[test]
fn a_broker_that_dies_fails_the_run() {
    let mut lab = Lab::new();
    let told = lab.path("told");
    let mut run = lab.command(&["idle", "-n", "5", "--duration", "5"]);
    let mut run = run.stderr(File::create(&told).unwrap()).stdout(Stdio::null()).spawn().unwrap();
    await_text(&told, "idle ...");
    lab.restart();
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let results = lab.results();
    let failed = results["checks"].as_array().unwrap().iter().find(|check| check["passed"] == false).unwrap();
    assert_eq!(failed["name"], "No connection was lost without cause", "{results}");
}

#[test]
fn what_cannot_be_done_is_said_before_it_is_tried() {
    let lab = Lab::new();
    let refused = |arguments: &[&str]| {
        let output = lab.command(arguments).output().unwrap();
        assert_eq!(code(&output), 2, "{}", text(&output.stderr));
        text(&output.stderr)
    };
    assert!(refused(&["idle", "-n", "0"]).contains("--connections must be between 1 and 99999, not 0"));
    assert!(refused(&["idle", "--from", "localhost"]).contains("\"localhost\" is no address"));
    assert!(refused(&["idle", "--watch-pid", "4194304"]).contains("there is no process 4194304"));
    assert!(refused(&["request", "--without-controller"]).contains("cannot do --without-controller"));
    let nowhere = podium().args(["capacity", "load", "idle"]).output().unwrap();
    assert!(code(&nowhere) == 2 && text(&nowhere.stderr).contains("--make-ca DIR"), "{nowhere:?}");
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_podium"), "capacity", "load", "idle"]);
    let few = few.args(["-n", "200", "--ca-dir"]).arg(lab.path("ca")).output().unwrap();
    let told = text(&few.stderr);
    assert!(code(&few) == 2 && told.contains("it may have 100: give --processes 6"), "{told}");
}

#[test]
fn what_goes_wrong_at_the_broker_is_told_with_advice() {
    let lab = Lab::with_privileged("somebody-else");
    let fails = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(code(&output), 1, "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let told = fails(&mut lab.command(&["request", "-n", "2", "--duration", "1"]));
    assert!(told.contains("name its certificate in pcp-broker.privileged-clients"), "{told}");
    let nobody = format!("localhost:{}", free_port());
    let mut unreachable = podium();
    unreachable.args(["capacity", "load", "idle", "-n", "2", "--broker", &nobody, "--ca-dir"]).arg(lab.path("ca"));
    assert!(fails(&mut unreachable).contains("no agent can connect: wss://localhost"));
    assert!(fails(&mut unreachable).contains("nothing listens there"));
    let stranger = lab.path("stranger");
    assert!(podium().args(["ca", "init"]).arg(&stranger).output().unwrap().status.success());
    let mut foreign = podium();
    let broker = format!("localhost:{}", lab.port);
    foreign.args(["capacity", "load", "idle", "-n", "2", "--broker", &broker, "--ca-dir"]).arg(&stranger);
    let told = fails(&mut foreign);
    assert!(told.contains("not signed by a CA of ours"), "{told}");
}
