//! Tasks that outlive the agent, and what the next agent makes of them.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use podium::agent::metadata::{Metadata, REDACTED, StoredStatus, timestamp};
use podium::agent::spool::{Claimed, Spool};
use podium::agent::wrapper::Job;
use podium::clock::WallTime;
use serde_json::json;

use super::bench::{Bench, DATA_MAX, DEADLINE, fifo, id, wait_for, wrapper};

/// What an agent has done by the time it is killed: transaction on disk, wrapper started. The agent that follows is
/// started by the caller.
fn left_running(root: &std::path::Path, name: &str, script: &str) -> Child {
    let spool = Spool::open(&root.join("spool"), DATA_MAX).unwrap();
    let id = id(name);
    let Claimed::New(claim) = spool.claim(&id) else { panic!() };
    let metadata = Metadata {
        requester: "pcp://c/x".into(),
        module: "task".into(),
        action: "run".into(),
        request_params: REDACTED.into(),
        transaction_id: name.into(),
        request_id: "1-1-1-1-1".into(),
        notify_outcome: true,
        start: timestamp(WallTime::now()),
        status: StoredStatus::Running,
        end: None,
        results_are_valid: None,
        results: None,
        execution_error: None,
    };
    spool.create(&claim, &metadata).unwrap();
    let directory = spool.directory(&id);
    let job = Job {
        executable: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: Default::default(),
        input: String::new(),
        launcher: None,
        stdout: directory.join("stdout"),
        stderr: directory.join("stderr"),
        exitcode: directory.join("exitcode"),
    };
    let command = wrapper();
    let mut process = Command::new(command.program)
        .arg0("podium")
        .args(command.arguments)
        .arg(name)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    spool.write_pid(&id, process.id()).unwrap();
    process.stdin.take().unwrap().write_all(&serde_json::to_vec(&job).unwrap()).unwrap();
    process
}

fn waiting_script(root: &std::path::Path) -> String {
    let pipe = root.join("pipe");
    fifo(&pipe);
    format!("echo begun; cat {}; exit 4", pipe.display())
}

#[test]
fn a_task_and_its_result_survive_the_agent() {
    let bench = Bench::new();
    let root = bench.root.path().to_owned();
    let script = waiting_script(&root);
    let mut process = left_running(&root, "7", &script);
    let bench = bench.restarted();
    wait_for(&bench.directory("7").join("stdout"));
    assert_eq!(bench.status("7"), json!({"transaction_id": "7", "status": "running"}));
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().to_owned();
    assert_eq!(session, process.id().to_string(), "the wrapper has a session of its own");
    fs::write(root.join("pipe"), "ended\n").unwrap();
    process.wait().unwrap();
    let expected = json!({"transaction_id": "7", "status": "failure", "exitcode": 4, "stdout": "begun\nended\n"});
    assert_eq!(bench.status_at_end("7"), expected);
    let metadata = bench.metadata("7");
    assert_eq!((&metadata["status"], &metadata["results"]["exitcode"]), (&json!("success"), &json!(4)));
    bench.expect_silence();
}

#[test]
fn a_killed_wrapper_leaves_an_unknown_outcome() {
    let bench = Bench::new();
    let root = bench.root.path().to_owned();
    let mut process = left_running(&root, "7", &waiting_script(&root));
    let bench = bench.restarted();
    wait_for(&bench.directory("7").join("stdout"));
    process.kill().unwrap();
    process.wait().unwrap();
    let status = bench.status("7");
    assert_eq!(status["status"], "unknown");
    assert!(status["stdout"].as_str().unwrap().contains("task process is not running, but no output is available"));
    assert_eq!(bench.metadata("7")["status"], "undetermined");
    fs::write(root.join("pipe"), "").unwrap();
}

#[test]
fn the_next_agent_records_ends_without_being_asked() {
    let bench = Bench::new();
    let mut process = left_running(bench.root.path(), "7", "echo out");
    process.wait().unwrap();
    let bench = bench.restarted();
    let end = Instant::now() + DEADLINE;
    while bench.metadata("7")["status"] == "running" {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    assert_eq!(bench.metadata("7")["results"], json!({"exitcode": 0, "stdout": "out\n"}));
}

#[test]
fn a_wrapper_without_a_whole_job_runs_nothing() {
    let command = wrapper();
    let mut process = Command::new(command.program)
        .args(command.arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(b"{\"executable\":\"/bin/sh\"").unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(2));
}

#[test]
fn a_transaction_that_is_still_purgeable_is_not_purged_while_it_runs() {
    let bench = Bench::new();
    let root = bench.root.path().to_owned();
    let mut process = left_running(&root, "7", &waiting_script(&root));
    wait_for(&bench.directory("7").join("stdout"));
    let spool = Spool::open(&root.join("spool"), DATA_MAX).unwrap();
    let later = WallTime::from_millis(WallTime::now().as_millis() + 86_400_000);
    assert_eq!(spool.purge(Duration::from_secs(1), later), 0);
    fs::write(root.join("pipe"), "").unwrap();
    process.wait().unwrap();
    assert_eq!(spool.purge(Duration::from_secs(1), later), 1);
    assert!(!bench.directory("7").exists());
}

#[test]
fn what_was_to_be_ended_by_force_is_ended_by_the_next_agent() {
    let root = tempfile::tempdir().unwrap();
    let begun = root.path().join("begun");
    let script = format!("trap '' TERM; echo > {}; while :; do sleep 1000; done", begun.display());
    let mut process = left_running(root.path(), "7", &script);
    wait_for(&begun);
    Spool::open(&root.path().join("spool"), DATA_MAX).unwrap().condemn(&id("7")).unwrap();
    let bench = Bench::over(root);
    assert_eq!(bench.status_at_end("7")["exitcode"], 9);
    process.wait().unwrap();
}
