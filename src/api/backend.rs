//! What the API asks of the orchestrator: its facade as a trait, so that the API's shapes can be tested without one.

use tokio::sync::watch;

use crate::orchestrator::classifier::Classifier;
use crate::orchestrator::dispatch::Stop;
use crate::orchestrator::graph::Graph;
use crate::orchestrator::model::{
    DeployCommand, Event, InventoryEntry, Job, JobEvent, JobId, JobQuery, Node, NodeQuery, Page, PlanCommand,
    PlanDetail, PlanEnd, PlanEvent, PlanJob, PlanJobId, PlanListing, PlanQuery, PlanShown, Refusal, Scope, Subject,
    TaskCommand, TaskDetail, TaskListing,
};
use crate::orchestrator::rbac::Rbac;
use crate::orchestrator::schedule::Schedules;
use crate::orchestrator::sources::{EnvironmentListing, Needed};
use crate::orchestrator::store::usage::UsageDay;
use crate::orchestrator::task_targets::TaskTargets;
use crate::orchestrator::webhooks::Webhooks;
use crate::orchestrator::{BrokerLink, CodeFile, NotAttached, Orchestrator};

/// The orchestrator as the API sees it. All methods may block, up to the timeouts of Puppet Server and PuppetDB.
pub trait Backend: Send + Sync + 'static {
    /// See [`Orchestrator::attach`]; does not block.
    fn attach(&self, link: BrokerLink) -> Result<(), NotAttached>;
    /// See [`Orchestrator::run_task`].
    fn run_task(&self, subject: &Subject, command: TaskCommand) -> Result<JobId, Refusal>;
    /// See [`Orchestrator::run_puppet`].
    fn run_puppet(&self, subject: &Subject, command: DeployCommand) -> Result<JobId, Refusal>;
    /// See [`Orchestrator::plan_puppet`].
    fn plan_puppet(&self, subject: &Subject, command: &DeployCommand) -> Result<Vec<Vec<String>>, Refusal>;
    /// See [`Orchestrator::graph`].
    fn graph(&self, environment: &str) -> Result<Graph, Refusal>;
    /// See [`Orchestrator::stop_job`].
    fn stop_job(&self, subject: &Subject, id: JobId, stop: Stop) -> Result<Job, Refusal>;
    /// See [`Orchestrator::jobs`].
    fn jobs(&self, query: &JobQuery) -> Result<Page<Job>, Refusal>;
    /// See [`Orchestrator::job`].
    fn job(&self, id: JobId) -> Result<Job, Refusal>;
    /// See [`Orchestrator::nodes`].
    fn nodes(&self, id: JobId, query: &NodeQuery) -> Result<Page<Node>, Refusal>;
    /// See [`Orchestrator::events`].
    fn events(&self, id: JobId, start: i64) -> Result<(Vec<Event>, i64), Refusal>;
    /// See [`Orchestrator::start_plan`].
    fn start_plan(&self, subject: &Subject, command: PlanCommand) -> Result<PlanJobId, Refusal>;
    /// See [`Orchestrator::finish_plan`].
    fn finish_plan(&self, subject: &Subject, end: PlanEnd) -> Result<(), Refusal>;
    /// See [`Orchestrator::plan_jobs`].
    fn plan_jobs(&self, query: &PlanQuery) -> Result<Page<PlanJob>, Refusal>;
    /// See [`Orchestrator::plan_job`].
    fn plan_job(&self, id: PlanJobId) -> Result<PlanDetail, Refusal>;
    /// See [`Orchestrator::plan_events`].
    fn plan_events(&self, id: PlanJobId, start: i64) -> Result<(Vec<PlanEvent>, i64), Refusal>;
    /// See [`Orchestrator::plan_event`].
    fn plan_event(&self, id: PlanJobId, event: i64) -> Result<PlanEvent, Refusal>;
    /// See [`Orchestrator::needs`]; does not block.
    fn needs(&self, scope: Option<&Scope>) -> Vec<Needed>;
    /// See [`Orchestrator::needs_of`].
    fn needs_of(&self, _subject: &Subject, _task: Option<&str>, scope: &Scope) -> Result<Vec<Needed>, Refusal> {
        Ok(self.needs(Some(scope)))
    }
    /// See [`Orchestrator::environments`].
    fn environments(&self) -> Result<Vec<EnvironmentListing>, Refusal>;
    /// See [`Orchestrator::environment`].
    fn environment(&self, name: &str) -> Result<EnvironmentListing, Refusal>;
    /// See [`Orchestrator::tasks`].
    fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal>;
    /// See [`Orchestrator::task`].
    fn task(&self, environment: &str, module: &str, name: &str) -> Result<TaskDetail, Refusal>;
    /// See [`Orchestrator::plans`].
    fn plans(&self, environment: &str) -> Result<Vec<PlanListing>, Refusal>;
    /// See [`Orchestrator::plan`].
    fn plan(&self, environment: &str, module: &str, name: &str) -> Result<PlanShown, Refusal>;
    /// See [`Orchestrator::inventory`].
    fn inventory(&self) -> Vec<InventoryEntry>;
    /// See [`Orchestrator::inventory_of`].
    fn inventory_of(&self, names: &[String]) -> Vec<InventoryEntry>;
    /// See [`Orchestrator::classifier`].
    fn classifier(&self) -> Result<&Classifier, String>;
    /// See [`Orchestrator::task_targets`].
    fn task_targets(&self) -> &TaskTargets;
    /// See [`Orchestrator::code_file`].
    fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal>;
    /// See [`Orchestrator::events_from`].
    fn events_from(&self, job: Option<JobId>, start: i64, events: u32) -> Result<Vec<JobEvent>, Refusal>;
    /// See [`Orchestrator::last_event`].
    fn last_event(&self) -> Result<i64, Refusal>;
    /// Wakes when there may be more events; does not block.
    fn listen(&self) -> watch::Receiver<u64>;
    /// See [`Orchestrator::webhooks`].
    fn webhooks(&self) -> &Webhooks;
    /// See [`Orchestrator::schedules`].
    fn schedules(&self) -> &Schedules;
    /// See [`Orchestrator::usage`].
    fn usage(&self, first: i64, last: i64) -> Result<Vec<UsageDay>, Refusal>;
    /// Users, roles, tokens.
    fn rbac(&self) -> &Rbac;
}

impl Backend for Orchestrator {
    fn attach(&self, link: BrokerLink) -> Result<(), NotAttached> {
        Orchestrator::attach(self, link)
    }

    fn run_task(&self, subject: &Subject, command: TaskCommand) -> Result<JobId, Refusal> {
        Orchestrator::run_task(self, subject, command)
    }

    fn run_puppet(&self, subject: &Subject, command: DeployCommand) -> Result<JobId, Refusal> {
        Orchestrator::run_puppet(self, subject, command)
    }

    fn plan_puppet(&self, subject: &Subject, command: &DeployCommand) -> Result<Vec<Vec<String>>, Refusal> {
        Orchestrator::plan_puppet(self, subject, command)
    }

    fn graph(&self, environment: &str) -> Result<Graph, Refusal> {
        Orchestrator::graph(self, environment)
    }

    fn stop_job(&self, subject: &Subject, id: JobId, stop: Stop) -> Result<Job, Refusal> {
        Orchestrator::stop_job(self, subject, id, stop)
    }

    fn jobs(&self, query: &JobQuery) -> Result<Page<Job>, Refusal> {
        Orchestrator::jobs(self, query)
    }

    fn job(&self, id: JobId) -> Result<Job, Refusal> {
        Orchestrator::job(self, id)
    }

    fn nodes(&self, id: JobId, query: &NodeQuery) -> Result<Page<Node>, Refusal> {
        Orchestrator::nodes(self, id, query)
    }

    fn events(&self, id: JobId, start: i64) -> Result<(Vec<Event>, i64), Refusal> {
        Orchestrator::events(self, id, start)
    }

    fn start_plan(&self, subject: &Subject, command: PlanCommand) -> Result<PlanJobId, Refusal> {
        Orchestrator::start_plan(self, subject, command)
    }

    fn finish_plan(&self, subject: &Subject, end: PlanEnd) -> Result<(), Refusal> {
        Orchestrator::finish_plan(self, subject, end)
    }

    fn plan_jobs(&self, query: &PlanQuery) -> Result<Page<PlanJob>, Refusal> {
        Orchestrator::plan_jobs(self, query)
    }

    fn plan_job(&self, id: PlanJobId) -> Result<PlanDetail, Refusal> {
        Orchestrator::plan_job(self, id)
    }

    fn plan_events(&self, id: PlanJobId, start: i64) -> Result<(Vec<PlanEvent>, i64), Refusal> {
        Orchestrator::plan_events(self, id, start)
    }

    fn plan_event(&self, id: PlanJobId, event: i64) -> Result<PlanEvent, Refusal> {
        Orchestrator::plan_event(self, id, event)
    }

    fn needs(&self, scope: Option<&Scope>) -> Vec<Needed> {
        Orchestrator::needs(self, scope)
    }

    fn needs_of(&self, subject: &Subject, task: Option<&str>, scope: &Scope) -> Result<Vec<Needed>, Refusal> {
        Orchestrator::needs_of(self, subject, task, scope)
    }

    fn environments(&self) -> Result<Vec<EnvironmentListing>, Refusal> {
        Orchestrator::environments(self)
    }

    fn environment(&self, name: &str) -> Result<EnvironmentListing, Refusal> {
        Orchestrator::environment(self, name)
    }

    fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal> {
        Orchestrator::tasks(self, environment)
    }

    fn task(&self, environment: &str, module: &str, name: &str) -> Result<TaskDetail, Refusal> {
        Orchestrator::task(self, environment, module, name)
    }

    fn plans(&self, environment: &str) -> Result<Vec<PlanListing>, Refusal> {
        Orchestrator::plans(self, environment)
    }

    fn plan(&self, environment: &str, module: &str, name: &str) -> Result<PlanShown, Refusal> {
        Orchestrator::plan(self, environment, module, name)
    }

    fn inventory(&self) -> Vec<InventoryEntry> {
        Orchestrator::inventory(self)
    }

    fn inventory_of(&self, names: &[String]) -> Vec<InventoryEntry> {
        Orchestrator::inventory_of(self, names)
    }

    fn classifier(&self) -> Result<&Classifier, String> {
        Orchestrator::classifier(self)
    }

    fn task_targets(&self) -> &TaskTargets {
        Orchestrator::task_targets(self)
    }

    fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal> {
        Orchestrator::code_file(self, environment, mount_path)
    }

    fn events_from(&self, job: Option<JobId>, start: i64, events: u32) -> Result<Vec<JobEvent>, Refusal> {
        Orchestrator::events_from(self, job, start, events)
    }

    fn last_event(&self) -> Result<i64, Refusal> {
        Orchestrator::last_event(self)
    }

    fn listen(&self) -> watch::Receiver<u64> {
        Orchestrator::bell(self).listen()
    }

    fn webhooks(&self) -> &Webhooks {
        Orchestrator::webhooks(self)
    }

    fn schedules(&self) -> &Schedules {
        Orchestrator::schedules(self)
    }

    fn usage(&self, first: i64, last: i64) -> Result<Vec<UsageDay>, Refusal> {
        Orchestrator::usage(self, first, last)
    }

    fn rbac(&self) -> &Rbac {
        Orchestrator::rbac(self)
    }
}
