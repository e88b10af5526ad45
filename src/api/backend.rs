//! What the API asks of the orchestrator: its facade as a trait, so that the API's shapes can be tested without one.

use std::time::Duration;

use crate::orchestrator::classifier::Classifier;
use crate::orchestrator::model::{
    Event, InventoryEntry, Job, JobId, JobQuery, Node, NodeQuery, Page, Refusal, Subject, TaskCommand, TaskDetail,
    TaskListing,
};
use crate::orchestrator::rbac::AuthError;
use crate::orchestrator::task_targets::TaskTargets;
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
    /// See [`Orchestrator::classifier`].
    fn classifier(&self) -> &Classifier;
    /// See [`Orchestrator::task_targets`].
    fn task_targets(&self) -> &TaskTargets;
    /// See [`Orchestrator::code_file`].
    fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal>;
    /// See [`crate::orchestrator::rbac::Rbac::login`].
    fn login(
        &self,
        login: &str,
        password: &str,
        lifetime: Option<Duration>,
        label: Option<&str>,
    ) -> Result<String, AuthError>;
    /// See [`crate::orchestrator::rbac::Rbac::authenticate`].
    fn authenticate(&self, token: &str) -> Result<Subject, AuthError>;
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

    fn classifier(&self) -> &Classifier {
        Orchestrator::classifier(self)
    }

    fn task_targets(&self) -> &TaskTargets {
        Orchestrator::task_targets(self)
    }

    fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal> {
        Orchestrator::code_file(self, environment, mount_path)
    }

    fn login(
        &self,
        login: &str,
        password: &str,
        lifetime: Option<Duration>,
        label: Option<&str>,
    ) -> Result<String, AuthError> {
        self.rbac().login(login, password, lifetime, label)
    }

    fn authenticate(&self, token: &str) -> Result<Subject, AuthError> {
        self.rbac().authenticate(token)
    }
}
