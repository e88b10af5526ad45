//! Seeded simulation of the broker core: several workers, a few hundred agents that connect, drop, supersede and send,
//! mail between workers that is slow and sometimes refused. Half of the agents speak v1, and agents talk to those of the
//! other protocol; subscribers are of both. `SIM_SEED` replays one seed, `SIM_SEEDS` sets how many.

mod network;
mod shell;
mod view;

use network::Network;

/// Runs one seed to the end and checks what must hold at the end; what must hold at every step is checked inside.
fn run(seed: u64) {
    let mut network = Network::new(seed, 3, 300);
    for _ in 0..6_000 {
        network.step();
    }
    network.settle();
    network.check_settled();
}

#[test]
fn no_message_reaches_a_wrong_or_stale_connection() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        return run(seed.parse().expect("SIM_SEED is a number"));
    }
    let seeds = std::env::var("SIM_SEEDS").map_or(20, |count| count.parse().expect("SIM_SEEDS is a number"));
    for seed in 0..seeds {
        println!("replay with SIM_SEED={seed}");
        run(seed);
    }
}

#[test]
fn a_seed_replays_exactly() {
    let trace = |seed| {
        let mut network = Network::new(seed, 2, 50);
        for _ in 0..500 {
            network.step();
        }
        network.summary()
    };
    assert_eq!(trace(42), trace(42));
    assert_ne!(trace(42), trace(43));
}
