//! The broker core alone: one message of an agent to its controller's connection on the same worker, with 10,000 agents
//! in the directory, over a shell that does nothing. Also counts the allocations of one message: one of 8 bytes, in which
//! serde_json notes the open brackets of nested data, and none of ours.
//! `cargo bench --bench route`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use podium::broker::authorize::Policy;
use podium::broker::core::{BrokerCore, BrokerMail};
use podium::broker::mounts::Mounts;
use podium::broker::{Access, Broker, Observer, Outcome};
use podium::clock::Moment;
use podium::link::{Application, Dial, Event, Identity, Opcode, Opening, PeerId, SendOutcome, Shell, TimerKey};

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

fn route(criterion: &mut Criterion) {
    let broker = Broker::new(1, Mounts::default(), Policy::new(["node1.example.com"]), Arc::new(Silent));
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
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..1_000 {
        one();
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!("allocations per 1,000 messages: {allocations}");
    assert!(allocations <= 1_000, "the path of a message allocates");
    criterion.bench_function("route", |bencher| bencher.iter(&mut one));
    assert!(shell.bytes > 0);
}

/// Counts allocations; the numbers are the point, so nothing else is done.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system allocator with the caller's own arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

criterion_group!(benches, route);
criterion_main!(benches);
