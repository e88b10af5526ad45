//! Answers of an agent (PXP 1.0, request_response.md).

use serde::{Deserialize, Serialize};

/// Data of `rpc_provisional_response`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionalResponse {
    /// Of the request.
    pub transaction_id: String,
}

/// Data of `rpc_blocking_response` and `rpc_non_blocking_response`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response<R> {
    /// Of the request.
    pub transaction_id: String,
    /// What the action gave.
    pub results: R,
}

/// Data of `rpc_error_message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// Of the request.
    pub transaction_id: String,
    /// The message id of the request.
    pub id: String,
    /// For people.
    pub description: String,
}

/// What a process left: the results of `task run`, `command run` and `script run`. A non-zero exit code is still a
/// valid result. Empty streams are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessResults {
    /// As the wrapper saw it; pxp-agent reports 128 to 255 as negative numbers, and a signal by its number.
    pub exitcode: i64,
    /// Standard output, UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// Standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}
