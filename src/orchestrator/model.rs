//! The orchestrator's nouns: jobs, nodes, events, commands and refusals, as the store keeps them and the API shows them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::WallTime;
use crate::pxp::task::TaskFile;
pub use job::{
    DeployCommand, DeployOptions, Job, JobKind, JobQuery, JobSpec, JobStatus, PlanJobId, TaskCommand, TaskWork, Terms,
    Work,
};
pub use plan::{
    PlanCommand, PlanDetail, PlanEnd, PlanEvent, PlanEventType, PlanJob, PlanListing, PlanQuery, PlanShown, PlanState,
};

/// A job's number. They grow by one, for ever: clients count jobs by subtraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether arrays and objects are nested more than `levels` deep in `value`.
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(entries) => levels == 0 || entries.values().any(|entry| is_deeper(entry, levels - 1)),
        _ => false,
    }
}

/// A closed set of words with one spelling for the store, the API and the log.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the store, the API and the log.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

mod job;
mod plan;
pub mod schedule;

words! {
    /// State of a job: `new → ready → running → finished | failed`.
    JobState {
        /// Being created.
        New = "new",
        /// Created, no node has started.
        Ready = "ready",
        /// At least one node has started.
        Running = "running",
        /// Stop was asked for; running nodes finish.
        Stopping = "stopping",
        /// Stopped before all nodes had run.
        Stopped = "stopped",
        /// All nodes finished.
        Finished = "finished",
        /// Some node did not finish.
        Failed = "failed",
    }
}

words! {
    /// State of a node within a job.
    NodeState {
        /// Not considered yet.
        New = "new",
        /// Waits for its turn.
        Ready = "ready",
        /// A request was sent.
        Running = "running",
        /// Ended well.
        Finished = "finished",
        /// Ran and failed.
        Failed = "failed",
        /// The orchestrator could not run it, or lost it.
        Errored = "errored",
        /// Not attempted.
        Skipped = "skipped",
        /// Stopped by the operator.
        Stopped = "stopped",
    }
}

impl NodeState {
    /// Whether nothing more will happen to the node.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::New | Self::Ready | Self::Running)
    }
}

impl JobState {
    /// Whether nothing more will happen to the job.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Finished | Self::Failed)
    }
}

words! {
    /// Type of a job's event.
    EventType {
        /// A request was sent to the node.
        NodeRunning = "node_running",
        /// The node ended well.
        NodeFinished = "node_finished",
        /// The node ran and failed.
        NodeFailed = "node_failed",
        /// The node could not be run.
        NodeErrored = "node_errored",
        /// The node was not attempted.
        NodeSkipped = "node_skipped",
        /// Stop was asked for.
        JobStopping = "job_stopping",
        /// The job ended without completing.
        JobAborted = "job_aborted",
        /// The job's last event.
        JobFinished = "job_finished",
    }
}

/// Who does something: a user, as the API shows it in `owner`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// UUID.
    pub id: String,
    /// The name used to log in.
    pub login: String,
    /// For people.
    pub display_name: String,
    /// May be empty.
    pub email: String,
    /// May do everything.
    pub is_superuser: bool,
    /// Comes from a directory service.
    pub is_remote: bool,
    /// May do nothing any more.
    pub is_revoked: bool,
    /// Always false for users.
    pub is_group: bool,
    /// When a token was last issued, `2026-03-01T09:00:00.000Z`.
    pub last_login: Option<String>,
    /// Numbers of the roles.
    pub role_ids: Vec<i64>,
}

/// On which nodes: exactly one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Certificate names; unknown ones end errored.
    Nodes(Vec<String>),
    /// A query in PQL text or as a syntax tree.
    Query(Value),
    /// A classifier group's UUID.
    NodeGroup(String),
}

impl Scope {
    /// The word in `details.target` of the error `empty-target`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Nodes(_) => "nodes",
            Self::Query(_) => "query",
            Self::NodeGroup(_) => "node_group",
        }
    }
}

/// A node of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Certificate name.
    pub name: String,
    /// How it stands.
    pub state: NodeState,
    /// When its request was sent.
    pub start: Option<WallTime>,
    /// When it ended.
    pub finish: Option<WallTime>,
    /// Of the last change.
    pub timestamp: WallTime,
    /// Number of its last event; 0 before the first.
    pub latest_event_id: i64,
    /// By state: `message` and the like.
    pub details: Map<String, Value>,
    /// Only once it has ended.
    pub result: Option<Value>,
}

/// An event and its job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEvent {
    /// Whose it is.
    pub job: JobId,
    /// What happened.
    pub event: Event,
}

/// An event of a job. Numbers rise through all jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number.
    pub id: i64,
    /// What happened.
    pub kind: EventType,
    /// When.
    pub timestamp: WallTime,
    /// `node` and `detail` for events of nodes.
    pub details: Map<String, Value>,
    /// For people.
    pub message: String,
}

/// A slice of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The slice.
    pub items: Vec<T>,
    /// Length of the whole list.
    pub total: u64,
}

words! {
    /// By what a list of jobs is sorted.
    JobOrder {
        /// By login.
        Owner = "owner",
        /// By last change of state.
        Timestamp = "timestamp",
        /// By environment.
        Environment = "environment",
        /// By number.
        Name = "name",
        /// By state.
        State = "state",
    }
}

words! {
    /// By what a list of nodes is sorted.
    NodeOrder {
        /// By certificate name.
        Name = "name",
        /// By time taken.
        Duration = "duration",
        /// By state.
        State = "state",
        /// By start.
        StartTimestamp = "start_timestamp",
        /// By end.
        FinishTimestamp = "finish_timestamp",
    }
}

/// Which nodes of a job, in which order, which slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeQuery {
    /// At most so many; `None` is all.
    pub limit: Option<u32>,
    /// After so many.
    pub offset: u32,
    /// By what.
    pub order_by: NodeOrder,
    /// Largest first.
    pub descending: bool,
    /// Only nodes in this state.
    pub state: Option<NodeState>,
    /// Whether results are wanted; they may be large.
    pub with_results: bool,
}

/// Tasks and nodes under one number, for roles: who has it may run these tasks on these nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTarget {
    /// Its number.
    pub id: i64,
    /// For people; need not be unique.
    pub display_name: String,
    /// Names of the tasks; `None` is all. They need not exist.
    pub tasks: Option<Vec<String>>,
    /// Names of nodes, which need not exist.
    pub nodes: Vec<String>,
    /// Classifier groups whose nodes belong to it too.
    pub node_groups: Vec<String>,
    /// A query whose nodes belong to it too; may be empty.
    pub pql_query: String,
}

/// A task as its environment's list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskListing {
    /// `module::name` or `module`.
    pub name: String,
    /// Hidden from ordinary lists.
    pub private: bool,
    /// From its metadata.
    pub description: String,
}

/// A task with everything needed to run it, as Puppet Server shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskDetail {
    /// `module::name` or `module`.
    pub name: String,
    /// The metadata file as it is; empty if there is none.
    pub metadata: Map<String, Value>,
    /// The executable first, or every implementation, then extra files.
    pub files: Vec<TaskFile>,
}

/// A node as brokers report it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryEntry {
    /// Certificate name.
    pub name: String,
    /// Where and since when it is connected.
    pub connection: Option<NodeConnection>,
}

/// Where and since when a node is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConnection {
    /// PCP URI of the broker, type `server`.
    pub broker: String,
    /// When the orchestrator learnt of it.
    pub since: WallTime,
}

words! {
    /// Kinds of refusals: the last part of the API's `kind`.
    RefusalKind {
        /// 400.
        ValidationError = "validation-error",
        /// 400.
        EmptyTarget = "empty-target",
        /// 400: nodes wait for each other.
        DependencyCycle = "dependency-cycle",
        /// 400.
        QueryError = "query-error",
        /// 400: PuppetDB could not be asked.
        PuppetdbError = "puppetdb-error",
        /// 502: Puppet Server could not be asked; clients have no kind of their own for it.
        PuppetserverError = "puppetserver-error",
        /// 502: the classifier could not be asked.
        ClassifierError = "classifier-error",
        /// 403.
        NotPermitted = "not-permitted",
        /// 404.
        UnknownEnvironment = "unknown-environment",
        /// 404.
        UnknownJob = "unknown-job",
        /// 404.
        UnknownTask = "unknown-task",
        /// 404.
        UnknownPlan = "unknown-plan",
        /// 404.
        MismatchedJobEventId = "mismatched-job-event-id",
        /// 500, as Bolt expects it: it starts another plan job and goes on.
        PlanAlreadyFinished = "plan-already-finished",
        /// 404.
        UnknownTaskTarget = "unknown-task-target",
        /// 404.
        UnknownWebhook = "unknown-webhook",
        /// 507: the disk of the data directory has no room; clients have no kind of their own for it.
        InsufficientStorage = "insufficient-storage",
        /// 400: a time that is over.
        InvalidTime = "invalid-time",
        /// 400: a schedule that was removed cannot be changed.
        DisabledScheduledJob = "disabled-scheduled-job",
        /// 500.
        UnknownError = "unknown-error",
    }
}

impl RefusalKind {
    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::ValidationError
            | Self::EmptyTarget
            | Self::DependencyCycle
            | Self::QueryError
            | Self::PuppetdbError
            | Self::InvalidTime
            | Self::DisabledScheduledJob => 400,
            Self::NotPermitted => 403,
            Self::UnknownEnvironment
            | Self::UnknownJob
            | Self::UnknownTask
            | Self::UnknownPlan
            | Self::UnknownTaskTarget
            | Self::UnknownWebhook
            | Self::MismatchedJobEventId => 404,
            Self::UnknownError | Self::PlanAlreadyFinished => 500,
            Self::PuppetserverError | Self::ClassifierError => 502,
            Self::InsufficientStorage => 507,
        }
    }
}

/// Why a command or a question was refused: what the API answers as `kind`, `msg` and `details`.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Of which kind.
    pub kind: RefusalKind,
    /// For people: what, where, what to do.
    pub message: String,
    /// For programs.
    pub details: Map<String, Value>,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), details: Map::new() }
    }

    /// Adds one detail.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.word(), self.message)
    }
}

impl std::error::Error for Refusal {}
