//! Plan jobs: plans that somebody runs, here or, as Bolt does, elsewhere with their tasks here (orchestrator API v1, plan
//! jobs; `plan_start`, `plan_task` and `plan_finish` of the orchestrator_client gem).

use serde_json::{Map, Value};

use super::{JobId, JobOrder, JobStatus, PlanJobId, Subject};
use crate::clock::WallTime;

words! {
    /// State of a plan job.
    PlanState {
        /// It runs, or whoever runs it has not said that it ended.
        Running = "running",
        /// Ended well.
        Success = "success",
        /// Ended otherwise.
        Failure = "failure",
    }
}

words! {
    /// Type of a plan job's event.
    PlanEventType {
        /// A job with a task was made for it.
        TaskStart = "task_start",
        /// It ended well.
        PlanFinished = "plan_finished",
        /// It ended otherwise.
        PlanFailed = "plan_failed",
    }
}

/// `POST /command/plan_start`, already checked for shape by the API, and without values of sensitive parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanCommand {
    /// `module::name`.
    pub plan: String,
    /// As the caller says; `production` if nothing is said.
    pub environment: String,
    /// Parameters without the sensitive ones.
    pub params: Map<String, Value>,
    /// Names of the sensitive parameters.
    pub sensitive: Vec<String>,
    /// For lists; may be empty.
    pub description: String,
    /// The caller's own data, echoed.
    pub userdata: Map<String, Value>,
}

/// `POST /command/plan_finish`.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanEnd {
    /// Which.
    pub plan_job: PlanJobId,
    /// Whether it ended well.
    pub is_success: bool,
    /// What it returned.
    pub result: Value,
}

/// A plan job as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanJob {
    /// Its number.
    pub id: PlanJobId,
    /// What was asked for.
    pub asked: PlanCommand,
    /// How it stands.
    pub state: PlanState,
    /// Once it has ended, and if it was asked for.
    pub result: Option<Value>,
    /// Who started it.
    pub owner: Subject,
    /// When it was started.
    pub created: WallTime,
    /// When it ended.
    pub finished: Option<WallTime>,
}

/// A plan job with the jobs that it has made, and how each of them went.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanDetail {
    /// The plan job.
    pub plan: PlanJob,
    /// Ascending.
    pub jobs: Vec<(JobId, Vec<JobStatus>)>,
}

/// An event of a plan job. Numbers rise through all plan jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanEvent {
    /// Its number.
    pub id: i64,
    /// What happened.
    pub kind: PlanEventType,
    /// When.
    pub timestamp: WallTime,
    /// By type: `job-id`, or `plan-id` and `result`.
    pub details: Map<String, Value>,
}

/// Which plan jobs, in which order, which slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanQuery {
    /// At most so many.
    pub limit: u32,
    /// After so many.
    pub offset: u32,
    /// By what.
    pub order_by: JobOrder,
    /// Largest first.
    pub descending: bool,
    /// Whether results are wanted; they may be large.
    pub with_results: bool,
    /// Only plan jobs that ended at or after this time.
    pub min_finish: Option<WallTime>,
    /// Only plan jobs that ended at or before this time.
    pub max_finish: Option<WallTime>,
}

/// A plan as its environment's list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanListing {
    /// `module::name` or `module`.
    pub name: String,
    /// Hidden from ordinary lists.
    pub private: bool,
    /// Empty if it has none.
    pub description: String,
    /// Why it cannot be used, with the place.
    pub problem: Option<String>,
}

/// A plan with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanShown {
    /// `module::name` or `module`.
    pub name: String,
    /// `description`, `private` and `parameters`; empty if nobody knows them.
    pub metadata: Map<String, Value>,
    /// What would keep it from running, each with its place.
    pub problems: Vec<Value>,
}
