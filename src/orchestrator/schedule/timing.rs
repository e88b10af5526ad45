//! When a schedule is due: pure functions of instants. A slot is an instant at which it is due; slots follow from the start
//! and never from when anything ran, so that they do not drift. Days and times of day are those of a time zone: a time that
//! is skipped when clocks go forward is the instant at which they do, and one that comes twice counts when it comes first.

use std::time::Duration;

use jiff::civil::{Date, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use crate::clock::WallTime;
use crate::config::settings::MissedRuns;
use crate::limits::SCHEDULE_LATE_MAX;
use crate::orchestrator::model::schedule::{Day, Repeat, Timing};

/// All slots of a schedule.
#[derive(Debug, Clone)]
pub struct Slots {
    start: WallTime,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Once,
    EveryMillis(i64),
    Calendar { zone: TimeZone, hour: u8, minute: u8, days: Vec<Day> },
}

/// The time zone database does not have a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownZone(pub String);

impl Slots {
    /// Those of a schedule; the time zone database says what a zone is.
    pub fn of(timing: &Timing) -> Result<Self, UnknownZone> {
        let rule = match &timing.repeat {
            Repeat::Once => Rule::Once,
            Repeat::Every(seconds) => Rule::EveryMillis(i64::from(*seconds).max(1) * 1000),
            Repeat::Calendar(calendar) => {
                let zone = TimeZone::get(&calendar.zone).map_err(|_| UnknownZone(calendar.zone.clone()))?;
                Rule::Calendar { zone, hour: calendar.hour, minute: calendar.minute, days: calendar.days.clone() }
            }
        };
        Ok(Self { start: timing.start, rule })
    }

    /// The first one.
    pub fn first(&self) -> Option<WallTime> {
        self.after(WallTime::from_millis(self.start.as_millis().saturating_sub(1)))
    }

    /// The first one after a time.
    pub fn after(&self, time: WallTime) -> Option<WallTime> {
        let start = self.start.as_millis();
        match &self.rule {
            Rule::Once => (self.start > time).then_some(self.start),
            Rule::EveryMillis(_) if self.start > time => Some(self.start),
            Rule::EveryMillis(interval) => {
                let passed = (time.as_millis().checked_sub(start)?) / interval;
                let slot = passed.checked_add(1)?.checked_mul(*interval)?.checked_add(start)?;
                Some(WallTime::from_millis(slot))
            }
            Rule::Calendar { zone, hour, minute, days } => {
                let from = time.as_millis().max(start.saturating_sub(1));
                let today = Timestamp::from_millisecond(from).ok()?.to_zoned(zone.clone()).date();
                // The day before, because of zones that skip one; the same day of the next week, and one more for them.
                let dates = (-1..=8).filter_map(|day| today.checked_add(day.days()).ok());
                let dates = dates.filter(|date| days.contains(&day_of(*date)));
                let slots = dates.filter_map(|date| instant(zone, date, *hour, *minute));
                slots.filter(|slot| *slot > from).min().map(WallTime::from_millis)
            }
        }
    }
}

fn day_of(date: Date) -> Day {
    match date.weekday() {
        Weekday::Monday => Day::Monday,
        Weekday::Tuesday => Day::Tuesday,
        Weekday::Wednesday => Day::Wednesday,
        Weekday::Thursday => Day::Thursday,
        Weekday::Friday => Day::Friday,
        Weekday::Saturday => Day::Saturday,
        Weekday::Sunday => Day::Sunday,
    }
}

/// When it is that time of that day, in milliseconds.
fn instant(zone: &TimeZone, date: Date, hour: u8, minute: u8) -> Option<i64> {
    let (hour, minute) = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?);
    let ambiguous = zone.to_ambiguous_timestamp(date.at(hour, minute, 0, 0));
    let found = match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => zone.following(ambiguous.earlier().ok()?).next()?.timestamp(),
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.compatible().ok()?,
    };
    Some(found.as_millisecond())
}

/// Whether the job that a schedule has made last has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predecessor {
    /// It has, or there was none.
    Ended,
    /// It has not.
    Runs,
}

/// What becomes of a slot that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A job is made.
    Fire,
    /// None is, because the last one still runs.
    Overlaps,
    /// None is, because it is too late.
    Missed,
}

/// What becomes of the slot that was next and has come, and which is next. Of several slots that have passed, all but the
/// last one are left out in any case: one job does what they all were for.
pub fn decide(
    slots: &Slots,
    slot: WallTime,
    now: WallTime,
    predecessor: Predecessor,
    missed: MissedRuns,
) -> (Verdict, Option<WallTime>) {
    let then = slots.after(slot.max(now));
    let late = Duration::from_millis(now.as_millis().saturating_sub(slot.as_millis()).max(0).unsigned_abs());
    let verdict = match (predecessor, missed) {
        (Predecessor::Runs, _) => Verdict::Overlaps,
        (Predecessor::Ended, MissedRuns::Skip) if late > SCHEDULE_LATE_MAX => Verdict::Missed,
        (Predecessor::Ended, _) => Verdict::Fire,
    };
    (verdict, then)
}

#[cfg(test)]
mod tests;
