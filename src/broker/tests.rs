//! What one core answers to one client, text by text, with a shell that only records.

mod controllers;
mod links_simulation;
mod v1;
mod world;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};

use super::authorize::{CONTROLLER_ALLOWLIST, Policy};
use super::controllers::{Controller, Way};
use super::core::{BrokerCore, BrokerMail};
use super::mounts::Mounts;
use super::{Access, Broker, Observer, Outcome};
use crate::clock::Moment;
use crate::config::authorization::{
    Access as Whom, Ace, AuthorizationRules, ClientAccess, Conditions, Identification, Rule,
};
use crate::link::{
    Admission, Application, CertificateAttributes, Dial, Event, Identity, Opcode, Opening, PeerId, Port, SendOutcome,
    Shell, TimerKey,
};

const ID: &str = "f93df7fa-5168-4f8d-a7b5-180d46019213";
const NOW: Moment = Moment::from_millis(0);

#[derive(Default)]
struct Counter(AtomicUsize);

impl Observer for Counter {
    fn outcome(&self, _outcome: Outcome) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn accessed(&self, _worker: u16, _outcome: Outcome, _access: &Access<'_>) {}

    fn superseded(&self) {}
}

#[derive(Default)]
struct Recorder {
    sent: Vec<(PeerId, Value)>,
    closed: Vec<(PeerId, u16, String)>,
    aborted: Vec<PeerId>,
    mail: Vec<(u16, BrokerMail)>,
    full: bool,
}

impl Shell<BrokerMail> for Recorder {
    fn worker(&self) -> u16 {
        0
    }

    fn remote(&self, _peer: PeerId) -> Option<SocketAddr> {
        None
    }

    fn send(&mut self, to: PeerId, opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        let message: Value = match opcode {
            Opcode::Text => serde_json::from_slice(&parts.concat()).unwrap(),
            Opcode::Binary => v1::read(&parts.concat()),
        };
        let own = message["message_type"].as_str().unwrap().ends_with("error_message");
        if self.full && !own {
            return SendOutcome::Full;
        }
        self.sent.push((to, message));
        SendOutcome::Sent
    }

    fn close(&mut self, peer: PeerId, code: u16, reason: &str) {
        self.closed.push((peer, code, reason.to_owned()));
    }

    fn abort(&mut self, peer: PeerId) {
        self.aborted.push(peer);
    }

    fn arm(&mut self, _key: TimerKey, _at: Moment) {}

    fn disarm(&mut self, _key: TimerKey) {}

    fn mail(&mut self, worker: u16, mail: BrokerMail) -> Result<(), BrokerMail> {
        self.mail.push((worker, mail));
        Ok(())
    }

    fn dial(&mut self, _dial: Dial) {}
}

struct Bench {
    core: BrokerCore,
    broker: Arc<Broker>,
    shell: Recorder,
}

impl Bench {
    fn new() -> Self {
        let broker = Broker::new(2, Mounts::default(), Policy::new(["ctl"]), Arc::new(Counter::default()));
        Self { core: BrokerCore::new(broker.clone(), 1), broker, shell: Recorder::default() }
    }

    fn open(&mut self, slot: u32, name: &str, path: &str) -> PeerId {
        let peer = PeerId { worker: 0, slot, generation: slot };
        let opening = opening(name, path);
        self.core.handle(NOW, Event::Opened { peer, opening }, &mut self.shell);
        peer
    }

    fn say(&mut self, peer: PeerId, message: &Value) -> Vec<(PeerId, Value)> {
        self.say_raw(peer, Opcode::Text, message.to_string().as_bytes())
    }

    fn say_raw(&mut self, peer: PeerId, opcode: Opcode, payload: &[u8]) -> Vec<(PeerId, Value)> {
        self.core.handle(NOW, Event::Message { peer, opcode, payload }, &mut self.shell);
        std::mem::take(&mut self.shell.sent)
    }

    /// Says it and expects one error message with this text in reply to `ID`.
    fn expect_error(&mut self, peer: PeerId, message: &Value, text: &str) {
        let answers = self.say(peer, message);
        assert_eq!(answers.len(), 1, "{message}: {answers:?}");
        let (to, answer) = &answers[0];
        assert_eq!((*to, &answer["data"], &answer["in_reply_to"]), (peer, &json!(text), &json!(ID)), "{message}");
        assert_eq!(answer.as_object().unwrap().keys().len(), 4, "no sender, no target: {answer}");
    }
}

fn opening<'a>(name: &'a str, path: &'a str) -> Opening<'a> {
    let remote = "127.0.0.1:1".parse().unwrap();
    Opening { identity: Identity::named(name), path, remote, dialled: None }
}

fn message(kind: &str, target: &str) -> Value {
    json!({"id": ID, "message_type": format!("http://puppetlabs.com/{kind}"), "target": target})
}

#[test]
fn paths_are_admitted_or_refused_before_the_upgrade() {
    let mut bench = Bench::new();
    let mut status = |path| match bench.core.admit(NOW, &opening("a", path)) {
        Admission::Accept => 101,
        Admission::Refuse { status, .. } => status,
    };
    for (path, expected) in [
        ("/pcp2", 101),
        ("/pcp2/", 101),
        ("/pcp2/agent", 101),
        ("/pcp2/orchestrator", 101),
        ("/pcp2/server", 403),
        ("/pcp2/a/b", 400),
        ("/pcp2/x/", 400),
        ("/pcp2/a%20b", 400),
        ("/pcp2/*", 400),
        ("/pcp2agent", 404),
        ("/pcp", 101),
        ("/pcp/", 101),
        ("/pcp/agent", 101),
        ("/pcp/server", 403),
        ("/pcp/a/b", 400),
        ("/pcpagent", 404),
        ("/pc", 404),
        ("/", 404),
        ("/status", 404),
    ] {
        assert_eq!(status(path), expected, "{path}");
    }
    bench.broker.begin_stop();
    assert!(matches!(bench.core.admit(NOW, &opening("a", "/pcp2")), Admission::Refuse { status: 503, .. }));
}

#[test]
fn the_type_comes_from_the_path() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp2/");
    let controller = bench.open(2, "ctl", "/pcp2/orchestrator");
    assert_eq!(bench.broker.directory.locate("pcp://a/agent"), Some(agent));
    assert_eq!(bench.broker.directory.locate("pcp://ctl/orchestrator"), Some(controller));
}

#[test]
fn errors_have_the_texts_of_the_reference() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp2/agent");
    let controller = bench.open(2, "ctl", "/pcp2/orchestrator");
    let mut forged = message("rpc_error_message", "pcp://ctl/orchestrator");
    forged["sender"] = json!("pcp://b/agent");
    bench.expect_error(agent, &forged, "Message not authenticated.");
    let order = message("rpc_non_blocking_request", "pcp://ctl/orchestrator");
    bench.expect_error(agent, &order, "Message not authorized.");
    let neighbour = message("rpc_non_blocking_response", "pcp://b/agent");
    bench.expect_error(agent, &neighbour, "Message not authorized.");
    let everyone = message("rpc_non_blocking_request", "pcp://*/agent");
    bench.expect_error(controller, &everyone, "Multiple recipients no longer supported.");
    let nobody = message("rpc_non_blocking_request", "pcp://nobody/agent");
    bench.expect_error(controller, &nobody, "Not connected.");
    bench.shell.full = true;
    let blocked = message("rpc_non_blocking_request", "pcp://a/agent");
    bench.expect_error(controller, &blocked, "Delivery failed: too much is waiting for the target.");
}

#[test]
fn undecodable_messages_are_answered_and_the_connection_stays() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp2/agent");
    let valid = message("rpc_error_message", "pcp://a/agent").to_string();
    for (opcode, payload) in
        [(Opcode::Text, "nonsense"), (Opcode::Text, ""), (Opcode::Text, "{\"id\":1}"), (Opcode::Binary, &valid)]
    {
        let answers = bench.say_raw(agent, opcode, payload.as_bytes());
        assert_eq!(answers[0].1["data"], "Could not decode message", "{payload}");
        assert!(answers[0].1.get("in_reply_to").is_none());
    }
    assert!(bench.shell.closed.is_empty());
}

#[test]
fn the_same_type_may_associate_again_and_another_may_not() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp2/agent");
    let again = message("associate_request", "pcp:///server");
    let answers = bench.say(agent, &again);
    assert_eq!(answers[0].1["data"], json!({"id": ID, "success": true}));
    assert_eq!(answers[0].1["sender"], "pcp:///server");
    let mut other = again.clone();
    other["sender"] = json!("pcp://a/other");
    let answers = bench.say(agent, &other);
    assert_eq!(answers[0].1["data"], json!({"id": ID, "success": false, "reason": "Session already associated."}));
    assert_eq!(bench.shell.closed, [(agent, 4002, "Association unsuccessful.".to_owned())]);
}

#[test]
fn forwarding_fills_in_the_sender_and_keeps_the_rest() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp2/agent");
    let controller = bench.open(2, "ctl", "/pcp2/orchestrator");
    let mut order = message("rpc_non_blocking_request", "pcp://a/agent");
    order["data"] = json!({"big": 12345678901234567890u64});
    let delivered = bench.say(controller, &order);
    order["sender"] = json!("pcp://ctl/orchestrator");
    assert_eq!(delivered, [(agent, order)]);
}

#[test]
fn a_newer_connection_supersedes_and_the_old_one_is_not_heard_any_more() {
    let mut bench = Bench::new();
    let old = bench.open(1, "a", "/pcp2/agent");
    let new = bench.open(2, "a", "/pcp2/agent");
    assert_eq!(bench.shell.aborted, [old]);
    assert!(bench.say(old, &message("rpc_error_message", "pcp://nobody/x")).is_empty());
    bench.core.handle(NOW, Event::Closed { peer: old, reason: crate::link::CloseReason::Lost }, &mut bench.shell);
    assert_eq!(bench.broker.directory.locate("pcp://a/agent"), Some(new));
}

#[test]
fn inventory_needs_privilege_and_is_sorted() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "b", "/pcp2/agent");
    bench.open(2, "a", "/pcp2/agent");
    let controller = bench.open(3, "ctl", "/pcp2/orchestrator");
    let mut request = message("inventory_request", "pcp:///server");
    request["data"] = json!({"query": ["pcp://*/agent", "pcp://ctl/*"]});
    bench.expect_error(agent, &request, "Message not authorized.");
    let answers = bench.say(controller, &request);
    assert_eq!(answers[0].1["data"], json!({"uris": ["pcp://a/agent", "pcp://b/agent", "pcp://ctl/orchestrator"]}));
    assert_eq!(answers[0].1["in_reply_to"], ID);
    request["data"] = json!({"query": "pcp://*/agent"});
    let answers = bench.say(controller, &request);
    assert!(answers[0].1["data"].as_str().unwrap().starts_with("Error handling message"));
}

#[derive(Default)]
struct Inbox(Arc<Mutex<Vec<Value>>>);

impl Port for Inbox {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        self.0.lock().unwrap().push(serde_json::from_slice(&message).unwrap());
        Ok(())
    }
}

#[test]
fn a_controller_may_say_what_its_list_allows() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp2/agent");
    let inbox = Inbox::default();
    let received = inbox.0.clone();
    let controller = Arc::new(Controller {
        uri: "pcp://orch/orchestrator".into(),
        way: Way::Port(Box::new(inbox)),
        allowlist: CONTROLLER_ALLOWLIST.map(Box::from).to_vec(),
    });
    bench.broker.controllers.link(controller.clone());
    let mut from_controller = |message: Value| {
        let mail = BrokerMail::FromController(controller.clone(), message.to_string().into());
        bench.core.handle(NOW, Event::Mail(mail), &mut bench.shell);
        (std::mem::take(&mut bench.shell.sent), std::mem::take(&mut *received.lock().unwrap()))
    };
    let (sent, _) = from_controller(message("rpc_blocking_request", "pcp://a/agent"));
    assert_eq!((sent[0].0, &sent[0].1["sender"]), (agent, &json!("pcp://orch/orchestrator")));
    let (_, answers) = from_controller(message("rpc_error_message", "pcp://a/agent"));
    assert_eq!(answers[0]["data"], "Message not authorized.");
    let mut forged = message("rpc_blocking_request", "pcp://a/agent");
    forged["sender"] = json!("pcp://other/orchestrator");
    let (_, answers) = from_controller(forged);
    assert_eq!(answers[0]["data"], "Message not authenticated.");
    let (_, answers) = from_controller(message("rpc_blocking_request", "pcp://gone/agent"));
    assert_eq!((&answers[0]["data"], &answers[0]["in_reply_to"]), (&json!("Not connected."), &json!(ID)));
    bench.say(agent, &message("rpc_blocking_response", "pcp://orch/orchestrator"));
    assert_eq!(received.lock().unwrap()[0]["sender"], "pcp://a/agent");
}

/// Whom the rules forbid to associate.
fn rules_that_deny(name: &str) -> Policy {
    let rule = |name: &str, sort_order, message_type: Option<&str>, access| Rule {
        name: name.to_owned(),
        sort_order,
        conditions: Conditions {
            message_type: message_type.map(|message_type| [message_type.to_owned()].into()),
            ..Conditions::default()
        },
        access,
    };
    let deny = Whom::Listed { deny: vec![Ace::Name(name.to_owned())], allow: vec![Ace::Everyone] };
    Policy::from_access(&ClientAccess::Rules(AuthorizationRules {
        rules: vec![
            rule("associations", 1, Some("http://puppetlabs.com/associate_request"), deny),
            rule("all", 2, None, Whom::Anyone),
        ],
        elsewhere: Vec::new(),
        identification: Identification::Certificates,
    }))
}

/// What the access log was told.
#[derive(Default)]
struct AccessLog(Mutex<Vec<String>>);

impl Observer for AccessLog {
    fn outcome(&self, _outcome: Outcome) {}

    fn accessed(&self, worker: u16, outcome: Outcome, access: &Access<'_>) {
        let envelope = access.envelope.unwrap();
        let fields = [access.common_name, envelope.sender, envelope.message_type, envelope.target];
        self.0.lock().unwrap().push(format!("{worker} {} {}", outcome.label(), fields.join(" ")));
    }

    fn superseded(&self) {}
}

#[test]
fn connecting_is_judged_as_an_association() {
    let log = Arc::new(AccessLog::default());
    let broker = Broker::new(4, Mounts::default(), rules_that_deny("b"), log.clone());
    let mut core = BrokerCore::new(broker.clone(), 1).on_worker(3);
    assert_eq!(core.admit(NOW, &opening("a", "/pcp2/agent")), Admission::Accept);
    assert!(log.0.lock().unwrap().is_empty());
    let refused = Admission::Refuse { status: 403, reason: "Association unsuccessful." };
    assert_eq!(core.admit(NOW, &opening("b", "/pcp2/agent")), refused);
    let line = "3 authorization-failure b pcp://b/agent http://puppetlabs.com/associate_request pcp:///server";
    assert_eq!(*log.0.lock().unwrap(), [line]);
    broker.policy.store(Arc::new(rules_that_deny("a").after(&broker.policy.load())));
    assert_eq!(core.admit(NOW, &opening("a", "/pcp2/agent")), refused);
    assert_eq!(core.admit(NOW, &opening("b", "/pcp2/agent")), Admission::Accept);
}

/// The rights of a session are found out again when the policy has changed, from all that its certificate says.
#[test]
fn another_policy_holds_from_the_next_message_on() {
    let mut bench = Bench::new();
    let agent = bench.open(1, "a", "/pcp2/agent");
    let peer = PeerId { worker: 0, slot: 2, generation: 2 };
    let attributes = CertificateAttributes { dns_names: vec!["pool".into()], ..CertificateAttributes::default() };
    let identity = Identity { attributes: &attributes, ..Identity::named("c") };
    let with_another_name = Opening { identity, ..opening("c", "/pcp2/agent") };
    bench.core.handle(NOW, Event::Opened { peer, opening: with_another_name }, &mut bench.shell);
    let order = message("rpc_blocking_request", "pcp://c/agent");
    bench.expect_error(agent, &order, "Message not authorized.");
    bench.broker.policy.store(Arc::new(rules_that_deny("pool").after(&bench.broker.policy.load())));
    let delivered = bench.say(agent, &order);
    assert_eq!((delivered.len(), delivered[0].0), (1, peer));
    let answers = bench.say(peer, &message("associate_request", "pcp:///server"));
    assert_eq!(answers[0].1["data"]["reason"], "Message not authorized.");
    assert_eq!(bench.shell.closed, [(peer, 4002, "Association unsuccessful.".to_owned())]);
}

/// Even with the certificate of the orchestrator's own host.
#[test]
fn nobody_takes_the_place_of_a_controller() {
    let mut bench = Bench::new();
    let way = Way::Port(Box::new(Inbox::default()));
    let controller = Controller { uri: "pcp://orch/orchestrator".into(), way, allowlist: Vec::new() };
    bench.broker.controllers.link(Arc::new(controller));
    let mut admit = |path| bench.core.admit(NOW, &opening("orch", path));
    assert!(matches!(admit("/pcp2/orchestrator"), Admission::Refuse { status: 403, .. }));
    assert!(matches!(admit("/pcp/orchestrator"), Admission::Refuse { status: 403, .. }));
    assert_eq!(admit("/pcp2/agent"), Admission::Accept);
}

#[test]
fn a_target_that_is_longer_than_any_uri_is_not_looked_up() {
    let mut bench = Bench::new();
    let privileged = bench.open(1, "ctl", "/pcp2/ctl");
    let name = "a".repeat(crate::limits::URI_BYTES_MAX);
    bench.open(2, &name, "/pcp2/agent");
    let request = message("rpc_blocking_request", &format!("pcp://{name}/agent"));
    bench.expect_error(privileged, &request, "Not connected.");
}
