//! Brokers that come and go, and nodes that move from one to another.

use serde_json::{Value, json};

use super::*;

const OTHER: &str = "pcp://other/server";

impl Bench {
    fn attach(&mut self, broker: &str) -> Attached {
        let mut attached = None;
        self.act(|dispatcher, now, _| attached = Some(dispatcher.attach(now, broker)));
        attached.unwrap()
    }

    fn lose(&mut self, link: LinkIndex) {
        self.act(|dispatcher, now, out| dispatcher.lose_link(now, link, out));
    }

    fn over(&mut self, link: LinkIndex, message_type: &str, sender: Option<&str>, data: &Value) -> Received {
        self.reply_over(link, message_type, sender, None, data)
    }

    fn reply_over(
        &mut self,
        link: LinkIndex,
        message_type: &str,
        sender: Option<&str>,
        in_reply_to: Option<&str>,
        data: &Value,
    ) -> Received {
        let message_type = format!("http://puppetlabs.com/{message_type}");
        let outgoing = Outgoing {
            id: "1-1-1-1-1",
            message_type: &message_type,
            target: None,
            sender,
            in_reply_to,
            data: Some(data),
        };
        let mut received = Received::Unexpected;
        self.act(|dispatcher, now, out| received = dispatcher.receive(now, link, &outgoing.encode(), out));
        received
    }

    fn has_a(&mut self, link: LinkIndex, change: i8) -> Received {
        let data = json!({"changes": [{"client": "pcp://a/agent", "change": change}]});
        self.over(link, "inventory_update", None, &data)
    }

    /// Modules of the requests sent since the last look, with the link that each took.
    fn sent(&mut self) -> Vec<(LinkIndex, String)> {
        let word = |value: &Value| value["data"]["module"].as_str().unwrap_or("inventory").to_owned();
        let links = std::mem::take(&mut self.links);
        links.into_iter().zip(std::mem::take(&mut self.sends).iter().map(word)).collect()
    }
}

fn sent(link: LinkIndex, module: &str) -> (LinkIndex, String) {
    (link, module.to_owned())
}

fn done() -> Value {
    json!({"transaction_id": of_a(), "results": {"exitcode": 0, "stdout": "{}"}})
}

/// Node `a` runs over link 0, and there is a second broker at link 1.
fn running() -> Bench {
    let mut bench = Bench::connected();
    assert_eq!(bench.attach(OTHER), Attached::New(1));
    bench.job(&["a"], |_| {});
    bench.sent();
    bench
}

#[test]
fn a_link_is_asked_for_the_inventory_at_once_and_its_place_is_used_again() {
    let mut bench = Bench::connected();
    bench.sent();
    assert_eq!(bench.attach(OTHER), Attached::New(1));
    assert_eq!(bench.sent(), [sent(1, "inventory")]);
    bench.lose(1);
    assert_eq!(bench.attach("pcp://third/server"), Attached::New(1));
    assert_eq!(bench.attach(OTHER), Attached::New(2));
}

#[test]
fn a_broker_that_reconnects_for_ever_takes_no_more_room() {
    let mut bench = Bench::connected();
    for _ in 0..10_000 {
        let Attached::New(link) = bench.attach(OTHER) else { panic!("it had no link") };
        bench.has_a(link, 1);
        let Attached::Replacing { link, older } = bench.attach(OTHER) else { panic!("it had a link") };
        bench.lose(older);
        bench.lose(link);
        bench.sent();
    }
    assert_eq!(bench.dispatcher.links.len(), 3);
    let inventory = bench.dispatcher.inventory.read().unwrap();
    assert_eq!((inventory.brokers().len(), inventory.link_of("a")), (1, Some(0)));
}

#[test]
fn a_newer_link_of_a_broker_takes_over_and_the_older_one_may_finish() {
    let mut bench = running();
    assert_eq!(bench.attach(BROKER), Attached::Replacing { link: 0, older: 2 });
    assert_eq!(bench.sent(), [sent(0, "inventory"), sent(0, "status")], "what was on its way may be lost");
    // What the older link still says of the inventory is older than what the newer one will say.
    assert_eq!(bench.has_a(2, -1), Received::Stale);
    assert_eq!(bench.over(2, "inventory_response", None, &json!({"uris": []})), Received::Stale);
    assert_eq!(bench.dispatcher.link_of("a"), Some(0));
    assert_eq!(bench.over(2, "rpc_non_blocking_response", Some("pcp://a/agent"), &done()), Received::Used);
    assert_eq!(bench.ending().0, NodeState::Finished);
    bench.lose(2);
    assert_eq!(bench.dispatcher.link_of("a"), Some(0));
}

#[test]
fn a_node_that_comes_back_through_another_broker_is_asked_there() {
    let mut bench = running();
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.sent(), [sent(0, "status")]);
    bench.lose(0);
    assert_eq!((bench.dispatcher.link_of("a"), bench.sent()), (None, vec![]));
    bench.has_a(1, 1);
    assert_eq!(bench.sent(), [sent(1, "status")]);
    assert_eq!(bench.over(1, "rpc_non_blocking_response", Some("pcp://a/agent"), &done()), Received::Used);
    assert_eq!(bench.ending().0, NodeState::Finished);
}

#[test]
fn nodes_of_a_lost_broker_are_waited_for_but_not_for_ever() {
    let mut bench = Bench::connected();
    bench.attach(OTHER);
    bench.lose(0);
    bench.job(&["a", "b"], |_| {});
    bench.pass(Duration::from_secs(5));
    bench.sent();
    bench.has_a(1, 1);
    assert_eq!(bench.sent(), [sent(1, "task")]);
    // Another loss prolongs nothing.
    bench.lose(1);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.error(), "b is not connected to the PCP broker");
}

#[test]
fn a_node_that_another_broker_has_too_survives_the_loss_of_a_link() {
    let mut bench = running();
    bench.has_a(1, 1);
    bench.has_a(0, 1);
    bench.sent();
    bench.lose(0);
    assert_eq!((bench.dispatcher.link_of("a"), bench.sent()), (Some(1), vec![sent(1, "status")]));
}

#[test]
fn a_node_that_has_moved_unnoticed_is_run_where_it_is() {
    let mut bench = Bench::connected();
    bench.attach(OTHER);
    bench.has_a(1, 1);
    // The first broker tells late that the node has come, and has yet to tell that it left.
    bench.has_a(0, 1);
    bench.job(&["a"], |_| {});
    let request = bench.sends.last().unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(bench.sent().last(), Some(&sent(0, "task")));
    let denied = bench.reply_over(0, "error_message", None, Some(&request), &"Not connected.".into());
    assert_eq!(denied, Received::Used);
    let query = bench.sends.last().unwrap()["data"]["transaction_id"].clone();
    assert_eq!(bench.sent(), [sent(1, "status")]);
    let never = execution_error("found no results directory");
    let results = json!({"transaction_id": of_a(), "status": "unknown", "stdout": never});
    let answer = json!({"transaction_id": query, "results": results});
    assert_eq!(bench.over(1, "rpc_blocking_response", Some("pcp://a/agent"), &answer), Received::Used);
    assert_eq!(bench.sent(), [sent(1, "task")]);
}

#[test]
fn an_agent_is_believed_over_any_link_and_a_broker_for_itself_only() {
    let mut bench = running();
    let sender = Some(BROKER);
    assert_eq!(bench.over(1, "inventory_update", sender, &json!({"changes": []})), Received::Forged);
    assert_eq!(bench.over(1, "rpc_non_blocking_response", Some("pcp://b/agent"), &done()), Received::Forged);
    assert_eq!(bench.over(1, "rpc_non_blocking_response", None, &done()), Received::Forged);
    assert_eq!(bench.over(1, "rpc_non_blocking_response", Some("pcp://a/agent"), &done()), Received::Used);
}
