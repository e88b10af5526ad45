//! What the API asks of the orchestrator: its facade as a trait, so that the API's shapes can be tested without one.

use crate::orchestrator::model::{
    Event, InventoryEntry, Job, JobId, JobQuery, Node, NodeQuery, Page, Refusal, Subject, TaskCommand, TaskDetail,
    TaskListing,
};
use crate::orchestrator::rbac::Rbac;
use crate::orchestrator::{BrokerLink, CodeFile, NotAttached, Orchestrator};

/// The orchestrator as the API sees it. All methods may block, none for long.
pub trait Backend: Send + Sync + 'static {
    /// See [`Orchestrator::attach`]; does not block.
    fn attach(&self, link: BrokerLink) -> Result<(), NotAttached>;
    /// See [`Orchestrator::run_task`].
    fn run_task(&self, subject: &Subject, command: TaskCommand) -> Result<JobId, Refusal>;
    /// See [`Orchestrator::jobs`].
    fn jobs(&self, query: &JobQuery) -> Result<Page<Job>, Refusal>;
    /// See [`Orchestrator::job`].
    fn job(&self, id: JobId) -> Result<Job, Refusal>;
    /// See [`Orchestrator::nodes`].
    fn nodes(&self, id: JobId, query: &NodeQuery) -> Result<Page<Node>, Refusal>;
    /// See [`Orchestrator::events`].
    fn events(&self, id: JobId, start: i64) -> Result<(Vec<Event>, i64), Refusal>;
    /// See [`Orchestrator::tasks`].
    fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal>;
    /// See [`Orchestrator::task`].
    fn task(&self, environment: &str, module: &str, name: &str) -> Result<TaskDetail, Refusal>;
    /// See [`Orchestrator::inventory`].
    fn inventory(&self) -> Vec<InventoryEntry>;
    /// See [`Orchestrator::inventory_of`].
    fn inventory_of(&self, names: &[String]) -> Vec<InventoryEntry>;
    /// See [`Orchestrator::code_file`].
    fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal>;
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

    fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal> {
        Orchestrator::tasks(self, environment)
    }

    fn task(&self, environment: &str, module: &str, name: &str) -> Result<TaskDetail, Refusal> {
        Orchestrator::task(self, environment, module, name)
    }

    fn inventory(&self) -> Vec<InventoryEntry> {
        Orchestrator::inventory(self)
    }

    fn inventory_of(&self, names: &[String]) -> Vec<InventoryEntry> {
        Orchestrator::inventory_of(self, names)
    }

    fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal> {
        Orchestrator::code_file(self, environment, mount_path)
    }

    fn rbac(&self) -> &Rbac {
        Orchestrator::rbac(self)
    }
}
