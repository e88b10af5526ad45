//! What the broker itself says to clients and controllers: answers to associations, errors.

use std::borrow::Cow;

use bytes::Bytes;

use super::controllers::Way;
use super::core::{ASSOCIATION_UNSUCCESSFUL, BrokerCore, BrokerMail, Origin};
use super::said::Said;
use crate::link::{Opcode, SendOutcome, Shell};
use crate::pcp::message::AssociateResponse;
use crate::pcp::{Outgoing, SERVER_URI, message_type};

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
        self.reply(&said.origin, &answer.encode(), shell);
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
        self.reply(origin, &message.encode(), shell);
    }

    /// Sends one of the broker's own messages; false if the receiver does not keep up or is gone.
    pub(super) fn reply(&self, origin: &Origin, message: &[u8], shell: &mut dyn Shell<BrokerMail>) -> bool {
        match origin {
            Origin::Peer(peer) => shell.send(*peer, Opcode::Text, &[message]) == SendOutcome::Sent,
            Origin::Controller(controller) => match &controller.way {
                Way::Link(peer) => shell.send(*peer, Opcode::Text, &[message]) == SendOutcome::Sent,
                Way::Port(port) => port.offer(Bytes::copy_from_slice(message)).is_ok(),
            },
        }
    }
}
