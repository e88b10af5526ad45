//! One descriptor per agent, and a constant for everything else.

use super::config;
use crate::support::fleet::{Agent, in_parallel};
use crate::support::pki::{Keys, Pki};
use crate::support::server::Server;

const AGENTS: usize = 500;

/// `src/limits.rs` has the arithmetic: listeners, polls, wakers, the API, SQLite, the log, the signal pipe.
const OTHERS_MAX: usize = 64;

#[test]
fn an_agent_costs_one_descriptor() {
    let pki = Pki::new(Keys::P256);
    let server = Server::start(&pki);
    let start = server.descriptors();
    assert!(start <= OTHERS_MAX, "{start} descriptors without a single agent");
    let agents = in_parallel(AGENTS, |number| Agent::connect(server.address, config(&pki, number)).unwrap());
    server.wait_descriptors(AGENTS + OTHERS_MAX);
    let with_agents = server.descriptors();
    assert!(with_agents >= AGENTS, "{with_agents} descriptors for {AGENTS} agents: they are not all there");
    assert!(with_agents <= start + AGENTS, "{start} descriptors at first, {with_agents} with {AGENTS} agents");
    drop(agents);
    server.wait_descriptors(start);
}
