//! When the next request is due, and when an agent tries again. PURE: time and randomness come in as arguments.

use std::time::Duration;

use super::plan::Reconnect;
use crate::clock::Moment;
use crate::random::Random;

/// Requests at a fixed rate, whether the earlier ones have been answered or not: waiting for a slow answer must not make
/// the following ones look quick (coordinated omission). Due times are whole milliseconds, the resolution of a worker's
/// timers, so that a request that leaves with its timer is not late.
#[derive(Debug, Clone, Copy)]
pub struct OpenLoop {
    start: Moment,
    per_second: f64,
    taken: u64,
}

impl OpenLoop {
    /// Begins at `start`.
    pub fn new(start: Moment, per_second: f64) -> Self {
        Self { start, per_second, taken: 0 }
    }

    /// When the next one is due.
    pub fn next(&self) -> Moment {
        let millis = (self.taken as f64 * 1000.0 / self.per_second).ceil();
        self.start + Duration::from_millis(millis as u64)
    }

    /// Takes the next one if it is due; its due time.
    pub fn take(&mut self, now: Moment) -> Option<Moment> {
        let due = self.next();
        (due <= now).then(|| {
            self.taken += 1;
            due
        })
    }
}

/// Longest pause between two attempts, in seconds.
const PAUSE_MAX: u64 = 32;

/// The pause before attempt number `attempts` after the loss of a connection, counted from 0.
pub fn pause(reconnect: Reconnect, attempts: u8, random: &mut Random) -> Duration {
    let bound = Duration::from_secs((1 << attempts.min(6)).min(PAUSE_MAX));
    match (reconnect, attempts) {
        (Reconnect::Legacy, 0) => Duration::from_millis(200),
        (Reconnect::Legacy, _) => {
            let half = Duration::from_millis(500);
            random.between(bound - half, bound + half)
        }
        (Reconnect::Jitter, _) => random.between(Duration::ZERO, bound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_however_late_it_is_looked_at() {
        let at = Moment::from_millis;
        let mut open = OpenLoop::new(at(1000), 300.0);
        assert_eq!(open.take(at(999)), None);
        let on_time: Vec<u64> = (1000..2000)
            .flat_map(|now| std::iter::from_fn(|| open.take(at(now))).collect::<Vec<_>>())
            .map(Moment::as_millis)
            .collect();
        assert_eq!((on_time.len(), &on_time[..4]), (300, &[1000, 1004, 1007, 1010][..]));
        // Nobody looks for two seconds: everything is due, each since its own time.
        let late: Vec<Moment> = std::iter::from_fn(|| open.take(at(4000))).collect();
        assert_eq!((late.len(), late[0], *late.last().unwrap()), (601, at(2000), at(4000)));
    }

    #[test]
    fn the_deployed_agents_schedule() {
        let mut random = Random::seeded(1);
        let bounds = [(200, 200), (1500, 2500), (3500, 4500), (7500, 8500), (15_500, 16_500), (31_500, 32_500)];
        for attempts in 0..=255 {
            let (low, high) = bounds[usize::from(attempts).min(5)];
            let pause = pause(Reconnect::Legacy, attempts, &mut random).as_millis();
            assert!((low..=high).contains(&pause), "{attempts}: {pause}");
        }
    }

    #[test]
    fn full_jitter_fills_its_range() {
        let mut random = Random::seeded(1);
        let pauses: Vec<u128> = (0..1000).map(|_| pause(Reconnect::Jitter, 3, &mut random).as_millis()).collect();
        assert!(pauses.iter().any(|&pause| pause < 200) && pauses.iter().any(|&pause| pause > 7800));
        assert!(pauses.iter().all(|&pause| pause <= 8000));
    }
}
