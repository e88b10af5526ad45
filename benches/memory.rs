//! User-space memory and descriptors of `podium server` per idle agent (mTLS and WebSocket, associated), by TLS version,
//! kind of certificate and number of agents. Server and agents are two processes on one machine.
//!
//! ```text
//! cargo bench --bench memory                                      1,000 and 5,000 agents, all kinds
//! cargo bench --bench memory -- --connections 15000 --keys p256   one size, one kind (--keys p256 or rsa4096)
//! cargo bench --bench memory -- --as-deployed                     with the allocator's own settings
//! ```
//!
//! Each agent is one descriptor here and one there: see `ulimit -n`. Without `--as-deployed` the allocator gives free
//! pages back at once, so that the figures are what connections need and not what was left over.
//! Memory is "Anonymous" of `/proc/<pid>/smaps_rollup`; "each" is the growth since the first 50 agents, divided.

#[allow(dead_code, reason = "tests/budget needs a little more of it")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use support::fleet::{Agent, in_parallel};
use support::pki::{Keys, Pki};
use support::server::{Allocator, Server};

/// Agents that are there before anything is measured.
const BEFORE: usize = 50;

/// What to measure.
struct Plan {
    sizes: Vec<usize>,
    keys: Vec<Keys>,
    allocator: Allocator,
}

impl Plan {
    /// From the command line. Only `cargo bench` gives `--bench`: everything else wants to see that it runs at all.
    fn from_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let value = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1);
        let allocator = if has("--as-deployed") { Allocator::AsDeployed } else { Allocator::Exact };
        if has("--test") || !has("--bench") {
            return Self { sizes: vec![20], keys: vec![Keys::P256], allocator };
        }
        let sizes = match value("--connections") {
            Some(count) => vec![count.parse().expect("--connections takes a number")],
            None => vec![1_000, 5_000],
        };
        let keys = match value("--keys").map(String::as_str) {
            Some("p256") => vec![Keys::P256],
            Some("rsa4096") => vec![Keys::Rsa4096],
            Some(other) => panic!("--keys {other}: p256 or rsa4096"),
            None => vec![Keys::P256, Keys::Rsa4096],
        };
        Self { sizes, keys, allocator }
    }
}

fn main() {
    let plan = Plan::from_arguments();
    let most = plan.sizes.iter().max().copied().unwrap_or(0);
    println!(
        "keys     TLS  agents  bytes each  memory KiB: bare  with agents  resident  descriptors: bare  with agents"
    );
    for keys in plan.keys {
        let pki = Pki::new(keys);
        for version in [&TLS12, &TLS13] {
            let configs = in_parallel(BEFORE + most, |number| pki.agent(&format!("node{number}.example.com"), version));
            for &size in &plan.sizes {
                measure(&pki, keys, version, &configs[..BEFORE + size], plan.allocator);
            }
        }
    }
}

fn measure(
    pki: &Pki,
    keys: Keys,
    version: &SupportedProtocolVersion,
    configs: &[Arc<ClientConfig>],
    allocator: Allocator,
) {
    let server = Server::start(pki, allocator);
    let (bare, bare_descriptors) = (server.settled_memory(), server.descriptors());
    let connect = |config: &Arc<ClientConfig>| Agent::connect(server.address, config.clone()).expect("a connection");
    let (first, rest) = configs.split_at(BEFORE);
    let before = in_parallel(first.len(), |number| connect(&first[number]));
    let start = server.settled_memory();
    let agents = in_parallel(rest.len(), |number| connect(&rest[number]));
    let memory = server.settled_memory();
    let (keys, version) = (format!("{keys:?}"), if version.version == TLS12.version { "1.2" } else { "1.3" });
    println!(
        "{keys:8} {version}  {:6}  {:10}  {:16}  {:11}  {:8}  {bare_descriptors:17}  {:11}",
        rest.len(),
        memory.saturating_sub(start) / rest.len(),
        bare / 1024,
        memory / 1024,
        server.resident() / 1024,
        server.descriptors(),
    );
    drop((before, agents));
}
