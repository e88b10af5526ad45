//! The broker core alone: one message of an agent to its controller's connection on the same worker, with 10,000 agents
//! in the directory, over a shell that does nothing: under the built-in policy, and under 30 authorization rules of which
//! the last decides. Also counts the allocations of one message: one of 8 bytes, in which serde_json notes the open
//! brackets of nested data, and none of ours. Then the judgement of one message alone, which allocates nothing.
//! `cargo bench --bench route`.

mod counting;

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use podium::broker::authorize::{Judged, Policy};
use podium::broker::controllers::Controllers;
use podium::broker::core::{BrokerCore, BrokerMail};
use podium::broker::mounts::Mounts;
use podium::broker::{Access, Broker, Observer, Outcome};
use podium::clock::Moment;
use podium::config::authorization::{
    Access as Whom, Ace, AuthorizationRules, ClientAccess, Conditions, Identification, Rule,
};
use podium::link::{Application, Dial, Event, Identity, Opcode, Opening, PeerId, SendOutcome, Shell, TimerKey};

use counting::allocations;

struct Silent;

impl Observer for Silent {
    fn outcome(&self, _outcome: Outcome) {}

    fn accessed(&self, _worker: u16, _outcome: Outcome, _access: &Access<'_>) {}

    fn superseded(&self) {}
}

struct NullShell {
    bytes: usize,
}

impl Shell<BrokerMail> for NullShell {
    fn worker(&self) -> u16 {
        0
    }

    fn remote(&self, _peer: PeerId) -> Option<SocketAddr> {
        None
    }

    fn send(&mut self, _to: PeerId, _opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        self.bytes += parts.iter().map(|part| part.len()).sum::<usize>();
        SendOutcome::Sent
    }

    fn close(&mut self, _peer: PeerId, _code: u16, _reason: &str) {}

    fn abort(&mut self, _peer: PeerId) {}

    fn arm(&mut self, _key: TimerKey, _at: Moment) {}

    fn disarm(&mut self, _key: TimerKey) {}

    fn mail(&mut self, _worker: u16, mail: BrokerMail) -> Result<(), BrokerMail> {
        Err(mail)
    }

    fn dial(&mut self, _dial: Dial) {}
}

const RESPONSE: &str = "http://puppetlabs.com/rpc_non_blocking_response";

/// Rules about other types and other targets, and one for all at the end.
fn thirty_rules() -> Policy {
    let rule = |index: u16| {
        let types = match index % 2 {
            0 => [format!("http://example.com/type{index}"), format!("http://example.com/other{index}")],
            _ => [RESPONSE.to_owned(), format!("http://example.com/type{index}")],
        };
        let elsewhere = [format!("pcp://elsewhere{index}.example.com/agent")];
        let conditions = match index {
            30 => Conditions::default(),
            _ => Conditions { message_type: Some(types.into()), target: Some(elsewhere.into()), sender: None },
        };
        let access = Whom::Listed { deny: Vec::new(), allow: vec![Ace::Domain("example.com".to_owned())] };
        Rule { name: format!("rule {index}"), sort_order: index, conditions, access }
    };
    Policy::from_access(&ClientAccess::Rules(AuthorizationRules {
        rules: (1..=30).map(rule).collect(),
        elsewhere: Vec::new(),
        identification: Identification::Certificates,
    }))
}

fn built_in() -> Policy {
    Policy::new(["node1.example.com"])
}

fn route(criterion: &mut Criterion) {
    messages(criterion, "route", built_in());
    messages(criterion, "route by 30 rules", thirty_rules());
    judgement(criterion, "judge", &built_in());
    judgement(criterion, "judge by 30 rules", &thirty_rules());
}

fn judgement(criterion: &mut Criterion, name: &str, policy: &Policy) {
    let controllers = Controllers::default();
    let common_name = "node5000.example.com";
    let judged = Judged {
        common_name,
        sender: "pcp://node5000.example.com/agent",
        message_type: RESPONSE,
        target: "pcp://node1.example.com/agent",
    };
    let rights = policy.rights(common_name, None);
    let one = || policy.judge(black_box(&rights), black_box(&judged), &controllers).is_ok();
    assert!(one(), "{name}");
    let before = allocations();
    for _ in 0..1_000 {
        black_box(one());
    }
    assert_eq!(allocations() - before, 0, "{name} allocates");
    criterion.bench_function(name, |bencher| bencher.iter(one));
}

fn messages(criterion: &mut Criterion, name: &str, policy: Policy) {
    let broker = Broker::new(1, Mounts::default(), policy, Arc::new(Silent));
    let mut core = BrokerCore::new(broker, 1);
    let mut shell = NullShell { bytes: 0 };
    let now = Moment::from_millis(0);
    for slot in 0..10_000 {
        let name = format!("node{slot}.example.com");
        let opening = Opening {
            identity: Identity::named(&name),
            path: "/pcp2/agent",
            remote: "127.0.0.1:1".parse().expect("an address"),
            dialled: None,
        };
        let peer = PeerId { worker: 0, slot, generation: 0 };
        core.handle(now, Event::Opened { peer, opening }, &mut shell);
    }
    let peer = PeerId { worker: 0, slot: 5_000, generation: 0 };
    let payload = br#"{"id":"f93df7fa-5168-4f8d-a7b5-180d46019213","message_type":"http://puppetlabs.com/rpc_non_blocking_response","target":"pcp://node1.example.com/agent","sender":"pcp://node5000.example.com/agent","data":{"transaction_id":"7","results":{"exitcode":0,"stdout":"ok"}}}"#;
    let mut one = || core.handle(now, Event::Message { peer, opcode: Opcode::Text, payload }, &mut shell);
    one();
    let before = allocations();
    for _ in 0..1_000 {
        one();
    }
    let count = allocations() - before;
    println!("{name}: allocations per 1,000 messages: {count}");
    assert!(count <= 1_000, "the path of a message allocates");
    criterion.bench_function(name, |bencher| bencher.iter(&mut one));
    assert!(shell.bytes > 0);
}

criterion_group!(benches, route);
criterion_main!(benches);
