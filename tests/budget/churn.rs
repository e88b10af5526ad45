//! Agents that come and go, and connections that never get in, leave nothing behind.

use std::io::Write;

use super::{config, version};
use crate::support::fleet::{Agent, in_parallel, read_to_end, tcp, tls};
use crate::support::pki::{Keys, Pki};
use crate::support::server::Server;

/// The same few names again and again, so that what is remembered of names does not count.
const NAMES: usize = 50;

/// Cycles before anything is measured: tables and the allocator's pools have their size then.
const WARM_UP: usize = 300;

const CYCLES: usize = 2_000;

/// Bytes by which the server may be larger after so many cycles. A leak of one connection's slot and TLS state per
/// cycle would be 9 MB, of a name in a table 0.2 MB.
const GROWTH_MAX: usize = 1024 * 1024;

/// Does `once` many times and expects descriptors and memory to be what they were.
fn leaves_nothing(server: &Server, once: impl Fn(usize) + Sync) {
    in_parallel(WARM_UP, &once);
    let _ = server.settled_memory();
    let descriptors = server.descriptors();
    let memory = server.settled_memory();
    in_parallel(CYCLES, &once);
    server.wait_descriptors(descriptors);
    let most = memory + GROWTH_MAX;
    server.wait(&format!("the memory to be below {} KiB again", most / 1024), || server.memory() <= most);
    println!("{} KiB before, {} KiB after", memory / 1024, server.settled_memory() / 1024);
}

#[test]
fn coming_and_going_leaves_nothing() {
    let pki = Pki::new(Keys::P256);
    let configs: Vec<_> = (0..NAMES).map(|number| config(&pki, number)).collect();
    let server = Server::start(&pki);
    leaves_nothing(&server, |number| {
        let mut agent = Agent::connect(server.address, configs[number % NAMES].clone()).unwrap();
        // Half of them say goodbye. Those that were superseded meanwhile have nobody to say it to.
        if number.is_multiple_of(2) {
            let _ = agent.close();
        }
    });
}

#[test]
fn what_is_refused_leaves_nothing() {
    let pki = Pki::new(Keys::P256);
    let anonymous = [pki.anonymous(version(0)), pki.anonymous(version(1))];
    let server = Server::start(&pki);
    leaves_nothing(&server, |number| match number % 4 {
        0 | 1 => {
            let mut socket = tcp(server.address).unwrap();
            // The server may have hung up before it has read all of it.
            let _ = socket.write_all(b"GET /pcp2/agent HTTP/1.1\r\nHost: x\r\n\r\n");
            read_to_end(&mut socket);
        }
        which => {
            let mut socket = tls(server.address, anonymous[which - 2].clone()).unwrap();
            let _ = socket.write_all(b"GET /pcp2/agent HTTP/1.1\r\n\r\n");
            read_to_end(&mut socket);
        }
    });
    assert!(server.log().contains("not-tls") && server.log().contains("no-client-certificate"));
}
