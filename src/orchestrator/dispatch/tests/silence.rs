//! Agents that do not answer: how often they are asked, and for how long.

use super::*;

/// Seconds, from the first query on, at which queries were sent, and at which the node was given up.
fn silence(bench: &mut Bench, allowed: u32, mut each: impl FnMut(&mut Bench, u64)) -> (Vec<u64>, u64) {
    bench.dispatcher.settings.allowed_status_requests = allowed;
    bench.job(&["a"], |_| {});
    let mut queries: Vec<u64> = Vec::new();
    let mut first = None;
    for second in 0..1000 {
        bench.sends.clear();
        bench.pass(Duration::from_secs(1));
        if bench.sends.iter().any(|send| send["data"]["module"] == "status") {
            queries.push(second - *first.get_or_insert(second));
        }
        if words(&bench.changes).contains(&"node_errored") {
            return (queries, second - first.unwrap());
        }
        each(bench, second - first.unwrap_or(second));
    }
    panic!("never given up; asked at {queries:?}");
}

#[test]
fn an_unanswered_agent_is_asked_less_and_less_and_given_up_in_the_same_time() {
    let mut bench = Bench::connected();
    assert_eq!(silence(&mut bench, 35, |_, _| {}), (vec![0, 12, 36, 84, 180, 300], 35 * 12));
    let error = bench.error();
    assert!(error.starts_with("timed out: status requests got no answer for 420 s although"), "{error}");
    // The last query has an interval to be answered.
    assert_eq!(silence(&mut Bench::connected(), 4, |_, _| {}), (vec![0, 12, 36], 48));
    assert_eq!(silence(&mut Bench::connected(), 1, |_, _| {}), (vec![0], 12));
}

#[test]
fn an_answer_that_took_its_time_begins_anew() {
    let mut bench = Bench::connected();
    let mut query = json!(null);
    let answer = |bench: &mut Bench, second: u64| {
        if let Some(sent) = bench.sends.iter().find(|send| send["data"]["module"] == "status") {
            query = sent["data"]["transaction_id"].clone();
        }
        if second == 80 {
            let results = json!({"transaction_id": of_a(), "status": "running"});
            let answer = json!({"transaction_id": query, "results": results});
            assert_eq!(bench.agent("rpc_blocking_response", &answer), Received::Used);
        }
    };
    let (queries, end) = silence(&mut bench, 35, answer);
    assert_eq!(queries, [0, 12, 36, 84, 96, 120, 168, 264, 384]);
    assert_eq!(end, 84 + 420);
}

#[test]
fn a_query_that_cannot_be_delivered_is_repeated_without_a_longer_pause() {
    let mut bench = Bench::connected();
    let refuse = |bench: &mut Bench, _| {
        let Some(query) = bench.sends.iter().find(|send| send["data"]["module"] == "status").cloned() else { return };
        let text = json!("Not connected.");
        assert_eq!(bench.receive("error_message", BROKER, query["id"].as_str(), &text), Received::Used);
    };
    let (queries, end) = silence(&mut bench, 5, refuse);
    assert_eq!(queries, [0, 12, 24, 36, 48, 60]);
    assert_eq!(end, 61, "with the answer that comes after it");
}

#[test]
fn an_agent_that_is_away_has_as_long() {
    let mut bench = Bench::connected();
    let leave = |bench: &mut Bench, second| {
        if second == 1 {
            bench.broker("inventory_response", &json!({"uris": []}));
        }
    };
    let (queries, end) = silence(&mut bench, 3, leave);
    assert_eq!((queries, end), (vec![0], 36));
    assert!(bench.error().contains("because the agent is not connected"), "{}", bench.error());
}
