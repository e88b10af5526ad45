//! Puppet Server as the source of environments and tasks: `/puppet/v3/environments` and `/puppet/v3/tasks` of its API. Agents
//! get the files from it themselves, at the addresses that it gives, with code ids where its code is versioned.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::code_dir::{full_name, is_plain_name};
use super::service::{Cause, Failure, Identity, Service, words};
use super::{EnvironmentListing, broken_task, check_environment_name, unknown_environment};
use crate::config::settings::ServiceSettings;
use crate::https::{Response, StatusCode};
use crate::limits::{JSON_DEPTH_MAX, PUPPET_SERVER_ANSWER_BYTES_MAX, TASK_FILES_MAX};
use crate::orchestrator::model::{PlanListing, PlanShown, Refusal, RefusalKind, TaskDetail, TaskListing, is_deeper};
use crate::orchestrator::tasks::metadata::TaskMetadata;
use crate::pxp::task::TaskFile;

const ENVIRONMENTS: &str = "/puppet/v3/environments";
const ENVIRONMENT: &str = "/puppet/v3/environment";
const TASKS: &str = "/puppet/v3/tasks";
const PLANS: &str = "/puppet/v3/plans";

/// Levels of an answer around a task's metadata.
const LEVELS_AROUND_METADATA: usize = 2;

/// A Puppet Server.
pub struct PuppetServer {
    service: Service,
}

#[derive(Deserialize)]
struct Environments {
    environments: BTreeMap<String, Environment>,
}

#[derive(Deserialize)]
struct Environment {
    #[serde(default)]
    settings: Map<String, Value>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    private: Option<bool>,
    #[serde(default)]
    description: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    metadata: Map<String, Value>,
    files: Vec<TaskFile>,
}

/// A task that Puppet Server cannot make sense of.
#[derive(Deserialize)]
struct Broken {
    kind: String,
    msg: String,
}

impl PuppetServer {
    /// A Puppet Server that has not been asked yet.
    pub fn new(settings: ServiceSettings, identity: Identity) -> Self {
        Self { service: Service::new("Puppet Server", settings, identity) }
    }

    /// Whether it was there when it was last looked at.
    pub fn is_up(&self) -> bool {
        self.service.is_up()
    }

    /// All environments, sorted by name.
    pub fn environments(&self) -> Result<Vec<EnvironmentListing>, Refusal> {
        let response = self.get(ENVIRONMENTS)?;
        let found: Environments = match response.status {
            StatusCode::OK => self.read(ENVIRONMENTS, &response)?,
            _ => return Err(self.refuse(self.explain(ENVIRONMENTS, &response))),
        };
        let listing =
            |(name, environment): (_, Environment)| EnvironmentListing { name, settings: environment.settings };
        Ok(found.environments.into_iter().map(listing).collect())
    }

    /// The tasks of an environment, sorted by name; those that Puppet Server cannot make sense of are not among them.
    pub fn tasks(&self, environment: &str) -> Result<Vec<TaskListing>, Refusal> {
        check_environment_name(environment)?;
        let path = format!("{TASKS}?environment={environment}");
        let response = self.get(&path)?;
        let listed: Vec<Listed> = match response.status {
            StatusCode::OK => self.read(&path, &response)?,
            StatusCode::NOT_FOUND if says(&response, "Could not find environment") => {
                return Err(unknown_environment(environment));
            }
            _ => return Err(self.refuse(self.explain(&path, &response))),
        };
        let listing = |task: Listed| TaskListing {
            name: task.name,
            private: task.private.unwrap_or(false),
            description: task.description.unwrap_or_default(),
        };
        let mut listings: Vec<_> = listed.into_iter().map(listing).collect();
        listings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listings)
    }

    /// One task; `name` is `init` for the module's own.
    pub fn task(&self, environment: &str, module: &str, name: &str) -> Result<(TaskDetail, TaskMetadata), Refusal> {
        check_environment_name(environment)?;
        let full = full_name(module, name);
        let unknown = |message: String| Refusal::new(RefusalKind::UnknownTask, message).with("task", full.as_str());
        // Anything else could lead to another path than that of a task.
        if !is_plain_name(module) || !is_plain_name(name) {
            return Err(unknown(format!("Could not find task '{full}' in environment {environment}")));
        }
        let path = format!("{TASKS}/{module}/{name}?environment={environment}");
        let response = self.get(&path)?;
        let detail: Detail = match response.status {
            StatusCode::OK => self.read(&path, &response)?,
            StatusCode::NOT_FOUND if says(&response, "Could not find environment") => {
                return Err(unknown_environment(environment));
            }
            StatusCode::NOT_FOUND if says(&response, "Could not find ") => {
                return Err(unknown(format!("{} in environment {environment}", words(&response.body))));
            }
            StatusCode::INTERNAL_SERVER_ERROR => {
                return Err(match serde_json::from_slice::<Broken>(&response.body) {
                    Ok(Broken { kind, msg }) => broken_task(&full, &words(kind.as_bytes()), &words(msg.as_bytes())),
                    Err(_) => self.refuse(self.explain(&path, &response)),
                });
            }
            _ => return Err(self.refuse(self.explain(&path, &response))),
        };
        check_files(&detail.files).map_err(|why| self.refuse(self.service.unusable(&path, why)))?;
        let metadata = checked_metadata(&detail.metadata)
            .map_err(|why| broken_task(&full, "puppet.tasks/unparseable-metadata", &why))?;
        Ok((TaskDetail { name: full, metadata: detail.metadata, files: detail.files }, metadata))
    }

    /// The plans of an environment, sorted by name, those too that nobody could run: Puppet Server does not look into them.
    pub fn plans(&self, environment: &str) -> Result<Vec<PlanListing>, Refusal> {
        check_environment_name(environment)?;
        let path = format!("{PLANS}?environment={environment}");
        let response = self.get(&path)?;
        let listed: Vec<Listed> = match response.status {
            StatusCode::OK => self.read(&path, &response)?,
            StatusCode::NOT_FOUND if says(&response, "Could not find environment") => {
                return Err(unknown_environment(environment));
            }
            _ => return Err(self.refuse(self.explain(&path, &response))),
        };
        let listing = |plan: Listed| PlanListing {
            name: plan.name,
            private: plan.private.unwrap_or(false),
            description: plan.description.unwrap_or_default(),
            problem: None,
        };
        let mut listings: Vec<_> = listed.into_iter().map(listing).collect();
        listings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listings)
    }

    /// One plan. Puppet Server says that it is there and nothing else, whatever its parameters are.
    pub fn plan(&self, environment: &str, module: &str, name: &str) -> Result<PlanShown, Refusal> {
        let full = full_name(module, name);
        if self.plans(environment)?.iter().any(|plan| plan.name == full) {
            return Ok(PlanShown { name: full, metadata: Map::new(), problems: vec![] });
        }
        let message = format!("Could not find plan '{full}' in environment {environment}");
        Err(Refusal::new(RefusalKind::UnknownPlan, message).with("plan", full))
    }

    /// The environment catalog, unread; `None` if this server offers none, or none to us.
    pub fn environment_catalog(&self, environment: &str) -> Result<Option<Vec<u8>>, Refusal> {
        check_environment_name(environment)?;
        let path = format!("{ENVIRONMENT}/{environment}");
        let response = self.get(&path)?;
        match response.status {
            StatusCode::OK => Ok(Some(response.body)),
            StatusCode::NOT_FOUND => Ok(None),
            // Newer ones refuse what they do not know before they say that it is not there.
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                tracing::debug!(path, "Puppet Server does not show its environment graph; nodes run in no order");
                Ok(None)
            }
            _ => Err(self.refuse(self.explain(&path, &response))),
        }
    }

    /// What an agent is told that asks this server for a file. With this server's certificate in its place, Puppet
    /// Server's rules would not be those for the agent.
    pub fn serves_files_itself(&self) -> Refusal {
        let message = format!(
            "This server's tasks come from Puppet Server, and so do their files: name {} in primary-uris of the agent",
            self.service.url("")
        );
        Refusal::new(RefusalKind::PuppetserverError, message)
    }

    fn get(&self, path: &str) -> Result<Response, Refusal> {
        self.service.get(path, PUPPET_SERVER_ANSWER_BYTES_MAX).map_err(|failure| self.refuse(failure))
    }

    fn read<T: DeserializeOwned>(&self, path: &str, response: &Response) -> Result<T, Refusal> {
        serde_json::from_slice(&response.body).map_err(|error| {
            let why = format!("it is not the JSON that Puppet Server gives ({error}); check host, port and version");
            self.refuse(self.service.unusable(path, why))
        })
    }

    /// The failure behind an answer that says nothing of environments and tasks.
    fn explain(&self, path: &str, response: &Response) -> Failure {
        let short = path.split('?').next().unwrap_or_default();
        match response.status {
            StatusCode::FORBIDDEN => {
                // HOCON needs the commas where there are no ends of lines.
                let message = format!(
                    "Puppet Server does not let {name} get {url}. Add this rule to its auth.conf, with whoever else is to \
                     be let in, and reload it: {{ match-request: {{ path: \"^/puppet/v3/(environments|tasks|plans)(/|$)\", type: \
                     regex, method: [get] }}, allow: [\"{name}\"], sort-order: 400, name: \"podium code metadata\" }},",
                    name = self.service.own_name(),
                    url = self.service.url(short),
                );
                Failure::new(Cause::Forbidden, message)
            }
            StatusCode::NOT_FOUND => {
                let said = words(&response.body);
                self.service.unusable(path, format!("nothing is there: {said}; check that this is a Puppet Server"))
            }
            _ => self.service.refused(path, response),
        }
    }

    fn refuse(&self, failure: Failure) -> Refusal {
        Refusal::new(RefusalKind::PuppetserverError, failure.message)
            .with("cause", failure.cause.word())
            .with("service", self.service.url(""))
    }
}

fn says(response: &Response, beginning: &str) -> bool {
    response.body.starts_with(beginning.as_bytes())
}

/// Agents are not sent what they could not use.
fn check_files(files: &[TaskFile]) -> Result<(), String> {
    if files.is_empty() || files.len() > TASK_FILES_MAX {
        return Err(format!("the task has {} files; 1 to {TASK_FILES_MAX} can be run", files.len()));
    }
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match files.iter().find(|file| !is_hash(&file.sha256) || !file.uri.path.starts_with('/')) {
        Some(file) => Err(format!("the file {:?} has no SHA-256 or no path", file.filename)),
        None => Ok(()),
    }
}

/// Puppet Server does not look into the metadata.
fn checked_metadata(metadata: &Map<String, Value>) -> Result<TaskMetadata, String> {
    if metadata.values().any(|value| is_deeper(value, JSON_DEPTH_MAX - LEVELS_AROUND_METADATA)) {
        return Err(format!("its metadata is nested more than {JSON_DEPTH_MAX} levels deep"));
    }
    TaskMetadata::read(metadata).map_err(|error| format!("Error reading metadata: {error}"))
}

#[cfg(test)]
#[path = "puppet_server/tests.rs"]
mod tests;
