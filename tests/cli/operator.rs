//! `podium job`, `task`, `plan`, `inventory` and `app` against an orchestrator that answers what it is told to: the requests
//! they make, what they print, and the exit codes that `docs/cli.md` promises.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use super::fake::{Answer, Fake, Script, client, ok, refusal};
use super::{code, stderr, stdout};

const CONSOLE: &str = "https://console.example.com/#/cm/report/ab12";

/// What is asked when two nodes have ended since the last time.
const LATEST: &str = "GET jobs/81/nodes?order_by=finish_timestamp&order=desc&limit=24";

fn event(id: u32, kind: &str, details: Value) -> Value {
    json!({"id": id.to_string(), "type": kind, "timestamp": "2026-03-01T10:15:30Z", "details": details, "message": ""})
}

/// The events of a job on two nodes, and then none.
fn events(last: &str) -> Vec<(&'static str, Vec<Answer>)> {
    let next = |n: u32| json!({"id": "x", "event": n.to_string()});
    let events = [
        event(11, "node_running", json!({"node": "web01", "detail": {"noop": false}})),
        event(12, "node_running", json!({"node": "web02", "detail": {"noop": false}})),
        event(13, "node_finished", json!({"node": "web01"})),
        event(14, last, json!({"node": "web02"})),
        event(15, "job_finished", json!({})),
    ];
    vec![
        ("GET jobs/81/events?start=0", vec![ok(json!({"next-events": next(13), "items": events[..2]}))]),
        ("GET jobs/81/events?start=13", vec![ok(json!({"next-events": next(16), "items": events[2..]}))]),
        ("GET jobs/81/events?start=16", vec![ok(json!({"next-events": next(16), "items": []}))]),
    ]
}

fn job(kind: &str, state: &str) -> Value {
    json!({"name": "81", "state": state, "type": kind, "node_count": 2, "duration": "65.0", "options": {"task": "facter"}})
}

fn puppet_run(state: &str, failed: u32) -> Script {
    let node = |name: &str, state: &str, failed: u32| {
        let metrics = json!({"total": 353, "changed": 1, "out_of_sync": 1 + failed, "failed": failed, "skipped": 0});
        json!({"name": name, "state": state, "details": {"report-url": CONSOLE},
               "result": {"status": "changed", "configuration_version": "1502024081", "metrics": metrics}})
    };
    let (last, second) = if failed == 0 { ("node_finished", "finished") } else { ("node_failed", "failed") };
    let nodes = json!({"items": [node("web01", "finished", 0), node("web02", second, failed)]});
    let mut script = events(last);
    script.extend([
        ("POST command/deploy", vec![Answer::Json(202, json!({"job": {"id": "x", "name": "81"}}))]),
        ("GET jobs/81", vec![ok(job("deploy", state))]),
        ("GET jobs/81/nodes", vec![ok(nodes)]),
    ]);
    script
}

fn task_run() -> Script {
    let node =
        |name: &str| json!({"name": name, "state": "finished", "details": {}, "result": {"_output": "RedHat\n"}});
    let mut script = events("node_finished");
    script.extend([
        ("POST command/task", vec![Answer::Json(202, json!({"job": {"id": "x", "name": "81"}}))]),
        ("GET jobs/81", vec![ok(job("task", "running")), ok(job("task", "finished"))]),
        // The second of the two has ended and is not among the latest: then all are asked for.
        (LATEST, vec![ok(json!({"items": [node("web01")]}))]),
        ("GET jobs/81/nodes", vec![ok(json!({"items": [node("web01"), node("web02")]}))]),
    ]);
    script
}

#[test]
fn a_puppet_run_is_shown_as_puppet_job_shows_it() {
    let fake = Fake::start(puppet_run("finished", 0));
    let output = fake.run(&["job", "run", "--nodes", "web01,web02", "-e", "production", "--concurrency", "10"]);
    let expected = format!(
        "\
Starting job ...
New job id created: 81
Environment: production
Concurrency limit: 10
Nodes: 2

Started puppet run on web01 ...
Started puppet run on web02 ...
Finished puppet run on web01 - Success!
    Applied configuration version 1502024081
    Resource events: 0 failed 1 changed 352 unchanged 0 skipped 0 noop
    Report: {CONSOLE}
Finished puppet run on web02 - Success!
    Applied configuration version 1502024081
    Resource events: 0 failed 1 changed 352 unchanged 0 skipped 0 noop
    Report: {CONSOLE}
Success! 2/2 runs succeeded.
Duration: 1 min, 5 sec
"
    );
    assert_eq!((code(&output), stdout(&output), stderr(&output)), (0, expected, String::new()));
    let body = r#"{"concurrency":10,"environment":"production","scope":{"nodes":["web01","web02"]}}"#;
    assert_eq!(fake.body("POST command/deploy"), body);
}

#[test]
fn a_puppet_run_that_fails_on_a_node_is_one_json_object_and_exit_code_1() {
    let fake = Fake::start(puppet_run("failed", 2));
    let query = "nodes[certname] { certname ~ \"^web\" }";
    let output = fake.run(&["job", "run", "-q", query, "--noop", "--tags", "web", "--format", "json"]);
    assert_eq!(code(&output), 1);
    let shown: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&shown["job_id"], &shown["state"]), (&json!("81"), &json!("failed")));
    let counts = json!({"failed": 2, "changed": 1, "unchanged": 350, "skipped": 0, "noop": 0});
    assert_eq!((&shown["items"][1]["state"], &shown["items"][1]["metrics"]), (&json!("failed"), &counts));
    let body: Value = serde_json::from_str(&fake.body("POST command/deploy")).unwrap();
    let expected = json!({"environment": "", "enforce_environment": false, "noop": true, "tags": "web",
                          "scope": {"query": query}});
    assert_eq!(body, expected);
}

#[test]
fn a_task_takes_nodes_and_parameters_from_files_and_standard_input() {
    let fake = Fake::start(task_run());
    std::fs::write(fake.path("params.json"), r#"{"fact": "os"}"#).unwrap();
    let params = format!("@{}", fake.path("params.json").display());
    let arguments = ["task", "run", "facter", "--nodes", "-", "--params", &params, "--description", "d"];
    let mut child = fake.command(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"web01\nweb02\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let expected = "\
Starting job ...
New job ID: 81
Nodes: 2

Started on web01 ...
Started on web02 ...
Finished on node web01
  STDOUT:
    RedHat
Finished on node web02
  STDOUT:
    RedHat
Job completed. 2/2 nodes succeeded.
Duration: 1 min, 5 sec
";
    assert_eq!((code(&output), stdout(&output).as_str()), (0, expected));
    let body: Value = serde_json::from_str(&fake.body("POST command/task")).unwrap();
    let scope = json!({"nodes": ["web01", "web02"]});
    assert_eq!(
        body,
        json!({"task": "facter", "params": {"fact": "os"}, "noop": false, "description": "d", "scope": scope})
    );
}

#[test]
fn a_job_in_the_background_is_not_waited_for() {
    let fake = Fake::start(task_run());
    let output = fake.run(&["task", "run", "facter", "-n", "web01", "--background"]);
    let expected = "Starting job ...\nNew job ID: 81\nNodes: 1\n\nWatch it with: podium job show 81 --watch\n";
    assert_eq!((code(&output), stdout(&output).as_str(), fake.asked().len()), (0, expected, 1));
    let watched = fake.run(&["job", "show", "81", "--watch"]);
    assert_eq!(code(&watched), 0);
    assert!(stdout(&watched).ends_with("Job completed. 2/2 nodes succeeded.\nDuration: 1 min, 5 sec\n"));
}

#[test]
fn a_stop_says_what_goes_on() {
    let answer = json!({"job": {"id": "x", "name": "81", "nodes": {"new": 5, "running": 8, "finished": 5}}});
    let fake = Fake::start(vec![("POST command/stop", vec![Answer::Json(202, answer.clone())])]);
    let output = fake.run(&["job", "stop", "81"]);
    let expected = "Stop of job 81 accepted.\nNodes: 5 new, 8 running, 5 finished\nThose that run go on to their end. To \
                    end them now: podium job stop 81 --force\n";
    assert_eq!((code(&output), stdout(&output).as_str()), (0, expected));
    assert_eq!(fake.body("POST command/stop"), r#"{"job":"81"}"#);
    let fake = Fake::start(vec![("POST command/stop", vec![Answer::Json(202, answer)])]);
    assert_eq!(code(&fake.run(&["job", "stop", "81", "--force", "--format", "json"])), 0);
    assert_eq!(fake.body("POST command/stop"), r#"{"force":true,"job":"81"}"#);
}

fn plan(state: &str, result: Value) -> Script {
    let long = "x".repeat(1024);
    let job =
        |state: &str, result| json!({"name": "38", "state": state, "duration": 5.1, "result": result, "options": {}});
    let out = event(1272, "out_message", json!({"message": long}));
    let events = [event(1271, "task_start", json!({"job-id": "8765"})), out, event(1273, "plan_finished", json!({}))];
    let whole = event(1272, "out_message", json!({"message": format!("{long} and more")}));
    // The documented oddity: the event said to be next is the first one shown.
    vec![
        ("POST command/plan_run", vec![Answer::Json(202, json!({"name": "38"}))]),
        ("GET plan_jobs/38", vec![ok(job("running", Value::Null)), ok(job(state, result))]),
        ("GET plan_jobs/38/events?start=0", vec![ok(json!({"next-events": {"event": "1271"}, "items": events[..1]}))]),
        (
            "GET plan_jobs/38/events?start=1272",
            vec![ok(json!({"next-events": {"event": "1272"}, "items": events[1..]}))],
        ),
        ("GET plan_jobs/38/events?start=1274", vec![ok(json!({"next-events": {"event": "1274"}, "items": []}))]),
        ("GET plan_jobs/38/event/1272", vec![ok(whole)]),
    ]
}

#[test]
fn a_plan_tells_what_it_does_and_its_result() {
    let fake = Fake::start(plan("success", json!({"version": "2.4"})));
    let output = fake.run(&["plan", "run", "deploy::canary", "version=2.4.0", "count=2", "--timeout", "60"]);
    let long = "x".repeat(1024);
    let expected = format!(
        "\
Starting plan ...
New Plan Job ID: 38

Starting: task (job 8765)
{long} and more

RESULT:
  {{
    \"version\": \"2.4\"
  }}
Plan completed.
Duration: 5 sec
"
    );
    assert_eq!((code(&output), stdout(&output)), (0, expected));
    let body = r#"{"params":{"count":2,"version":"2.4.0"},"plan_name":"deploy::canary","timeout":60}"#;
    assert_eq!(fake.body("POST command/plan_run"), body);

    let fake = Fake::start(plan("failure", json!({"kind": "bolt/run-failure", "msg": "1 node failed"})));
    let output = fake.run(&["plan", "run", "deploy::canary", "--format", "json"]);
    assert_eq!(code(&output), 1);
    let shown: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&shown["state"], &shown["result"]["msg"]), (&json!("failure"), &json!("1 node failed")));
}

#[test]
fn plans_and_their_jobs_are_listed_and_stopped() {
    let run = json!({"name": "38", "state": "success", "duration": 5.1, "owner": {"login": "ada"},
                     "created_timestamp": "2026-03-01T10:20:00Z", "options": {"plan_name": "facts::info"}});
    let fake = Fake::start(vec![
        (
            "GET plans?environment=qa",
            vec![ok(
                json!({"items": [{"name": "a::b", "description": "Rolls out"}, {"name": "c", "permitted": false}]}),
            )],
        ),
        ("GET plan_jobs?limit=50&offset=0&order_by=name&order=desc&results=exclude", vec![ok(json!({"items": [run]}))]),
        ("POST command/stop_plan", vec![Answer::Json(202, json!({"name": "38"}))]),
    ]);
    assert_eq!(stdout(&fake.run(&["plan", "show", "--env", "qa"])), "PLAN  DESCRIPTION\na::b  Rolls out\n");
    let list = "ID  STATE    USER  STARTED               DURATION  PLAN\n38  success  ada   2026-03-01T10:20:00Z  5 sec     \
                facts::info\n";
    assert_eq!(stdout(&fake.run(&["plan", "job"])), list);
    assert_eq!(stdout(&fake.run(&["plan", "stop", "38"])), "Stop of plan job 38 accepted.\n");
    assert_eq!(fake.body("POST command/stop_plan"), r#"{"plan_job":"38"}"#);
    let unknown = fake.run(&["plan", "job", "7"]);
    assert_eq!((code(&unknown), stderr(&unknown).as_str()), (5, "No plan job found\n"));
}

#[test]
fn the_graph_of_an_environment_is_asked_for() {
    let web = json!({"type": "Web", "title": "1", "node": "web01", "consumes": ["Sql[x]"]});
    let db = json!({"type": "Db", "title": "1", "node": "db01", "produces": ["Sql[x]"]});
    let instances = json!({"items": [{"type": "Lamp", "title": "shop", "components": [web, db]}]});
    let fake = Fake::start(vec![("GET environments/production/instances", vec![ok(instances)])]);
    let output = fake.run(&["app", "show", "Lamp[shop]"]);
    assert!(stdout(&output).ends_with("Order of the nodes:\n  1. db01\n  2. web01\n"), "{}", stdout(&output));
    assert_eq!((code(&output), code(&fake.run(&["app", "show", "Stamp"]))), (0, 5));
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let cases = [
        (refusal(404, "unknown-job", "Unknown job 7"), 5, "No job found\n"),
        (refusal(403, "not-permitted", "No."), 4, "podium: No. (puppetlabs.orchestrator/not-permitted, status 403)\n"),
        (
            Answer::Json(401, json!({"kind": "puppetlabs.rbac/token-expired", "msg": "The token has expired."})),
            4,
            "podium: The token has expired. (status 401); log in with: podium access login\n",
        ),
        (
            refusal(503, "unknown-error", "Stopping"),
            3,
            "podium: Stopping (puppetlabs.orchestrator/unknown-error, status 503)\n",
        ),
        (refusal(500, "unknown-error", "Oh"), 5, "podium: Oh (puppetlabs.orchestrator/unknown-error, status 500)\n"),
    ];
    for (answer, expected, message) in cases {
        let fake = Fake::start(vec![("GET jobs/7", vec![answer])]);
        let output = fake.run(&["job", "show", "7"]);
        assert_eq!((code(&output), stderr(&output).as_str(), stdout(&output).as_str()), (expected, message, ""));
    }
    let fake = Fake::start(Vec::new());
    for wrong in
        [&["job", "run"][..], &["job", "show", "x"], &["task", "run", "a", "-n", "b", "c"], &["job", "show", "--watch"]]
    {
        assert_eq!(code(&fake.run(wrong)), 2, "{wrong:?}");
    }
    assert!(fake.asked().is_empty());
    std::fs::remove_file(fake.path("token")).unwrap();
    let output = fake.run(&["job", "show"]);
    assert_eq!(code(&output), 4);
    assert!(stderr(&output).contains("no token can be read") && stderr(&output).contains("podium access login"));
}

#[test]
fn mistakes_of_the_configuration_name_file_and_key_before_anything_is_asked() {
    let fake = Fake::start(Vec::new());
    fake.configure(&json!({"options": {"service-url": "https://localhost:1", "color": "yes"}}));
    let output = fake.run(&["job", "show"]);
    let file = fake.path(".puppetlabs/client-tools/orchestrator.conf");
    let expected = format!("podium: {}: the value of \"color\" must be true or false, not \"yes\"\n", file.display());
    assert_eq!((code(&output), stderr(&output)), (2, expected));
    // A closed port: nobody listens where nothing was bound.
    fake.configure(
        &json!({"options": {"service-url": "https://localhost:1", "cacert": "~/ca.pem", "token-file": "~/token"}}),
    );
    let output = fake.run(&["job", "show"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
}

#[test]
fn ctrl_c_leaves_the_job_running_and_says_how_to_stop_it() {
    let mut script = task_run();
    script.retain(|(what, _)| !what.starts_with("GET jobs/81"));
    let running = json!({"name": "81", "state": "running", "node_count": 1, "type": "task"});
    script.push(("GET jobs/81", vec![ok(running)]));
    script.push(("GET jobs/81/events?start=0", vec![ok(json!({"items": []}))]));
    let fake = Fake::start(script);
    let mut command = fake.command(&["task", "run", "facter", "-n", "web01"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "New job ID: 81"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let expected = "Job 81 goes on. Watch it with: podium job show 81 --watch\nStop it with: podium job stop 81\n";
    assert_eq!((code(&output), stderr(&output).as_str()), (130, expected));
    assert!(fake.asked().iter().all(|asked| !asked.what.starts_with("POST command/stop")));
}

#[test]
fn a_question_that_was_cut_off_is_asked_again_and_a_command_never() {
    let fake = Fake::start(vec![
        ("GET inventory", vec![Answer::Cut, ok(json!({"items": []}))]),
        ("GET jobs/81", vec![Answer::Cut]),
        ("POST command/stop", vec![Answer::Cut]),
        ("POST command/task", vec![Answer::Cut]),
    ]);
    assert_eq!(code(&fake.run(&["inventory"])), 0);
    assert_eq!(fake.count("GET inventory"), 2);
    assert_eq!(code(&fake.run(&["job", "show", "81"])), 3);
    assert_eq!(fake.count("GET jobs/81"), 2);
    assert_eq!(code(&fake.run(&["job", "stop", "81"])), 3);
    assert_eq!(fake.count("POST command/stop"), 1);
    let output = fake.run(&["task", "run", "facter", "-n", "a"]);
    assert_eq!((code(&output), fake.count("POST command/task")), (3, 1));
    assert!(stderr(&output).starts_with("It is not known whether the job was started."), "{}", stderr(&output));
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let fake =
        Fake::start(vec![("GET inventory", vec![ok(json!({"items": [{"name": "web02", "connected": false}]}))])]);
    let plain = stdout(&fake.run(&["inventory"]));
    assert!(!plain.contains('\x1b'));
    let coloured = stdout(&fake.run(&["inventory", "--color"]));
    let expected = "\x1b[1mNODE   STATE          SINCE  BROKER\x1b[0m\n\x1b[33mweb02  not connected\x1b[0m\n\n0 of 1 nodes \
                    are connected.\n";
    assert_eq!(coloured, expected);
    assert_eq!(stdout(&fake.run(&["inventory", "--color=never"])), plain);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let node = |n: u32| json!({"name": format!("web{n:05}.example.com"), "connected": true});
    let nodes: Vec<Value> = (0..20_000).map(node).collect();
    let fake = Fake::start(vec![("GET inventory", vec![ok(json!({"items": nodes}))])]);
    let mut child = fake.command(&["inventory"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((&first, code(&output), stderr(&output).as_str()), (b"NODE", 0, ""));
}

#[test]
fn settings_come_from_the_environment_before_the_files() {
    let fake = Fake::start(vec![("GET tasks?environment=qa", vec![ok(json!({"items": []}))])]);
    let run = |arguments: &[&str]| client(&fake.path(""), arguments).env("PODIUM_ENVIRONMENT", "qa").output().unwrap();
    assert_eq!(code(&run(&["task", "list"])), 0);
    let output = client(&fake.path(""), &["task", "list"]).env("PODIUM_SERVICE_URL", "ftp://x").output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("\"ftp://x\" does not begin with https://"), "{}", stderr(&output));
}
