//! What the broker itself says to clients and controllers: answers to associations, errors.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::controllers::Way;
use super::core::{ASSOCIATION_UNSUCCESSFUL, BrokerCore, BrokerMail, Origin};
use super::said::Said;
use crate::link::{Opcode, SendOutcome, Shell};
use crate::pcp::message::AssociateResponse;
use crate::pcp::{Outgoing, SERVER_URI, Version, message_type, translate};

impl BrokerCore {
    pub(super) fn refuse_association(&mut self, said: &Said<'_>, reason: &str, shell: &mut dyn Shell<BrokerMail>) {
        self.answer_association(said, Some(reason), shell);
        if let Origin::Peer(peer) = said.origin {
            shell.close(peer, ASSOCIATION_UNSUCCESSFUL.0, ASSOCIATION_UNSUCCESSFUL.1);
        }
    }

    pub(super) fn answer_association(
        &mut self,
        said: &Said<'_>,
        refused: Option<&str>,
        shell: &mut dyn Shell<BrokerMail>,
    ) {
        let request = &*said.envelope.id;
        let data = AssociateResponse {
            id: Cow::Borrowed(request),
            success: refused.is_none(),
            reason: refused.map(Cow::Borrowed),
        };
        let answer = Outgoing {
            id: &self.random.uuid(),
            message_type: message_type::ASSOCIATE_RESPONSE,
            target: Some(said.from),
            sender: Some(SERVER_URI),
            in_reply_to: Some(request),
            data: Some(data),
        };
        self.reply(&said.origin, &answer, shell);
    }

    /// Sends an `error_message`; without `in_reply_to` if the culprit's id could not be read.
    pub(super) fn reply_error(
        &mut self,
        origin: &Origin,
        in_reply_to: Option<&str>,
        text: &str,
        shell: &mut dyn Shell<BrokerMail>,
    ) {
        let message = Outgoing {
            id: &self.random.uuid(),
            message_type: message_type::ERROR_MESSAGE,
            target: None,
            sender: None,
            in_reply_to,
            data: Some(text),
        };
        self.reply(origin, &message, shell);
    }

    /// Sends one of the broker's own messages.
    pub(super) fn reply<T: Serialize>(
        &mut self,
        origin: &Origin,
        message: &Outgoing<'_, T>,
        shell: &mut dyn Shell<BrokerMail>,
    ) -> Reply {
        let mut bytes = self.scratch.take();
        let reply = match origin {
            Origin::Peer(peer) => match self.sessions.get(*peer) {
                None => Reply::Refused,
                Some(session) => {
                    let opcode = encode(message, session.version, &mut bytes);
                    if bytes.len() > session.message_bytes_max() {
                        Reply::TooLarge
                    } else {
                        match shell.send(*peer, opcode, &[&bytes]) {
                            SendOutcome::Sent => Reply::Sent,
                            SendOutcome::Gone | SendOutcome::Full => Reply::Refused,
                        }
                    }
                }
            },
            Origin::Controller(controller) => {
                message.encode_into(&mut bytes);
                let sent = match &controller.way {
                    Way::Link(peer) => shell.send(*peer, Opcode::Text, &[&bytes]) == SendOutcome::Sent,
                    Way::Port(port) => port.offer(Bytes::copy_from_slice(&bytes)).is_ok(),
                };
                if sent { Reply::Sent } else { Reply::Refused }
            }
        };
        self.scratch.give(bytes);
        reply
    }
}

/// What became of one of the broker's own messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// Given to the connection.
    Sent,
    /// The receiver does not keep up or is gone.
    Refused,
    /// The receiver would close its connection on it.
    TooLarge,
}

/// Appends a message in the form of a protocol; says how it is sent.
pub(super) fn encode<T: Serialize>(message: &Outgoing<'_, T>, version: Version, out: &mut Vec<u8>) -> Opcode {
    match version {
        Version::V1 => {
            translate::to_v1(message, out);
            Opcode::Binary
        }
        Version::V2 => {
            message.encode_into(out);
            Opcode::Text
        }
    }
}
