//! Ports for servers whose configuration needs a number.

use std::net::TcpListener;

use podium::random::{Random, seed};

/// A port of the loopback interface that is free now, below those that the system gives to outgoing connections: one of
/// these might be taken by a client of another test before the server has it.
pub fn free_port() -> u16 {
    let mut random = Random::seeded(seed());
    let candidates = std::iter::repeat_with(|| 10_000 + u16::try_from(random.below(20_000)).unwrap());
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.take(1_000).find(is_free).expect("one of a thousand ports is free")
}
