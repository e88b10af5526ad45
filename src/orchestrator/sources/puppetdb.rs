//! PuppetDB's query API (`POST /pdb/query/v4`, PQL text or syntax trees): the nodes of a scope, the report of a Puppet run,
//! the versions of agents.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::service::{Cause, Failure, Identity, Service, words};
use crate::config::settings::ServiceSettings;
use crate::https::{Response, StatusCode};
use crate::limits::{PUPPETDB_ANSWER_BYTES_MAX, PUPPETDB_NODES_PER_QUERY, PUPPETDB_REPORTS_MAX};
use crate::orchestrator::model::{Refusal, RefusalKind};
use crate::orchestrator::reports::ReportSource;
use crate::orchestrator::targets::NodeQuery;
use crate::percent;

const QUERY: &str = "/pdb/query/v4";

/// What is asked of a report.
const COLUMNS: [&str; 12] = [
    "certname",
    "hash",
    "status",
    "transaction_uuid",
    "job_id",
    "environment",
    "configuration_version",
    "noop",
    "noop_pending",
    "start_time",
    "end_time",
    "metrics",
];

/// A PuppetDB.
pub struct PuppetDb {
    service: Service,
}

/// Why there are no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NoRows {
    /// The query is wrong; PuppetDB's words.
    Rejected(String),
    Failure(Failure),
}

/// By what the reports of a run are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKey<'a> {
    /// The transaction of one agent's run.
    Transaction(&'a str),
    /// The job for which agents ran, at most [`PUPPETDB_REPORTS_MAX`] of them.
    Job(&'a str),
}

/// What a report says of a run, without its events and logs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Report {
    /// Whose it is.
    pub certname: String,
    /// Its name in PuppetDB.
    pub hash: String,
    /// `changed`, `unchanged` or `failed`.
    pub status: Option<String>,
    /// Of the run.
    pub transaction_uuid: Option<String>,
    /// As the agent was told.
    pub job_id: Option<String>,
    /// In which the catalog was compiled.
    pub environment: Option<String>,
    /// Of the catalog.
    #[serde(default)]
    pub configuration_version: Option<String>,
    /// Whether nothing was to be changed.
    #[serde(default)]
    pub noop: Option<bool>,
    /// Whether something would have been changed.
    #[serde(default)]
    pub noop_pending: Option<bool>,
    /// When the run began, ISO 8601.
    pub start_time: Option<String>,
    /// When it ended.
    pub end_time: Option<String>,
    #[serde(default)]
    metrics: Metrics,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Metrics {
    #[serde(default)]
    data: Option<Vec<Metric>>,
}

/// A number of a report.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Metric {
    /// `resources`, `time`, `changes`, `events`.
    pub category: String,
    /// Within the category.
    pub name: String,
    /// A count, or seconds.
    pub value: f64,
}

impl Report {
    /// All numbers.
    pub fn metrics(&self) -> &[Metric] {
        self.metrics.data.as_deref().unwrap_or_default()
    }

    /// One number. `resources/corrective_change` is here only: the column of that name is null in the open source PuppetDB.
    pub fn metric(&self, category: &str, name: &str) -> Option<f64> {
        let found = self.metrics().iter().find(|metric| metric.category == category && metric.name == name);
        found.map(|metric| metric.value)
    }
}

#[derive(Deserialize)]
struct NamedRow {
    #[serde(default)]
    certname: Option<String>,
}

#[derive(Deserialize)]
struct Fact {
    certname: String,
    value: Value,
}

impl PuppetDb {
    /// A PuppetDB that has not been asked yet.
    pub fn new(settings: ServiceSettings, identity: Identity) -> Self {
        Self { service: Service::new("PuppetDB", settings, identity) }
    }

    /// Whether it was there when it was last looked at.
    pub fn is_up(&self) -> bool {
        self.service.is_up()
    }

    /// The reports of a run, the latest first. They arrive half a second or more after the run.
    pub fn reports(&self, key: ReportKey<'_>) -> Result<Vec<Report>, Failure> {
        let (column, value) = match key {
            ReportKey::Transaction(uuid) => ("transaction_uuid", uuid),
            ReportKey::Job(id) => ("job_id", id),
        };
        self.own_rows(&json!([
            "from",
            "reports",
            ["extract", COLUMNS, ["=", column, value]],
            ["order_by", [["receive_time", "desc"]]],
            ["limit", PUPPETDB_REPORTS_MAX],
        ]))
    }

    /// The versions of Puppet of the nodes that PuppetDB knows.
    pub fn agent_versions(&self, certnames: &[String]) -> Result<BTreeMap<String, String>, Failure> {
        let mut versions = BTreeMap::new();
        for part in certnames.chunks(PUPPETDB_NODES_PER_QUERY) {
            let which = json!(["and", ["=", "name", "puppetversion"], ["in", "certname", ["array", part]]]);
            let facts: Vec<Fact> =
                self.own_rows(&json!(["from", "facts", ["extract", ["certname", "value"], which]]))?;
            let known = facts.into_iter().filter_map(|fact| Some((fact.certname, fact.value.as_str()?.to_owned())));
            versions.extend(known);
        }
        Ok(versions)
    }

    /// The rows of a query of our own, which is right.
    fn own_rows<T: DeserializeOwned>(&self, query: &Value) -> Result<Vec<T>, Failure> {
        self.rows(query).map_err(|no_rows| match no_rows {
            NoRows::Rejected(said) => self.service.unusable(QUERY, said),
            NoRows::Failure(failure) => failure,
        })
    }

    fn rows<T: DeserializeOwned>(&self, query: &Value) -> Result<Vec<T>, NoRows> {
        let body = json!({"query": query}).to_string().into_bytes();
        let response = self.service.post(QUERY, body, PUPPETDB_ANSWER_BYTES_MAX).map_err(NoRows::Failure)?;
        match response.status {
            StatusCode::OK => serde_json::from_slice(&response.body).map_err(|error| {
                let why = format!("it is not the JSON that PuppetDB gives ({error}); check host, port and version");
                NoRows::Failure(self.service.unusable(QUERY, why))
            }),
            StatusCode::BAD_REQUEST => Err(NoRows::Rejected(words(&response.body))),
            _ => Err(NoRows::Failure(self.explain(&response))),
        }
    }

    fn explain(&self, response: &Response) -> Failure {
        match response.status {
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                let message = format!(
                    "PuppetDB at {} does not let {name} ask. Add {name} to the file that certificate-allowlist in the \
                     section [puppetdb] of its configuration names, and restart PuppetDB",
                    self.service.url(QUERY),
                    name = self.service.own_name(),
                );
                Failure::new(Cause::Forbidden, message)
            }
            StatusCode::NOT_FOUND => self.service.unusable(QUERY, "nothing is there; check that this is a PuppetDB"),
            _ => self.service.refused(QUERY, response),
        }
    }

    fn refuse(&self, failure: Failure) -> Refusal {
        Refusal::new(RefusalKind::PuppetdbError, failure.message)
            .with("cause", failure.cause.word())
            .with("service", self.service.url(""))
    }
}

impl PuppetDb {
    /// Where a report is, for whoever has a certificate that PuppetDB takes.
    pub fn report_url(&self, hash: &str) -> String {
        let query = json!(["=", "hash", hash]).to_string();
        self.service.url(&format!("{QUERY}/reports?query={}", percent::encode(&query)))
    }
}

impl ReportSource for PuppetDb {
    fn of_transactions(&self, transactions: &[&str]) -> Result<Vec<Report>, Failure> {
        let columns: Vec<&str> = COLUMNS.into_iter().filter(|column| *column != "metrics").collect();
        let which = json!(["in", "transaction_uuid", ["array", transactions]]);
        self.own_rows(&json!(["from", "reports", ["extract", columns, which], ["limit", PUPPETDB_REPORTS_MAX]]))
    }
}

impl NodeQuery for PuppetDb {
    /// `query-error` if the query is wrong, `puppetdb-error` if PuppetDB cannot be asked. Blocks as long as its timeouts.
    fn certnames(&self, query: &Value) -> Result<Vec<String>, Refusal> {
        let rejected = |said: &str| Refusal::new(RefusalKind::QueryError, format!("PuppetDB query failed: {said}"));
        let rows: Vec<NamedRow> = self.rows(query).map_err(|no_rows| match no_rows {
            NoRows::Rejected(said) => rejected(&said),
            NoRows::Failure(failure) => self.refuse(failure),
        })?;
        let names: Option<Vec<String>> = rows.into_iter().map(|row| row.certname).collect();
        names.ok_or_else(|| rejected("its rows have no certname; ask for it, as in nodes[certname] { }"))
    }
}

#[cfg(test)]
#[path = "puppetdb/tests.rs"]
mod tests;
