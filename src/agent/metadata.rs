//! The metadata file of a transaction: one JSON object and a newline, with pxp-agent's keys, so that its tools can read
//! our spool and we can read what it left behind. Parameters are never written.

use serde::{Deserialize, Serialize};

use crate::clock::WallTime;
use crate::pxp::response::ProcessResults;

/// State of a transaction on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredStatus {
    /// Begun; how it stands is found out from the other files.
    Running,
    /// Ended with valid results, whatever the exit code.
    Success,
    /// Ended without valid results.
    Failure,
    /// Died without leaving a result.
    Undetermined,
}

/// The content of the file. The schema is closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// URI of who asked.
    pub requester: String,
    /// Such as `task`.
    pub module: String,
    /// Such as `run`.
    pub action: String,
    /// Always [`REDACTED`].
    pub request_params: String,
    /// Also the name of the directory.
    pub transaction_id: String,
    /// The id of the request's message.
    pub request_id: String,
    /// Whether the result was to be sent.
    pub notify_outcome: bool,
    /// ISO 8601, UTC, with microseconds.
    pub start: String,
    /// How it stands.
    pub status: StoredStatus,
    /// Like `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Whether `results` can be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results_are_valid: Option<bool>,
    /// What the action gave; absent if it is larger than a message may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<serde_json::Value>,
    /// Why there are no valid results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_error: Option<String>,
}

/// What stands in place of the parameters, which may be secret.
pub const REDACTED: &str = "{}";

/// What an action gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// What its process left.
    pub process: ProcessResults,
    /// The results, if they are not just that.
    pub document: Option<serde_json::Value>,
}

impl Results {
    /// The results as they are sent.
    pub fn value(&self) -> serde_json::Value {
        self.document.clone().unwrap_or_else(|| serde_json::json!(self.process))
    }
}

impl From<ProcessResults> for Results {
    fn from(process: ProcessResults) -> Self {
        Self { process, document: None }
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// With results that can be sent.
    Valid(Results),
    /// With results, but more bytes of them than a message may have.
    TooLarge(u64),
    /// Not run, or its output is unusable.
    Invalid(String),
    /// Its process is gone and left nothing.
    Undetermined(String),
}

impl Metadata {
    /// This metadata at the end of the transaction.
    pub fn ended(mut self, ending: &Ending, end: WallTime) -> Self {
        self.end = Some(timestamp(end));
        self.results_are_valid = Some(matches!(ending, Ending::Valid(_) | Ending::TooLarge(_)));
        self.status = match ending {
            Ending::Valid(results) => {
                self.results = Some(results.value());
                StoredStatus::Success
            }
            Ending::TooLarge(_) => StoredStatus::Success,
            Ending::Invalid(error) => {
                self.execution_error = Some(error.clone());
                StoredStatus::Failure
            }
            Ending::Undetermined(error) => {
                self.execution_error = Some(error.clone());
                StoredStatus::Undetermined
            }
        };
        self
    }

    /// When the transaction began; `None` if the text is not a time.
    pub fn started(&self) -> Option<WallTime> {
        let time: jiff::Timestamp = self.start.parse().ok()?;
        Some(WallTime::from_millis(time.as_millisecond()))
    }
}

/// `2026-11-22T06:26:35.845000Z`: microseconds for the format's sake.
pub fn timestamp(time: WallTime) -> String {
    let millis = time.to_millis_string();
    format!("{}000Z", millis.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PXP_AGENT: &str = r#"{"requester":"pcp://c/x","module":"command","action":"run","request_params":"{}",
        "transaction_id":"3f92","request_id":"f189","notify_outcome":true,"start":"2026-11-22T06:26:35.845631Z",
        "status":"success","end":"2026-11-22T06:26:51.252560Z","results_are_valid":true,
        "results":{"exitcode":3,"stdout":"doneA\n"}}"#;

    #[test]
    fn reads_what_pxp_agent_writes() {
        let metadata: Metadata = serde_json::from_str(PXP_AGENT).unwrap();
        assert_eq!(metadata.status, StoredStatus::Success);
        assert_eq!(metadata.started(), Some(WallTime::from_millis(1_795_328_795_845)));
        let squeezed: String = PXP_AGENT.split_whitespace().collect();
        assert_eq!(serde_json::to_string(&metadata).unwrap(), squeezed);
        let extra = PXP_AGENT.replacen('{', r#"{"more":1,"#, 1);
        assert!(serde_json::from_str::<Metadata>(&extra).is_err());
    }

    #[test]
    fn times_have_microseconds() {
        assert_eq!(timestamp(WallTime::from_millis(1_795_328_795_845)), "2026-11-22T06:26:35.845000Z");
    }
}
