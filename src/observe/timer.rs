//! How often something happens and how long it takes, as the reference's timers (Dropwizard Metrics) say it: counts and
//! rates over all of it, durations in nanoseconds over the latest measured ones. Counting is exact; callers measure as
//! many as they can afford.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::limits::TIMER_SAMPLES;

/// Minutes that rates are averaged over.
const MINUTES: [f64; 3] = [1.0, 5.0, 15.0];

/// What the answers name, as the reference does.
const PERCENTILES: [(&str, f64); 5] = [("0.75", 0.75), ("0.95", 0.95), ("0.99", 0.99), ("0.999", 0.999), ("1.0", 1.0)];

/// One timer.
#[derive(Debug, Default)]
pub struct Timer {
    count: AtomicU64,
    measured: Mutex<Measured>,
    rates: Mutex<Rates>,
}

/// The latest durations in nanoseconds, in a ring.
#[derive(Debug, Default)]
struct Measured {
    nanos: Vec<u64>,
    next: usize,
}

#[derive(Debug, Default)]
struct Rates {
    counted: u64,
    per_second: [f64; 3],
    begun: bool,
}

impl Timer {
    /// So many more.
    pub fn count(&self, more: u64) {
        self.count.fetch_add(more, Ordering::Relaxed);
    }

    /// One of them took this long. It is not counted by this.
    pub fn measured(&self, time: Duration) {
        // Rather than wait for somebody who is reading, the duration is forgotten.
        let Ok(mut measured) = self.measured.try_lock() else { return };
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let Measured { nanos: ring, next } = &mut *measured;
        match ring.get_mut(*next) {
            Some(place) => *place = nanos,
            None => ring.push(nanos),
        }
        *next = (*next + 1) % TIMER_SAMPLES;
    }

    /// Averages the rates; `passed` since the last time. The average of n minutes weighs the past by exp(-t/n), as the
    /// load averages of the system do.
    pub fn tick(&self, passed: Duration) {
        let count = self.count.load(Ordering::Relaxed);
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = passed.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let now = (count - rates.counted) as f64 / seconds;
        let begun = std::mem::replace(&mut rates.begun, true);
        rates.counted = count;
        for (rate, minutes) in rates.per_second.iter_mut().zip(MINUTES) {
            let weight = if begun { 1.0 - (-seconds / (60.0 * minutes)).exp() } else { 1.0 };
            *rate += weight * (now - *rate);
        }
    }

    /// As the reference's status shows it.
    pub fn render(&self) -> Value {
        let mut nanos = self.measured.lock().unwrap_or_else(PoisonError::into_inner).nanos.clone();
        nanos.sort_unstable();
        let rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner).per_second;
        let total = self.count.load(Ordering::Relaxed);
        let number = nanos.len() as f64;
        let mean = if nanos.is_empty() { 0.0 } else { nanos.iter().map(|&n| n as f64).sum::<f64>() / number };
        let squares: f64 = nanos.iter().map(|&n| (n as f64 - mean).powi(2)).sum();
        let deviation = if nanos.len() < 2 { 0.0 } else { (squares / (number - 1.0)).sqrt() };
        let percentiles: serde_json::Map<String, Value> =
            PERCENTILES.iter().map(|&(name, part)| (name.to_owned(), json!(percentile(&nanos, part)))).collect();
        json!({
            "rates": {"1": rates[0], "5": rates[1], "15": rates[2], "total": total},
            "mean": mean,
            "std-dev": deviation,
            "percentiles": percentiles,
            "largest": nanos.last().copied().unwrap_or(0),
            "smallest": nanos.first().copied().unwrap_or(0),
        })
    }
}

/// The smallest duration that at least this part of all are not longer than.
fn percentile(sorted: &[u64], part: f64) -> f64 {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |&nanos| nanos as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_of_the_latest_and_counts_of_all() {
        let timer = Timer::default();
        assert_eq!(timer.render()["largest"], 0);
        timer.measured(Duration::from_secs(100));
        for nanos in 1..=TIMER_SAMPLES as u64 {
            timer.measured(Duration::from_nanos(nanos));
        }
        timer.count(70_000);
        let shown = timer.render();
        assert_eq!((&shown["largest"], &shown["smallest"]), (&json!(1024), &json!(1)));
        assert_eq!(shown["mean"], 512.5);
        assert_eq!((&shown["percentiles"]["0.75"], &shown["percentiles"]["1.0"]), (&json!(768.0), &json!(1024.0)));
        assert!((shown["std-dev"].as_f64().unwrap() - 295.7).abs() < 0.1, "{shown}");
        assert_eq!(shown["rates"]["total"], 70_000);
    }

    #[test]
    fn rates_follow_at_their_own_pace() {
        let timer = Timer::default();
        let five = Duration::from_secs(5);
        let rates = |timer: &Timer| ["1", "5", "15"].map(|name| timer.render()["rates"][name].as_f64().unwrap());
        timer.count(500);
        timer.tick(five);
        assert_eq!(rates(&timer), [100.0; 3]);
        for _ in 0..12 {
            timer.tick(five);
        }
        // A minute of silence: exp(-1), exp(-1/5), exp(-1/15).
        for (rate, expected) in rates(&timer).into_iter().zip([36.788, 81.873, 93.551]) {
            assert!((rate - expected).abs() < 0.001, "{rate} and not {expected}");
        }
    }
}
