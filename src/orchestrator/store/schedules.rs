//! What is kept of scheduled jobs. A firing is one transaction: the job and the schedule's next run, or neither.

use serde_json::Value;

use super::StoreError;
use crate::clock::WallTime;
use crate::orchestrator::model::schedule::{Schedule, ScheduleId, ScheduleQuery, ScheduleSpec};
use crate::orchestrator::model::{JobId, Page, Subject};

/// Keeps scheduled jobs.
pub trait ScheduleStore {
    /// Writes a schedule and gives it the next number, unless too many of them have a next run already.
    fn add_schedule(&self, schedule: NewSchedule, most: Most) -> Result<Added, StoreError>;

    /// One.
    fn schedule(&self, id: ScheduleId) -> Result<Option<StoredSchedule>, StoreError>;

    /// A slice of all.
    fn schedules(&self, query: &ScheduleQuery) -> Result<Page<Schedule>, StoreError>;

    /// Those whose next run is not after `now`, by that and their number, beginning after `after`; at most
    /// [`crate::limits::SCHEDULES_DUE_PAGE`].
    fn due_schedules(
        &self,
        now: WallTime,
        after: Option<(WallTime, ScheduleId)>,
    ) -> Result<Vec<StoredSchedule>, StoreError>;

    /// The next run that comes first.
    fn next_due(&self) -> Result<Option<WallTime>, StoreError>;
}

/// A schedule to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSchedule {
    /// What was asked for.
    pub spec: ScheduleSpec,
    /// By whom.
    pub owner: Subject,
    /// Parameters of its task, sealed; `None` if none of them is sensitive. Forgotten when there is no next run.
    pub payload: Option<Vec<u8>>,
    /// Its first run.
    pub next_run: WallTime,
}

/// Schedules that may have a next run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// Of everybody.
    pub all: u32,
    /// Of one login.
    pub of_owner: u32,
}

/// What came of adding one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    As(ScheduleId),
    /// There are too many.
    Full,
    /// There are too many of this owner.
    FullOfOwner,
}

/// A schedule, and what nobody is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSchedule {
    /// What everybody is shown.
    pub schedule: Schedule,
    /// Grows with each edit.
    pub revision: i64,
    /// Parameters of its task, sealed.
    pub payload: Option<Vec<u8>>,
    /// The job that it has made last, even if it came to nothing since.
    pub last_job: Option<JobId>,
}

/// That a schedule's time has come. It counts only if the schedule is still as it was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// Which.
    pub schedule: ScheduleId,
    /// As it was read.
    pub revision: i64,
    /// The next run as it was read, which has come.
    pub slot: WallTime,
    /// The one after that.
    pub then: Option<WallTime>,
}

/// A change of a schedule. One that is not as it was read is a [`StoreError::Conflict`], and nothing is changed.
#[derive(Debug, Clone, PartialEq)]
pub enum ScheduleChange {
    /// Somebody has changed it.
    Edited(Box<EditedSchedule>),
    /// Its time has come, and there is no job.
    Passed {
        /// Which time.
        firing: Firing,
        /// When it was noticed.
        at: WallTime,
        /// The body of the error; `None` leaves the last run as it was.
        error: Option<Value>,
    },
}

/// A schedule as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct EditedSchedule {
    /// Which.
    pub id: ScheduleId,
    /// As it was read.
    pub revision: i64,
    /// Whether it goes on.
    pub is_enabled: bool,
    /// What is to be done, and when.
    pub spec: ScheduleSpec,
    /// Parameters of its task, sealed.
    pub payload: Option<Vec<u8>>,
    /// The next run.
    pub next_run: Option<WallTime>,
    /// When.
    pub at: WallTime,
    /// How many others may have a next run beside it.
    pub most: Most,
}
