//! Podium beside NATS and mosquitto on one machine in one run: requests of one controller to many agents and their
//! answers, everything over mutual TLS, with the same client for all three. What counts is the broker's CPU time per
//! routed message: the client shares the machine, so that messages per second say as much about it as about the broker.
//!
//! ```text
//! cargo bench --bench peers                                   1,000 agents, 1 KB, three rounds
//! cargo bench --bench peers -- --agents 100 --tls 1.2 --seconds 5 --rate 1000
//! ```
//!
//! `nats-server` and `mosquitto` are taken from the path; one that is not there is left out and named.

mod brokers;
mod protocol;
#[allow(dead_code, reason = "others need more of it")]
#[path = "../../tests/support/mod.rs"]
mod support;
mod swarm;

use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use brokers::{Broker, Peer};
use support::pki::{Keys, Pki};
use swarm::{Load, Measured, Swarm};

/// Requests that are under way at once when the broker is to be kept busy.
const WINDOW: usize = 128;

/// What to measure.
struct Plan {
    agents: usize,
    payload: usize,
    seconds: u64,
    rounds: usize,
    rate: u64,
    version: &'static SupportedProtocolVersion,
}

impl Plan {
    /// From the command line. Only `cargo bench` gives `--bench`: everything else wants to see that it runs at all.
    fn from_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let value = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1);
        let number = |flag: &str, default: u64| match value(flag) {
            Some(text) => text.parse().unwrap_or_else(|_| panic!("{flag} {text}: a number is wanted")),
            None => default,
        };
        let version = match value("--tls").map(String::as_str) {
            Some("1.2") => &TLS12,
            Some("1.3") | None => &TLS13,
            Some(other) => panic!("--tls {other}: 1.2 or 1.3"),
        };
        let is_trial = !arguments.iter().any(|argument| argument == "--bench");
        let (agents, seconds, rounds) = if is_trial { (4, 0, 1) } else { (1_000, 10, 3) };
        Self {
            agents: number("--agents", agents) as usize,
            payload: number("--payload", 1_024) as usize,
            seconds: number("--seconds", seconds),
            rounds: number("--rounds", rounds) as usize,
            rate: number("--rate", 1_000),
            version,
        }
    }
}

fn main() {
    let plan = Plan::from_arguments();
    let pki = Pki::new(Keys::P256);
    println!(
        "{} agents, {} bytes of payload each way, TLS {:?}, P-256; {} s per figure",
        plan.agents, plan.payload, plan.version.version, plan.seconds
    );
    println!("round  broker     load        replies/s  broker CPU us/message  p50 us  p99 us  max us  RSS KiB");
    for round in 1..=plan.rounds {
        for peer in [Peer::Podium, Peer::Nats, Peer::Mosquitto] {
            match Broker::start(peer, &pki) {
                Some(broker) => measure(&plan, &pki, &broker, round),
                None => println!("{round:5}  {:9}  is not installed", peer.name()),
            }
        }
    }
}

fn measure(plan: &Plan, pki: &Pki, broker: &Broker, round: usize) {
    let mut swarm = Swarm::connect(broker, pki, plan.version, plan.agents, plan.payload);
    for (label, load) in [("saturated", Load::Window(WINDOW)), ("steady", Load::Rate(plan.rate))] {
        // Until all agents have had a request, so that nothing is done for the first time while it is measured.
        swarm.run(Load::Window(WINDOW), Duration::ZERO);
        let before = broker.cpu();
        let mut measured = swarm.run(load, Duration::from_secs(plan.seconds));
        let cpu = broker.cpu() - before;
        report(round, broker, label, &mut measured, cpu);
    }
}

fn report(round: usize, broker: &Broker, label: &str, measured: &mut Measured, cpu: Duration) {
    // A request and its answer are two routed messages.
    let messages = 2 * measured.latencies.len();
    measured.latencies.sort_unstable();
    let at = |share: f64| {
        let index = ((measured.latencies.len() - 1) as f64 * share).round() as usize;
        measured.latencies[index].as_micros()
    };
    println!(
        "{round:5}  {:9}  {label:10}  {:9.0}  {:21.1}  {:6}  {:6}  {:6}  {:7}",
        broker.peer.name(),
        measured.latencies.len() as f64 / measured.elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / messages as f64,
        at(0.5),
        at(0.99),
        at(1.0),
        broker.resident() / 1024,
    );
}
