//! The words for how a connection ended, in the log and in counters.

use crate::link::CloseReason;

/// The type of the log's line (pcp-broker): an error is what neither side has asked for.
pub(super) fn event(reason: &CloseReason) -> &'static str {
    match reason {
        CloseReason::Lost | CloseReason::Protocol(_) | CloseReason::Overflow => "connection-error",
        CloseReason::Peer { .. } | CloseReason::Application | CloseReason::Idle | CloseReason::Shutdown => {
            "connection-closing"
        }
    }
}

/// The word for logs and metric labels.
pub(super) fn label(reason: &CloseReason) -> &'static str {
    match reason {
        CloseReason::Peer { .. } => "peer",
        CloseReason::Application => "application",
        CloseReason::Lost => "lost",
        CloseReason::Protocol(label) => label,
        CloseReason::Idle => "idle",
        CloseReason::Overflow => "overflow",
        CloseReason::Shutdown => "shutdown",
    }
}
