//! Users with permissions, from the command line to the audit log: what they may not do is refused, and says so; a lock-out,
//! and the way out of it on the host.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::lab::Lab;

fn must(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The operator's client with this token.
fn as_user(lab: &Lab, token: &str, arguments: &[&str]) -> Output {
    let admin = std::fs::read(lab.path("token")).unwrap();
    lab.write("token", token);
    let output = lab.client(arguments, "");
    std::fs::write(lab.path("token"), admin).unwrap();
    output
}

/// The lines of the audit log: subject, request, outcome.
fn audited(lab: &Lab) -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(lab.path("data/audit.log")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or("-").to_owned();
    lines.map(|line| (word(&line, "subject"), word(&line, "request"), word(&line, "outcome"))).collect()
}

fn rescue(lab: &Lab, password: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_podium"))
        .args(["access", "reset-password", "admin", "--data-dir"])
        .arg(lab.path("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(password.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn users_do_what_they_may_and_nothing_else() {
    let mut lab = Lab::new(&[]);
    lab.write_task("allowed.sh", "#!/bin/sh\necho yes\n");
    lab.write_task("other.sh", "#!/bin/sh\necho no\n");
    lab.start_server();
    must(&lab.client(&["access", "role", "add", "Demo", "--permission", "tasks:run:demo::allowed"], ""));
    must(&lab.client(&["access", "user", "add", "ada", "--role", "Demo"], "correct horse\n"));
    let token = must(&lab.client(&["access", "login", "ada", "--print", "--label", "test"], "correct horse\n"));
    let run = |task: &str| as_user(&lab, &token, &["task", "run", task, "--nodes", "nobody.example.test"]);
    let refusal = refused(&run("demo::other"));
    assert!(refusal.contains("not permitted to run the task demo::other on any of these nodes"), "{refusal}");
    let refusal = refused(&as_user(&lab, &token, &["inventory"]));
    assert!(refusal.contains("orchestrator:view:*"), "{refusal}");
    // It is accepted, and then may not be looked at.
    let refusal = refused(&run("demo::allowed"));
    assert!(refusal.contains("orchestrator:view:*"), "{refusal}");
    let task = |outcome: &str| ("ada".to_owned(), "POST /orchestrator/v1/command/task".to_owned(), outcome.to_owned());
    let audited = audited(&lab);
    assert!(audited.contains(&task("refused")) && audited.contains(&task("accepted")), "{audited:?}");

    for _ in 0..5 {
        refused(&lab.client(&["access", "login", "ada", "--print"], "guess\n"));
    }
    let listed = must(&lab.client(&["access", "user", "list"], ""));
    assert!(listed.contains("active"), "{listed}");
    must(&lab.client(&["access", "logout"], ""));
    refused(&lab.client(&["access", "user", "list"], ""));

    let refusal = refused(&rescue(&lab, "a new password\n"));
    assert!(refusal.contains("another process holds"), "{refusal}");
    lab.kill_server();
    must(&rescue(&lab, "a new password\n"));
    std::fs::write(lab.path("data/admin-password"), "a new password\n").unwrap();
    lab.start_server();
    must(&lab.client(&["access", "user", "reinstate", "ada"], ""));
    must(&lab.client(&["access", "user", "list"], ""));
}
