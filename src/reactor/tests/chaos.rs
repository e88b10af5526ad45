//! Many clients that do anything at any moment. Afterwards nothing may be left, and the application has been told of every
//! end exactly once (it checks that itself).

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::random::Random;

/// One thing after another until the connection is gone. Errors are expected: the other end closes as well.
fn misbehave(bench: &Bench, random: &mut Random) -> Option<()> {
    if random.below(8) == 0 {
        bench.tcp().write_all(&[random.below(256) as u8; 300]).ok()?;
        return None;
    }
    let mut client = bench.connect();
    loop {
        match random.below(12) {
            0 => return None,
            1 => client.close(None).ok()?,
            2 => client.send(Message::text("abort")).ok()?,
            3 => client.send(Message::text("close 4000")).ok()?,
            4 => client.send(Message::text("last 200000")).ok()?,
            5 => client.get_mut().write_all(&frame(0x82, &[1; 500])[..random.below(500) as usize]).ok()?,
            6 => client.get_mut().write_all(&[random.below(256) as u8; 20]).ok()?,
            7 => client.get_mut().sock.write_all(&[random.below(256) as u8; 20]).ok()?,
            8 => client.send(Message::text("all x")).ok()?,
            9 => client.get_mut().write_all(&[frame(0x01, b"a"), frame(0x89, b"p")].concat()).ok()?,
            _ => {
                let size = random.below(60_000) as usize;
                client.send(Message::binary(vec![0; size])).ok()?;
                client.read().ok()?;
            }
        }
    }
}

#[test]
fn nothing_is_left_of_clients_that_do_anything() {
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let bench = Bench::start(|options| options.limits.handshakes_in_flight_max = 3);
    let runs = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (bench, runs) = (&bench, &runs);
            scope.spawn(move || {
                let mut random = Random::seeded(seed * 1000 + thread);
                while runs.fetch_add(1, Ordering::Relaxed) < 150 {
                    let _ = misbehave(bench, &mut random);
                }
            });
        }
    });
    for gauge in ["connections_open", "handshakes_in_flight", "accept_queue", "queued_bytes", "partial_bytes"] {
        bench.await_metric(gauge, 0);
    }
    let seen: Vec<Seen> = bench.seen.try_iter().collect();
    let opened = seen.iter().filter(|seen| matches!(seen, Seen::Opened { .. })).count();
    let closed = seen.iter().filter(|seen| matches!(seen, Seen::Closed(_))).count();
    assert!(opened > 100 && opened == closed, "seed {seed}: {opened} opened, {closed} closed");
}
