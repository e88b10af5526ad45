//! The two clocks: a monotonic one for deadlines, handed to pure code as [`Moment`]s, and the wall clock for what
//! people read. Nothing else in the program asks the operating system for the time.

use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant};

/// A point on the monotonic clock, in milliseconds since the clock's origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// A moment `millis` milliseconds after the origin; for tests and simulations.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, delay: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The monotonic clock of one thread or process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The current moment.
    pub fn now(&self) -> Moment {
        Moment(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Measures how long something takes, to the nanosecond.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A point on the wall clock, in milliseconds since 1970-01-01T00:00:00Z. Shown as ISO 8601 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    /// The current time.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// The time `millis` milliseconds after 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// `2026-03-01T10:15:30Z`: the form of the orchestrator API's timestamps.
    pub fn to_seconds_string(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ")
    }

    /// `2026-03-01T10:15:30.120Z`: the form of the inventory's timestamps.
    pub fn to_millis_string(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S.%3fZ")
    }

    /// `2026-03-01 10:15:30`: logback's form of a time, as in pcp-broker's access log, without the milliseconds.
    pub fn to_logback_string(self) -> String {
        self.format("%Y-%m-%d %H:%M:%S")
    }

    /// `01/Mar/2026:10:15:30 +0000`: the form of the Common Log Format.
    pub fn to_common_log_string(self) -> String {
        self.format("%d/%b/%Y:%H:%M:%S +0000")
    }

    fn format(self, pattern: &str) -> String {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or_default().strftime(pattern).to_string()
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_millis_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_written_in_utc() {
        let time = WallTime::from_millis(1_772_360_130_120);
        assert_eq!(time.to_seconds_string(), "2026-03-01T10:15:30Z");
        assert_eq!(time.to_millis_string(), "2026-03-01T10:15:30.120Z");
        assert_eq!(time.to_logback_string(), "2026-03-01 10:15:30");
        assert_eq!(time.to_common_log_string(), "01/Mar/2026:10:15:30 +0000");
    }

    #[test]
    fn moments_saturate() {
        assert_eq!(Moment::from_millis(5).since(Moment::from_millis(9)), Duration::ZERO);
        assert_eq!(Moment::from_millis(u64::MAX) + Duration::from_secs(1), Moment::from_millis(u64::MAX));
    }
}
