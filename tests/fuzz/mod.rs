//! Random and damaged input for everything that reads foreign bytes: it must not panic, not hold more than its limits,
//! and not say anything to anyone who has not asked. `FUZZ_SEED` and `FUZZ_CASES` replay a failure or search longer;
//! what starts from a corpus, and can run by the clock, is described in `target.rs`.

mod agent;
mod broker;
mod config;
mod dispatcher;
mod mutator;
mod rules;
mod target;
mod tasks;
mod texts;
mod tls;
mod v1;
mod websocket;

use podium::random::Random;

/// Runs `case` with a seed each, `default` times unless the environment says otherwise. A failure prints its seed.
fn cases(default: u64, case: impl Fn(&mut Random)) {
    let first = number("FUZZ_SEED").unwrap_or(1);
    for seed in first..first.saturating_add(number("FUZZ_CASES").unwrap_or(default)) {
        let replay = Replay(seed);
        case(&mut Random::seeded(seed));
        drop(replay);
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Says how to come back here if the case panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("replay this test with FUZZ_SEED={} FUZZ_CASES=1", self.0);
        }
    }
}
