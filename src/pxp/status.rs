//! `status query`: the state of an earlier non-blocking request, the only way to a result whose one message was lost.

use serde::{Deserialize, Serialize};

/// Input of `status query`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusQuery {
    /// The transaction that is asked about.
    pub transaction_id: String,
}

/// What the agent knows of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransactionStatus {
    /// Never seen, purged, or died without a result; `stdout` says which.
    Unknown,
    /// Still going.
    Running,
    /// Ended with exit code 0 and valid results.
    Success,
    /// Ended otherwise; the exit code may still be 0, then `stdout` holds the agent's own error.
    Failure,
}

/// Results of `status query`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusResults {
    /// The transaction that was asked about.
    pub transaction_id: String,
    /// Its state.
    pub status: TransactionStatus,
    /// Only once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exitcode: Option<i64>,
    /// Standard output, or the agent's own error as a JSON text with the key `_error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// Standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

/// The kind of the agent's own errors, in the text of [`StatusResults::stdout`].
pub const EXECUTION_ERROR_KIND: &str = "puppetlabs.pxp-agent/execution-error";

/// The agent's own error as it stands in `stdout`.
pub fn execution_error(message: &str) -> String {
    serde_json::json!({"_error": {"kind": EXECUTION_ERROR_KIND, "details": {}, "msg": message}}).to_string()
}
