//! Nodes that run after others.

use super::*;
use crate::orchestrator::store::order::{Ended, Precedence, Wait};

/// Node `a` is the first, then each after the one before it.
fn in_a_row(job: &mut UnfinishedJob) {
    let nodes = u32::try_from(job.nodes.len()).unwrap();
    job.waits = (1..nodes).map(|node| Wait::new(Precedence { node, after: node - 1 })).collect();
}

/// Names of the nodes that have ended, in order, with their states and messages.
fn endings(bench: &Bench) -> Vec<(u32, NodeState, String)> {
    let ended = bench.changes.iter().filter_map(|change| match change {
        Change::NodeEnded { node, state, details, .. } => {
            Some((node.position, *state, details.get("message").map_or_else(String::new, ToString::to_string)))
        }
        _ => None,
    });
    ended.collect()
}

fn run_ended(bench: &mut Bench, exitcode: i64) {
    let results = json!({"exitcode": exitcode, "stdout": ""});
    bench.agent("rpc_non_blocking_response", &json!({"transaction_id": of_a(), "results": results}));
}

#[test]
fn a_node_starts_once_the_one_before_it_has_ended_well() {
    let mut bench = Bench::connected();
    bench.broker("inventory_response", &json!({"uris": ["pcp://a/agent", "pcp://b/agent"]}));
    bench.sends.clear();
    bench.job(&["a", "b"], in_a_row);
    let targets = |bench: &Bench| bench.sends.iter().map(|send| send["target"].clone()).collect::<Vec<_>>();
    assert_eq!(targets(&bench), ["pcp://a/agent"]);
    run_ended(&mut bench, 0);
    assert_eq!(targets(&bench), ["pcp://a/agent", "pcp://b/agent"]);
    assert!(bench.dispatcher.jobs[&JobId(1)].order.is_empty());
}

#[test]
fn what_comes_after_a_failure_is_skipped_and_says_why() {
    let mut bench = Bench::connected();
    bench.job(&["a", "b", "c"], in_a_row);
    run_ended(&mut bench, 1);
    bench.pass(Duration::ZERO);
    let endings = endings(&bench);
    let states: Vec<_> = endings.iter().map(|(position, state, _)| (*position, *state)).collect();
    assert_eq!(states, [(0, NodeState::Failed), (1, NodeState::Skipped), (2, NodeState::Skipped)]);
    assert_eq!(endings[1].2, "\"Skipped b: it runs after a, which failed\"");
    assert_eq!(endings[2].2, "\"Skipped c: it runs after b, which was skipped\"");
    let last = bench.changes.last().unwrap();
    assert!(matches!(last, Change::JobEntered { state: JobState::Failed, .. }), "{last:?}");
}

#[test]
fn a_restart_between_a_failure_and_what_follows_from_it_changes_nothing() {
    let mut bench = Bench::connected();
    bench.job(&["b", "c"], |job| {
        let failed = Ended { name: "a".into(), state: NodeState::Errored };
        let first = Wait { precedence: Precedence { node: 0, after: 7 }, ended: Some(failed) };
        job.waits = vec![first, Wait::new(Precedence { node: 1, after: 0 })];
        job.unsuccessful = 1;
    });
    bench.pass(Duration::ZERO);
    bench.pass(Duration::ZERO);
    assert_eq!(endings(&bench)[0].2, "\"Skipped b: it runs after a, which could not be run\"");
    assert_eq!(endings(&bench).len(), 2);
    assert_eq!(bench.sends.len(), 0);
}

#[test]
fn a_stop_skips_those_that_wait_and_nobody_twice() {
    let mut bench = Bench::connected();
    bench.job(&["a", "b", "c"], in_a_row);
    // The node before them fails and the job is stopped in one batch: both want them skipped.
    let data = json!({"transaction_id": of_a(), "results": {"exitcode": 1, "stdout": ""}});
    let outgoing = Outgoing {
        id: "1-1-1-1-1",
        message_type: "http://puppetlabs.com/rpc_non_blocking_response",
        target: Some(ME),
        sender: Some("pcp://a/agent"),
        in_reply_to: None,
        data: Some(&data),
    };
    bench.act(|dispatcher, now, out| {
        dispatcher.receive(now, 0, &outgoing.encode(), out);
        dispatcher.stop(now, JobId(1), Stop::Gently, out);
    });
    bench.pass(Duration::ZERO);
    assert_eq!(endings(&bench).len(), 3);
    assert!(matches!(bench.changes.last().unwrap(), Change::JobEntered { state: JobState::Stopped, .. }));
}
