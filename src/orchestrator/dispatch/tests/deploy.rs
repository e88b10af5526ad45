//! Puppet runs: the request, the result by either way, and slots of their own.

use super::*;
use crate::orchestrator::model::{DeployOptions, Work};

fn puppet(job: &mut UnfinishedJob) {
    job.spec.work = Work::Deploy(DeployOptions { no_noop: true, ..DeployOptions::default() });
}

fn run_results(status: &str) -> Value {
    json!({"transaction_uuid": "9c", "environment": "production", "status": status, "metrics": {"total": 3, "failed": 1},
           "time": "2026-03-01T10:15:32Z", "exitcode": 0, "version": 1})
}

#[test]
fn a_run_from_request_to_result() {
    let mut bench = Bench::connected();
    bench.job_with(&["a"], r#"{"env":[],"flags":[],"job":"1"}"#, puppet);
    let data = &bench.sends[0]["data"];
    assert_eq!((&data["module"], &data["action"]), (&json!("pxp-module-puppet"), &json!("run")));
    assert_eq!(data["params"], json!({"env": [], "flags": [], "job": "1"}));
    let outcome = json!({"transaction_id": of_a(), "results": run_results("changed")});
    assert_eq!(bench.agent("rpc_non_blocking_response", &outcome), Received::Used);
    let (state, result) = bench.ending();
    assert_eq!((state, &result["noop"]), (NodeState::Finished, &json!({"noop": false, "no_noop": true})));
    let messages: Vec<&str> = bench
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::NodeStarted { event, .. } | Change::NodeEnded { event, .. } => Some(event.message.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(messages, ["Started puppet run on a ...", "Finished puppet run on a - Success! "]);
    let Some(Change::NodeEnded { details, event, .. }) =
        bench.changes.iter().find(|change| matches!(change, Change::NodeEnded { .. }))
    else {
        panic!("the node has ended")
    };
    assert_eq!((&details["transaction_uuid"], &event.details["detail"]["status"]), (&json!("9c"), &json!("changed")));
}

#[test]
fn a_lost_result_is_found_by_a_status_query() {
    for (status, word, expected) in
        [("changed", "success", NodeState::Finished), ("failed", "failure", NodeState::Failed)]
    {
        let mut bench = Bench::connected();
        bench.job(&["a"], puppet);
        let stdout = run_results(status).to_string();
        bench.answer_status(json!({"status": word, "exitcode": 0, "stdout": stdout}));
        assert_eq!(bench.ending().0, expected);
    }
    let mut bench = Bench::connected();
    bench.job(&["a"], puppet);
    bench.answer_status(json!({"status": "success", "exitcode": 0, "stdout": "no JSON"}));
    assert!(bench.error().starts_with("the agent's answer is not the result of a Puppet run"));
}

#[test]
fn an_agent_whose_lock_is_held_is_errored() {
    let mut bench = Bench::connected();
    bench.job(&["a"], puppet);
    let results = json!({"status": "unknown", "exitcode": -1, "error_type": "agent_locked", "error": "locked"});
    bench.agent("rpc_non_blocking_response", &json!({"transaction_id": of_a(), "results": results}));
    assert!(bench.error().starts_with("another Puppet run held the agent's lock"));
}

#[test]
fn no_more_runs_than_there_are_slots_for_catalogs() {
    let names = ["a", "b", "c", "d"];
    let mut bench = Bench::connected();
    let uris: Vec<String> = names.iter().map(|name| format!("pcp://{name}/agent")).collect();
    bench.broker("inventory_response", &json!({"uris": uris}));
    bench.sends.clear();
    bench.job(&names, puppet);
    let runs = |bench: &Bench| bench.sends.iter().filter(|send| send["data"]["action"] == "run").count();
    assert_eq!(runs(&bench), 2);
    let outcome = json!({"transaction_id": of_a(), "results": run_results("unchanged")});
    bench.agent("rpc_non_blocking_response", &outcome);
    assert_eq!(runs(&bench), 3);
}
