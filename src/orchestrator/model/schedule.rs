//! Scheduled jobs: what is to be done, when, and what came of it last (orchestrator API v1, `scheduled_jobs`).

use std::fmt;

use serde_json::{Map, Value, json};

use super::{DeployOptions, JobId, JobKind, Subject, Terms};
use crate::clock::WallTime;

/// A scheduled job's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleId(pub i64);

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

words! {
    /// A day of the week.
    Day {
        /// Monday.
        Monday = "mon",
        /// Tuesday.
        Tuesday = "tue",
        /// Wednesday.
        Wednesday = "wed",
        /// Thursday.
        Thursday = "thu",
        /// Friday.
        Friday = "fri",
        /// Saturday.
        Saturday = "sat",
        /// Sunday.
        Sunday = "sun",
    }
}

words! {
    /// By what a list of schedules is sorted.
    ScheduleOrder {
        /// By the next run; those without one come last.
        NextRunTime = "next_run_time",
        /// By environment.
        Environment = "environment",
        /// By login.
        Owner = "owner",
        /// By number.
        Name = "name",
        /// By kind.
        Type = "type",
    }
}

/// When a schedule is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// Not before this.
    pub start: WallTime,
    /// How often.
    pub repeat: Repeat,
}

/// How often a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeat {
    /// At its start.
    Once,
    /// At its start, and whenever so many seconds more have passed.
    Every(u32),
    /// At a time of day on some days of the week.
    Calendar(Calendar),
}

/// A time of day somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Name in the time zone database, `Europe/Zurich`.
    pub zone: String,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// Each once, Monday first, at least one.
    pub days: Vec<Day>,
}

impl Repeat {
    /// The keys `interval` and `calendar`, as the API and the store have them.
    pub fn keys(&self) -> Map<String, Value> {
        let interval = match self {
            Self::Every(seconds) => json!({"units": "seconds", "value": seconds}),
            Self::Once | Self::Calendar(_) => Value::Null,
        };
        let mut keys = Map::from_iter([("interval".to_owned(), interval)]);
        if let Self::Calendar(Calendar { zone, hour, minute, days }) = self {
            let days: Vec<&str> = days.iter().map(|day| day.word()).collect();
            let calendar = json!({"zone": zone, "at": format!("{hour:02}:{minute:02}"), "days": days});
            keys.insert("calendar".to_owned(), calendar);
        }
        keys
    }

    /// What [`Repeat::keys`] has written.
    pub fn from_keys(keys: &Map<String, Value>) -> Option<Self> {
        if let Some(calendar) = keys.get("calendar") {
            let (hour, minute) = time_of_day(calendar["at"].as_str()?)?;
            let days = calendar["days"].as_array()?.iter().map(|day| Day::from_word(day.as_str()?));
            let (zone, days) = (calendar["zone"].as_str()?.to_owned(), days.collect::<Option<Vec<Day>>>()?);
            return Some(Self::Calendar(Calendar { zone, hour, minute, days }));
        }
        match keys.get("interval") {
            None | Some(Value::Null) => Some(Self::Once),
            Some(interval) => u32::try_from(interval["value"].as_u64()?).ok().map(Self::Every),
        }
    }
}

/// Hour and minute of `02:30`.
pub fn time_of_day(text: &str) -> Option<(u8, u8)> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse());
    let (hour, minute) = (number(hour)?.ok()?, number(minute)?.ok()?);
    (hour < 24 && minute < 60).then_some((hour, minute))
}

/// What a scheduled job does on each of its nodes.
#[derive(Debug, Clone, PartialEq)]
pub enum ScheduledWork {
    /// Runs a task.
    Task(ScheduledTask),
    /// Runs Puppet.
    Deploy(DeployOptions),
}

impl ScheduledWork {
    /// Of which kind the job is.
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Task(_) => JobKind::Task,
            Self::Deploy(_) => JobKind::Deploy,
        }
    }
}

/// A task to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduledTask {
    /// `module::name` or `module`.
    pub task: String,
    /// By name `{"value": ..., "type": ...}`. Stored and shown without the sensitive ones; in a command with all.
    pub params: Map<String, Value>,
    /// Names of the sensitive ones that were given; empty in a command.
    pub sensitive: Vec<String>,
}

/// What is to be done, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleSpec {
    /// What.
    pub work: ScheduledWork,
    /// What every command says.
    pub terms: Terms,
    /// When.
    pub timing: Timing,
}

/// A scheduled job as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Its number.
    pub id: ScheduleId,
    /// Not so once somebody has removed it.
    pub is_enabled: bool,
    /// What was asked for.
    pub spec: ScheduleSpec,
    /// As whom it runs, as that user was when the schedule was made.
    pub owner: Subject,
    /// `None` if there is no further one.
    pub next_run: Option<WallTime>,
    /// `None` before the first.
    pub last_run: Option<LastRun>,
}

/// What came of a schedule when it was last due.
#[derive(Debug, Clone, PartialEq)]
pub struct LastRun {
    /// When.
    pub time: WallTime,
    /// What.
    pub outcome: RunOutcome,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum RunOutcome {
    /// A job.
    Job(JobId),
    /// None, with the body of the error.
    NotSubmitted(Value),
}

/// Which schedules, in which order, which slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleQuery {
    /// At most so many.
    pub limit: u32,
    /// After so many.
    pub offset: u32,
    /// By what.
    pub order_by: ScheduleOrder,
    /// Largest first.
    pub descending: bool,
    /// Only those of this kind.
    pub kind: Option<JobKind>,
}

/// What is to change of a schedule; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScheduleEdit {
    /// What it does, whole. Of the terms only what belongs to the work counts: scope, noop, concurrency, timeout.
    pub input: Option<(ScheduledWork, Terms)>,
    /// The environment.
    pub environment: Option<String>,
    /// When.
    pub timing: Option<Timing>,
    /// For lists.
    pub description: Option<String>,
    /// The caller's own data.
    pub userdata: Option<Map<String, Value>>,
    /// `false` removes it.
    pub enabled: Option<bool>,
}

impl ScheduleEdit {
    /// Whether nothing is asked for but its end.
    pub fn is_removal(&self) -> bool {
        self.enabled == Some(false) && Self { enabled: None, ..self.clone() } == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let days = vec![Day::Monday, Day::Sunday];
        let calendar = Calendar { zone: "Europe/Zurich".into(), hour: 2, minute: 5, days };
        for repeat in [Repeat::Once, Repeat::Every(86_400), Repeat::Calendar(calendar)] {
            assert_eq!(Repeat::from_keys(&repeat.keys()), Some(repeat));
        }
        assert_eq!(time_of_day("23:59"), Some((23, 59)));
        for bad in ["24:00", "1:00", "01:60", "01:0", "0100", "+1:00", "01:00:00", ""] {
            assert_eq!(time_of_day(bad), None, "{bad}");
        }
    }
}
