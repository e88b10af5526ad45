//! What simulated agents and the controller say: PCP v1 and v2 around PXP (PCP 1.0 and 2.0, message.md; PXP 1.0,
//! request_response.md). Everything is written into a buffer of the caller.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::link::Opcode;
use crate::pcp::translate::{from_v1, to_v1};
use crate::pcp::{DecodeError, Envelope, Outgoing, SERVER_URI, Version, message_type as pcp, v1};
use crate::pxp::message_type as pxp;

use super::plan::RequestKind;

/// Reads a message of either version.
pub fn read(opcode: Opcode, payload: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    match opcode {
        Opcode::Text => Envelope::decode(payload),
        Opcode::Binary => v1::Message::decode(payload).map(from_v1),
    }
}

/// How messages of a version go over a connection.
pub fn opcode(version: Version) -> Opcode {
    match version {
        Version::V1 => Opcode::Binary,
        Version::V2 => Opcode::Text,
    }
}

/// Writes a message, instead of what was in the buffer.
fn write<T: Serialize>(version: Version, message: &Outgoing<'_, T>, out: &mut Vec<u8>) {
    out.clear();
    match version {
        Version::V1 => to_v1(message, out),
        Version::V2 => message.encode_into(out),
    }
}

/// The first message of a v1 client.
pub fn associate(id: &str, sender: &str, out: &mut Vec<u8>) {
    let message: Outgoing<'_, ()> = Outgoing {
        id,
        message_type: pcp::ASSOCIATE_REQUEST,
        target: Some(SERVER_URI),
        sender: Some(sender),
        in_reply_to: None,
        data: None,
    };
    write(Version::V1, &message, out);
}

/// Asks for the agents that there are, and for news of them.
pub fn ask_for_inventory(id: &str, sender: &str, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Query {
        query: [&'static str; 1],
        subscribe: bool,
    }
    let message = Outgoing {
        id,
        message_type: pcp::INVENTORY_REQUEST,
        target: Some(SERVER_URI),
        sender: Some(sender),
        in_reply_to: None,
        data: Some(Query { query: ["pcp://*/agent"], subscribe: true }),
    };
    write(Version::V2, &message, out);
}

/// The part of a request or answer that names its transaction; a transaction's id is also its request's message id.
#[derive(Debug, Deserialize)]
pub struct Transaction<'a> {
    /// The id.
    #[serde(borrow)]
    pub transaction_id: Cow<'a, str>,
}

/// A request as large as asked for.
pub struct Requests {
    kind: RequestKind,
    sender: String,
    params: Box<RawValue>,
}

impl Requests {
    /// Requests from `sender` whose parameters are filled with so many bytes.
    pub fn new(kind: RequestKind, sender: &str, filling: usize) -> Self {
        let params = filled("argument", filling);
        Self { kind, sender: sender.to_owned(), params }
    }

    /// Writes one.
    pub fn write(&self, id: &str, target: &str, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Request<'a> {
            transaction_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            notify_outcome: Option<bool>,
            module: &'static str,
            action: &'static str,
            params: &'a RawValue,
        }
        let (message_type, notify_outcome) = match self.kind {
            RequestKind::Blocking => (pxp::BLOCKING_REQUEST, None),
            RequestKind::NonBlocking => (pxp::NON_BLOCKING_REQUEST, Some(true)),
        };
        let data = Request { transaction_id: id, notify_outcome, module: "echo", action: "echo", params: &self.params };
        let message = Outgoing {
            id,
            message_type,
            target: Some(target),
            sender: Some(&self.sender),
            in_reply_to: None,
            data: Some(data),
        };
        write(Version::V2, &message, out);
    }
}

/// Answers as large as asked for.
pub struct Replies {
    results: Box<RawValue>,
}

impl Replies {
    /// What a task that succeeded leaves, with so many bytes of output: an orchestrator takes it for a result, and for the
    /// answer to a status query.
    pub fn new(filling: usize) -> Self {
        let text = format!(r#"{{"exitcode":0,"status":"success","stderr":"","stdout":"{}"}}"#, "x".repeat(filling));
        Self { results: RawValue::from_string(text).expect("it is JSON") }
    }

    /// Writes that the action has begun.
    pub fn provisional(
        &self,
        version: Version,
        id: &str,
        from: &str,
        request: &Envelope<'_>,
        transaction: &str,
        out: &mut Vec<u8>,
    ) {
        #[derive(Serialize)]
        struct Begun<'a> {
            transaction_id: &'a str,
        }
        reply(version, pxp::PROVISIONAL_RESPONSE, id, from, request, Begun { transaction_id: transaction }, out);
    }

    /// Writes the result.
    pub fn result(
        &self,
        version: Version,
        id: &str,
        from: &str,
        request: &Envelope<'_>,
        transaction: &str,
        out: &mut Vec<u8>,
    ) {
        #[derive(Serialize)]
        struct Ended<'a> {
            transaction_id: &'a str,
            results: &'a RawValue,
        }
        let message_type = match &*request.message_type {
            pxp::BLOCKING_REQUEST => pxp::BLOCKING_RESPONSE,
            _ => pxp::NON_BLOCKING_RESPONSE,
        };
        let data = Ended { transaction_id: transaction, results: &self.results };
        reply(version, message_type, id, from, request, data, out);
    }
}

fn reply<T: Serialize>(
    version: Version,
    message_type: &str,
    id: &str,
    from: &str,
    request: &Envelope<'_>,
    data: T,
    out: &mut Vec<u8>,
) {
    let target = request.sender.as_deref();
    let message = Outgoing { id, message_type, target, sender: Some(from), in_reply_to: None, data: Some(data) };
    write(version, &message, out);
}

/// An object with one key whose value has so many bytes.
fn filled(key: &str, bytes: usize) -> Box<RawValue> {
    let text = format!("{{\"{key}\":\"{}\"}}", "x".repeat(bytes));
    RawValue::from_string(text).expect("it is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pxp::request::{BlockingRequest, NonBlockingRequest};
    use crate::pxp::response::Response;

    const ID: &str = "f93df7fa-5168-4f8d-a7b5-180d46019213";

    #[test]
    fn a_real_agent_would_take_the_requests() {
        let mut out = b"what was there".to_vec();
        Requests::new(RequestKind::NonBlocking, "pcp://ctl/controller", 3).write(ID, "pcp://a/agent", &mut out);
        let envelope = read(Opcode::Text, &out).unwrap();
        let request: NonBlockingRequest<serde_json::Value> = envelope.data_as().unwrap();
        assert_eq!((request.transaction_id.as_str(), request.notify_outcome), (ID, true));
        assert_eq!(request.params.unwrap(), serde_json::json!({"argument": "xxx"}));
        Requests::new(RequestKind::Blocking, "pcp://ctl/controller", 0).write(ID, "pcp://a/agent", &mut out);
        let request: BlockingRequest<serde_json::Value> = read(Opcode::Text, &out).unwrap().data_as().unwrap();
        assert_eq!((request.module.as_str(), request.action.as_str()), ("echo", "echo"));
    }

    #[test]
    fn answers_go_back_in_the_version_they_came_in() {
        let (mut request, mut out) = (Vec::new(), Vec::new());
        Requests::new(RequestKind::NonBlocking, "pcp://ctl/controller", 0).write(ID, "pcp://a/agent", &mut request);
        let request = read(Opcode::Text, &request).unwrap();
        for version in [Version::V1, Version::V2] {
            Replies::new(2).result(version, ID, "pcp://a/agent", &request, "t", &mut out);
            let answer = read(opcode(version), &out).unwrap();
            assert_eq!(answer.target.as_deref(), Some("pcp://ctl/controller"));
            assert_eq!(answer.message_type, pxp::NON_BLOCKING_RESPONSE);
            let data: Response<serde_json::Value> = answer.data_as().unwrap();
            assert_eq!(
                (data.transaction_id.as_str(), data.results),
                ("t", serde_json::json!({"exitcode": 0, "status": "success", "stderr": "", "stdout": "xx"}))
            );
            Replies::new(2).provisional(version, ID, "pcp://a/agent", &request, "t", &mut out);
            assert_eq!(read(opcode(version), &out).unwrap().data_as::<Transaction<'_>>().unwrap().transaction_id, "t");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(read(Opcode::Text, b"{").is_err() && read(Opcode::Binary, b"\x02").is_err());
    }
}
