//! When to connect again. Ten thousand agents lose their broker at the same moment; what spreads their return is the
//! randomness here (decorrelated jitter: every pause is random between the first and three times the last one). PURE.

use std::time::Duration;

use crate::random::Random;

/// Shortest pause after a failed attempt; the first one is 2 s on average.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Longest pause after a failed attempt.
const PAUSE_MAX: Duration = Duration::from_secs(32);

/// Bounds of the pause after the loss of a connection that had lived a while.
const AFTER_LOSS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1000));

/// Pauses between attempts to connect.
#[derive(Debug, Clone)]
pub struct Backoff {
    last: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { last: PAUSE_MIN }
    }
}

impl Backoff {
    /// The pause after one more failure.
    pub fn after_failure(&mut self, random: &mut Random) -> Duration {
        self.last = random.between(PAUSE_MIN, (self.last * 3).min(PAUSE_MAX));
        self.last
    }

    /// The pause after the loss of a connection that had lived a while; failures before it are forgotten.
    pub fn after_loss(&mut self, random: &mut Random) -> Duration {
        *self = Self::default();
        random.between(AFTER_LOSS.0, AFTER_LOSS.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_start_small_grow_and_stay_bounded() {
        let (mut first, mut last) = (Duration::ZERO, Duration::ZERO);
        for seed in 0..1000 {
            let mut random = Random::seeded(seed);
            let mut backoff = Backoff::default();
            let pauses: Vec<Duration> = (0..20).map(|_| backoff.after_failure(&mut random)).collect();
            assert!(pauses.iter().all(|pause| (PAUSE_MIN..=PAUSE_MAX).contains(pause)));
            first += pauses[0];
            last += pauses[19];
            assert!(backoff.after_loss(&mut random) <= AFTER_LOSS.1);
            assert!(backoff.after_failure(&mut random) <= 3 * PAUSE_MIN);
        }
        assert!((1900..2100).contains(&(first / 1000).as_millis()), "{first:?}");
        assert!((last / 1000).as_secs() > 10, "{last:?}");
    }
}
