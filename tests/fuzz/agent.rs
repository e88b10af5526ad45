//! The agent as an application, with a shell that records and an executor that only takes orders: whatever a broker
//! sends, every answer is a whole message of this agent to who asked, and no order has an id that is a path.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use podium::agent::connect::{Agent, Executor, Mail};
use podium::agent::modules::{command, file, script, task};
use podium::agent::registry::Registry;
use podium::agent::requests::{Mode, Order};
use podium::clock::Moment;
use podium::config::settings::BrokerUri;
use podium::link::{
    Application, Dial, DialTag, Event, Identity, Opcode, Opening, PeerId, SendOutcome, Shell, TimerKey,
};
use podium::pcp::Envelope;
use serde_json::{Value, json};

use super::cases;
use super::mutator::{mutate, mutate_json, noise};
use podium::random::Random;

const NOW: Moment = Moment::from_millis(0);
const BROKER: PeerId = PeerId { worker: 0, slot: 1, generation: 1 };

/// Bytes that data of an answer may have here.
const DATA_MAX: usize = 20_000;

#[derive(Default, Clone)]
struct Orders(Arc<Mutex<Vec<Order>>>);

impl Executor for Orders {
    fn submit(&self, order: Order) -> Result<(), Order> {
        self.0.lock().unwrap().push(order);
        Ok(())
    }
}

#[derive(Default)]
struct Recorder {
    dialled: Option<DialTag>,
    sent: Vec<Vec<u8>>,
}

impl Shell<Mail> for Recorder {
    fn worker(&self) -> u16 {
        0
    }

    fn remote(&self, _peer: PeerId) -> Option<SocketAddr> {
        None
    }

    fn send(&mut self, to: PeerId, opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        assert_eq!((to, opcode), (BROKER, Opcode::Text));
        self.sent.push(parts.concat());
        SendOutcome::Sent
    }

    fn close(&mut self, _peer: PeerId, _code: u16, _reason: &str) {
        panic!("a message is no reason to close");
    }

    fn abort(&mut self, _peer: PeerId) {
        panic!("a message is no reason to abort");
    }

    fn arm(&mut self, _key: TimerKey, _at: Moment) {}

    fn disarm(&mut self, _key: TimerKey) {}

    fn mail(&mut self, _worker: u16, mail: Mail) -> Result<(), Mail> {
        Err(mail)
    }

    fn dial(&mut self, dial: Dial) {
        self.dialled = Some(dial.tag);
    }
}

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new(vec![command::entry(), file::entry(), script::entry(), task::entry()]))
}

fn connected(orders: &Orders) -> Agent<Orders> {
    let broker = BrokerUri { host: "broker".to_owned(), port: 8142, path: "/pcp2/agent".to_owned() };
    let mut agent = Agent::new("a.example", vec![broker], registry(), DATA_MAX, orders.clone(), 1);
    let mut shell = Recorder::default();
    agent.handle(NOW, Event::Mail(Mail::Start), &mut shell);
    let opening = Opening {
        identity: Identity::named("broker"),
        path: "/pcp2/agent",
        remote: "127.0.0.1:8142".parse().unwrap(),
        dialled: shell.dialled,
    };
    agent.handle(NOW, Event::Opened { peer: BROKER, opening }, &mut shell);
    orders.0.lock().unwrap().clear();
    agent
}

fn request(random: &mut Random) -> Value {
    let task = json!({
        "task": "demo::it", "input": {"a": [1, null]}, "features": ["x"], "input_method": "stdin",
        "files": [{"filename": "it.sh", "sha256": "0".repeat(64), "size_bytes": 3, "uri": {"path": "/x", "params": {"a": "b"}}}],
        "metadata": {"implementations": [{"name": "it.sh", "requirements": ["shell"]}], "files": ["m/lib/"]},
    });
    let (module, action, params) = match random.index(4) {
        0 => ("task", "run", task),
        1 => ("status", "query", json!({"transaction_id": "7"})),
        2 => ("echo", "echo", json!({"argument": "x".repeat(random.index(2 * DATA_MAX))})),
        _ => ("ping", "ping", json!({})),
    };
    let mut data = json!({"transaction_id": "7-a", "module": module, "action": action, "params": params});
    let kind = if random.percent(50) { "rpc_blocking_request" } else { "rpc_non_blocking_request" };
    if kind == "rpc_non_blocking_request" {
        data["notify_outcome"] = json!(random.percent(50));
    }
    json!({
        "id": "f93df7fa-5168-4f8d-a7b5-180d46019213",
        "message_type": format!("http://puppetlabs.com/{kind}"),
        "target": "pcp://a.example/agent",
        "sender": "pcp://ctl/orchestrator",
        "data": data,
    })
}

fn check_answer(asked: &[u8], answer: &[u8]) {
    let asked = Envelope::decode(asked).expect("only what can be read is answered");
    let answer = Envelope::decode(answer).expect("an envelope");
    assert_eq!(answer.sender.as_deref(), Some("pcp://a.example/agent"));
    assert_eq!(answer.target, asked.sender);
    // An error quotes what it refuses, within its own limit.
    assert!(answer.data.map_or(0, |data| data.get().len()) <= DATA_MAX.max(256 * 1024));
}

fn check_order(order: &Order) {
    if let Order::Run(run) = order
        && let Mode::NonBlocking { id, .. } = &run.mode
    {
        assert!(!id.as_str().contains('/') && id.as_str() != ".." && id.as_str() != ".", "{id}");
    }
}

#[test]
fn requests() {
    let orders = Orders::default();
    let mut agent = connected(&orders);
    let agent = Mutex::new(&mut agent);
    cases(2_000, |random| {
        let mut request = request(random);
        for _ in 0..random.index(4) {
            mutate_json(random, &mut request);
        }
        let mut payload = request.to_string().into_bytes();
        match random.index(10) {
            0 => payload = noise(random),
            1 | 2 => payload = mutate(random, &payload, &[b"\"", b"{", b"}", b"../", b"null", b"\\u0000", b"\xFF"]),
            _ => {}
        }
        let mut shell = Recorder::default();
        let event = Event::Message { peer: BROKER, opcode: Opcode::Text, payload: &payload };
        agent.lock().unwrap().handle(NOW, event, &mut shell);
        let orders = std::mem::take(&mut *orders.0.lock().unwrap());
        assert!(shell.sent.len() + orders.len() <= 1, "one request, several consequences");
        shell.sent.iter().for_each(|answer| check_answer(&payload, answer));
        orders.iter().for_each(check_order);
    });
}
