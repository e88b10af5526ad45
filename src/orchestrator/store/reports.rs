//! The reports that Puppet runs have left in PuppetDB, as far as they are known: which report belongs to which node of a job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::clock::WallTime;
use crate::orchestrator::model::JobId;

/// Keeps them. They are written by [`super::Change::ReportFound`] and removed with the job.
pub trait ReportStore {
    /// Those of a job, by the names of the nodes.
    fn reports(&self, job: JobId) -> Result<BTreeMap<String, KnownReport>, StoreError>;

    /// Puppet runs that ended at or after a time and whose reports are not known, so many at most, the newest first.
    fn runs_without_report(&self, since: WallTime, limit: usize) -> Result<Vec<Run>, StoreError>;
}

/// What is kept of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownReport {
    /// Its name in PuppetDB.
    pub hash: String,
    /// Of the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_version: Option<String>,
}

/// A Puppet run of a node of a job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The job.
    pub job: JobId,
    /// The node's name.
    pub node: String,
    /// Puppet's name for the run: a UUID.
    pub transaction: String,
}
