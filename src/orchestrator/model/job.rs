//! What is asked of a job and how it stands: the same words from the command through store and dispatcher to the list of
//! jobs (orchestrator API v1, commands and jobs).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schedule::ScheduleId;
use super::{JobId, JobOrder, JobState, NodeState, Scope, Subject};
use crate::clock::WallTime;

/// A plan job's number. Plan jobs are numbered by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanJobId(pub i64);

impl fmt::Display for PlanJobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

words! {
    /// The kinds of jobs: the API's `type` and `command`.
    JobKind {
        /// A Puppet run on each node.
        Deploy = "deploy",
        /// A task on each node.
        Task = "task",
        /// A task on each node, as a step of a plan.
        PlanTask = "plan_task",
    }
}

/// What a job does on each of its nodes.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Runs a task.
    Task(TaskWork),
    /// Runs Puppet.
    Deploy(DeployOptions),
}

impl Work {
    /// Of which kind the job is.
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Deploy(_) => JobKind::Deploy,
            Self::Task(TaskWork { plan_job: None, .. }) => JobKind::Task,
            Self::Task(TaskWork { plan_job: Some(_), .. }) => JobKind::PlanTask,
        }
    }
}

/// A task to be run. Values of sensitive parameters are not in it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskWork {
    /// `module::name` or `module`.
    pub task: String,
    /// Parameters without the sensitive ones.
    pub params: Map<String, Value>,
    /// Names of the sensitive parameters that were given.
    pub sensitive: Vec<String>,
    /// The plan of which it is a step.
    pub plan_job: Option<PlanJobId>,
}

/// How Puppet is run, beyond what every command says. What is `None` is left to the agent's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeployOptions {
    /// Whether agents are given the environment.
    pub enforce_environment: bool,
    /// Changes are made even where the agent's own settings say otherwise.
    pub no_noop: bool,
    /// With debug messages.
    pub debug: bool,
    /// With stack traces.
    pub trace: bool,
    /// With a message for each resource that is looked at.
    pub evaltrace: bool,
    /// Puppet's setting of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_cached_catalog: Option<bool>,
    /// Puppet's setting of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usecacheonfailure: Option<bool>,
    /// Puppet's setting of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    /// Puppet's setting of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_tags: Option<String>,
    /// Puppet's setting of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering: Option<String>,
    /// Puppet's setting of this name, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filetimeout: Option<u64>,
    /// Puppet's setting of this name, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_connect_timeout: Option<u64>,
    /// Puppet's setting of this name, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_keepalive_timeout: Option<u64>,
    /// Puppet's setting of this name, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_read_timeout: Option<u64>,
}

/// What every command says about its job, whatever the work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Of the task, or of the Puppet run; empty if that is left to the nodes.
    pub environment: String,
    /// On which nodes, as it was asked.
    pub scope: Scope,
    /// Whether it only shows what would be done.
    pub noop: bool,
    /// Nodes of the job that run at once; `None` is as many as there is room for.
    pub concurrency: Option<u32>,
    /// Seconds that each node may take; in a command `None` is the server's default.
    pub timeout: Option<u64>,
    /// For lists; may be empty.
    pub description: String,
    /// The caller's own data, echoed.
    pub userdata: Map<String, Value>,
    /// The schedule that made the job.
    #[serde(skip)]
    pub schedule: Option<ScheduleId>,
}

impl Terms {
    /// What holds if a command says nothing more.
    pub fn new(environment: impl Into<String>, scope: Scope) -> Self {
        Self {
            environment: environment.into(),
            scope,
            noop: false,
            concurrency: None,
            timeout: None,
            description: String::new(),
            userdata: Map::new(),
            schedule: None,
        }
    }
}

/// `POST /command/task` and `POST /command/plan_task`, already checked for shape by the API.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskCommand {
    /// `module::name` or `module`.
    pub task: String,
    /// The task's parameters, as the caller gave them.
    pub params: Map<String, Value>,
    /// The plan of which it is a step.
    pub plan_job: Option<PlanJobId>,
    /// The rest.
    pub terms: Terms,
}

/// `POST /command/deploy`, already checked for shape by the API.
#[derive(Debug, Clone, PartialEq)]
pub struct DeployCommand {
    /// How Puppet is run.
    pub options: DeployOptions,
    /// The rest.
    pub terms: Terms,
}

/// What a job was made of, and by whom. It never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// What is done on each node.
    pub work: Work,
    /// What every command says.
    pub terms: Terms,
    /// Who asked for it.
    pub owner: Subject,
}

impl JobSpec {
    /// A task without parameters in `production`, on terms that say nothing more.
    pub fn of_task(task: &str, scope: Scope, owner: Subject) -> Self {
        let work = TaskWork { task: task.to_owned(), params: Map::new(), sensitive: Vec::new(), plan_job: None };
        Self { work: Work::Task(work), terms: Terms::new("production", scope), owner }
    }
}

/// A job as stored: what was asked for and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What was asked for.
    pub spec: JobSpec,
    /// How it stands.
    pub state: JobState,
    /// When it was accepted.
    pub created: WallTime,
    /// When its first node started.
    pub started: Option<WallTime>,
    /// When it ended.
    pub finished: Option<WallTime>,
    /// Of the last change of state.
    pub timestamp: WallTime,
    /// Number of nodes.
    pub node_count: u64,
    /// Nodes per state; only states that occur.
    pub node_states: BTreeMap<NodeState, u64>,
    /// Every state the job has been in, in order.
    pub status: Vec<JobStatus>,
}

/// One stretch of a job's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// In which state.
    pub state: JobState,
    /// From when.
    pub enter: WallTime,
    /// Until when; `None` for the current one.
    pub exit: Option<WallTime>,
}

/// Which jobs, in which order, which slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobQuery {
    /// At most so many.
    pub limit: u32,
    /// After so many.
    pub offset: u32,
    /// By what.
    pub order_by: JobOrder,
    /// Largest first.
    pub descending: bool,
    /// Only jobs of this kind.
    pub kind: Option<JobKind>,
    /// Only jobs whose task's name contains this.
    pub task: Option<String>,
    /// Only jobs that ended at or after this time.
    pub min_finish: Option<WallTime>,
    /// Only jobs that ended at or before this time.
    pub max_finish: Option<WallTime>,
}
