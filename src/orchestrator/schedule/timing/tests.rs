//! Slots of intervals and calendars, changes of summer time, and a virtual clock.

use proptest::prelude::*;

use super::*;

/// Clocks go forward from 02:00 to 03:00 on the last Sunday of March, and back at 03:00 on the last of October.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn at(text: &str) -> WallTime {
    WallTime::from_millis(text.parse::<Timestamp>().unwrap().as_millisecond())
}

fn calendar(zone: &str, time: (u8, u8), days: &[Day]) -> Slots {
    let zone = TimeZone::posix(zone).unwrap();
    let rule = Rule::Calendar { zone, hour: time.0, minute: time.1, days: days.to_vec() };
    Slots { start: at("2026-01-01T00:00:00Z"), rule }
}

fn every(seconds: i64) -> Slots {
    Slots { start: at("2026-03-02T01:00:00Z"), rule: Rule::EveryMillis(seconds * 1000) }
}

fn next(slots: &Slots, after: &str) -> String {
    slots.after(at(after)).unwrap().to_seconds_string()
}

#[test]
fn a_schedule_without_an_interval_is_due_once() {
    let once = Slots { start: at("2026-03-02T01:00:00Z"), rule: Rule::Once };
    assert_eq!(once.first(), Some(at("2026-03-02T01:00:00Z")));
    assert_eq!(once.after(at("2026-03-02T01:00:00Z")), None);
}

#[test]
fn intervals_are_counted_from_the_start() {
    let daily = every(86_400);
    assert_eq!(daily.first(), Some(at("2026-03-02T01:00:00Z")));
    assert_eq!(next(&daily, "2025-01-01T00:00:00Z"), "2026-03-02T01:00:00Z");
    assert_eq!(next(&daily, "2026-03-02T01:00:00Z"), "2026-03-03T01:00:00Z");
    assert_eq!(next(&daily, "2026-03-09T00:59:59.999Z"), "2026-03-09T01:00:00Z");
}

#[test]
fn days_and_times_are_those_of_the_zone() {
    let working = calendar(BERLIN, (2, 30), &[Day::Monday, Day::Friday]);
    assert_eq!(working.first(), Some(at("2026-01-02T01:30:00Z")), "a Friday");
    assert_eq!(next(&working, "2026-01-02T01:30:00Z"), "2026-01-05T01:30:00Z");
    assert_eq!(next(&working, "2026-07-03T00:30:00Z"), "2026-07-06T00:30:00Z", "in summer an hour earlier");
    // 00:30 in Berlin is the day before in UTC.
    let early = calendar(BERLIN, (0, 30), &[Day::Sunday]);
    assert_eq!(next(&early, "2026-06-01T00:00:00Z"), "2026-06-06T22:30:00Z");
    assert_eq!(next(&early, "2026-06-06T22:30:00Z"), "2026-06-13T22:30:00Z", "a week later and not in between");
}

#[test]
fn a_time_that_is_skipped_is_when_clocks_go_forward_and_one_that_comes_twice_is_the_first() {
    let daily = calendar(BERLIN, (2, 30), Day::ALL);
    let slots = |from: &str| {
        let first = daily.after(at(from)).unwrap();
        [first, daily.after(first).unwrap()].map(WallTime::to_seconds_string)
    };
    assert_eq!(slots("2026-03-28T12:00:00Z"), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    assert_eq!(slots("2026-10-24T12:00:00Z"), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    let first_of_the_gap = calendar(BERLIN, (2, 0), Day::ALL);
    assert_eq!(next(&first_of_the_gap, "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
}

#[test]
fn zones_have_names() {
    let timing = |zone: &str| Timing {
        start: at("2026-01-01T00:00:00Z"),
        repeat: Repeat::Calendar(crate::orchestrator::model::schedule::Calendar {
            zone: zone.into(),
            hour: 2,
            minute: 30,
            days: vec![Day::Friday],
        }),
    };
    assert!(Slots::of(&timing("UTC")).is_ok());
    assert_eq!(Slots::of(&timing("Europe/Nowhere")).unwrap_err(), UnknownZone("Europe/Nowhere".into()));
}

#[test]
fn what_becomes_of_a_slot() {
    let daily = every(86_400);
    let (slot, then) = (at("2026-03-02T01:00:00Z"), Some(at("2026-03-03T01:00:00Z")));
    let decide = |now: &str, predecessor, missed| decide(&daily, slot, at(now), predecessor, missed);
    let (ended, runs) = (Predecessor::Ended, Predecessor::Runs);
    assert_eq!(decide("2026-03-02T01:00:00Z", ended, MissedRuns::Skip), (Verdict::Fire, then));
    assert_eq!(decide("2026-03-02T01:05:00Z", ended, MissedRuns::Skip), (Verdict::Fire, then));
    assert_eq!(decide("2026-03-02T01:05:01Z", ended, MissedRuns::Skip), (Verdict::Missed, then));
    assert_eq!(decide("2026-03-02T01:05:01Z", ended, MissedRuns::RunOnce), (Verdict::Fire, then));
    assert_eq!(decide("2026-03-02T01:00:00Z", runs, MissedRuns::RunOnce), (Verdict::Overlaps, then));
    let later = Some(at("2026-03-06T01:00:00Z"));
    assert_eq!(decide("2026-03-05T09:00:00Z", ended, MissedRuns::RunOnce), (Verdict::Fire, later));
}

fn rules() -> impl Strategy<Value = Slots> {
    let start = at("2026-03-02T01:00:00Z");
    let zones = prop_oneof![Just(BERLIN), Just("UTC0"), Just("NZST-12NZDT,M9.5.0,M4.1.0/3"), Just("NST3:30")];
    let days = proptest::sample::subsequence(Day::ALL.to_vec(), 1..=7);
    prop_oneof![
        Just(Slots { start, rule: Rule::Once }),
        (1_i64..2_000_000).prop_map(move |seconds| Slots { start, rule: Rule::EveryMillis(seconds * 1000) }),
        (zones, 0_u8..24, 0_u8..60, days).prop_map(move |(zone, hour, minute, days)| {
            let rule = Rule::Calendar { zone: TimeZone::posix(zone).unwrap(), hour, minute, days };
            Slots { start, rule }
        }),
    ]
}

/// How the wall clock goes on between two looks, in milliseconds: a little, over a day of being down, or back.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    proptest::collection::vec(
        prop_oneof![8 => 0_i64..60_000, 3 => 0_i64..90_000_000, 1 => 0_i64..40_000_000_000, 1 => -90_000_000_i64..0],
        1..300,
    )
}

proptest! {
    /// A virtual clock that stops, jumps and goes back: each slot is decided at most once, in order; nothing is made without
    /// one; and whenever one has come, exactly one job is made or, if that is wanted, none because it was too late.
    #[test]
    fn no_slot_counts_twice_and_none_is_lost_beyond_the_policy(slots in rules(), steps in steps(), skips in any::<bool>()) {
        let missed = if skips { MissedRuns::Skip } else { MissedRuns::RunOnce };
        let mut now = at("2026-03-01T00:00:00Z");
        let mut next = slots.first();
        let mut last_slot = None;
        for step in steps {
            now = WallTime::from_millis(now.as_millis() + step);
            let Some(slot) = next.filter(|slot| *slot <= now) else { continue };
            prop_assert_eq!(slots.after(WallTime::from_millis(slot.as_millis() - 1)), Some(slot), "it is a slot");
            prop_assert!(last_slot < Some(slot));
            last_slot = Some(slot);
            let (verdict, then) = decide(&slots, slot, now, Predecessor::Ended, missed);
            let late = now.as_millis() - slot.as_millis();
            let is_missed = skips && late > 300_000;
            prop_assert_eq!(verdict, if is_missed { Verdict::Missed } else { Verdict::Fire });
            prop_assert!(then.is_none_or(|then| then > now), "what comes next is in the future");
            prop_assert!(then.is_some() || matches!(slots.rule, Rule::Once), "it goes on");
            next = then;
        }
    }

    /// A calendar has one slot on each of its days, and no other.
    #[test]
    fn a_day_has_one_slot(slots in rules(), from in 0_i64..100_000_000_000) {
        let Rule::Calendar { zone, days, .. } = &slots.rule else { return Ok(()) };
        let mut time = WallTime::from_millis(slots.start.as_millis() + from);
        let mut last: Option<Date> = None;
        for _ in 0..20 {
            time = slots.after(time).unwrap();
            let date = Timestamp::from_millisecond(time.as_millis()).unwrap().to_zoned(zone.clone()).date();
            prop_assert!(days.contains(&day_of(date)));
            if let Some(last) = last {
                let between = (1..).map(|day| last.checked_add(day.days()).unwrap()).take_while(|day| *day < date);
                prop_assert!(last < date && between.into_iter().all(|day| !days.contains(&day_of(day))));
            }
            last = Some(date);
        }
    }
}
