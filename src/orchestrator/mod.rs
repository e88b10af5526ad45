//! The orchestrator: accepts commands, commits them, runs them on agents through brokers, keeps what came of it. It is a
//! PCP client like any other; its link to a broker is a pair of [`crate::link::Port`]s. LIFECYCLE.md walks through a job.

pub mod backup;
pub mod classifier;
pub mod concurrency;
pub mod dispatch;
pub mod events;
pub mod facts;
pub mod inventory;
mod jobs;
pub mod model;
mod plan_jobs;
pub mod puppet_run;
pub mod query;
pub mod rbac;
mod scope;
pub mod sources;
pub mod store;
mod takeover;
pub mod targets;
pub mod task_targets;
pub mod tasks;
#[cfg(test)]
pub(crate) mod tests;
mod upkeep;
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
use classifier::Classifier;
use dispatch::{Command, DispatchSettings, Dispatcher, Driver, DriverParts, Stop};
use inventory::{Inventory, LinkedBroker};
use model::{
    DeployCommand, Event, InventoryEntry, Job, JobId, JobQuery, Node, NodeQuery, Page, PlanCommand, PlanDetail,
    PlanEnd, PlanEvent, PlanJob, PlanJobId, PlanQuery, Refusal, RefusalKind, Scope, Subject, TaskCommand, TaskDetail,
    TaskListing,
};
use rbac::Rbac;
use sources::puppetdb::PuppetDb;
use sources::service::Identity;
use sources::{EnvironmentListing, Needed, Source};
use store::{Store, StoreError};
use takeover::{Takeover, TakeoverParts};
use targets::{NodeGroups, Targets};
use task_targets::TaskTargets;
use upkeep::Upkeep;
use vault::Vault;

/// The orchestrator's handle; cheap to clone. All methods block (on the store, on files, or on Puppet Server and PuppetDB
/// up to their timeouts): call them from a blocking context.
#[derive(Clone)]
pub struct Orchestrator {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    source: Source,
    puppetdb: Option<Arc<PuppetDb>>,
    rbac: Rbac,
    classifier: Arc<Classifier>,
    targets: Targets,
    task_targets: TaskTargets,
    inventory: Arc<RwLock<Inventory>>,
    default_task_timeout: Option<u64>,
    default_deploy_timeout: Option<u64>,
    commands: Sender<Command>,
    /// Held for reading from before a job is stored until the dispatcher has it, so that whoever holds it for writing
    /// knows that the dispatcher has every job that is stored.
    handing_over: RwLock<()>,
    unfinished_nodes: Arc<AtomicUsize>,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
    upkeep: Mutex<Option<(Upkeep, Takeover)>>,
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
    /// Opens the store, recovers what was running, and starts the dispatcher on threads of its own. Puppet Server and
    /// PuppetDB are asked as `identity`; `links` are the brokers that are there from the start.
    pub fn start(
        settings: &OrchestratorSettings,
        identity: &Identity,
        links: Vec<BrokerLink>,
    ) -> Result<Self, Refusal> {
        let store = store::open(settings, &identity.name, &identity.tls)?;
        let vault = Arc::new(Vault::open(&settings.data_dir)?);
        store.check_key(vault::KEY, &vault.fingerprint())?;
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
            task_concurrency: settings.task_concurrency,
            deploy_concurrency: settings.deploy_concurrency,
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
        .map_err(not_started("the dispatcher's thread"))?;
        let upkeep =
            Upkeep::start(store.clone(), settings.keep_jobs).map_err(not_started("the thread for old jobs"))?;
        let takeover = Takeover::start(TakeoverParts {
            store: store.clone(),
            vault: vault.clone(),
            commands: commands.clone(),
            unfinished_nodes: unfinished_nodes.clone(),
        })
        .map_err(not_started("the thread for other servers"))?;
        let puppetdb = settings.puppetdb.clone().map(|puppetdb| Arc::new(PuppetDb::new(puppetdb, identity.clone())));
        let classifier = Arc::new(Classifier::new(store.clone()));
        let groups = NodeGroups::Embedded(classifier.clone());
        let queries = puppetdb.clone().map(|puppetdb| -> Arc<dyn targets::NodeQuery> { puppetdb });
        let inner = Inner {
            targets: Targets::new(inventory.clone(), store.clone(), groups, queries),
            task_targets: TaskTargets::new(store.clone()),
            classifier,
            store,
            vault,
            source: Source::new(settings, identity),
            puppetdb,
            rbac,
            inventory,
            default_task_timeout: settings.default_task_timeout.map(|timeout| timeout.as_secs()),
            default_deploy_timeout: settings.default_deploy_timeout.map(|timeout| timeout.as_secs()),
            commands,
            handing_over: RwLock::new(()),
            unfinished_nodes,
            dispatcher: Mutex::new(Some(thread)),
            upkeep: Mutex::new(Some((upkeep, takeover))),
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
        self.check_dispatching()?;
        jobs::run_task(&self.inner, subject, command)
    }

    /// Accepts a job that runs Puppet; what it returns is committed and survives a crash.
    pub fn run_puppet(&self, subject: &Subject, command: DeployCommand) -> Result<JobId, Refusal> {
        self.check_dispatching()?;
        jobs::run_puppet(&self.inner, subject, command)
    }

    /// Stops a job; what it returns is committed and survives a crash. The job is as it stands right after that.
    pub fn stop_job(&self, subject: &Subject, id: JobId, stop: Stop) -> Result<Job, Refusal> {
        jobs::stop(&self.inner, subject, id, stop)
    }

    /// Starts a plan job of a plan that runs elsewhere.
    pub fn start_plan(&self, subject: &Subject, command: PlanCommand) -> Result<PlanJobId, Refusal> {
        plan_jobs::start(&self.inner, subject, command)
    }

    /// Ends a plan job of a plan that runs elsewhere.
    pub fn finish_plan(&self, subject: &Subject, end: PlanEnd) -> Result<(), Refusal> {
        plan_jobs::finish(&self.inner, subject, end)
    }

    /// A slice of all plan jobs.
    pub fn plan_jobs(&self, query: &PlanQuery) -> Result<Page<PlanJob>, Refusal> {
        plan_jobs::list(&self.inner, query)
    }

    /// One plan job.
    pub fn plan_job(&self, id: PlanJobId) -> Result<PlanDetail, Refusal> {
        plan_jobs::show(&self.inner, id)
    }

    /// Events of a plan job from number `start` on, and the number to ask for next.
    pub fn plan_events(&self, id: PlanJobId, start: i64) -> Result<(Vec<PlanEvent>, i64), Refusal> {
        plan_jobs::events(&self.inner, id, start)
    }

    /// One event of a plan job.
    pub fn plan_event(&self, id: PlanJobId, event: i64) -> Result<PlanEvent, Refusal> {
        plan_jobs::event(&self.inner, id, event)
    }

    fn check_dispatching(&self) -> Result<(), Refusal> {
        if self.is_dispatching() {
            return Ok(());
        }
        let message = "No command is accepted because nothing would come of it: the dispatcher has stopped. The server's \
                       log says why; restart the server once that is mended.";
        Err(Refusal::new(RefusalKind::UnknownError, message))
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

    /// The services that have to be asked for anything about code, and with a scope for its nodes too, in the order in
    /// which turns at them are to be taken: whoever waits for PuppetDB holds up nobody at Puppet Server.
    pub fn needs(&self, scope: Option<&Scope>) -> Vec<Needed> {
        let is_asked = matches!(scope, Some(Scope::Query(_) | Scope::NodeGroup(_)));
        let puppetdb = is_asked && self.inner.puppetdb.is_some();
        let puppet_server = matches!(self.inner.source, Source::PuppetServer(_));
        let needed = [(Needed::PuppetDb, puppetdb), (Needed::PuppetServer, puppet_server)];
        needed.into_iter().filter_map(|(service, is_needed)| is_needed.then_some(service)).collect()
    }

    /// All environments, sorted by name.
    pub fn environments(&self) -> Result<Vec<EnvironmentListing>, Refusal> {
        self.inner.source.environments()
    }

    /// One environment.
    pub fn environment(&self, name: &str) -> Result<EnvironmentListing, Refusal> {
        self.inner.source.environment(name)
    }

    /// The services that are configured, by their keys in the status, and whether they were there when they were last
    /// looked at; does not block.
    pub fn services_up(&self) -> Vec<(&'static str, bool)> {
        let puppet_server = self.inner.source.puppet_server_is_up().map(|up| ("puppetserver_up", up));
        let puppetdb = self.inner.puppetdb.as_ref().map(|puppetdb| ("puppetdb_up", puppetdb.is_up()));
        puppet_server.into_iter().chain(puppetdb).collect()
    }

    /// The tasks of an environment, private ones included, sorted by name.
    pub fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal> {
        self.inner.source.tasks(environment)
    }

    /// One task; `name` is `init` for the module's own.
    pub fn task(&self, environment: &str, module: &str, name: &str) -> Result<TaskDetail, Refusal> {
        self.inner.source.task(environment, module, name).map(|task| task.detail)
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
    /// `scripts/<module>/<path>`. `None` if there is no such file; refusals are `unknown-environment`,
    /// `validation-error` (a path that leaves its mount), and `puppetserver-error` if agents must ask Puppet Server.
    pub fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal> {
        self.inner.source.code_file(environment, mount_path)
    }

    /// Users and tokens.
    pub fn rbac(&self) -> &Rbac {
        &self.inner.rbac
    }

    /// Groups of nodes.
    pub fn classifier(&self) -> &Classifier {
        &self.inner.classifier
    }

    /// From scopes to nodes.
    pub fn targets(&self) -> &Targets {
        &self.inner.targets
    }

    /// Tasks and nodes for roles.
    pub fn task_targets(&self) -> &TaskTargets {
        &self.inner.task_targets
    }

    /// Whether the dispatcher runs. It stops by itself only if the store fails, and the log says why.
    pub fn is_dispatching(&self) -> bool {
        let thread = self.inner.dispatcher.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Why this server may write nothing any more, if another one on the same database has taken its place.
    pub fn fenced(&self) -> Option<String> {
        self.inner.store.fenced()
    }

    /// Stops the threads after what is acknowledged has been written. Later commands are refused; jobs go on at the
    /// next start.
    pub fn stop(&self) {
        // Before the dispatcher: what is taken over would be left again.
        drop(self.inner.upkeep.lock().unwrap_or_else(PoisonError::into_inner).take());
        // A dispatcher that has stopped by itself takes no command.
        let _ = self.inner.commands.send(Command::Quit);
        let thread = self.inner.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
        self.inner.store.close();
    }
}

fn not_started(what: &'static str) -> impl Fn(std::io::Error) -> Refusal {
    move |error| Refusal::new(RefusalKind::UnknownError, format!("{what} cannot be started: {error}"))
}

fn known<T>(id: JobId, found: Result<Option<T>, StoreError>) -> Result<T, Refusal> {
    found?.ok_or_else(|| Refusal::new(RefusalKind::UnknownJob, format!("Unknown job {id}")).with("job", id.to_string()))
}
