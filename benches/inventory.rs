//! The inventory with 20,000 and 100,000 agents: the snapshot that is taken under the directory's lock, a subscriber's
//! response, from request to encoded message, in both protocols, and a tick with 1,000 changes. Also counts allocations.
//! `cargo bench --bench inventory`.

mod counting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use podium::broker::authorize::Policy;
use podium::broker::core::{BrokerCore, BrokerMail};
use podium::broker::mounts::Mounts;
use podium::broker::patterns::Patterns;
use podium::broker::{Access, Broker, Observer, Outcome};
use podium::clock::Moment;
use podium::link::{Application, Dial, Event, Identity, Opcode, Opening, PeerId, SendOutcome, Shell, TimerKey};
use podium::pcp::{Outgoing, SERVER_URI, message_type, translate};

use counting::allocations;

struct Silent;

impl Observer for Silent {
    fn outcome(&self, _outcome: Outcome) {}

    fn accessed(&self, _worker: u16, _outcome: Outcome, _access: &Access<'_>) {}

    fn superseded(&self) {}
}

/// Remembers the size of the last message and the armed timer.
#[derive(Default)]
struct NullShell {
    bytes: usize,
    timer: Option<(TimerKey, Moment)>,
}

impl Shell<BrokerMail> for NullShell {
    fn worker(&self) -> u16 {
        0
    }

    fn remote(&self, _peer: PeerId) -> Option<SocketAddr> {
        None
    }

    fn send(&mut self, _to: PeerId, _opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        self.bytes = parts.iter().map(|part| part.len()).sum();
        SendOutcome::Sent
    }

    fn close(&mut self, _peer: PeerId, _code: u16, _reason: &str) {}

    fn abort(&mut self, _peer: PeerId) {}

    fn arm(&mut self, key: TimerKey, at: Moment) {
        self.timer = Some((key, at));
    }

    fn disarm(&mut self, _key: TimerKey) {}

    fn mail(&mut self, _worker: u16, mail: BrokerMail) -> Result<(), BrokerMail> {
        Err(mail)
    }

    fn dial(&mut self, _dial: Dial) {}
}

struct World {
    broker: Arc<Broker>,
    core: BrokerCore,
    shell: NullShell,
    now: Moment,
    /// Slot of the v1 subscriber; the v2 one has the next.
    subscriber: u32,
}

impl World {
    fn new(agents: u32) -> Self {
        let broker = Broker::new(1, Mounts::default(), Policy::new(["ctl.example.com"]), Arc::new(Silent));
        let mut core = BrokerCore::new(broker.clone(), 1);
        let mut shell = NullShell::default();
        let now = Moment::from_millis(0);
        for slot in 0..agents {
            open(&mut core, &mut shell, slot, &format!("node{slot}.example.com"), "/pcp2/agent");
        }
        open(&mut core, &mut shell, agents, "ctl.example.com", "/pcp/one");
        open(&mut core, &mut shell, agents + 1, "ctl.example.com", "/pcp2/two");
        Self { broker, core, shell, now, subscriber: agents }
    }

    /// A request of the v1 or the v2 subscriber.
    fn ask(&mut self, version: u32, subscribe: bool) {
        let kind = ["one", "two"][version as usize];
        let sender = format!("pcp://ctl.example.com/{kind}");
        let request = Outgoing {
            id: "f93df7fa-5168-4f8d-a7b5-180d46019213",
            message_type: message_type::INVENTORY_REQUEST,
            target: Some(SERVER_URI),
            sender: Some(&sender),
            in_reply_to: None,
            data: Some(serde_json::json!({"query": ["pcp://*/agent"], "subscribe": subscribe})),
        };
        let (opcode, payload) = match version {
            0 => {
                let mut payload = Vec::new();
                translate::to_v1(&request, &mut payload);
                (Opcode::Binary, payload)
            }
            _ => (Opcode::Text, request.encode()),
        };
        let peer = PeerId { worker: 0, slot: self.subscriber + version, generation: 0 };
        self.core.handle(self.now, Event::Message { peer, opcode, payload: &payload }, &mut self.shell);
    }

    /// Comings and goings that a tick then tells of.
    fn churn_and_tick(&mut self, changes: u32) {
        for number in 0..changes / 2 {
            let uri: Arc<str> = format!("pcp://churn{number}.example.com/agent").into();
            let peer = PeerId { worker: 1, slot: number, generation: 0 };
            self.broker.directory.claim(&uri, peer, self.now);
            self.broker.directory.release(&uri, peer);
        }
        let (key, at) = self.shell.timer.expect("a subscription arms it");
        self.now = at + Duration::from_millis(1);
        self.core.handle(self.now, Event::Timer(key), &mut self.shell);
    }
}

fn open(core: &mut BrokerCore, shell: &mut NullShell, slot: u32, name: &str, path: &str) {
    let opening = Opening {
        identity: Identity::named(name),
        path,
        remote: "127.0.0.1:1".parse().expect("an address"),
        dialled: None,
    };
    let peer = PeerId { worker: 0, slot, generation: 0 };
    core.handle(Moment::from_millis(0), Event::Opened { peer, opening }, shell);
}

fn counted(what: &str, mut run: impl FnMut()) {
    run();
    let before = allocations();
    run();
    println!("allocations of {what}: {}", allocations() - before);
}

fn inventory(criterion: &mut Criterion) {
    for agents in [20_000, 100_000] {
        let mut world = World::new(agents);
        let patterns = Patterns::new(["pcp://*/agent"]);
        let directory = &world.broker.directory;
        let name = |what: &str| format!("{what}/{agents}");
        assert_eq!(directory.matching(&patterns).len(), agents as usize);
        criterion.bench_function(&name("collected-under-lock"), |bencher| {
            bencher.iter_with_large_drop(|| directory.collected(&patterns));
        });
        criterion.bench_function(&name("collected-and-sorted"), |bencher| {
            bencher.iter_with_large_drop(|| directory.matching(&patterns));
        });
        for version in [0, 1] {
            let what = name(["response-v1", "response-v2"][version as usize]);
            counted(&what, || world.ask(version, false));
            println!("bytes of {what}: {}", world.shell.bytes);
            criterion.bench_function(&what, |bencher| bencher.iter(|| world.ask(version, false)));
        }
        world.ask(1, true);
        let what = name("tick-of-1000-changes");
        counted(&what, || world.churn_and_tick(1_000));
        criterion.bench_function(&what, |bencher| bencher.iter(|| world.churn_and_tick(1_000)));
    }
}

criterion_group!(benches, inventory);
criterion_main!(benches);
