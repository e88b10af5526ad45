//! The two versions of PCP as an agent speaks them: JSON in text frames after the upgrade (2.0), or chunks in binary
//! frames after an association (1.0). PURE but for the wall clock, of which v1's messages say when they expire.

use std::time::Duration;

use serde::Serialize;

use crate::clock::WallTime;
use crate::link::Opcode;
use crate::pcp::message::AssociateResponse;
use crate::pcp::{Envelope, Outgoing, SERVER_URI, message_type, translate, v1};

/// Which version, and its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PCP 1.0.
    V1 {
        /// Time that the broker has to answer the association.
        association_timeout: Duration,
        /// After which our messages say that they have expired.
        message_ttl: Duration,
    },
    /// PCP 2.0.
    V2,
}

/// What the broker says of our association.
#[derive(Debug, PartialEq, Eq)]
pub enum Association {
    /// Messages may be sent.
    Granted,
    /// With a reason.
    Denied(String),
}

impl Dialect {
    /// Reads a message; the error says why it cannot be one.
    pub fn decode<'m>(&self, opcode: Opcode, payload: &'m [u8]) -> Result<Envelope<'m>, String> {
        match (self, opcode) {
            (Self::V2, Opcode::Binary) => {
                Err("a binary message: this agent is set to PCP version 2; check the broker's path".into())
            }
            (Self::V1 { .. }, Opcode::Text) => {
                Err("a text message: this agent is set to PCP version 1; check the broker's path".into())
            }
            (Self::V2, Opcode::Text) => {
                Envelope::decode(payload).map_err(|error| format!("a message could not be decoded: {error}"))
            }
            (Self::V1 { .. }, Opcode::Binary) => match v1::Message::decode(payload) {
                Ok(message) => Ok(translate::from_v1(message)),
                Err(error) => Err(format!("a message could not be decoded: {error}")),
            },
        }
    }

    /// Writes a message.
    pub fn encode<T: Serialize>(&self, message: &Outgoing<'_, T>) -> (Opcode, Vec<u8>) {
        match self {
            Self::V2 => (Opcode::Text, message.encode()),
            Self::V1 { message_ttl, .. } => (Opcode::Binary, encode_v1(message, *message_ttl)),
        }
    }

    /// The message that asks for an association, where there is such a thing, and the time for the answer.
    pub fn association(&self, id: &str, uri: &str) -> Option<(Vec<u8>, Duration)> {
        let Self::V1 { association_timeout, .. } = *self else { return None };
        let request: Outgoing<'_, ()> = Outgoing {
            id,
            message_type: message_type::ASSOCIATE_REQUEST,
            target: Some(SERVER_URI),
            sender: Some(uri),
            in_reply_to: None,
            data: None,
        };
        Some((encode_v1(&request, association_timeout), association_timeout))
    }
}

/// Reads the answer to the association asked for with `id`; `None` if it is something else.
pub fn read_association(envelope: &Envelope<'_>, id: &str) -> Option<Association> {
    if envelope.message_type != message_type::ASSOCIATE_RESPONSE {
        return None;
    }
    let answer: AssociateResponse<'_> = envelope.data_as().ok()?;
    if answer.id != id {
        return None;
    }
    Some(match answer.success {
        true => Association::Granted,
        false => Association::Denied(answer.reason.map_or_else(|| "without a reason".into(), |it| it.into_owned())),
    })
}

fn encode_v1<T: Serialize>(message: &Outgoing<'_, T>, ttl: Duration) -> Vec<u8> {
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    let expires = WallTime::from_millis(WallTime::now().as_millis().saturating_add(ttl)).to_millis_string();
    let mut out = Vec::with_capacity(256);
    translate::to_v1_of_client(message, &expires, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "f93df7fa-5168-4f8d-a7b5-180d46019213";
    const V1: Dialect =
        Dialect::V1 { association_timeout: Duration::from_secs(15), message_ttl: Duration::from_secs(5) };

    #[test]
    fn an_association_is_asked_for_and_its_answer_read() {
        let (message, time) = V1.association(ID, "pcp://node/agent").unwrap();
        assert_eq!(time, Duration::from_secs(15));
        assert_eq!(Dialect::V2.association(ID, "pcp://node/agent"), None);
        let request = V1.decode(Opcode::Binary, &message).unwrap();
        assert_eq!(request.message_type, message_type::ASSOCIATE_REQUEST);
        assert_eq!(
            (request.target.as_deref(), request.sender.as_deref()),
            (Some("pcp:///server"), Some("pcp://node/agent"))
        );
        assert!(request.data.is_none());
        let answer = |data: Value| {
            let message = json!({"id": ID, "message_type": message_type::ASSOCIATE_RESPONSE, "data": data}).to_string();
            read_association(&Envelope::decode(message.as_bytes()).unwrap(), ID)
        };
        assert_eq!(answer(json!({"id": ID, "success": true})), Some(Association::Granted));
        let denied = answer(json!({"id": ID, "success": false, "reason": "no"}));
        assert_eq!(denied, Some(Association::Denied("no".into())));
        assert_eq!(answer(json!({"id": "1-1-1-1-1", "success": true})), None);
    }

    #[test]
    fn each_version_takes_its_own_frames_only() {
        let message = Outgoing {
            id: ID,
            message_type: "http://puppetlabs.com/rpc_error_message",
            target: Some("pcp://c/x"),
            sender: Some("pcp://node/agent"),
            in_reply_to: None,
            data: Some(json!({"a": 1})),
        };
        for (dialect, opcode, other) in
            [(V1, Opcode::Binary, Opcode::Text), (Dialect::V2, Opcode::Text, Opcode::Binary)]
        {
            let (written_as, bytes) = dialect.encode(&message);
            assert_eq!(written_as, opcode);
            let read = dialect.decode(opcode, &bytes).unwrap();
            assert_eq!((&*read.id, read.data.unwrap().get()), (ID, r#"{"a":1}"#));
            assert!(dialect.decode(other, &bytes).unwrap_err().contains("check the broker's path"));
        }
        assert!(V1.decode(Opcode::Binary, b"\x02").is_err());
    }
}
