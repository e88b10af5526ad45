//! The way of a message to its target: a connection of this worker, a connection of another worker by mail, or a
//! controller. Between v2 clients the bytes that came are forwarded, and only a missing sender is put in, because agents
//! drop requests without one. A v1 client at either end costs a translation into the worker's scratch buffer.

use bytes::Bytes;
use tracing::warn;

use super::Outcome;
use super::answer::encode;
use super::controllers::Way;
use super::core::{BrokerCore, BrokerMail, Origin};
use super::said::{Form, Said};
use super::session::Session;
use crate::limits::URI_BYTES_MAX;
use crate::link::{Opcode, PeerId, SendOutcome, Shell};
use crate::pcp::message::error_text;
use crate::pcp::{Envelope, SERVER_URI, Version};

/// Bytes of a message besides its data, in most cases.
const ENVELOPE_BYTES_ABOUT: usize = 512;

/// What became of a message that was to be sent to a client.
enum Delivery {
    Sent,
    NotConnected,
    Overloaded,
    TooLarge,
}

impl Delivery {
    /// The outcome, and what the sender is told of it.
    fn verdict(self) -> (Outcome, Option<&'static str>) {
        match self {
            Self::Sent => (Outcome::Authorized, None),
            Self::NotConnected => (Outcome::NotConnected, Some(error_text::NOT_CONNECTED)),
            Self::Overloaded => (Outcome::Overloaded, Some(error_text::OVERLOADED)),
            Self::TooLarge => (Outcome::TooLarge, Some(error_text::TOO_LARGE)),
        }
    }
}

impl From<SendOutcome> for Delivery {
    fn from(outcome: SendOutcome) -> Self {
        match outcome {
            SendOutcome::Sent => Self::Sent,
            SendOutcome::Gone => Self::NotConnected,
            SendOutcome::Full => Self::Overloaded,
        }
    }
}

impl BrokerCore {
    /// Forwards a message that has passed all checks.
    pub(super) fn route(&mut self, said: &Said<'_>, target: &str, shell: &mut dyn Shell<BrokerMail>) -> Outcome {
        // A target may be as long as a message. Nobody has such a URI, and all workers would wait while it is hashed under
        // the directory's lock.
        let holder = if target.len() <= URI_BYTES_MAX { self.broker.directory.locate(target) } else { None };
        let delivery = match holder {
            Some(peer) if peer.worker == shell.worker() => self.send_here(peer, said, shell),
            Some(peer) => match self.mail_for(peer, said) {
                Some(mail) => posted(shell.mail(peer.worker, mail)),
                None => Delivery::Overloaded,
            },
            None => self.send_to_controller(target, said, shell),
        };
        let (outcome, text) = delivery.verdict();
        if let Some(text) = text {
            self.reply_error(&said.origin, Some(&said.envelope.id), text, shell);
        }
        outcome
    }

    fn send_here(&mut self, to: PeerId, said: &Said<'_>, shell: &mut dyn Shell<BrokerMail>) -> Delivery {
        let Some(session) = self.sessions.get(to) else { return Delivery::NotConnected };
        match (session.version, said.form) {
            (Version::V2, Form::V2(payload)) => {
                let sender = missing_sender(said);
                send(session, Opcode::Text, &forwarded(payload, sender.as_deref()), shell)
            }
            _ => self.send_translated(to, &said.envelope, said.from, shell),
        }
    }

    /// Puts a message into the form that a client of this worker speaks.
    fn send_translated(
        &mut self,
        to: PeerId,
        envelope: &Envelope<'_>,
        from: &str,
        shell: &mut dyn Shell<BrokerMail>,
    ) -> Delivery {
        let Some(session) = self.sessions.get(to) else { return Delivery::NotConnected };
        let mut message = self.scratch.take();
        message.reserve(bytes_about(envelope));
        let opcode = encode(&envelope.outgoing(from), session.version, &mut message);
        let delivery = send(session, opcode, &[&message], shell);
        self.scratch.give(message);
        delivery
    }

    /// A message as mail to the worker of its target, if that worker has room for its bytes.
    fn mail_for(&self, to: PeerId, said: &Said<'_>) -> Option<BrokerMail> {
        let payload = self.broker.mail.get(usize::from(to.worker))?.accept(in_v2(said)).ok()?;
        let id = said.envelope.id.as_ref().into();
        Some(BrokerMail::Deliver { to, payload, origin: said.origin.clone(), id })
    }

    fn send_to_controller(&mut self, target: &str, said: &Said<'_>, shell: &mut dyn Shell<BrokerMail>) -> Delivery {
        let Some(controller) = self.broker.controllers.find(target) else { return Delivery::NotConnected };
        match &controller.way {
            Way::Link(peer) if peer.worker == shell.worker() => match said.form {
                Form::V2(payload) => {
                    let sender = missing_sender(said);
                    shell.send(*peer, Opcode::Text, &forwarded(payload, sender.as_deref())).into()
                }
                Form::V1 { .. } => shell.send(*peer, Opcode::Text, &[&in_v2(said)]).into(),
            },
            Way::Link(peer) => match self.mail_for(*peer, said) {
                Some(mail) => posted(self.mail_to_links(mail, shell)),
                None => Delivery::Overloaded,
            },
            Way::Port(port) => posted(port.offer(in_v2(said))),
        }
    }

    /// Takes a message from another worker to the connection that held the target's URI when it was routed, unless a
    /// newer one has it by now.
    pub(super) fn deliver(
        &mut self,
        to: PeerId,
        payload: &[u8],
        origin: &Origin,
        id: &str,
        shell: &mut dyn Shell<BrokerMail>,
    ) {
        let current = self.sessions.get(to).filter(|session| self.broker.directory.locate(&session.uri) == Some(to));
        let delivery = match current {
            Some(session) if session.version == Version::V2 => send(session, Opcode::Text, &[payload], shell),
            Some(_) => match Envelope::decode(payload) {
                // Whoever mailed it has put the sender in.
                Ok(envelope) => self.send_translated(to, &envelope, SERVER_URI, shell),
                Err(_) => Delivery::NotConnected,
            },
            None if self.links.controller(to).is_some() => shell.send(to, Opcode::Text, &[payload]).into(),
            None => Delivery::NotConnected,
        };
        let (outcome, Some(text)) = delivery.verdict() else { return };
        self.broker.observer.outcome(outcome);
        match origin.peer() {
            Some(peer) if peer.worker != shell.worker() => {
                let mail = BrokerMail::Undeliverable { to: peer, id: id.into(), text };
                if shell.mail(peer.worker, mail).is_err() && self.may_log("sender-not-told") {
                    let id = id.escape_debug();
                    let what = "the sender could not be told of a lost message";
                    warn!(event = "message-delivery-failure", %peer, %id, text, "{what}");
                }
            }
            _ => self.reply_error(origin, Some(id), text, shell),
        }
    }
}

/// What came of something that is given back when there is no room for it.
fn posted<T>(result: Result<(), T>) -> Delivery {
    match result {
        Ok(()) => Delivery::Sent,
        Err(_) => Delivery::Overloaded,
    }
}

/// Sends a message unless the client would close its connection on it.
fn send(session: &Session, opcode: Opcode, parts: &[&[u8]], shell: &mut dyn Shell<BrokerMail>) -> Delivery {
    if parts.iter().map(|part| part.len()).sum::<usize>() > session.message_bytes_max() {
        return Delivery::TooLarge;
    }
    shell.send(session.peer, opcode, parts).into()
}

/// The whole message in v2's form, for somebody else's thread.
fn in_v2(said: &Said<'_>) -> Bytes {
    let message = match said.form {
        Form::V2(payload) => forwarded(payload, missing_sender(said).as_deref()).concat(),
        Form::V1 { .. } => {
            let mut message = Vec::with_capacity(bytes_about(&said.envelope));
            said.envelope.outgoing(said.from).encode_into(&mut message);
            message
        }
    };
    Bytes::from(message)
}

/// Enough for the message in any form, unless much in it must be escaped: growing would copy a large one several times.
fn bytes_about(envelope: &Envelope<'_>) -> usize {
    envelope.data.map_or(0, |data| data.get().len()) + ENVELOPE_BYTES_ABOUT
}

/// What is to be added to a message that came without a sender.
fn missing_sender(said: &Said<'_>) -> Option<String> {
    said.envelope.sender.is_none().then(|| format!(",\"sender\":\"{}\"}}", said.from))
}

/// The message's bytes, with the sender put before the closing brace if it was missing. The envelope was decoded, so
/// there is a brace and at least one key before it.
fn forwarded<'a>(payload: &'a [u8], sender: Option<&'a str>) -> [&'a [u8]; 2] {
    match sender {
        None => [payload, b""],
        Some(sender) => [payload.trim_ascii_end().strip_suffix(b"}").unwrap_or(payload), sender.as_bytes()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcp::Envelope;

    #[test]
    fn a_missing_sender_is_put_in_and_nothing_else_changes() {
        let payload = br#"{"id":"1-1-1-1-1","message_type":"x","data":{"a":[1,{}]} } "#;
        let whole = forwarded(payload, Some(",\"sender\":\"pcp://a/agent\"}")).concat();
        let envelope = Envelope::decode(&whole).unwrap();
        assert_eq!(envelope.sender.as_deref(), Some("pcp://a/agent"));
        assert_eq!(envelope.data.unwrap().get(), r#"{"a":[1,{}]}"#);
        assert_eq!(forwarded(payload, None).concat(), payload);
    }
}
