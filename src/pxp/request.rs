//! Requests (PXP 1.0, request_response.md). The objects are closed: agents answer "invalid data" to an unknown key.

use serde::{Deserialize, Deserializer, Serialize};

/// Data of `rpc_blocking_request`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockingRequest<P> {
    /// Chosen by the controller, a UUID.
    pub transaction_id: String,
    /// Such as `status`.
    pub module: String,
    /// Such as `query`.
    pub action: String,
    /// The action's input; absent reads as the empty object.
    #[serde(default = "Option::default", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[serde(bound(deserialize = "P: Deserialize<'de>"))]
    pub params: Option<P>,
}

/// Data of `rpc_non_blocking_request`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NonBlockingRequest<P> {
    /// Chosen by the controller, a UUID. A repeated one is answered by a provisional response and nothing else.
    pub transaction_id: String,
    /// Whether to send the result; otherwise it has to be asked for.
    pub notify_outcome: bool,
    /// Such as `task`.
    pub module: String,
    /// Such as `run`.
    pub action: String,
    /// The action's input; absent reads as the empty object.
    #[serde(default = "Option::default", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[serde(bound(deserialize = "P: Deserialize<'de>"))]
    pub params: Option<P>,
}

/// Reads parameters that may be absent but not `null`, unless `P` takes that.
fn present<'de, P: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<P>, D::Error> {
    P::deserialize(deserializer).map(Some)
}
