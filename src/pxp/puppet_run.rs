//! `pxp-module-puppet run`: the parameters of the request and what the module says of a run (pxp-agent,
//! modules/pxp-module-puppet). Agents of all ages answer, so nothing in the results is required.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The module's name.
pub const MODULE: &str = "pxp-module-puppet";

/// The action's name.
pub const ACTION: &str = "run";

/// Input of `pxp-module-puppet run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PuppetRun {
    /// Ignored by agents of today, required by old ones.
    pub env: Vec<String>,
    /// Arguments of `puppet agent`, of which agents accept a list.
    pub flags: Vec<String>,
    /// Stands in the run's report as `job_id`.
    pub job: String,
}

/// Results of `pxp-module-puppet run`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RunResults {
    /// The report's.
    pub transaction_uuid: Option<String>,
    /// In which the node ran.
    pub environment: Option<String>,
    /// `changed`, `unchanged`, `failed`; `unknown` if there is no report of this run.
    pub status: Option<String>,
    /// Counts of resources.
    pub metrics: Map<String, Value>,
    /// Of `puppet agent`; -1 if it never ran.
    pub exitcode: Option<i64>,
    /// What went wrong, as a word.
    pub error_type: Option<String>,
    /// What went wrong, for people.
    pub error: Option<String>,
}
