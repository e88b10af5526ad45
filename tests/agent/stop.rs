//! Tasks that are ended by order, whatever they do against it.

use std::fs;

use serde_json::{Value, json};

use super::bench::{Bench, fifo, wait_for};

/// Gives the order and returns the results of the answer. Replies of the task itself come after it.
fn stop(bench: &Bench, id: &str) -> Value {
    let params = json!({"transaction_id": id});
    let data = json!({"transaction_id": "s", "module": "podium", "action": "stop", "params": params});
    bench.submit("rpc_blocking_request", data);
    bench.expect("rpc_blocking_response")["results"].take()
}

/// A task that says when it has begun and never ends by itself, started.
fn begun(bench: &Bench, before: &str) {
    let pipe = bench.root.path().join("pipe");
    fifo(&pipe);
    let script = format!("#!/bin/sh\n{before}\necho begun\ncat {0}; cat {0}; cat {0}\n", pipe.display());
    bench.start("7", &bench.script(&script));
    bench.expect("rpc_provisional_response");
    wait_for(&bench.directory("7").join("stdout"));
}

#[test]
fn a_running_task_is_asked_to_end_and_its_end_is_told() {
    let bench = Bench::new();
    begun(&bench, "trap 'echo tidied; exit 3' TERM");
    assert_eq!(stop(&bench, "7"), json!({"transaction_id": "7", "status": "running"}));
    let results = bench.expect("rpc_non_blocking_response")["results"].take();
    assert_eq!((&results["exitcode"], &results["stdout"]), (&json!(3), &json!("begun\ntidied\n")));
    assert_eq!(stop(&bench, "7")["status"], "failure");
}

#[test]
fn one_that_does_not_listen_is_killed_with_all_that_it_started() {
    let bench = Bench::new();
    let child = bench.root.path().join("child");
    begun(&bench, &format!("trap '' TERM\nsh -c 'echo $$ > {0}; exec sleep 1000' &", child.display()));
    let child = wait_for(&child).trim().to_owned();
    stop(&bench, "7");
    assert_eq!(bench.expect("rpc_non_blocking_response")["results"]["exitcode"], 9);
    let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    let state = state.rsplit(')').next().unwrap_or_default().trim().chars().next();
    assert!(matches!(state, None | Some('Z')), "the child of the task is still there: {state:?}");
}

#[test]
fn a_task_that_outlived_its_agent_is_ended_by_the_next() {
    let bench = Bench::new();
    begun(&bench, "");
    // The first agent's threads live on in this process, as the wrapper would without them.
    let bench = bench.restarted();
    stop(&bench, "7");
    let end = bench.status_at_end("7");
    assert_eq!((&end["status"], &end["exitcode"]), (&json!("failure"), &json!(15)));
}

#[test]
fn what_is_not_known_is_answered_as_a_status_query_would_be() {
    let bench = Bench::new();
    let answer = stop(&bench, "nosuch");
    assert_eq!(answer["status"], "unknown");
    assert!(answer["stdout"].as_str().unwrap().contains("found no results directory"));
}

#[test]
fn an_order_that_its_stop_has_overtaken_does_not_run() {
    let bench = Bench::new();
    let runs = bench.root.path().join("runs");
    let params = bench.script(&format!("#!/bin/sh\necho run >> {}\n", runs.display()));
    assert_eq!(stop(&bench, "7")["status"], "unknown");
    let bench = bench.restarted();
    for _ in 0..2 {
        bench.start("7", &params);
        assert_eq!(bench.expect("rpc_error_message")["description"], "it was stopped before it began");
        assert_eq!(bench.status("7")["status"], "unknown");
    }
    bench.run("8", &params);
    assert_eq!(fs::read_to_string(runs).unwrap(), "run\n", "8 runs, 7 does not");
}
