//! The agent against a shell that records what it is told.

use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::agent::requests::tests::{blocking, non_blocking, registry, task_params};
use crate::link::Identity;

#[derive(Default)]
struct Recorder {
    sent: Vec<(PeerId, Value)>,
    binary: Vec<Vec<u8>>,
    closed: Vec<(PeerId, u16)>,
    dials: Vec<Dial>,
    timers: Vec<(TimerKey, Moment)>,
    outcome: Option<SendOutcome>,
}

impl Shell<Mail> for Recorder {
    fn worker(&self) -> u16 {
        0
    }

    fn remote(&self, _peer: PeerId) -> Option<SocketAddr> {
        None
    }

    fn send(&mut self, to: PeerId, opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        if opcode == Opcode::Binary {
            self.binary.push(parts.concat());
            return SendOutcome::Sent;
        }
        let outcome = self.outcome.unwrap_or(SendOutcome::Sent);
        if outcome == SendOutcome::Sent {
            self.sent.push((to, serde_json::from_slice(&parts.concat()).unwrap()));
        }
        outcome
    }

    fn close(&mut self, peer: PeerId, code: u16, _reason: &str) {
        self.closed.push((peer, code));
    }

    fn abort(&mut self, _peer: PeerId) {
        unreachable!("the agent says goodbye");
    }

    fn arm(&mut self, key: TimerKey, at: Moment) {
        self.disarm(key);
        self.timers.push((key, at));
    }

    fn disarm(&mut self, key: TimerKey) {
        self.timers.retain(|(other, _)| *other != key);
    }

    fn mail(&mut self, _worker: u16, mail: Mail) -> Result<(), Mail> {
        Err(mail)
    }

    fn dial(&mut self, dial: Dial) {
        self.dials.push(dial);
    }
}

impl Recorder {
    fn reconnect_at(&self) -> Moment {
        self.timers.iter().find(|(key, _)| *key == RECONNECT).expect("a pause").1
    }
}

#[derive(Default)]
struct Orders {
    taken: Mutex<Vec<Order>>,
    full: bool,
}

impl Executor for Orders {
    fn submit(&self, order: Order) -> Result<(), Order> {
        if self.full {
            return Err(order);
        }
        self.taken.lock().unwrap().push(order);
        Ok(())
    }
}

struct Stage {
    agent: Agent<Orders>,
    shell: Recorder,
    now: Moment,
    connections: u32,
}

impl Stage {
    fn new(brokers: &[&str]) -> Self {
        let uri = |host: &&str| BrokerUri { host: (*host).into(), port: 8142, path: "/pcp2/agent".into() };
        let brokers = brokers.iter().map(uri).collect();
        let agent = Agent::new("node.example", brokers, Arc::new(registry()), 1000, Orders::default(), 7);
        let mut stage = Self { agent, shell: Recorder::default(), now: Moment::from_millis(0), connections: 0 };
        stage.handle(Event::Mail(Mail::Start));
        stage
    }

    fn handle(&mut self, event: Event<'_, Mail>) {
        self.agent.handle(self.now, event, &mut self.shell);
    }

    fn peer(&self) -> PeerId {
        PeerId { worker: 0, slot: 0, generation: self.connections }
    }

    fn open(&mut self, tag: DialTag) {
        self.connections += 1;
        let identity = Identity::named("broker");
        let remote = "127.0.0.1:8142".parse().unwrap();
        let opening = Opening { identity, path: "/pcp2/agent", remote, dialled: Some(tag) };
        let peer = self.peer();
        self.handle(Event::Opened { peer, opening });
    }

    fn open_last(&mut self) {
        let tag = self.shell.dials.last().unwrap().tag;
        self.open(tag);
    }

    fn fail(&mut self) -> Duration {
        let tag = self.shell.dials.last().unwrap().tag;
        let error = DialError { kind: "refused", message: "check that the broker runs".into() };
        self.handle(Event::DialFailed { tag, error });
        self.pause()
    }

    /// The pause before the next attempt, which is made.
    fn pause(&mut self) -> Duration {
        let at = self.shell.reconnect_at();
        let pause = at.since(self.now);
        self.now = at;
        self.handle(Event::Timer(RECONNECT));
        pause
    }

    fn lose(&mut self) -> Duration {
        let peer = self.peer();
        self.handle(Event::Closed { peer, reason: CloseReason::Lost });
        self.pause()
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn receive(&mut self, message: &[u8]) {
        let peer = self.peer();
        self.handle(Event::Message { peer, opcode: Opcode::Text, payload: message });
    }

    fn hosts(&self) -> Vec<&str> {
        self.shell.dials.iter().map(|dial| &*dial.host).collect()
    }
}

#[test]
fn tries_brokers_in_turn_with_growing_pauses() {
    let mut stage = Stage::new(&["a", "b"]);
    let pauses: Vec<Duration> = (0..6).map(|_| stage.fail()).collect();
    assert_eq!(stage.hosts(), ["a", "b", "a", "b", "a", "b", "a"]);
    assert!(pauses.iter().all(|pause| (1000..=32_000).contains(&pause.as_millis())), "{pauses:?}");
    assert!(pauses[0] <= Duration::from_secs(3));
    assert_eq!(&*stage.shell.dials[0].path, "/pcp2/agent");
}

#[test]
fn comes_back_soon_to_the_same_broker_after_a_loss() {
    let mut stage = Stage::new(&["a", "b"]);
    for _ in 0..3 {
        stage.fail();
    }
    stage.open_last();
    stage.pass(SETTLED_AFTER);
    let pause = stage.lose();
    assert!((200..=1000).contains(&pause.as_millis()), "{pause:?}");
    assert_eq!(stage.hosts(), ["a", "b", "a", "b", "b"]);
    assert!(stage.fail() <= Duration::from_secs(3), "the back-off began anew");
}

#[test]
fn a_broker_that_closes_at_once_is_not_pestered() {
    let mut stage = Stage::new(&["a"]);
    let mut total = Duration::ZERO;
    for _ in 0..20 {
        stage.open_last();
        stage.pass(Duration::from_millis(100));
        total += stage.lose();
    }
    assert!(total > Duration::from_secs(100), "{total:?}");
}

#[test]
fn there_is_never_more_than_one_connection() {
    let mut stage = Stage::new(&["a"]);
    let first = stage.shell.dials[0].tag;
    stage.open(first);
    stage.open(first);
    assert_eq!(stage.shell.closed, [(stage.peer(), 1000)]);
    // The end of the unwanted one changes nothing.
    let peer = stage.peer();
    stage.handle(Event::Closed { peer, reason: CloseReason::Application });
    stage.handle(Event::Mail(Mail::Start));
    stage.handle(Event::Timer(RECONNECT));
    assert_eq!(stage.shell.dials.len(), 1);
}

#[test]
fn answers_carry_the_reference_envelope() {
    let mut stage = Stage::new(&["a"]);
    stage.open_last();
    stage.receive(&blocking("echo", "echo", json!({"argument": "hi"})));
    let (to, message) = stage.shell.sent.pop().unwrap();
    assert_eq!(to, stage.peer());
    let mut message = message.as_object().unwrap().clone();
    assert!(uuid::Uuid::parse_str(message.remove("id").unwrap().as_str().unwrap()).is_ok());
    assert_eq!(
        Value::Object(message),
        json!({
            "message_type": "http://puppetlabs.com/rpc_blocking_response",
            "target": "pcp://c/x",
            "sender": "pcp://node.example/agent",
            "data": {"transaction_id": "7", "results": {"outcome": "hi"}}
        })
    );
}

#[test]
fn work_goes_to_the_executor_and_its_replies_out() {
    let mut stage = Stage::new(&["a"]);
    stage.open_last();
    stage.receive(&non_blocking("7", "task", "run", task_params()));
    let Some(Order::Run(order)) = stage.agent.executor.taken.lock().unwrap().pop() else { panic!() };
    stage.handle(Event::Mail(Mail::Reply(order.origin.provisional().into())));
    assert_eq!(stage.shell.sent.pop().unwrap().1["data"], json!({"transaction_id": "7"}));
    stage.pass(SETTLED_AFTER);
    stage.lose();
    stage.handle(Event::Mail(Mail::Reply(order.origin.provisional().into())));
    assert!(stage.shell.sent.is_empty(), "without a connection it is dropped, and nothing panics");
    stage.open_last();
    stage.shell.outcome = Some(SendOutcome::Full);
    stage.handle(Event::Mail(Mail::Reply(order.origin.provisional().into())));
    assert!(stage.shell.sent.is_empty());
}

#[test]
fn too_much_work_is_refused() {
    let mut stage = Stage::new(&["a"]);
    stage.open_last();
    stage.agent.executor.full = true;
    stage.receive(&blocking("status", "query", json!({"transaction_id": "1"})));
    let (_, message) = stage.shell.sent.pop().unwrap();
    assert_eq!(message["message_type"], "http://puppetlabs.com/rpc_error_message");
}

#[test]
fn purges_at_start_and_hourly() {
    let mut stage = Stage::new(&["a"]);
    stage.pass(PURGE_INTERVAL);
    stage.handle(Event::Timer(PURGE));
    let orders = stage.agent.executor.taken.lock().unwrap();
    assert!(matches!(orders[..], [Order::Purge, Order::Purge]), "{orders:?}");
}

#[test]
fn says_goodbye_and_stays_away() {
    let mut stage = Stage::new(&["a"]);
    stage.open_last();
    stage.handle(Event::Stopping);
    assert_eq!(stage.shell.closed, [(stage.peer(), 1000)]);
    let peer = stage.peer();
    stage.handle(Event::Closed { peer, reason: CloseReason::Shutdown });
    assert!(stage.shell.timers.is_empty());
}

#[test]
fn garbage_is_survived() {
    let mut stage = Stage::new(&["a"]);
    stage.open_last();
    for garbage in [&b""[..], b"[]", b"{\"id\":", b"\xff"] {
        stage.receive(garbage);
    }
    let peer = stage.peer();
    stage.handle(Event::Message { peer, opcode: Opcode::Binary, payload: b"\x01" });
    assert!(stage.shell.sent.is_empty() && stage.shell.closed.is_empty());
}

/// An agent of PCP v1 that has just been connected, and the id of its request.
fn associating() -> (Stage, String) {
    let mut stage = Stage::new(&["a", "b"]);
    let (association_timeout, message_ttl) = (Duration::from_secs(15), Duration::from_secs(5));
    stage.agent = stage.agent.speaking(Dialect::V1 { association_timeout, message_ttl });
    stage.open_last();
    let request = crate::pcp::v1::Message::decode(&stage.shell.binary[0]).unwrap().envelope;
    let id = request.id.into_owned();
    (stage, id)
}

fn v1(message_type: &str, data: Value) -> Vec<u8> {
    let message = Outgoing {
        id: "f93df7fa-5168-4f8d-a7b5-180d46019213",
        message_type,
        target: Some("pcp://node.example/agent"),
        sender: Some("pcp://c/x"),
        in_reply_to: None,
        data: Some(data),
    };
    let mut out = Vec::new();
    crate::pcp::translate::to_v1(&message, &mut out);
    out
}

impl Stage {
    fn receive_binary(&mut self, message: &[u8]) {
        let peer = self.peer();
        self.handle(Event::Message { peer, opcode: Opcode::Binary, payload: message });
    }

    fn associate(&mut self, id: &str, success: bool) {
        let data = json!({"id": id, "success": success});
        self.receive_binary(&v1("http://puppetlabs.com/associate_response", data));
    }
}

#[test]
fn with_v1_nothing_is_done_before_the_association() {
    let (mut stage, id) = associating();
    let request = json!({"transaction_id": "7", "module": "echo", "action": "echo", "params": {"argument": "x"}});
    let request = v1("http://puppetlabs.com/rpc_blocking_request", request);
    stage.receive_binary(&request);
    assert_eq!(stage.shell.binary.len(), 1);
    stage.associate("1-1-1-1-1", true);
    stage.receive_binary(&request);
    assert_eq!(stage.shell.binary.len(), 1, "the answer was to somebody else's request");
    stage.associate(&id, true);
    stage.receive_binary(&request);
    let answer = crate::pcp::v1::Message::decode(&stage.shell.binary[1]).unwrap();
    assert_eq!(answer.envelope.message_type, "http://puppetlabs.com/rpc_blocking_response");
    assert_eq!(answer.data.unwrap().get(), r#"{"transaction_id":"7","results":{"outcome":"x"}}"#);
}

#[test]
fn an_association_that_is_denied_or_not_answered_counts_as_a_failure() {
    let (mut stage, id) = associating();
    stage.associate(&id, false);
    let first = stage.pause();
    assert!(first >= Duration::from_secs(1), "{first:?}");
    stage.open_last();
    stage.handle(Event::Timer(ASSOCIATION));
    stage.pause();
    assert_eq!(stage.shell.closed.len(), 2);
    assert_eq!(stage.hosts(), ["a", "b", "a"]);
}
