//! A node classifier elsewhere, over the API of Puppet Enterprise's (`/classifier-api/v1`): the rules of a group, which
//! this server evaluates itself or gives to PuppetDB.

use serde::Deserialize;
use serde_json::Value;

use super::service::{Cause, Failure, Identity, Service};
use crate::config::settings::ServiceSettings;
use crate::https::StatusCode;
use crate::limits::CLASSIFIER_ANSWER_BYTES_MAX;
use crate::orchestrator::model::{Refusal, RefusalKind};
use crate::orchestrator::targets::{ExternalGroups, GroupRules};
use crate::percent::encode;

const GROUPS: &str = "/classifier-api/v1/groups";

/// A classifier.
pub struct ClassifierService {
    service: Service,
}

/// `GET /v1/groups/:id/rules`; what is translated there is not used, because dialects differ.
#[derive(Deserialize)]
struct Rules {
    rule: Option<Value>,
    #[serde(default)]
    rule_with_inherited: Option<Value>,
}

impl ClassifierService {
    /// A classifier that has not been asked yet.
    pub fn new(settings: ServiceSettings, identity: Identity) -> Self {
        Self { service: Service::new("the classifier", settings, identity) }
    }

    /// Whether it was there when it was last looked at.
    pub fn is_up(&self) -> bool {
        self.service.is_up()
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.service.url("/classifier-api")
    }

    fn ask(&self, id: &str) -> Result<Option<GroupRules>, Failure> {
        let path = format!("{GROUPS}/{}/rules", encode(id));
        let response = self.service.get(&path, CLASSIFIER_ANSWER_BYTES_MAX)?;
        match response.status {
            StatusCode::OK => {
                let rules: Rules = serde_json::from_slice(&response.body).map_err(|error| {
                    let why = format!("it is not the JSON that a classifier gives ({error}); check host and port");
                    self.service.unusable(&path, why)
                })?;
                Ok(Some(GroupRules { own: rules.rule, whole: rules.rule_with_inherited }))
            }
            // A classifier says in JSON that there is no such group; something else that listens there does not.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST if is_its_own(&response.body) => Ok(None),
            StatusCode::NOT_FOUND => {
                Err(self.service.unusable(&path, "nothing is there; check that it is a classifier"))
            }
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                let message = format!(
                    "the classifier at {} does not let {name} ask. Add {name} to the list of certificates that it trusts \
                     (rbac-certificate-allowlist), and restart it",
                    self.service.url(GROUPS),
                    name = self.service.own_name(),
                );
                Err(Failure::new(Cause::Forbidden, message))
            }
            _ => Err(self.service.refused(&path, &response)),
        }
    }
}

/// `not-found`, or `malformed-uuid` for what cannot be a group.
fn is_its_own(body: &[u8]) -> bool {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    said.is_some_and(|said| matches!(said["kind"].as_str(), Some("not-found" | "malformed-uuid")))
}

impl ExternalGroups for ClassifierService {
    /// `classifier-error` if the classifier cannot be asked. Blocks as long as its timeouts.
    fn rules(&self, id: &str) -> Result<Option<GroupRules>, Refusal> {
        self.ask(id).map_err(|failure| {
            Refusal::new(RefusalKind::ClassifierError, failure.message)
                .with("cause", failure.cause.word())
                .with("service", self.service.url(""))
        })
    }
}

#[cfg(test)]
#[path = "classifier/tests.rs"]
mod tests;
