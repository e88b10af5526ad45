//! What all workers of a process count and time. Times are histograms of microseconds with three exact digits, so that
//! those of several processes can be merged without losing anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::LoadError;
use crate::limits::LOAD_LATENCY_MAX;

/// Exact digits of a time.
const DIGITS: u8 = 3;

/// Times of one kind, in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let most = u64::try_from(LOAD_LATENCY_MAX.as_micros()).unwrap_or(u64::MAX);
        Self(Histogram::new_with_bounds(1, most, DIGITS).expect("the bounds are a range"))
    }
}

impl Times {
    /// Adds one.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that `percent` of them do not exceed, in milliseconds.
    pub fn percentile(&self, percent: f64) -> f64 {
        millis(self.0.value_at_percentile(percent))
    }

    /// Of all of them, in milliseconds.
    pub fn mean(&self) -> f64 {
        self.0.mean() / 1000.0
    }

    /// The longest, in milliseconds.
    pub fn longest(&self) -> f64 {
        millis(self.0.max())
    }

    /// The shortest, in milliseconds.
    pub fn shortest(&self) -> f64 {
        millis(if self.0.is_empty() { 0 } else { self.0.min() })
    }

    /// How many took at least `from` and less than `to` milliseconds.
    pub fn between(&self, from: f64, to: f64) -> u64 {
        let inside = |time: u64| (from..to).contains(&millis(time));
        self.0
            .iter_recorded()
            .filter(|bucket| inside(bucket.value_iterated_to()))
            .map(|bucket| bucket.count_at_value())
            .sum()
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// As the buckets that are not empty: value and count.
impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_seq(self.0.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut times = Self::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            times.0.saturating_record_n(value, count);
        }
        Ok(times)
    }
}

/// The times of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// From the start of a dial to the end of the upgrade, as far as it succeeded.
    pub connect: Times,
    /// From the loss of a connection to the next association.
    pub back: Times,
    /// From the moment a request was due to its provisional response.
    pub provisional: Times,
    /// From the moment a request was due to its result.
    pub answer: Times,
    /// From the moment a request was sent to its result.
    pub service: Times,
}

impl Latencies {
    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.each_mut().into_iter().zip(other.each()) {
            ours.merge(theirs.1);
        }
    }

    /// All of them with their names.
    pub fn each(&self) -> [(&'static str, &Times); 5] {
        [
            ("connect", &self.connect),
            ("back", &self.back),
            ("provisional", &self.provisional),
            ("answer", &self.answer),
            ("service", &self.service),
        ]
    }

    fn each_mut(&mut self) -> [&mut Times; 5] {
        [&mut self.connect, &mut self.back, &mut self.provisional, &mut self.answer, &mut self.service]
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counters of all workers.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)+
        }

        /// The counters at one moment.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counters {
            /// How they stand.
            pub fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }

        impl Counts {
            /// Adds those of another process.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }

            /// What has happened since `earlier`; gauges make no sense in it.
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)+ }
            }
        }
    };
}

counters! {
    /// Agents that are associated now.
    connected,
    /// Controllers that are connected now.
    controllers,
    /// Attempts to connect.
    dials,
    /// Connections that came to be.
    opened,
    /// Attempts to which nobody answered in time.
    timeouts,
    /// Attempts that were refused by TCP.
    refused,
    /// Attempts that were turned away after the whole handshake.
    turned_away,
    /// Other failed attempts.
    failed,
    /// Connections that ended without our doing.
    lost,
    /// Connections that agents ended as they were told.
    left,
    /// Requests that agents got.
    received,
    /// Provisional responses and results that agents sent.
    replies,
    /// Replies that could not be sent.
    replies_lost,
    /// Requests that the controller sent.
    sent,
    /// The same to agents that do not read.
    sent_to_slow,
    /// Provisional responses that reached the controller.
    provisional,
    /// Results that did.
    answered,
    /// Requests to agents that were not there.
    not_connected,
    /// Requests that the broker did not deliver for another reason.
    rejected,
    /// Requests without a result when their time was over.
    unanswered,
    /// Messages that nobody expected.
    unexpected,
    /// Clients in the inventory, as the controller knows it.
    inventory,
    /// Fan-outs whose last answer came.
    rounds,
}

/// Everything that is counted and timed.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Counts.
    pub counters: Counters,
    times: Mutex<Latencies>,
    note: Mutex<Notes>,
    rounds: Mutex<Vec<f64>>,
}

/// What went wrong, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Failed attempts by kind, and the latest text of each.
    pub failures: BTreeMap<&'static str, (u64, String)>,
    /// Why the run cannot go on.
    pub fatal: Option<LoadError>,
}

impl Ledger {
    /// The times, for a moment.
    pub fn times(&self) -> MutexGuard<'_, Latencies> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went wrong so far.
    pub fn problems(&self) -> Notes {
        self.notes().clone()
    }

    /// An attempt to connect has failed.
    pub fn dial_failed(&self, kind: &'static str, message: &str) {
        let counters = &self.counters;
        bump(match kind {
            "timeout" => &counters.timeouts,
            "refused" => &counters.refused,
            "upgrade" => &counters.turned_away,
            _ => &counters.failed,
        });
        let mut notes = self.notes();
        let entry = notes.failures.entry(kind).or_default();
        entry.0 += 1;
        if entry.1 != message {
            entry.1 = message.to_owned();
        }
    }

    /// Times of the fan-outs so far, from the first request to the last answer, in milliseconds.
    pub fn rounds(&self) -> MutexGuard<'_, Vec<f64>> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run cannot go on; the first reason counts.
    pub fn give_up(&self, why: LoadError) {
        self.notes().fatal.get_or_insert(why);
    }
}

/// One more.
pub fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One less.
pub fn drop_one(counter: &AtomicU64) {
    counter.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: impl IntoIterator<Item = u64>) -> Times {
        let mut times = Times::default();
        millis.into_iter().for_each(|time| times.record(Duration::from_millis(time)));
        times
    }

    #[test]
    fn merging_loses_nothing_even_over_the_wire() {
        let whole = times((1..=1000).chain([50_000]));
        let (one, other) =
            (times((1..=1000).filter(|n| n % 3 == 0)), times((1..=1000).filter(|n| n % 3 != 0).chain([50_000])));
        let mut merged: Times = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
        merged.merge(&serde_json::from_str(&serde_json::to_string(&other).unwrap()).unwrap());
        assert_eq!(merged.count(), 1001);
        for percent in [0.0, 50.0, 90.0, 99.0, 99.9, 100.0] {
            assert_eq!(merged.percentile(percent), whole.percentile(percent), "{percent}");
        }
        assert_eq!(serde_json::to_string(&merged).unwrap(), serde_json::to_string(&whole).unwrap());
    }

    #[test]
    fn percentiles_are_milliseconds() {
        let times = times(1..=100);
        assert!((times.percentile(50.0) - 50.0).abs() < 0.1 && (times.percentile(99.0) - 99.0).abs() < 0.1);
        assert_eq!((times.between(0.0, 10.5), times.between(10.5, 1000.0)), (10, 90));
        assert_eq!((Times::default().percentile(99.0), Times::default().shortest()), (0.0, 0.0));
    }

    #[test]
    fn hours_count_as_the_longest() {
        let mut times = Times::default();
        times.record(LOAD_LATENCY_MAX * 5);
        assert!(times.longest() >= 3_599_000.0 && times.longest() < 3_610_000.0, "{}", times.longest());
    }

    #[test]
    fn counts_of_processes_add_up() {
        let ledger = Ledger::default();
        bump(&ledger.counters.sent);
        ledger.dial_failed("timeout", "late");
        ledger.dial_failed("tls", "bad");
        let mut counts = ledger.counters.read();
        counts.add(&Counts { sent: 4, timeouts: 1, ..Counts::default() });
        assert_eq!((counts.sent, counts.timeouts, counts.failed), (5, 2, 1));
        assert_eq!(counts.since(&ledger.counters.read()).sent, 4);
        assert_eq!(ledger.problems().failures["tls"], (1, "bad".to_owned()));
    }
}
