//! Limits of scheduled jobs and of what is kept about use.

use std::time::Duration;

/// Schedules that have a next run. Those that have none are kept as long as jobs are.
pub const SCHEDULES_MAX: u32 = 10_000;

/// Those of them that one user may have, so that nobody takes all; certificates together are one user.
pub const SCHEDULES_PER_OWNER_MAX: u32 = 1_000;

/// The shortest interval of a schedule in seconds. Each run is a job that is kept for weeks, so
/// this is 1,440 of them a day.
pub const SCHEDULE_INTERVAL_MIN: u32 = 60;

/// The longest interval of a schedule in seconds: ten years.
pub const SCHEDULE_INTERVAL_MAX: u32 = 10 * 365 * 86_400;

/// Parameters of one scheduled task that are queries or node groups: each is a question to PuppetDB with every run.
pub const SCHEDULE_QUESTIONS_MAX: usize = 32;

/// Names that all of them together may come to, which go to every node: as many as a job may have nodes.
pub const SCHEDULE_NAMES_MAX: usize = super::JOB_NODES_MAX;

/// Time after which no more of them are asked; the last one has its own.
pub const SCHEDULE_QUESTIONS_TIME_MAX: Duration = Duration::from_secs(30);

/// Schedules that are read at once when they are due: each holds its parameters, [`super::API_BODY_BYTES_MAX`] at most.
pub const SCHEDULES_DUE_PAGE: u32 = 16;

/// Due schedules that are submitted at once: each may wait for PuppetDB or Puppet Server, and requests of the API need room
/// there too.
pub const SCHEDULES_AT_ONCE: usize = 2;

/// A run that begins later than this was missed: a restart, or a busy PuppetDB, takes less. What cannot be started because of
/// PuppetDB, Puppet Server, the disk or the database is tried again for as long.
pub const SCHEDULE_LATE_MAX: Duration = Duration::from_secs(300);

/// The longest sleep between two looks at what is due, so that a wall clock that was set is noticed.
pub const SCHEDULE_TICK: Duration = Duration::from_secs(30);

/// Pause before what could not be started or written is tried again.
pub const SCHEDULE_RETRY: Duration = Duration::from_secs(5);

/// How often what is known of a day's use is brought up to date.
pub const USAGE_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Names that one change adds to a day's nodes: some milliseconds of the store's writer.
pub const USAGE_NAMES_PER_CHANGE: usize = 1000;
