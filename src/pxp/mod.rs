//! The Puppet Execution Protocol: what a controller asks of an agent and what the agent answers, as the `data` of PCP
//! messages. Answers carry no `in_reply_to`; the transaction id is the only link.
//!
//! Source: pcp-specifications, PXP 1.0, and the behaviour of pxp-agent 1.15.

pub mod puppet_run;
pub mod request;
pub mod response;
pub mod status;
pub mod stop;
pub mod task;

/// Message types between controllers and agents.
pub mod message_type {
    /// Controller to agent; the answer is the result.
    pub const BLOCKING_REQUEST: &str = "http://puppetlabs.com/rpc_blocking_request";
    /// Controller to agent; answered by a provisional response, then by the result.
    pub const NON_BLOCKING_REQUEST: &str = "http://puppetlabs.com/rpc_non_blocking_request";
    /// Agent to controller: the action has started.
    pub const PROVISIONAL_RESPONSE: &str = "http://puppetlabs.com/rpc_provisional_response";
    /// Agent to controller.
    pub const BLOCKING_RESPONSE: &str = "http://puppetlabs.com/rpc_blocking_response";
    /// Agent to controller: the result, sent once.
    pub const NON_BLOCKING_RESPONSE: &str = "http://puppetlabs.com/rpc_non_blocking_response";
    /// Agent to controller: the action could not be run or has no valid result.
    pub const RPC_ERROR: &str = "http://puppetlabs.com/rpc_error_message";
}
