//! The orchestrator: accepts commands, commits them, runs them on agents through brokers, keeps what came of it. It is a
//! PCP client like any other; its link to a broker is a pair of [`crate::link::Port`]s.

pub mod concurrency;
pub mod events;
pub mod inventory;
pub mod model;
pub mod rbac;
pub mod scope;
pub mod sources;
pub mod store;
pub mod tasks;

use std::sync::Arc;

use bytes::Bytes;

use crate::config::settings::OrchestratorSettings;
use crate::link::Port;
use model::{
    Event, InventoryEntry, Job, JobId, JobQuery, Node, NodeQuery, Page, Refusal, Subject, TaskCommand, TaskDetail,
    TaskListing,
};

/// The orchestrator's handle; cheap to clone. All methods block (on the store or on files), none for long: call them
/// from a blocking context.
#[derive(Clone)]
pub struct Orchestrator {
    #[expect(dead_code, reason = "contract only, the implementation follows")]
    inner: Arc<()>,
}

/// A file that agents may download.
#[derive(Debug)]
pub struct CodeFile {
    /// Open for reading.
    pub file: std::fs::File,
    /// Its length in bytes.
    pub length: u64,
}

/// The broker side of the link: how the orchestrator reaches a broker and how that broker reaches it.
pub struct BrokerLink {
    /// URI of the broker, for the inventory: `pcp://<certname>/server`.
    pub broker_uri: String,
    /// Takes the orchestrator's messages.
    pub to_broker: Box<dyn Port>,
    /// Messages from the broker.
    pub from_broker: crossbeam_channel::Receiver<Bytes>,
}

impl Orchestrator {
    /// Opens the store, recovers what was running, and starts the dispatcher on threads of its own. `uri` is the
    /// orchestrator's own PCP URI on the link, the `sender` of its messages.
    pub fn start(_settings: &OrchestratorSettings, _uri: &str, _links: Vec<BrokerLink>) -> Result<Self, Refusal> {
        todo!()
    }

    /// Accepts a task job; what it returns is committed and survives a crash.
    pub fn run_task(&self, _subject: &Subject, _command: TaskCommand) -> Result<JobId, Refusal> {
        todo!()
    }

    /// A slice of all jobs.
    pub fn jobs(&self, _query: &JobQuery) -> Result<Page<Job>, Refusal> {
        todo!()
    }

    /// One job.
    pub fn job(&self, _id: JobId) -> Result<Job, Refusal> {
        todo!()
    }

    /// Nodes of a job.
    pub fn nodes(&self, _id: JobId, _query: &NodeQuery) -> Result<Page<Node>, Refusal> {
        todo!()
    }

    /// Events of a job from number `start` on, and the number to ask for next.
    pub fn events(&self, _id: JobId, _start: i64) -> Result<(Vec<Event>, i64), Refusal> {
        todo!()
    }

    /// The tasks of an environment, private ones included, sorted by name.
    pub fn tasks(&self, _environment: &str) -> Result<Vec<TaskListing>, Refusal> {
        todo!()
    }

    /// One task; `name` is `init` for the module's own.
    pub fn task(&self, _environment: &str, _module: &str, _name: &str) -> Result<TaskDetail, Refusal> {
        todo!()
    }

    /// All nodes that brokers have ever reported, sorted by name.
    pub fn inventory(&self) -> Vec<InventoryEntry> {
        todo!()
    }

    /// The asked nodes, in the order asked, unknown ones as not connected.
    pub fn inventory_of(&self, _names: &[String]) -> Vec<InventoryEntry> {
        todo!()
    }

    /// A file by Puppet Server's mounts: `tasks/<module>/<file>`, `modules/<module>/<path>`, `plugins/<path>`,
    /// `scripts/<module>/<path>`. `None` if there is no such file; refusals are `unknown-environment` and
    /// `validation-error` (a path that leaves its mount).
    pub fn code_file(&self, _environment: &str, _mount_path: &str) -> Result<Option<CodeFile>, Refusal> {
        todo!()
    }

    /// Users and tokens.
    pub fn rbac(&self) -> &rbac::Rbac {
        todo!()
    }

    /// Stops the threads after what is acknowledged has been written.
    pub fn stop(&self) {
        todo!()
    }
}
