//! Controllers that the broker dials: what they may say, what reaches them, and what their absence means for clients.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::world::{GRACE, World, controller_uri};
use super::{ID, message};
use crate::broker::core::BrokerMail;
use crate::broker::state::BrokerState;
use crate::broker::sweep::Review;
use crate::limits;
use crate::link::{Event, Opcode, PeerId};

const AWAY: (u16, &str) = (503, "All controllers disconnected.");
const SECOND: Duration = Duration::from_secs(1);

/// A broker of two workers with its one controller.
fn linked() -> (World, PeerId) {
    let mut world = World::new(2, &["orch"], 1);
    let controller = world.link("orch");
    (world, controller)
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["data"].as_str().unwrap_or("not a text")).collect()
}

fn subscription() -> Value {
    let mut request = message("inventory_request", "pcp:///server");
    request["data"] = json!({"query": ["pcp://*/agent"], "subscribe": true});
    request
}

#[test]
fn clients_are_let_in_once_a_controller_is_there() {
    let mut world = World::new(2, &["one", "two"], 1);
    assert_eq!(world.broker.state(), BrokerState::Starting);
    assert_eq!(world.connect(1, "a"), Err(AWAY));
    let dial = world.desks[0].dials[0].clone();
    assert_eq!((&*dial.host, dial.port, &*dial.path), ("one", 8143, "/server/server"));
    world.fail("one");
    assert_eq!(world.broker.state(), BrokerState::Starting, "the other has not been tried");
    world.fail("two");
    assert_eq!(world.broker.state(), BrokerState::Error);
    assert_eq!(world.connect(0, "a"), Err(AWAY));
    world.pass(SECOND);
    world.link("two");
    assert_eq!(world.broker.state(), BrokerState::Running);
    assert!(world.connect(0, "a").is_ok() && world.connect(1, "b").is_ok());
}

#[test]
fn without_controllers_to_dial_clients_are_let_in_at_once() {
    let mut world = World::new(2, &[], 1);
    assert_eq!(world.broker.state(), BrokerState::Running);
    assert!(world.connect(1, "a").is_ok());
    world.pass(2 * GRACE);
    assert_eq!(world.clients(), 1);
}

#[test]
fn requests_and_answers_pass_the_link_from_every_worker() {
    let (mut world, controller) = linked();
    for worker in 0..2 {
        let name = format!("node{worker}");
        let agent = world.connect(worker, &name).unwrap();
        let request = message("rpc_non_blocking_request", &format!("pcp://{name}/agent"));
        world.say(controller, &request);
        let heard = world.heard(agent);
        assert_eq!((heard.len(), &heard[0]["sender"]), (1, &json!(controller_uri("orch"))));
        world.say(agent, &message("rpc_non_blocking_response", &controller_uri("orch")));
        let heard = world.heard(controller);
        assert_eq!((heard.len(), &heard[0]["sender"]), (1, &json!(format!("pcp://{name}/agent"))));
        assert_eq!(world.heard(agent), Vec::<Value>::new());
    }
}

#[test]
fn what_a_controller_may_not_say_is_answered_and_the_link_stays() {
    let (mut world, controller) = linked();
    world.connect(1, "a").unwrap();
    let mut forged = message("rpc_blocking_request", "pcp://a/agent");
    forged["sender"] = json!("pcp://orch/server");
    let mut typed = message("rpc_blocking_request", "pcp://gone/agent");
    typed["sender"] = json!("pcp://orch:8143/other");
    let cases = [
        (forged, "Message not authenticated."),
        (typed, "Not connected."),
        (message("rpc_error_message", "pcp://a/agent"), "Message not authorized."),
        (message("rpc_blocking_request", "pcp://*/agent"), "Multiple recipients no longer supported."),
        (message("rpc_blocking_request", "pcp://gone/agent"), "Not connected."),
    ];
    for (said, text) in cases {
        world.say(controller, &said);
        let heard = world.heard(controller);
        assert_eq!((texts(&heard), &heard[0]["in_reply_to"]), (vec![text], &json!(ID)), "{said}");
    }
    for (opcode, payload) in [(Opcode::Text, "nonsense"), (Opcode::Text, "{}"), (Opcode::Binary, "\u{1}")] {
        world.say_raw(controller, opcode, payload.as_bytes());
        assert_eq!(texts(&world.heard(controller)), ["Could not decode message"]);
    }
    assert!(world.desks[0].closed.is_empty());
}

#[test]
fn an_answer_to_a_controller_that_is_away_or_slow_comes_back() {
    let (mut world, controller) = linked();
    let answer = message("rpc_non_blocking_response", &controller_uri("orch"));
    let agents: Vec<PeerId> = (0..2).map(|worker| world.connect(worker, &format!("node{worker}")).unwrap()).collect();
    world.desks[0].full.insert(controller);
    for agent in &agents {
        world.say(*agent, &answer);
        assert_eq!(texts(&world.heard(*agent)), ["Delivery failed: too much is waiting for the target."]);
    }
    // One answer is under way between the workers when the link is lost, one comes after that.
    world.say(agents[1], &answer);
    world.lose(controller);
    assert_eq!(texts(&world.heard(agents[1])), ["Not connected."]);
    world.say(agents[0], &answer);
    assert_eq!(texts(&world.heard(agents[0])), ["Not connected."]);
}

#[test]
fn answers_of_many_wait_for_the_worker_with_the_links() {
    const MANY: usize = 2_000;
    let (mut world, controller) = linked();
    let agent = world.connect(1, "a").unwrap();
    let answer = |number: usize| {
        let mut answer = message("rpc_non_blocking_response", &controller_uri("orch"));
        answer["data"] = json!(number);
        answer
    };
    world.desks[1].jammed = true;
    for number in 0..MANY {
        world.say(agent, &answer(number));
    }
    assert_eq!(world.heard(agent), Vec::<Value>::new(), "they wait, whatever the mailbox");
    world.pass(SECOND);
    assert_eq!(world.heard(controller), Vec::<Value>::new());
    world.desks[1].jammed = false;
    world.pass(limits::CONTROLLER_OUTBOX_RETRY);
    let heard = world.heard(controller);
    assert_eq!(heard.len(), MANY);
    assert!(heard.iter().enumerate().all(|(number, answer)| answer["data"] == number), "in order");
    let others = std::iter::repeat_with(|| BrokerMail::DialControllers).take(limits::CONTROLLER_OUTBOX_MAX);
    world.cores[1].outbox.extend(others);
    world.say(agent, &answer(0));
    assert_eq!(texts(&world.heard(agent)), ["Delivery failed: too much is waiting for the target."]);
}

#[test]
fn mail_to_a_lost_link_never_reaches_the_next_one() {
    let (mut world, controller) = linked();
    let agent = world.connect(1, "a").unwrap();
    world.say(controller, &message("rpc_non_blocking_request", "pcp://a/agent"));
    world.say(agent, &message("rpc_non_blocking_response", &controller_uri("orch")));
    world.lose(agent);
    world.lose(controller);
    world.pause_before_dial("orch");
    let next = world.link("orch");
    assert_eq!(world.heard(next), Vec::<Value>::new(), "neither the answer nor the error of another life");
}

#[test]
fn a_subscription_ends_with_its_link_and_starts_afresh() {
    let (mut world, controller) = linked();
    world.connect(1, "a").unwrap();
    world.say(controller, &subscription());
    assert_eq!(world.heard(controller)[0]["data"], json!({"uris": ["pcp://a/agent"]}));
    let b = world.connect(1, "b").unwrap();
    world.pass(SECOND);
    assert_eq!(world.heard(controller)[0]["data"]["changes"], json!([{"client": "pcp://b/agent", "change": 1}]));
    world.connect(1, "lost").unwrap();
    world.lose(controller);
    assert!(world.cores[0].subscriptions.is_empty(), "no changes are kept for it");
    world.lose(b);
    world.pass(2 * SECOND);
    let next = world.link("orch");
    world.connect(0, "c").unwrap();
    world.pass(2 * SECOND);
    assert_eq!(world.heard(next), Vec::<Value>::new(), "it has asked for nothing");
    world.say(next, &subscription());
    world.connect(0, "d").unwrap();
    world.pass(2 * SECOND);
    let heard = world.heard(next);
    assert_eq!(heard[0]["data"], json!({"uris": ["pcp://a/agent", "pcp://c/agent", "pcp://lost/agent"]}));
    assert_eq!(heard[1]["data"]["changes"], json!([{"client": "pcp://d/agent", "change": 1}]));
    assert_eq!(heard.len(), 2);
}

#[test]
fn the_last_controller_takes_the_clients_along_after_a_grace() {
    const CLIENTS: usize = 150;
    let mut world = World::new(2, &["one", "two"], 1);
    let (one, two) = (world.link("one"), world.link("two"));
    for number in 0..CLIENTS {
        world.connect(u16::try_from(number % 2).unwrap(), &format!("node{number}")).unwrap();
    }
    world.lose(one);
    assert_eq!(world.broker.state(), BrokerState::Running);
    world.lose(two);
    assert_eq!((world.broker.state(), world.connect(0, "late")), (BrokerState::Error, Err(AWAY)));
    world.pass(GRACE - SECOND);
    assert_eq!(world.clients(), CLIENTS, "those that are here stay for a while");
    world.pass(SECOND);
    assert_eq!(world.clients(), CLIENTS - limits::EVICTION_SLICE, "not all at once");
    world.pass(limits::EVICTION_PAUSE);
    assert_eq!(world.clients(), CLIENTS - 2 * limits::EVICTION_SLICE);
    world.pass(SECOND);
    assert_eq!(world.clients(), 0);
    let goodbyes = world.desks.iter().flat_map(|desk| &desk.closed);
    assert!(goodbyes.into_iter().all(|(_, code, reason)| (*code, &**reason) == (1011, AWAY.1)));
    world.link("two");
    assert!(world.connect(0, "late").is_ok());
    world.pass(2 * GRACE);
    assert_eq!(world.clients(), 1);
}

#[test]
fn a_controller_that_comes_back_ends_the_eviction() {
    let (mut world, controller) = linked();
    for number in 0..150 {
        world.connect(number % 2, &format!("node{number}")).unwrap();
    }
    world.lose(controller);
    world.pass(GRACE - SECOND);
    let controller = world.link("orch");
    world.pass(2 * SECOND);
    assert_eq!(world.clients(), 150, "back in time");
    world.lose(controller);
    world.pass(GRACE - SECOND);
    assert_eq!(world.clients(), 150, "a new outage has a grace of its own");
    world.pass(SECOND);
    let left = world.clients();
    // Back and lost again between two slices: the new outage has its own grace again.
    let controller = world.link("orch");
    world.lose(controller);
    world.pass(GRACE - SECOND);
    assert_eq!((left, world.clients()), (100, 100));
    world.pass(2 * SECOND);
    assert_eq!(world.clients(), 0);
}

#[test]
fn pauses_grow_to_a_bound_and_start_small_after_a_link_that_lasted() {
    let near = |pause: Duration, millis: u64| {
        let longest = Duration::from_millis(millis).min(limits::CONTROLLER_REDIAL_MAX);
        assert!((longest * 3 / 4..=longest).contains(&pause), "{pause:?} instead of {longest:?}");
    };
    let (mut world, controller) = linked();
    world.pass(limits::CONTROLLER_SETTLED_AFTER);
    world.lose(controller);
    near(world.pause_before_dial("orch"), 200);
    for millis in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200] {
        world.fail("orch");
        near(world.pause_before_dial("orch"), millis);
    }
    let controller = world.link("orch");
    world.lose(controller);
    near(world.pause_before_dial("orch"), 102_400);
    let controller = world.link("orch");
    world.pass(limits::CONTROLLER_SETTLED_AFTER);
    world.lose(controller);
    near(world.pause_before_dial("orch"), 200);
}

#[test]
fn a_broker_that_stops_dials_nobody_any_more() {
    let mut world = World::new(1, &["here", "coming", "away"], 1);
    let controller = world.link("here");
    world.fail("away");
    world.connect(0, "a").unwrap();
    world.handle(0, Event::Stopping);
    assert_eq!(world.broker.state(), BrokerState::Stopping);
    world.pass(limits::DRAIN_TIMEOUT);
    let goodbyes: Vec<(PeerId, u16)> = world.desks[0].closed.drain(..).map(|(peer, code, _)| (peer, code)).collect();
    assert!(goodbyes.iter().all(|(_, code)| *code == 1001) && goodbyes.last() == Some(&(controller, 1001)));
    let late = world.link("coming");
    assert_eq!(world.desks[0].closed.pop().unwrap().0, late);
    world.pass(2 * GRACE);
    assert!(world.desks[0].dials.is_empty());
    assert_eq!(world.connect(0, "b"), Err((503, "Broker is not running.")));
}

#[test]
fn a_handshake_that_began_before_a_review_makes_no_link() {
    let mut world = World::new(2, &["orch"], 2);
    world.handle(0, Event::Mail(BrokerMail::Review(Arc::new(Review::nothing()))));
    let former = world.link("orch");
    assert_eq!(world.desks[0].closed, [(former, 1001, "Broker is stopping.".to_owned())]);
    assert_eq!(world.broker.state(), BrokerState::Starting);
    world.link("orch");
    assert_eq!((world.broker.state(), world.desks[0].dials.len()), (BrokerState::Running, 0));
}
