//! What the orchestrator keeps: jobs, nodes, events, names of the inventory, users and tokens. The trait is the contract;
//! `conformance.rs` is the test suite that every implementation runs.
//!
//! `events` is an append-only log, and what clients read. The states of jobs and nodes are projections of it, written in the
//! same transactions; `check` folds the log again and compares. Statements are written once (`tables`) for whatever database
//! there is a driver for (`sql`): SQLite in a file, or PostgreSQL, which several servers may share (`servers`).

pub mod access;
pub mod check;
#[cfg(test)]
pub(super) mod conformance;
mod facts;
pub mod files;
mod groups;
pub mod order;
pub mod plans;
pub mod postgres;
pub mod reports;
pub mod schedules;
mod servers;
mod sql;
pub mod sqlite;
mod tables;
mod task_targets;
pub mod usage;
pub mod webhooks;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use serde_json::{Map, Value};
use uuid::Uuid;

use access::{AccessChange, AccessStore};
use check::Checked;
pub use facts::{FactsChange, FactsStore, StoredNode};
pub use groups::{GroupsChange, GroupsStore};
use order::{OrderStore, Precedence, Wait};
use plans::PlanStore;
use postgres::PostgresStore;
use reports::{KnownReport, ReportStore};
use schedules::{Firing, ScheduleChange, ScheduleStore};
pub use servers::{Alone, Servers, StopWanted};
pub use task_targets::TaskTargetStore;
use usage::{UsageChange, UsageStore};
use webhooks::{WebhookStore, WebhooksChange};

use super::model::{
    Event, EventType, Job, JobId, JobQuery, JobSpec, JobState, Node, NodeQuery, NodeState, Page, PlanJobId, Refusal,
    RefusalKind, TaskTarget,
};
use crate::clock::WallTime;
use crate::config::settings::OrchestratorSettings;
use sqlite::SqliteStore;

/// Opens the store that the settings ask for. `name` is this server's, and `own` is what it trusts.
pub fn open(
    settings: &OrchestratorSettings,
    name: &str,
    own: &Arc<ArcSwap<ClientConfig>>,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match &settings.database {
        None => Arc::new(SqliteStore::open(&settings.data_dir)?),
        Some(database) => Arc::new(PostgresStore::open(&settings.data_dir, database, name, own)?),
    })
}

/// Looks whether the store that the settings name is whole, while a server uses it or not.
pub fn inspect(settings: &OrchestratorSettings, own: &Arc<ArcSwap<ClientConfig>>) -> Result<Checked, StoreError> {
    match &settings.database {
        None => sqlite::inspect(&settings.data_dir),
        Some(database) => postgres::inspect(database, own),
    }
}

/// Keeps what the orchestrator must not forget. Writing methods return when the change will survive a loss of power.
pub trait Store:
    AccessStore
    + FactsStore
    + GroupsStore
    + OrderStore
    + PlanStore
    + ReportStore
    + ScheduleStore
    + TaskTargetStore
    + UsageStore
    + WebhookStore
    + Servers
    + Send
    + Sync
{
    /// Writes a job with its nodes, in state `ready`, and gives it the next number. A failure, such as a
    /// node that is in it twice, uses up no number.
    fn create_job(&self, job: NewJob) -> Result<JobId, StoreError>;

    /// Makes all changes, in order, or none.
    fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// The same; while the database is out of reach, it waits until that is back. Whoever tries again once there is room
    /// for the changes shares them.
    fn commit_patiently(&self, changes: Arc<Vec<Change>>) -> Result<(), StoreError>;

    /// One job.
    fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// A slice of all jobs.
    fn jobs(&self, query: &JobQuery) -> Result<Page<Job>, StoreError>;

    /// A slice of a job's nodes; `None` if there is no such job.
    fn nodes(&self, id: JobId, query: &NodeQuery) -> Result<Option<Page<Node>>, StoreError>;

    /// At most [`crate::limits::EVENTS_PAGE_MAX`] events of a job from number `start` on, ascending; `None` if there is
    /// no such job.
    fn events(&self, id: JobId, start: i64) -> Result<Option<Vec<Event>>, StoreError>;

    /// The jobs that have not ended and that are this server's to run, ascending, with those of their nodes that have not.
    fn unfinished(&self) -> Result<Vec<UnfinishedJob>, StoreError>;

    /// Removes about so many rows at most of jobs that ended before a time, the oldest first, and then of such plan jobs of
    /// which no job is left.
    fn prune(&self, before: WallTime, rows: usize) -> Result<Pruned, StoreError>;

    /// Names that the inventory has ever had, sorted.
    fn known_nodes(&self) -> Result<Vec<String>, StoreError>;

    /// Ends writing, after what was asked for before; later writes are refused.
    fn close(&self);
}

/// What a step of [`Store::prune`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruned {
    /// There was nothing to remove.
    Nothing,
    /// Rows of one job were removed, and perhaps the job with its last one; there may be more.
    Some {
        /// Jobs of which nothing is left: 0 or 1.
        jobs: usize,
    },
}

/// A job to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What was asked for.
    pub spec: JobSpec,
    /// When it was accepted.
    pub created: WallTime,
    /// The request's parameters, sealed; forgotten when the job ends.
    pub payload: Vec<u8>,
    /// Its nodes in order, each once.
    pub nodes: Vec<NewNode>,
    /// Which of them run after which others; nothing for tasks. No node comes, by any way, before itself.
    pub order: Vec<Precedence>,
    /// The schedule's time that makes it. If the schedule is not as it was read, the job is a [`StoreError::Conflict`].
    pub firing: Option<Firing>,
}

/// A node of a [`NewJob`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Certificate name.
    pub name: String,
    /// Of the one request that the node will get.
    pub transaction: Uuid,
}

/// A node of a job: the job's number and the node's position in it, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    /// The job.
    pub job: JobId,
    /// Position among the job's nodes.
    pub position: u32,
}

/// An event to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventType,
    /// `node` and `detail` for events of nodes.
    pub details: Map<String, Value>,
    /// For people.
    pub message: String,
}

/// One change of what is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The job enters a state; a final one ends it and removes its payload.
    JobEntered {
        /// Which.
        job: JobId,
        /// The new state.
        state: JobState,
        /// When.
        at: WallTime,
        /// Goes with it, after everything that happened to the nodes.
        event: Option<NewEvent>,
    },
    /// The job is being stopped by force.
    JobForced(JobId),
    /// Something about a node that runs.
    NodeNoted {
        /// Which.
        node: NodeKey,
        /// For people.
        message: String,
    },
    /// A request is about to be sent.
    NodeStarted {
        /// Which.
        node: NodeKey,
        /// When.
        at: WallTime,
        /// Goes with it.
        event: NewEvent,
    },
    /// The agent has acknowledged the request: it must never be sent again.
    NodeAcknowledged(NodeKey),
    /// The request is about to be sent for a second and last time.
    NodeResent(NodeKey),
    /// The node has ended.
    NodeEnded {
        /// Which.
        node: NodeKey,
        /// A final state.
        state: NodeState,
        /// When.
        at: WallTime,
        /// `message`, if there is something to say.
        details: Map<String, Value>,
        /// For people and programs.
        result: Value,
        /// Goes with it.
        event: NewEvent,
    },
    /// The inventory has names that may be new.
    NodesSeen(Vec<String>),
    /// Users, roles, tokens.
    Access(AccessChange),
    /// Something is known of a node.
    Facts(FactsChange),
    /// The classifier's groups have changed.
    Groups(GroupsChange),
    /// The report of a Puppet run is known; the first one counts.
    ReportFound {
        /// Of which job.
        job: JobId,
        /// The node's name.
        node: String,
        /// Which.
        report: KnownReport,
    },
    /// A task target is added; its number must be new.
    TaskTargetCreated(TaskTarget),
    /// Who is told of events has changed.
    Webhooks(WebhooksChange),
    /// A schedule has changed.
    Schedule(ScheduleChange),
    /// What is known of the use of a day.
    Usage(UsageChange),
}

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct UnfinishedJob {
    /// Its number.
    pub id: JobId,
    /// How it stands.
    pub state: JobState,
    /// What was asked for.
    pub spec: JobSpec,
    /// Whether running nodes are to be ended too, once it is stopping.
    pub is_forced: bool,
    /// The request's parameters, sealed.
    pub payload: Vec<u8>,
    /// Nodes that ended well.
    pub succeeded: u64,
    /// Nodes that ended otherwise.
    pub unsuccessful: u64,
    /// The others, by position.
    pub nodes: Vec<UnfinishedNode>,
    /// What those of them that have not started wait for.
    pub waits: Vec<Wait>,
}

impl UnfinishedJob {
    /// A job of which no node has started yet; for each its name and the transaction of its request.
    pub fn new(id: JobId, spec: JobSpec, nodes: impl IntoIterator<Item = (String, Uuid)>) -> Self {
        let node = |((name, transaction), position)| UnfinishedNode {
            position,
            name,
            transaction,
            start: None,
            acknowledged: false,
            resent: false,
        };
        Self {
            id,
            state: JobState::Ready,
            spec,
            is_forced: false,
            payload: Vec::new(),
            succeeded: 0,
            unsuccessful: 0,
            nodes: nodes.into_iter().zip(0..).map(node).collect(),
            waits: Vec::new(),
        }
    }
}

/// A node that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedNode {
    /// Position among the job's nodes.
    pub position: u32,
    /// Certificate name.
    pub name: String,
    /// Of its request.
    pub transaction: Uuid,
    /// When its request was about to be sent; `None` if it has not been.
    pub start: Option<WallTime>,
    /// Whether the agent has acknowledged the request.
    pub acknowledged: bool,
    /// Whether the request was sent twice.
    pub resent: bool,
}

/// Why the store could not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// A file or directory could not be used.
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        cause: String,
    },
    /// Another process uses the data directory.
    InUse(PathBuf),
    /// The database was written by a newer version of this program.
    NewerSchema {
        /// Which.
        place: String,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        supported: i64,
    },
    /// The database is to be checked and has not been used by this version of the program.
    OtherSchema {
        /// Its version.
        found: i64,
        /// This program's.
        expected: i64,
    },
    /// The database reports an error.
    Database {
        /// What was being done.
        action: &'static str,
        /// The database's words.
        cause: String,
    },
    /// The database cannot be reached, or not any more; nothing was changed.
    Unreachable {
        /// The connection's words.
        cause: String,
    },
    /// The database went away while it was committed, and is still away.
    InDoubt,
    /// Another server has taken over what was this one's, or this one has been told to end: it may write nothing any more.
    Fenced(String),
    /// Another server on the same database has another key.
    OtherKey {
        /// File below `keys` in the data directory.
        name: String,
        /// Fingerprint of ours.
        ours: String,
        /// Of the first server's.
        theirs: String,
    },
    /// There is no room on the disk; nothing was written, and the same may succeed once there is.
    Full {
        /// What was being done.
        action: &'static str,
        /// The database's words.
        cause: String,
    },
    /// A row holds what this program never writes.
    Corrupt(String),
    /// What was asked for has more bytes than one answer may take.
    TooLarge {
        /// The most.
        bytes_max: usize,
    },
    /// What was to be written contradicts what is there.
    Conflict(String),
    /// The plan job that a job was to be part of has ended, or there is none.
    PlanEnded(PlanJobId),
    /// What was to be changed is not there.
    Missing(String),
    /// The store was closed.
    Closed,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, cause } => {
                write!(f, "cannot use {}: {cause}; check that the directory exists and is ours", path.display())
            }
            Self::InUse(path) => {
                write!(f, "another process holds {}: stop it, or use another data directory", path.display())
            }
            Self::NewerSchema { place, found, supported } => write!(
                f,
                "{place} has schema version {found}, this program knows versions up to {supported}: run the newer program, \
                 or restore a backup from before its first start"
            ),
            Self::OtherSchema { found, expected } => write!(
                f,
                "the database has schema version {found}, and this program can check version {expected}: use the version \
                 of the program that the server has"
            ),
            Self::Database { action, cause } => write!(f, "the database failed to {action}: {cause}"),
            Self::Full { action, cause } => write!(
                f,
                "the disk is full: the database failed to {action} ({cause}); make room on the file system of \
                 orchestrator.data-dir"
            ),
            Self::Unreachable { cause } => {
                write!(f, "the database cannot be reached: {cause}; jobs that run go on when it is back")
            }
            Self::InDoubt => f.write_str(
                "the database went away while this was stored, and whether it was is not known yet: look at what is there \
                 before you ask for it again",
            ),
            Self::Fenced(why) => write!(f, "this server may write nothing any more: {why}"),
            Self::OtherKey { name, ours, theirs } => write!(
                f,
                "the key keys/{name} below the data directory (fingerprint {ours}) is not that of the servers that use this \
                 database already ({theirs}): copy that file from one of them"
            ),
            Self::Corrupt(what) => write!(f, "the database holds what was never written to it: {what}"),
            Self::TooLarge { bytes_max } => {
                write!(
                    f,
                    "the answer would have more than {bytes_max} bytes: ask for parts of it with limit and offset"
                )
            }
            Self::PlanEnded(id) => write!(f, "Plan job {id} has already finished; start another one with plan_start"),
            Self::Conflict(why) | Self::Missing(why) => f.write_str(why),
            Self::Closed => f.write_str("the store is closed: the server is stopping"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::TooLarge { .. } => RefusalKind::ValidationError,
            StoreError::PlanEnded(_) => RefusalKind::PlanAlreadyFinished,
            StoreError::Full { .. } => RefusalKind::InsufficientStorage,
            _ => RefusalKind::UnknownError,
        };
        Refusal::new(kind, error.to_string())
    }
}
