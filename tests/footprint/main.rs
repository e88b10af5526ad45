//! What an idle agent keeps on the heap of a broker, counted: every block that the reactor, TLS and the broker core have
//! when all agents are connected, idle and in the directory. A binary of its own, because it has its own allocator.
//!
//! The agents are as many as the tables have room for after their last growth, so that no half of a table is counted that
//! would not be touched, but the hash table at its largest. What the C code of cryptography allocates is not seen.

mod jobs;
#[allow(dead_code, reason = "the process and its figures are for tests/budget")]
#[path = "../support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use podium::broker::authorize::Policy;
use podium::broker::core::BrokerCore;
use podium::broker::mounts::Mounts;
use podium::broker::{Access, Broker, Observer, Outcome};
use podium::config::settings::{CertificatePaths, TlsSessions};
use podium::reactor::{Listen, Options, Reactor};
use podium::tls::material::{ClientAuth, Material};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use support::fleet::{Agent, in_parallel};
use support::pki::{Keys, Pki};

/// Of the connection table, which grows by doubling.
const AGENTS: i64 = 1024;

/// Agents that come and go before anything is counted: the workers' buffers have their size then.
const BEFORE: usize = 16;

const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes and blocks of an idle agent with a name of 30 characters and P-256 certificates, as last measured. Whoever
/// changes them on purpose writes the new ones here and in docs/size.md.
const RECORDED: [(&SupportedProtocolVersion, i64, i64); 2] = [(&TLS12, 676, 1), (&TLS13, 676, 1)];

/// Growth that is an accident of versions of libraries, in percent.
const TOLERANCE: i64 = 10;

#[test]
fn an_idle_agent_is_no_larger_than_recorded() {
    as_client();
    let pki = Pki::new(Keys::P256);
    let mut grown = Vec::new();
    for (version, bytes, blocks) in RECORDED {
        let (bytes_now, blocks_now) = footprint(&pki, version);
        println!("{:?}: {bytes_now} bytes in {blocks_now} blocks", version.version);
        if bytes_now * 100 > bytes * (100 + TOLERANCE) || blocks_now > blocks {
            let version = version.version;
            grown.push(format!(
                "{version:?}: {bytes_now} bytes in {blocks_now} blocks; {bytes} in {blocks} are recorded"
            ));
        }
    }
    assert!(grown.is_empty(), "an idle agent has grown: {grown:?}");
}

/// Bytes and blocks per agent.
fn footprint(pki: &Pki, version: &'static SupportedProtocolVersion) -> (i64, i64) {
    let configs = in_parallel(BEFORE + AGENTS as usize, |number| {
        as_client();
        pki.agent(&format!("node{number:06}.agents.example.test"), version)
    });
    let files = pki.server_files();
    let paths = CertificatePaths { certificate: files.certificate, key: files.key, ca: files.ca, crl: None };
    let material = Material::load(&paths).unwrap();
    let options = Options {
        listen: Some(Listen::Address("127.0.0.1:0".parse().unwrap())),
        server_tls: Some(Arc::new(ArcSwap::new(
            material.listener(ClientAuth::Required, TlsSessions::Compact).unwrap(),
        ))),
        ..Options::new()
    };
    let broker = Broker::new(1, Mounts::default(), Policy::new([]), Arc::new(Nobody));
    let reactor = Reactor::start(options, |_, _| BrokerCore::new(broker.clone(), 1)).unwrap();
    let metrics = reactor.metrics();
    let address = reactor.local_addr().unwrap();
    let connect = |number: usize| {
        as_client();
        Agent::connect(address, configs[number].clone()).unwrap()
    };
    let settled = |agents: i64| {
        let began = Instant::now();
        let mut last = (0, 0);
        loop {
            assert!(began.elapsed() < PATIENCE, "{} of {agents} agents are there", metrics.connections_open.get());
            let now = (BYTES.load(Ordering::SeqCst), BLOCKS.load(Ordering::SeqCst));
            if now == last && metrics.connections_open.get() == agents && broker.directory.len() as i64 == agents {
                return now;
            }
            last = now;
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    drop(in_parallel(BEFORE, |number| connect(AGENTS as usize + number)));
    let start = settled(0);
    let agents = in_parallel(AGENTS as usize, connect);
    let end = settled(AGENTS);
    drop(agents);
    reactor.stop(Duration::ZERO);
    ((end.0 - start.0) / AGENTS, (end.1 - start.1 + AGENTS / 2) / AGENTS)
}

struct Nobody;

impl Observer for Nobody {
    fn outcome(&self, _outcome: Outcome) {}

    fn accessed(&self, _worker: u16, _outcome: Outcome, _access: &Access<'_>) {}

    fn superseded(&self) {}
}

/// Counts what is live, except on the threads of the agents, who are in the same process.
struct Counting;

static BYTES: AtomicI64 = AtomicI64::new(0);
static BLOCKS: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

/// The present thread is an agent's from now on.
fn as_client() {
    IS_CLIENT.set(true);
}

fn count(bytes: usize, blocks: i64) {
    if !IS_CLIENT.try_with(Cell::get).unwrap_or(true) {
        BYTES.fetch_add(bytes as i64 * blocks, Ordering::SeqCst);
        BLOCKS.fetch_add(blocks, Ordering::SeqCst);
    }
}

// SAFETY: every call goes to the system allocator with the caller's own arguments; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
