//! Where environments, tasks and their files come from, and who answers queries for nodes: the code directory or Puppet
//! Server, PuppetDB.

pub mod classifier;
pub mod code_dir;
#[cfg(test)]
pub(crate) mod fake_service;
pub mod files;
pub mod puppet_server;
pub mod puppetdb;
mod reachability;
pub mod service;
pub mod task_files;

use serde_json::{Map, Value};

use super::CodeFile;
use super::model::{PlanListing, PlanShown, Refusal, RefusalKind, TaskDetail, TaskListing};
use super::plans;
use super::tasks::metadata::TaskMetadata;
use super::tasks::parameters::{self, CheckedParameters};
use crate::config::settings::{CodeSource, OrchestratorSettings};
use code_dir::{CodeDir, Environment};
use puppet_server::PuppetServer;
use service::Identity;

/// Where code comes from. Whatever it is asked blocks, for no longer than its timeouts.
pub enum Source {
    /// A directory of this host.
    Directory(CodeDir),
    /// A Puppet Server.
    PuppetServer(PuppetServer),
}

/// A service that has to be asked for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// For nodes, which may take the classifier too.
    PuppetDb,
    /// For code.
    PuppetServer,
}

/// An environment as the list of environments shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentListing {
    /// Its name.
    pub name: String,
    /// `modulepath`, `manifest`, `environment_timeout`, `config_version`.
    pub settings: Map<String, Value>,
}

/// A task with what it takes to check a command and to run it.
pub struct RunnableTask<'a> {
    /// As it is shown and sent.
    pub detail: TaskDetail,
    /// Its metadata, read.
    pub metadata: TaskMetadata,
    aliases: Aliases<'a>,
}

/// Where a task's type aliases are defined.
enum Aliases<'a> {
    Modules(&'a CodeDir, Environment),
    /// Puppet Server does not serve them.
    OutOfReach,
}

impl Source {
    /// The source that the settings name.
    pub fn new(settings: &OrchestratorSettings, identity: &Identity) -> Self {
        match &settings.code_source {
            CodeSource::Directory => Self::Directory(CodeDir::new(&settings.code_dir)),
            CodeSource::PuppetServer(server) => Self::PuppetServer(PuppetServer::new(server.clone(), identity.clone())),
        }
    }

    /// All environments, sorted by name.
    pub fn environments(&self) -> Result<Vec<EnvironmentListing>, Refusal> {
        match self {
            Self::Directory(code_dir) => Ok(code_dir.environments()),
            Self::PuppetServer(server) => server.environments(),
        }
    }

    /// One environment; `validation-error` for an illegal name, `unknown-environment` if there is none.
    pub fn environment(&self, name: &str) -> Result<EnvironmentListing, Refusal> {
        match self {
            Self::Directory(code_dir) => code_dir.listing(name),
            Self::PuppetServer(server) => {
                check_environment_name(name)?;
                let mut environments = server.environments()?.into_iter();
                environments.find(|environment| environment.name == name).ok_or_else(|| unknown_environment(name))
            }
        }
    }

    /// The tasks of an environment, private ones included, sorted by name; broken ones are left out.
    pub fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal> {
        match self {
            Self::Directory(code_dir) => Ok(code_dir.tasks(&code_dir.environment(environment)?)),
            Self::PuppetServer(server) => server.tasks(environment),
        }
    }

    /// One task; `name` is `init` for the module's own. `unknown-task` if there is none, `validation-error` with Puppet's
    /// kind in `details.kind` if it is broken.
    pub fn task(&self, environment: &str, module: &str, name: &str) -> Result<RunnableTask<'_>, Refusal> {
        match self {
            Self::Directory(code_dir) => {
                let environment = code_dir.environment(environment)?;
                let (detail, metadata) = code_dir.task(&environment, module, name)?;
                Ok(RunnableTask { detail, metadata, aliases: Aliases::Modules(code_dir, environment) })
            }
            Self::PuppetServer(server) => {
                let (detail, metadata) = server.task(environment, module, name)?;
                Ok(RunnableTask { detail, metadata, aliases: Aliases::OutOfReach })
            }
        }
    }

    /// The plans of an environment, private and broken ones included, sorted by name. Puppet Server tells the names only.
    pub fn plans(&self, environment: &str) -> Result<Vec<PlanListing>, Refusal> {
        match self {
            Self::Directory(code_dir) => Ok(plans::list(&code_dir.environment(environment)?, code_dir.outlines())),
            Self::PuppetServer(server) => server.plans(environment),
        }
    }

    /// One plan; `name` is `init` for the module's own. `unknown-plan` if there is none, `validation-error` with the place if
    /// it cannot be parsed. Of a plan on Puppet Server nothing is known but that it is there.
    pub fn plan(&self, environment: &str, module: &str, name: &str) -> Result<PlanShown, Refusal> {
        match self {
            Self::Directory(code_dir) => {
                plans::show(&code_dir.environment(environment)?, module, name, code_dir.outlines())
            }
            Self::PuppetServer(server) => server.plan(environment, module, name),
        }
    }

    /// Puppet Server's environment catalog, unread, if it offers one: those of Puppet 7 and later do not.
    pub fn environment_catalog(&self, environment: &str) -> Result<Option<Vec<u8>>, Refusal> {
        match self {
            Self::Directory(_) => Ok(None),
            Self::PuppetServer(server) => server.environment_catalog(environment),
        }
    }

    /// A file by Puppet Server's mounts; see [`crate::orchestrator::Orchestrator::code_file`].
    pub fn code_file(&self, environment: &str, mount_path: &str) -> Result<Option<CodeFile>, Refusal> {
        match self {
            Self::Directory(code_dir) => code_dir.code_file(&code_dir.environment(environment)?, mount_path),
            Self::PuppetServer(server) => Err(server.serves_files_itself()),
        }
    }

    /// Whether the Puppet Server, if that is the source, was there when it was last looked at.
    pub fn puppet_server_is_up(&self) -> Option<bool> {
        match self {
            Self::Directory(_) => None,
            Self::PuppetServer(server) => Some(server.is_up()),
        }
    }
}

impl RunnableTask<'_> {
    /// Checks the parameters of a command; see [`parameters::check`]. What is behind an alias that cannot be looked up
    /// may be anything, and may be secret.
    pub fn check(&self, given: &Map<String, Value>) -> Result<CheckedParameters, Vec<String>> {
        parameters::check(&self.metadata, given, &|name| match &self.aliases {
            Aliases::Modules(code_dir, environment) => code_dir.type_alias(environment, name),
            Aliases::OutOfReach => Some(format!("type {name} = Sensitive[Any]")),
        })
    }
}

/// Refuses what Puppet does not take for an environment's name.
fn check_environment_name(name: &str) -> Result<(), Refusal> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    let message = format!("The environment must be purely alphanumeric, not '{name}'");
    Err(Refusal::new(RefusalKind::ValidationError, message).with("environment", name))
}

fn unknown_environment(name: &str) -> Refusal {
    let message = format!("Unknown environment {name}");
    Refusal::new(RefusalKind::UnknownEnvironment, message).with("environment", name)
}

fn broken_task(task: &str, kind: &str, message: &str) -> Refusal {
    Refusal::new(RefusalKind::ValidationError, format!("Task {task} is broken: {message}"))
        .with("task", task)
        .with("kind", kind)
}
