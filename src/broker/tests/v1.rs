//! What a v1 client says and is told, chunk by chunk, alone and with v2 clients.

use serde_json::{Value, json};

use super::{Bench, ID, message};
use crate::broker::core::BrokerMail;
use crate::clock::Moment;
use crate::limits::{AGENT_RECEIVE_BYTES_MAX, INVENTORY_TICK};
use crate::link::{Application, Event, Opcode, PeerId};

const EXPIRES: &str = "1970-01-01T00:00:00.000Z";

/// The envelope of a message as a client gets it, with the data in it. Its parts are checked to be two whole chunks.
pub(super) fn read(message: &[u8]) -> Value {
    let (envelope, rest) = chunk(&message[1..], 1);
    let (data, rest) = chunk(rest, 2);
    assert_eq!((message[0], rest.len()), (1, 0));
    let mut envelope: Value = serde_json::from_slice(envelope).unwrap();
    envelope["data"] = serde_json::from_slice(data).unwrap();
    envelope
}

fn chunk(bytes: &[u8], kind: u8) -> (&[u8], &[u8]) {
    assert_eq!(bytes[0], kind);
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
    bytes[5..].split_at(length)
}

fn chunks(chunks: &[(u8, &str)]) -> Vec<u8> {
    let mut bytes = vec![1];
    for (kind, content) in chunks {
        bytes.push(*kind);
        bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend(content.as_bytes());
    }
    bytes
}

fn envelope(kind: &str, sender: &str, target: &str) -> Value {
    json!({
        "id": ID, "message_type": format!("http://puppetlabs.com/{kind}"), "targets": [target],
        "expires": "2030-01-01T00:00:15Z", "sender": sender,
    })
}

fn say(bench: &mut Bench, peer: PeerId, envelope: &Value, data: &str) -> Vec<(PeerId, Value)> {
    bench.say_raw(peer, Opcode::Binary, &chunks(&[(1, &envelope.to_string()), (2, data)]))
}

fn expect_error(bench: &mut Bench, peer: PeerId, envelope: &Value, text: &str) {
    let answers = say(bench, peer, envelope, "");
    assert_eq!(answers.len(), 1, "{envelope}: {answers:?}");
    let mut answer = answers[0].1.clone();
    assert!(answer.as_object_mut().unwrap().remove("id").is_some());
    let expected = json!({
        "message_type": "http://puppetlabs.com/error_message", "sender": "pcp:///server", "targets": [],
        "expires": EXPIRES, "data": {"description": text, "id": ID},
    });
    assert_eq!((answers[0].0, answer), (peer, expected));
}

#[test]
fn an_agent_associates_and_gets_its_own_request_s_id() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp");
    assert_eq!(bench.broker.directory.locate("pcp://a/agent"), Some(agent), "associated by connecting");
    assert!(bench.shell.sent.is_empty());
    let request = envelope("associate_request", "pcp://a/agent", "pcp:///server");
    for _ in 0..2 {
        let answers = bench.say_raw(agent, Opcode::Binary, &chunks(&[(1, &request.to_string())]));
        assert_eq!(answers[0].1["data"], json!({"id": ID, "success": true}));
        assert_eq!(answers[0].1["sender"], "pcp:///server");
        assert_eq!(answers[0].1["targets"], json!(["pcp://a/agent"]));
        assert!(answers[0].1.get("in-reply-to").is_none());
    }
    let other = envelope("associate_request", "pcp://a/other", "pcp:///server");
    let answers = say(&mut bench, agent, &other, "null");
    assert_eq!(answers[0].1["data"], json!({"id": ID, "success": false, "reason": "Session already associated."}));
    assert_eq!(bench.shell.closed, [(agent, 4002, "Association unsuccessful.".to_owned())]);
    bench.shell.closed.clear();
    let forged = envelope("associate_request", "pcp://b/agent", "pcp:///server");
    let answers = say(&mut bench, agent, &forged, "null");
    assert_eq!(answers[0].1["data"], json!({"id": ID, "success": false, "reason": "Message not authenticated."}));
    assert_eq!(bench.shell.closed.len(), 1);
}

#[test]
fn errors_have_the_texts_of_the_reference() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp/agent");
    let controller = bench.open(2, "ctl", "/pcp/orchestrator");
    let orchestrator = "pcp://ctl/orchestrator";
    let forged = envelope("rpc_error_message", "pcp://b/agent", orchestrator);
    expect_error(&mut bench, agent, &forged, "Message not authenticated.");
    let order = envelope("rpc_non_blocking_request", "pcp://a/agent", orchestrator);
    expect_error(&mut bench, agent, &order, "Message not authorized.");
    let everyone = envelope("rpc_non_blocking_request", orchestrator, "pcp://*/agent");
    expect_error(&mut bench, controller, &everyone, "Multiple recipients no longer supported.");
    let mut two = envelope("rpc_non_blocking_request", orchestrator, "pcp://a/agent");
    two["targets"] = json!(["pcp://a/agent", "pcp://a/agent"]);
    expect_error(&mut bench, controller, &two, "Multiple recipients no longer supported.");
    let nobody = envelope("rpc_non_blocking_request", orchestrator, "pcp://nobody/agent");
    expect_error(&mut bench, controller, &nobody, "Not connected.");
}

#[test]
fn undecodable_messages_are_answered_and_the_connection_stays() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp/agent");
    let valid = envelope("rpc_error_message", "pcp://a/agent", "pcp://a/agent");
    let mut nobody = valid.clone();
    nobody["targets"] = json!([]);
    for (opcode, payload) in [
        (Opcode::Binary, vec![]),
        (Opcode::Binary, b"nonsense".to_vec()),
        (Opcode::Binary, chunks(&[(1, &valid.to_string()), (2, "{")])),
        (Opcode::Binary, chunks(&[(1, &nobody.to_string())])),
        (Opcode::Text, message("rpc_error_message", "pcp://a/agent").to_string().into_bytes()),
    ] {
        let answers = bench.say_raw(agent, opcode, &payload);
        assert_eq!(answers[0].1["data"], json!({"description": "Could not decode message"}), "{payload:?}");
        assert_eq!(answers[0].1["targets"], json!([]));
    }
    assert!(bench.shell.closed.is_empty());
}

#[test]
fn messages_cross_between_the_versions() {
    let mut bench = Bench::new();
    let old = bench.open(1, "a", "/pcp/agent");
    let new = bench.open(2, "b", "/pcp2/agent");
    let controllers = [bench.open(3, "ctl", "/pcp/c1"), bench.open(4, "ctl", "/pcp2/c2")];
    let mut order = envelope("rpc_blocking_request", "pcp://ctl/c1", "pcp://b/agent");
    order["in-reply-to"] = json!("1-1-1-1-1");
    let delivered = say(&mut bench, controllers[0], &order, r#" {"n": 12345678901234567890} "#);
    let mut expected = message("rpc_blocking_request", "pcp://b/agent");
    expected["sender"] = json!("pcp://ctl/c1");
    expected["in_reply_to"] = json!("1-1-1-1-1");
    expected["data"] = json!({"n": 12345678901234567890u64});
    assert_eq!(delivered, [(new, expected.clone())]);
    // To v1, with and without a sender of its own, from v2 and from v1.
    order["targets"] = json!(["pcp://a/agent"]);
    order["expires"] = json!(EXPIRES);
    order.as_object_mut().unwrap().remove("in-reply-to");
    order["data"] = expected["data"].clone();
    expected["target"] = json!("pcp://a/agent");
    for (from, sender) in [(controllers[1], None), (controllers[1], Some("pcp://ctl/c1"))] {
        let mut said = expected.clone();
        match sender {
            Some(sender) => said["sender"] = json!(sender),
            None => drop(said.as_object_mut().unwrap().remove("sender")),
        }
        order["sender"] = json!(sender.unwrap_or("pcp://ctl/c2"));
        assert_eq!(bench.say(from, &said), [(old, order.clone())]);
    }
    let mut plain = envelope("rpc_blocking_request", "pcp://ctl/c1", "pcp://a/agent");
    let delivered = say(&mut bench, controllers[0], &plain, "");
    plain["expires"] = json!(EXPIRES);
    plain["data"] = json!(null);
    assert_eq!(delivered, [(old, plain)]);
}

#[test]
fn mail_between_workers_is_v2_whoever_writes_and_reads_it() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp/agent");
    let controller = bench.open(2, "ctl", "/pcp/c");
    let away = PeerId { worker: 1, slot: 1, generation: 1 };
    bench.broker.directory.claim(&"pcp://b/agent".into(), away, Moment::default());
    let order = envelope("rpc_blocking_request", "pcp://ctl/c", "pcp://b/agent");
    assert!(say(&mut bench, controller, &order, "[1]").is_empty());
    let Some((1, BrokerMail::Deliver { to, payload, origin, id })) = bench.shell.mail.pop() else { panic!("no mail") };
    let mut expected = message("rpc_blocking_request", "pcp://b/agent");
    expected["sender"] = json!("pcp://ctl/c");
    expected["data"] = json!([1]);
    assert_eq!((to, serde_json::from_slice::<Value>(&payload).unwrap()), (away, expected));
    // As if it had come here for the agent.
    let mail = BrokerMail::Deliver { to: agent, payload, origin, id };
    bench.core.handle(Moment::default(), Event::Mail(mail), &mut bench.shell);
    let (to, message) = bench.shell.sent.pop().unwrap();
    assert_eq!((to, &message["sender"], &message["data"]), (agent, &json!("pcp://ctl/c"), &json!([1])));
    assert_eq!(message["expires"], EXPIRES);
}

#[test]
fn what_an_agent_would_close_on_is_not_forwarded() {
    let mut bench = Bench::new();
    bench.open(1, "a", "/pcp/agent");
    let new = bench.open(2, "b", "/pcp2/agent");
    let controller = bench.open(3, "ctl", "/pcp2/c");
    let mut order = message("rpc_blocking_request", "pcp://b/agent");
    order["sender"] = json!("pcp://ctl/c");
    order["data"] = json!("*");
    let order = order.to_string();
    let filling = "x".repeat(AGENT_RECEIVE_BYTES_MAX - order.len());
    let largest = order.replacen("\"*", &format!("\"*{filling}"), 1);
    assert_eq!(largest.len(), AGENT_RECEIVE_BYTES_MAX);
    let mut say = |message: &str| bench.say_raw(controller, Opcode::Text, message.as_bytes()).remove(0);
    assert_eq!(say(&largest).0, new);
    // One byte more for v2; in v1's form the same message is larger.
    for message in [largest.replacen("\"*", "\"*x", 1), largest.replacen("pcp://b/", "pcp://a/", 1)] {
        let (to, answer) = say(&message);
        assert_eq!((to, &answer["in_reply_to"]), (controller, &json!(ID)));
        assert_eq!(answer["data"], "Message too large for the target: agents take at most 32000000 bytes.");
    }
}

#[test]
fn inventory_is_told_in_v1() {
    let mut bench = Bench::new();
    bench.open(1, "a", "/pcp/agent");
    let controller = bench.open(2, "ctl", "/pcp/orchestrator");
    let request = envelope("inventory_request", "pcp://ctl/orchestrator", "pcp:///server");
    let answers = say(&mut bench, controller, &request, r#"{"query":["pcp://*/agent"],"subscribe":true}"#);
    assert_eq!(answers[0].1["data"], json!({"uris": ["pcp://a/agent"]}));
    assert_eq!(answers[0].1["in-reply-to"], ID);
    assert_eq!(answers[0].1["sender"], "pcp:///server");
    bench.open(3, "b", "/pcp2/agent");
    let later = Moment::default() + INVENTORY_TICK;
    bench.core.handle(later, Event::Timer(crate::broker::core::TICK), &mut bench.shell);
    let (to, update) = bench.shell.sent.pop().unwrap();
    assert_eq!((to, &update["targets"]), (controller, &json!(["pcp://ctl/orchestrator"])));
    assert_eq!(update["data"], json!({"changes": [{"client": "pcp://b/agent", "change": 1}]}));
    assert_eq!(update["message_type"], "http://puppetlabs.com/inventory_update");
}
