//! The orchestrator: accepts commands, commits them, runs them on agents through brokers, keeps what came of it. It is a
//! PCP client like any other; its link to a broker is a pair of [`crate::link::Port`]s. LIFECYCLE.md walks through a job.

pub mod backup;
pub mod bell;
pub mod classifier;
pub mod concurrency;
pub mod disk;
pub mod dispatch;
pub mod events;
pub mod facts;
pub mod graph;
pub mod inventory;
mod jobs;
pub mod model;
mod permitted;
mod plan_jobs;
pub mod plans;
pub mod puppet_run;
pub mod query;
pub mod rbac;
pub mod reports;
pub mod schedule;
mod scope;
pub mod sources;
mod start;
pub mod store;
mod takeover;
pub mod targets;
pub mod task_targets;
pub mod tasks;
#[cfg(test)]
pub(crate) mod tests;
mod upkeep;
pub mod usage;
pub mod vault;
pub mod webhooks;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use crossbeam_channel::{Sender, TrySendError};

use crate::link::Port;
use bell::Bell;
use classifier::Classifier;
use disk::Disk;
use dispatch::{Command, Stop};
use graph::{Graph, Graphs};
use inventory::{Inventory, LinkedBroker};
use model::{
    DeployCommand, Event, InventoryEntry, Job, JobEvent, JobId, JobQuery, Node, NodeQuery, Page, PlanCommand,
    PlanDetail, PlanEnd, PlanEvent, PlanJob, PlanJobId, PlanListing, PlanQuery, PlanShown, Refusal, RefusalKind, Scope,
    Subject, TaskCommand, TaskDetail, TaskListing,
};
use rbac::Rbac;
use schedule::Schedules;
use sources::classifier::ClassifierService;
use sources::puppetdb::PuppetDb;
use sources::{EnvironmentListing, Needed, Source};
use store::usage::UsageDay;
use store::{Store, StoreError};
use takeover::Takeover;
use targets::Targets;
use task_targets::TaskTargets;
use upkeep::Upkeep;
use usage::Usage;
use vault::Vault;
use webhooks::Webhooks;

/// The orchestrator's handle; cheap to clone. All methods block (on the store, on files, or on Puppet Server and PuppetDB
/// up to their timeouts): call them from a blocking context.
#[derive(Clone)]
pub struct Orchestrator {
    inner: Arc<Inner>,
    schedules: Arc<Schedules>,
}

struct Inner {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    source: Source,
    puppetdb: Option<Arc<PuppetDb>>,
    /// Where node groups are, if they are elsewhere.
    classifier_elsewhere: Option<Arc<ClassifierService>>,
    rbac: Rbac,
    classifier: Arc<Classifier>,
    graphs: Graphs,
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
    upkeep: Mutex<Option<(Upkeep, Takeover, Usage)>>,
    disk: Arc<Disk>,
    bell: Arc<Bell>,
    webhooks: Webhooks,
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

    /// In which order such a job would go through its nodes, in levels; nothing is run.
    pub fn plan_puppet(&self, subject: &Subject, command: &DeployCommand) -> Result<Vec<Vec<String>>, Refusal> {
        jobs::plan_puppet(&self.inner, subject, command)
    }

    /// Stops a job; what it returns is committed and survives a crash. The job is as it stands right after that.
    pub fn stop_job(&self, subject: &Subject, id: JobId, stop: Stop) -> Result<Job, Refusal> {
        jobs::stop(&self.inner, subject, id, stop)
    }

    /// Starts a plan job of a plan that runs elsewhere.
    pub fn start_plan(&self, subject: &Subject, command: PlanCommand) -> Result<PlanJobId, Refusal> {
        self.inner.disk.check()?;
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
            return self.inner.disk.check();
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
        let mut page = known(id, self.inner.store.nodes(id, query))?;
        if let Some(puppetdb) = &self.inner.puppetdb
            && page.items.iter().any(|node| reports::transaction_in(&node.details).is_some())
        {
            reports::add(&mut page.items, &self.inner.store.reports(id)?, |hash| puppetdb.report_url(hash));
        }
        Ok(page)
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
        let puppetdb = match scope {
            Some(Scope::Query(_)) => self.inner.puppetdb.is_some(),
            Some(Scope::NodeGroup(_)) => self.inner.puppetdb.is_some() || self.inner.classifier_elsewhere.is_some(),
            Some(Scope::Nodes(_)) | None => false,
        };
        let puppet_server = matches!(self.inner.source, Source::PuppetServer(_));
        let needed = [(Needed::PuppetDb, puppetdb), (Needed::PuppetServer, puppet_server)];
        needed.into_iter().filter_map(|(service, is_needed)| is_needed.then_some(service)).collect()
    }

    /// The same for a command of a user, whose permissions may be limited by what only PuppetDB knows.
    pub fn needs_of(&self, subject: &Subject, task: Option<&str>, scope: &Scope) -> Result<Vec<Needed>, Refusal> {
        let mut needs = self.needs(Some(scope));
        if let Some(task) = task
            && self.inner.puppetdb.is_some()
            && !needs.contains(&Needed::PuppetDb)
            && self.inner.rbac.is_limited_by_questions(subject, task)?
        {
            needs.insert(0, Needed::PuppetDb);
        }
        Ok(needs)
    }

    /// All environments, sorted by name.
    pub fn environments(&self) -> Result<Vec<EnvironmentListing>, Refusal> {
        self.inner.source.environments()
    }

    /// One environment.
    pub fn environment(&self, name: &str) -> Result<EnvironmentListing, Refusal> {
        self.inner.source.environment(name)
    }

    /// The graph of an environment.
    pub fn graph(&self, environment: &str) -> Result<Graph, Refusal> {
        self.inner.source.environment(environment)?;
        self.inner.graphs.graph(&self.inner.source, environment)
    }

    /// The services that are configured, by their keys in the status, and whether they were there when they were last
    /// looked at; does not block.
    pub fn services_up(&self) -> Vec<(&'static str, bool)> {
        let puppet_server = self.inner.source.puppet_server_is_up().map(|up| ("puppetserver_up", up));
        let puppetdb = self.inner.puppetdb.as_ref().map(|puppetdb| ("puppetdb_up", puppetdb.is_up()));
        let classifier = self.inner.classifier_elsewhere.as_ref().map(|elsewhere| ("classifier_up", elsewhere.is_up()));
        puppet_server.into_iter().chain(puppetdb).chain(classifier).collect()
    }

    /// The tasks of an environment, private ones included, sorted by name.
    pub fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal> {
        self.inner.source.tasks(environment)
    }

    /// One task; `name` is `init` for the module's own.
    pub fn task(&self, environment: &str, module: &str, name: &str) -> Result<TaskDetail, Refusal> {
        self.inner.source.task(environment, module, name).map(|task| task.detail)
    }

    /// The plans of an environment, private and broken ones included.
    pub fn plans(&self, environment: &str) -> Result<Vec<PlanListing>, Refusal> {
        self.inner.source.plans(environment)
    }

    /// One plan; `name` is `init` for the module's own.
    pub fn plan(&self, environment: &str, module: &str, name: &str) -> Result<PlanShown, Refusal> {
        self.inner.source.plan(environment, module, name)
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

    /// Groups of nodes, or the URL at which they are.
    pub fn classifier(&self) -> Result<&Classifier, String> {
        self.inner.classifier_elsewhere.as_ref().map_or(Ok(&self.inner.classifier), |elsewhere| Err(elsewhere.url()))
    }

    /// From scopes to nodes.
    pub fn targets(&self) -> &Targets {
        &self.inner.targets
    }

    /// Tasks and nodes for roles.
    pub fn task_targets(&self) -> &TaskTargets {
        &self.inner.task_targets
    }

    /// Scheduled jobs.
    pub fn schedules(&self) -> &Schedules {
        &self.schedules
    }

    /// Figures of the days from `first` to `last`, counted from 1970-01-01.
    pub fn usage(&self, first: i64, last: i64) -> Result<Vec<UsageDay>, Refusal> {
        Ok(self.inner.store.usage(first, last)?)
    }

    /// Whether the dispatcher runs. It stops by itself only if the store fails, and the log says why.
    pub fn is_dispatching(&self) -> bool {
        self.inner.is_dispatching()
    }

    /// Room for what is stored.
    pub fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    /// Rings when events have been stored.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.inner.bell
    }

    /// At most so many events from number `start` on, of one job or of all; see [`store::webhooks::WebhookStore`].
    pub fn events_from(&self, job: Option<JobId>, start: i64, events: u32) -> Result<Vec<JobEvent>, Refusal> {
        Ok(self.inner.store.events_from(job, start, events)?)
    }

    /// The number of the newest event.
    pub fn last_event(&self) -> Result<i64, Refusal> {
        Ok(self.inner.store.last_event()?)
    }

    /// Who is told of events.
    pub fn webhooks(&self) -> &Webhooks {
        &self.inner.webhooks
    }

    /// Why this server may write nothing any more, if another one on the same database has taken its place.
    pub fn fenced(&self) -> Option<String> {
        self.inner.store.fenced()
    }

    /// Stops the threads after what is acknowledged has been written. Later commands are refused; jobs go on at the
    /// next start.
    pub fn stop(&self) {
        self.schedules.stop();
        // Before the dispatcher: what is taken over would be left again.
        drop(self.inner.upkeep.lock().unwrap_or_else(PoisonError::into_inner).take());
        // A dispatcher that has stopped by itself takes no command.
        let _ = self.inner.commands.send(Command::Quit);
        let thread = self.inner.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
        self.inner.webhooks.stop();
        self.inner.store.close();
    }
}

impl Inner {
    fn is_dispatching(&self) -> bool {
        let thread = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

fn known<T>(id: JobId, found: Result<Option<T>, StoreError>) -> Result<T, Refusal> {
    found?.ok_or_else(|| Refusal::new(RefusalKind::UnknownJob, format!("Unknown job {id}")).with("job", id.to_string()))
}
