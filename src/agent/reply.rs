//! The agent's answers, ready to be put into envelopes (PXP 1.0, request_response.md). They carry no `in_reply_to`,
//! except for PCP's own `error_message`; their data is never larger than the agent may send.

use serde::Serialize;
use serde_json::value::RawValue;

use super::transaction::{Kind, Label};
use crate::limits::AGENT_DESCRIPTION_BYTES_MAX;
use crate::pcp::message_type::ERROR_MESSAGE;
use crate::pxp::message_type;
use crate::pxp::response::{ProvisionalResponse, Response, RpcError};

/// One answer.
#[derive(Debug)]
pub struct Reply {
    /// URI of the receiver.
    pub target: String,
    /// The full type.
    pub message_type: &'static str,
    /// Only for PCP's errors: the id of the request.
    pub in_reply_to: Option<String>,
    /// The content.
    pub data: Box<RawValue>,
    /// What it is about, for logs.
    pub transaction_id: String,
}

/// Where a request came from and what it was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// URI of the sender.
    pub requester: String,
    /// The message's id.
    pub request_id: String,
    /// Chosen by the sender; any string.
    pub transaction_id: String,
}

impl Origin {
    /// The action has been accepted, now or earlier.
    pub fn provisional(&self) -> Reply {
        let data = ProvisionalResponse { transaction_id: self.transaction_id.clone() };
        self.reply(message_type::PROVISIONAL_RESPONSE, raw(&data))
    }

    /// The results, or an error if they have more than `max` bytes.
    pub fn response<R: Serialize>(&self, kind: Kind, results: R, max: usize) -> Reply {
        let data = raw(&Response { transaction_id: self.transaction_id.clone(), results });
        if data.get().len() > max {
            return self.error(&Label::too_large(data.get().len() as u64, max));
        }
        let message_type = match kind {
            Kind::Blocking => message_type::BLOCKING_RESPONSE,
            Kind::NonBlocking => message_type::NON_BLOCKING_RESPONSE,
        };
        self.reply(message_type, data)
    }

    /// The action was not run or has no results that could be sent.
    pub fn error(&self, description: &str) -> Reply {
        let mut end = description.len().min(AGENT_DESCRIPTION_BYTES_MAX);
        while !description.is_char_boundary(end) {
            end -= 1;
        }
        let data = RpcError {
            transaction_id: self.transaction_id.clone(),
            id: self.request_id.clone(),
            description: description[..end].to_owned(),
        };
        self.reply(message_type::RPC_ERROR, raw(&data))
    }

    fn reply(&self, message_type: &'static str, data: Box<RawValue>) -> Reply {
        let (target, transaction_id) = (self.requester.clone(), self.transaction_id.clone());
        Reply { target, message_type, in_reply_to: None, data, transaction_id }
    }
}

/// PCP's error, for a request that is not even one.
pub fn pcp_error(requester: &str, request_id: &str, text: &str) -> Reply {
    Reply {
        target: requester.to_owned(),
        message_type: ERROR_MESSAGE,
        in_reply_to: Some(request_id.to_owned()),
        data: raw(&text),
        transaction_id: String::new(),
    }
}

fn raw(data: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(data).expect("messages have string keys only")
}
