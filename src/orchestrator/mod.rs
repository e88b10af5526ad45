//! The orchestrator: accepts commands, commits them, runs them on agents through brokers, keeps what came of it. It is a
//! PCP client like any other; its link to a broker is a pair of [`crate::link::Port`]s. LIFECYCLE.md walks through a job.

pub mod concurrency;
pub mod dispatch;
pub mod events;
pub mod inventory;
mod jobs;
pub mod model;
pub mod rbac;
pub mod scope;
pub mod sources;
pub mod store;
pub mod tasks;
#[cfg(test)]
pub(crate) mod tests;
pub mod vault;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use crossbeam_channel::{Sender, TrySendError};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::settings::OrchestratorSettings;
use crate::limits::DISPATCH_COMMANDS_MAX;
use crate::link::Port;
use dispatch::{Command, DispatchSettings, Dispatcher, Driver, DriverParts};
use inventory::{Inventory, LinkedBroker};
use model::{
    Event, InventoryEntry, Job, JobId, JobQuery, Node, NodeQuery, Page, Refusal, RefusalKind, Subject, TaskCommand,
    TaskDetail, TaskListing,
};
use rbac::Rbac;
use sources::code_dir::CodeDir;
use store::sqlite::SqliteStore;
use store::{Store, StoreError};
use vault::Vault;

/// The orchestrator's handle; cheap to clone. All methods block (on the store or on files), none for long: call them
/// from a blocking context.
#[derive(Clone)]
pub struct Orchestrator {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    vault: Vault,
    code_dir: CodeDir,
    rbac: Rbac,
    inventory: Arc<RwLock<Inventory>>,
    default_timeout: Option<u64>,
    commands: Sender<Command>,
    unfinished_nodes: Arc<AtomicUsize>,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

/// A file that agents may download.
#[derive(Debug)]
pub struct CodeFile {
    /// Open for reading.
    pub file: std::fs::File,
    /// Its length in bytes.
    pub length: u64,
}

/// The broker side of the link: how the orchestrator reaches a broker and how that broker reaches it. The link is gone
/// once `from_broker` is disconnected and empty.
pub struct BrokerLink {
    /// URI of the broker, for the inventory: `pcp://<certname>/server`.
    pub broker_uri: String,
    /// Takes the orchestrator's messages.
    pub to_broker: Box<dyn Port>,
    /// Messages from the broker.
    pub from_broker: crossbeam_channel::Receiver<Bytes>,
}

impl fmt::Debug for BrokerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerLink").field("broker_uri", &self.broker_uri).finish_non_exhaustive()
    }
}

/// Why a link was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAttached {
    /// Too much waits for the dispatcher; another attempt may work.
    Busy,
    /// The dispatcher has stopped.
    Stopped,
}

impl Orchestrator {
    /// Opens the store, recovers what was running, and starts the dispatcher on threads of its own. `links` are the
    /// brokers that are there from the start.
    pub fn start(settings: &OrchestratorSettings, links: Vec<BrokerLink>) -> Result<Self, Refusal> {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&settings.data_dir)?);
        let vault = Vault::open(&settings.data_dir)?;
        let rbac = Rbac::open(store.clone(), settings)?;
        let inventory = Arc::new(RwLock::new(Inventory::new(store.known_nodes()?)));
        let recovered = jobs::recover(&*store, &vault)?;
        let nodes: usize = recovered.iter().map(|accepted| accepted.job.nodes.len()).sum();
        if nodes > 0 {
            tracing::info!(jobs = recovered.len(), nodes, "goes on with jobs from before the start");
        }
        let unfinished_nodes = Arc::new(AtomicUsize::new(nodes));
        let clock = Clock::start();
        let dispatch = DispatchSettings {
            concurrency: settings.task_concurrency,
            allowed_status_requests: settings.allowed_status_requests,
            status_interval: settings.status_interval,
        };
        let (commands, queue) = crossbeam_channel::bounded(DISPATCH_COMMANDS_MAX);
        let dispatcher = Dispatcher::new(dispatch, inventory.clone(), Box::new(Uuid::new_v4), clock.now());
        let thread = Driver::spawn(DriverParts {
            dispatcher,
            recovered,
            store: store.clone(),
            links,
            commands: queue,
            clock,
            unfinished_nodes: unfinished_nodes.clone(),
        })
        .map_err(|error| {
            Refusal::new(RefusalKind::UnknownError, format!("the dispatcher's thread cannot be started: {error}"))
        })?;
        let inner = Inner {
            store,
            vault,
            code_dir: CodeDir::new(&settings.code_dir),
            rbac,
            inventory,
            default_timeout: settings.default_task_timeout.map(|timeout| timeout.as_secs()),
            commands,
            unfinished_nodes,
            dispatcher: Mutex::new(Some(thread)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes a link to a broker that has come up, at any time and without blocking. A link of the same broker that is
    /// still up is replaced: nothing is sent over it any more, and what still comes over it counts.
    pub fn attach(&self, link: BrokerLink) -> Result<(), NotAttached> {
        self.inner.commands.try_send(Command::Attach(link)).map_err(|error| match error {
            TrySendError::Full(_) => NotAttached::Busy,
            TrySendError::Disconnected(_) => NotAttached::Stopped,
        })
    }

    /// The brokers that are linked.
    pub fn brokers(&self) -> Vec<LinkedBroker> {
        self.inner.inventory.read().unwrap_or_else(PoisonError::into_inner).brokers()
    }

    /// Accepts a task job; what it returns is committed and survives a crash.
    pub fn run_task(&self, subject: &Subject, command: TaskCommand) -> Result<JobId, Refusal> {
        if !self.is_dispatching() {
            let message = "No job is accepted because nothing would come of it: the dispatcher has stopped. The server's log \
                           says why; restart the server once that is mended.";
            return Err(Refusal::new(RefusalKind::UnknownError, message));
        }
        jobs::run_task(&self.inner, subject, command)
    }

    /// A slice of all jobs.
    pub fn jobs(&self, query: &JobQuery) -> Result<Page<Job>, Refusal> {
        Ok(self.inner.store.jobs(query)?)
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Result<Job, Refusal> {
        known(id, self.inner.store.job(id))
    }

    /// Nodes of a job.
    pub fn nodes(&self, id: JobId, query: &NodeQuery) -> Result<Page<Node>, Refusal> {
        known(id, self.inner.store.nodes(id, query))
    }

    /// Events of a job from number `start` on, and the number to ask for next. Long lists come in parts of at most
    /// [`crate::limits::EVENTS_PAGE_MAX`].
    pub fn events(&self, id: JobId, start: i64) -> Result<(Vec<Event>, i64), Refusal> {
        let events = known(id, self.inner.store.events(id, start))?;
        let next = events.last().map_or(start, |last| last.id + 1);
        Ok((events, next))
    }

    /// The tasks of an environment, private ones included, sorted by name.
    pub fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal> {
        let environment = self.inner.code_dir.environment(environment)?;
        Ok(self.inner.code_dir.tasks(&environment))
    }

    /// One task; `name` is `init` for the module's own.
    pub fn task(&self, environment: &str, module: &str, name: &str) -> Result<TaskDetail, Refusal> {
        let environment = self.inner.code_dir.environment(environment)?;
        self.inner.code_dir.task(&environment, module, name).map(|(detail, _)| detail)
    }

    /// All nodes that brokers have ever reported, sorted by name.
    pub fn inventory(&self) -> Vec<InventoryEntry> {
        self.inner.inventory.read().unwrap_or_else(PoisonError::into_inner).entries()
    }

    /// The asked nodes, in the order asked, unknown ones as not connected.
    pub fn inventory_of(&self, names: &[String]) -> Vec<InventoryEntry> {
        let inventory = self.inner.inventory.read().unwrap_or_else(PoisonError::into_inner);
        names.iter().map(|name| inventory.entry(name)).collect()
    }

    /// A file by Puppet Server's mounts: `tasks/<module>/<file>`, `modules/<module>/<path>`, `plugins/<path>`,
    /// `scripts/<module>/<path>`. `None` if there is no such file; refusals are `unknown-environment` and
    /// `validation-error` (a path that leaves its mount).
    pub fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal> {
        let environment = self.inner.code_dir.environment(environment)?;
        self.inner.code_dir.code_file(&environment, mount_path)
    }

    /// Users and tokens.
    pub fn rbac(&self) -> &Rbac {
        &self.inner.rbac
    }

    /// Whether the dispatcher runs. It stops by itself only if the store fails, and the log says why.
    pub fn is_dispatching(&self) -> bool {
        let thread = self.inner.dispatcher.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops the threads after what is acknowledged has been written. Later commands are refused; jobs go on at the
    /// next start.
    pub fn stop(&self) {
        // A dispatcher that has stopped by itself takes no command.
        let _ = self.inner.commands.send(Command::Stop);
        let thread = self.inner.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
        self.inner.store.close();
    }
}

fn known<T>(id: JobId, found: Result<Option<T>, StoreError>) -> Result<T, Refusal> {
    found?.ok_or_else(|| Refusal::new(RefusalKind::UnknownJob, format!("Unknown job {id}")).with("job", id.to_string()))
}
