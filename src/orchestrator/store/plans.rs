//! What is kept of plan jobs.

use super::StoreError;
use crate::clock::WallTime;
use crate::orchestrator::model::{
    Page, PlanCommand, PlanDetail, PlanEnd, PlanEvent, PlanJob, PlanJobId, PlanQuery, Subject,
};

/// Keeps plan jobs. The event `task_start` of a plan is written with the job that says which plan it belongs to.
pub trait PlanStore {
    /// Writes a plan job, running, and gives it the next number.
    fn start_plan(&self, plan: NewPlanJob) -> Result<PlanJobId, StoreError>;

    /// Ends a plan job, with its last event.
    fn finish_plan(&self, end: PlanEnd, at: WallTime) -> Result<PlanFinish, StoreError>;

    /// The plan jobs that have not ended.
    fn running_plans(&self) -> Result<Vec<PlanJobId>, StoreError>;

    /// One plan job with its jobs.
    fn plan_job(&self, id: PlanJobId) -> Result<Option<PlanDetail>, StoreError>;

    /// A slice of all plan jobs.
    fn plan_jobs(&self, query: &PlanQuery) -> Result<Page<PlanJob>, StoreError>;

    /// At most [`crate::limits::EVENTS_PAGE_MAX`] events of a plan job from number `start` on, ascending; `None` if there
    /// is no such plan job.
    fn plan_events(&self, id: PlanJobId, start: i64) -> Result<Option<Vec<PlanEvent>>, StoreError>;
}

/// A plan job to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPlanJob {
    /// What was asked for.
    pub asked: PlanCommand,
    /// By whom.
    pub owner: Subject,
    /// When.
    pub created: WallTime,
}

/// What came of ending a plan job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanFinish {
    /// It has ended.
    Now,
    /// It had ended before; nothing was changed.
    Before,
    /// There is none with this number.
    Unknown,
}
