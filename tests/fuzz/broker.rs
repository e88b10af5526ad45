//! A broker core that arbitrary peers send arbitrary messages. Whatever they are: answers go to who sent, messages to
//! whom they are addressed to and with the true sender, and nobody's place in the directory changes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use podium::broker::authorize::Policy;
use podium::broker::core::{BrokerCore, BrokerMail};
use podium::broker::mounts::Mounts;
use podium::broker::{Access, Broker, Observer, Outcome};
use podium::clock::Moment;
use podium::link::{Application, Dial, Event, Identity, Opcode, Opening, PeerId, SendOutcome, Shell, TimerKey};
use podium::pcp::{Envelope, PcpUri};
use serde_json::{Value, json};

use super::cases;
use super::mutator::{mutate, mutate_json, noise};
use podium::random::Random;

const NOW: Moment = Moment::from_millis(0);
const TYPES: [&str; 8] = [
    "associate_request",
    "inventory_request",
    "error_message",
    "rpc_non_blocking_request",
    "rpc_non_blocking_response",
    "rpc_error_message",
    "inventory_response",
    "x",
];
const WORDS: [&[u8]; 10] = [
    b"\"",
    b"}",
    b"{",
    b",",
    b"[",
    b"\"sender\":\"pcp://b/agent\",",
    b"\"target\":\"pcp:///server\",",
    b"\\u0000",
    b"\xFF",
    b"null",
];

struct Silent;

impl Observer for Silent {
    fn outcome(&self, _outcome: Outcome) {}

    fn accessed(&self, _worker: u16, _outcome: Outcome, _access: &Access<'_>) {}

    fn superseded(&self) {}
}

/// What the core did about one message.
#[derive(Default)]
struct Recorder {
    sent: Vec<(PeerId, Vec<u8>)>,
    closed: Vec<PeerId>,
    mail: Vec<(u16, BrokerMail)>,
}

impl Shell<BrokerMail> for Recorder {
    fn worker(&self) -> u16 {
        0
    }

    fn remote(&self, _peer: PeerId) -> Option<SocketAddr> {
        None
    }

    fn send(&mut self, to: PeerId, _opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        self.sent.push((to, parts.concat()));
        SendOutcome::Sent
    }

    fn close(&mut self, peer: PeerId, _code: u16, _reason: &str) {
        self.closed.push(peer);
    }

    fn abort(&mut self, _peer: PeerId) {
        panic!("nobody was superseded");
    }

    fn arm(&mut self, _key: TimerKey, _at: Moment) {}

    fn disarm(&mut self, _key: TimerKey) {}

    fn mail(&mut self, worker: u16, mail: BrokerMail) -> Result<(), BrokerMail> {
        self.mail.push((worker, mail));
        Ok(())
    }

    fn dial(&mut self, _dial: Dial) {
        panic!("the broker does not dial");
    }
}

struct World {
    broker: Arc<Broker>,
    core: BrokerCore,
    peers: HashMap<PeerId, String>,
}

/// Agents here and on another worker, and one client that may give orders.
fn world() -> World {
    let broker = Broker::new(2, Mounts::default(), Policy::new(["ctl"]), Arc::new(Silent));
    let mut cores = [BrokerCore::new(broker.clone(), 1), BrokerCore::new(broker.clone(), 2)];
    let mut peers = HashMap::new();
    for (slot, (worker, name, kind)) in
        (0..).zip([(0, "a", "agent"), (0, "b", "agent"), (0, "ctl", "orchestrator"), (1, "c", "agent")])
    {
        let peer = PeerId { worker, slot, generation: slot };
        let opening = Opening {
            identity: Identity::named(name),
            path: &format!("/pcp2/{kind}"),
            remote: "127.0.0.1:1".parse().unwrap(),
            dialled: None,
        };
        cores[usize::from(worker)].handle(NOW, Event::Opened { peer, opening }, &mut Recorder::default());
        peers.insert(peer, format!("pcp://{name}/{kind}"));
    }
    let [core, _] = cores;
    World { broker, core, peers }
}

fn message(random: &mut Random) -> Vec<u8> {
    let uris =
        ["pcp://a/agent", "pcp://b/agent", "pcp://c/agent", "pcp://ctl/orchestrator", "pcp:///server", "pcp://*/agent"];
    let mut message = json!({
        "id": "f93df7fa-5168-4f8d-a7b5-180d46019213",
        "message_type": format!("http://puppetlabs.com/{}", *random.pick(&TYPES)),
        "target": *random.pick(&uris),
        "sender": *random.pick(&uris),
        "data": {"query": ["pcp://*/agent"], "subscribe": random.percent(50)},
    });
    if random.percent(40) {
        message.as_object_mut().unwrap().remove("sender");
    }
    if random.percent(50) {
        mutate_json(random, &mut message);
    }
    let mut bytes = message.to_string().into_bytes();
    // The same values in order: to serde an array is as good as an object.
    if random.percent(5) {
        bytes = json!(["1-1-1-1-1", message["message_type"], message["target"]]).to_string().into_bytes();
    }
    match random.index(10) {
        0 => noise(random),
        1..=4 => mutate(random, &bytes, &WORDS),
        _ => bytes,
    }
}

/// A message that was passed on is a whole envelope from its true sender to the holder of its target.
fn check_forwarded(world: &World, from: PeerId, to: PeerId, bytes: &[u8]) {
    let envelope =
        Envelope::decode(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)));
    assert_eq!(envelope.target.as_deref(), Some(world.peers[&to].as_str()));
    let sender = envelope.sender.expect("forwarded messages have one");
    let authority = |uri: &str| PcpUri::parse(uri).unwrap().authority.to_owned();
    assert_eq!(authority(&sender), authority(&world.peers[&from]));
}

#[test]
fn arbitrary_messages_of_arbitrary_peers() {
    cases(300, |random| {
        let mut world = world();
        let here: Vec<PeerId> = world.peers.keys().copied().filter(|peer| peer.worker == 0).collect();
        for _ in 0..20 {
            let mut here = here.clone();
            here.sort_unstable();
            let from = *random.pick(&here);
            let payload = message(random);
            let opcode = if random.percent(95) { Opcode::Text } else { Opcode::Binary };
            let mut shell = Recorder::default();
            world.core.handle(NOW, Event::Message { peer: from, opcode, payload: &payload }, &mut shell);
            assert!(shell.sent.len() + shell.mail.len() <= 1, "one message, several answers");
            for (to, bytes) in &shell.sent {
                let own: Value = serde_json::from_slice(bytes).expect("JSON");
                let is_answer = own["sender"].is_null() || own["sender"] == "pcp:///server";
                if *to != from || !is_answer {
                    check_forwarded(&world, from, *to, bytes);
                }
            }
            for (worker, mail) in shell.mail {
                let BrokerMail::Deliver { to, payload, .. } = mail else { panic!("mail of another kind") };
                assert_eq!(worker, to.worker);
                check_forwarded(&world, from, to, &payload);
            }
            assert!(shell.closed.iter().all(|&peer| peer == from), "somebody else was closed");
            assert_eq!(world.broker.directory.len(), world.peers.len());
            for (peer, uri) in &world.peers {
                assert_eq!(world.broker.directory.locate(uri), Some(*peer));
            }
        }
    });
}
