//! What an idle agent costs in the server's memory, before and after it has said something.

use super::{config, name};
use crate::support::fleet::{Agent, in_parallel, in_parallel_over};
use crate::support::pki::{Keys, Pki};
use crate::support::server::Server;

/// Agents that are there before anything is measured: buffers and tables have their first size then.
const BEFORE: usize = 200;

const AGENTS: usize = 1_200;

/// Bytes of resident memory per idle agent, as coarse as the system counts it; `tests/footprint` counts the heap to the
/// byte: 676. The rest is what the pages of a server with so few agents have besides, and too little for rustls (4 KB) or
/// the smallest buffer that a TLS library would keep per connection (4 KB).
const IDLE_BYTES_MAX: usize = 2 * 1024;

/// Bytes of each message: more than a record, more than the kernel's smallest buffers.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Bytes by which the server may stay larger after all agents have spoken: read and write buffers of the workers at
/// their largest, and pages that the allocator keeps. Were anything kept per connection, it would be 64 KB for each.
const SPOKEN_GROWTH_MAX: usize = 4 * 1024 * 1024;

#[test]
fn an_idle_agent_costs_little_and_as_little_after_it_has_spoken() {
    let pki = Pki::new(Keys::P256);
    let server = Server::start(&pki);
    let connect = |number| Agent::connect(server.address, config(&pki, number)).unwrap();
    let _before = in_parallel(BEFORE, connect);
    let start = server.settled_memory();
    let mut agents = in_parallel(AGENTS, |number| (BEFORE + number, connect(BEFORE + number)));
    let idle = server.settled_memory();
    let each = idle.saturating_sub(start) / AGENTS;
    println!("{each} bytes per idle agent, {} KiB in all", idle / 1024);
    assert!(each <= IDLE_BYTES_MAX, "an idle agent costs {each} bytes, {IDLE_BYTES_MAX} is the budget");

    in_parallel_over(&mut agents, |(number, agent)| {
        let message = message_to_itself(*number);
        agent.send(&message).unwrap();
        assert!(agent.receive().unwrap() == message, "something else came back");
    });
    let most = idle + SPOKEN_GROWTH_MAX;
    server.wait(&format!("the memory to be below {} KiB again", most / 1024), || server.memory() <= most);
    println!("{} KiB after messages", server.settled_memory() / 1024);
}

/// An answer without a question, which anyone may send to oneself.
fn message_to_itself(number: usize) -> Vec<u8> {
    let uri = format!("pcp://{}/agent", name(number));
    serde_json::to_vec(&serde_json::json!({
        "id": "f93df7fa-5168-4f8d-a7b5-180d46019213",
        "message_type": "http://puppetlabs.com/rpc_non_blocking_response",
        "target": uri,
        "sender": uri,
        "data": {"transaction_id": "1", "results": {"stdout": "x".repeat(MESSAGE_BYTES)}},
    }))
    .unwrap()
}
