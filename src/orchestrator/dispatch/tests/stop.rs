//! Jobs that are stopped, gently and by force, before and after a restart.

use super::*;

const RUNNING: &str = "running";

fn stop(bench: &mut Bench, stop: Stop) -> StopAnswer {
    let mut answer = StopAnswer::NotThere;
    bench.act(|dispatcher, now, out| answer = dispatcher.stop(now, JobId(1), stop, out));
    answer
}

/// Node `a` runs, `b` and `c` wait because the job takes one at a time.
fn one_of_three() -> Bench {
    let mut bench = Bench::connected();
    bench.broker("inventory_response", &json!({"uris": ["pcp://a/agent", "pcp://b/agent", "pcp://c/agent"]}));
    bench.job(&["a", "b", "c"], |job| job.spec.terms.concurrency = Some(1));
    assert_eq!(bench.requests(), 1);
    bench.changes.clear();
    bench
}

fn succeed(bench: &mut Bench) {
    bench.agent("rpc_non_blocking_response", &json!({"transaction_id": of_a(), "results": {"exitcode": 0}}));
}

fn orders_to_end(bench: &Bench) -> Vec<String> {
    let is_order = |send: &&Value| send["data"]["module"] == "podium" && send["data"]["action"] == "stop";
    let orders = bench.sends.iter().filter(is_order);
    orders.map(|send| send["data"]["transaction_id"].as_str().unwrap().to_owned()).collect()
}

fn answer(bench: &mut Bench, order: &str, status: &str) {
    let results = json!({"transaction_id": of_a(), "status": status});
    bench.agent("rpc_blocking_response", &json!({"transaction_id": order, "results": results}));
}

#[test]
fn gently_means_that_what_runs_ends_by_itself_and_the_rest_is_skipped() {
    let mut bench = one_of_three();
    assert_eq!(stop(&mut bench, Stop::Gently), StopAnswer::Stopping);
    assert_eq!(words(&bench.changes), ["stopping", "node_skipped", "node_skipped"]);
    assert_eq!(stop(&mut bench, Stop::Gently), StopAnswer::Stopping);
    succeed(&mut bench);
    assert_eq!(words(&bench.changes)[3..], ["node_finished", "stopped"]);
    let Some(Change::JobEntered { event: Some(event), .. }) = bench.changes.last() else { panic!("no last event") };
    assert_eq!(event.kind, EventType::JobAborted);
    assert_eq!((bench.requests(), orders_to_end(&bench).len()), (1, 0));
    assert_eq!(stop(&mut bench, Stop::Gently), StopAnswer::NotThere);
}

#[test]
fn by_force_the_agent_is_told_until_it_agrees() {
    let mut bench = one_of_three();
    stop(&mut bench, Stop::Gently);
    stop(&mut bench, Stop::ByForce);
    stop(&mut bench, Stop::ByForce);
    assert_eq!(words(&bench.changes), ["stopping", "node_skipped", "node_skipped", "forced"]);
    assert_eq!(orders_to_end(&bench).len(), 1);
    bench.pass(Duration::from_secs(12));
    let orders = orders_to_end(&bench);
    assert_eq!(orders.len(), 2, "it is told again until it answers");
    answer(&mut bench, &orders[1], RUNNING);
    bench.pass(Duration::from_secs(12));
    assert_eq!(orders_to_end(&bench).len(), 2);
    let killed = json!({"transaction_id": of_a(), "results": {"exitcode": 15, "stdout": "half"}});
    bench.agent("rpc_non_blocking_response", &killed);
    let endings: Vec<_> = bench
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::NodeEnded { state, details, .. } => Some((*state, details["message"].as_str().unwrap())),
            _ => None,
        })
        .collect();
    let expected = "Stopped by force. Task demo failed on a: The task failed with exit code 15";
    assert_eq!(endings.last(), Some(&(NodeState::Stopped, expected)));
}

#[test]
fn what_ended_well_before_it_was_ended_is_finished() {
    let mut bench = one_of_three();
    stop(&mut bench, Stop::ByForce);
    let orders = orders_to_end(&bench);
    answer(&mut bench, &orders[0], RUNNING);
    succeed(&mut bench);
    assert_eq!(words(&bench.changes)[4..], ["acknowledged", "node_finished", "stopped"]);
}

#[test]
fn an_agent_that_cannot_end_it_is_left_alone_and_the_node_says_so() {
    let mut bench = one_of_three();
    stop(&mut bench, Stop::ByForce);
    let order = orders_to_end(&bench).remove(0);
    let error = json!({"transaction_id": order, "id": "x", "description": "unknown module: podium"});
    assert_eq!(bench.agent("rpc_error_message", &error), Received::Used);
    let Some(Change::NodeNoted { message, .. }) = bench.changes.last() else { panic!("{:?}", bench.changes) };
    assert!(message.contains("unknown module: podium"), "{message}");
    bench.pass(Duration::from_secs(30));
    assert_eq!(orders_to_end(&bench).len(), 1);
    bench.agent("rpc_non_blocking_response", &json!({"transaction_id": of_a(), "results": {"exitcode": 1}}));
    assert_eq!(words(&bench.changes).iter().rev().take(2).collect::<Vec<_>>(), [&"stopped", &"node_failed"]);
}

#[test]
fn a_stop_goes_on_after_a_restart() {
    for is_forced in [false, true] {
        let mut bench = Bench::connected();
        bench.job(&["a", "b"], |job| {
            (job.state, job.is_forced) = (JobState::Stopping, is_forced);
            job.nodes[0].start = Some(WallTime::from_millis(500));
        });
        assert_eq!((bench.requests(), orders_to_end(&bench).len()), (0, usize::from(is_forced)));
        assert_eq!(words(&bench.changes), ["seen", "node_skipped"]);
        succeed(&mut bench);
        assert_eq!(words(&bench.changes)[2..], ["node_finished", "stopped"]);
    }
}

#[test]
fn a_request_that_never_arrived_is_not_sent_again_once_the_job_is_stopping() {
    let mut bench = one_of_three();
    stop(&mut bench, Stop::Gently);
    bench.changes.clear();
    bench.answer_status(json!({"status": "unknown", "stdout": execution_error("found no results directory")}));
    assert_eq!((bench.requests(), words(&bench.changes)), (0, vec!["node_skipped", "stopped"]));
}

#[test]
fn many_are_skipped_a_few_at_a_time() {
    let names: Vec<String> = (0..=DISPATCH_STEP_NODES_MAX).map(|number| format!("n{number}")).collect();
    let mut bench = Bench::connected();
    bench.dispatcher.set_pace(Pace::Hold);
    bench.job(&names.iter().map(String::as_str).collect::<Vec<_>>(), |_| {});
    stop(&mut bench, Stop::Gently);
    assert_eq!(bench.changes.len(), 2 + DISPATCH_STEP_NODES_MAX);
    assert!(bench.dispatcher.next_deadline() <= Some(bench.now));
    bench.pass(Duration::ZERO);
    assert_eq!(words(&bench.changes).last(), Some(&"stopped"));
}

#[test]
fn nodes_that_are_waited_for_are_skipped_too() {
    let mut bench = Bench::new();
    bench.job(&["a"], |_| {});
    stop(&mut bench, Stop::Gently);
    bench.broker("inventory_response", &json!({"uris": ["pcp://a/agent"]}));
    bench.pass(START_GRACE);
    assert_eq!((bench.requests(), words(&bench.changes)), (0, vec!["stopping", "node_skipped", "stopped", "seen"]));
}

#[test]
fn a_timeout_tells_the_agent_to_end_what_runs() {
    let mut bench = Bench::connected();
    bench.job(&["a"], |job| job.spec.terms.timeout = Some(5));
    bench.pass(Duration::from_secs(5));
    assert_eq!(orders_to_end(&bench).len(), 1);
    assert!(bench.error().contains("timeout of 5 s"));
}
