//! The way of a message to its target: a connection of this worker, a connection of another worker by mail, or a
//! controller. The bytes that came are forwarded; only a missing sender is put in, because agents drop requests without
//! one.

use bytes::Bytes;
use tracing::warn;

use super::Outcome;
use super::controllers::Way;
use super::core::{BrokerCore, BrokerMail, Origin};
use super::said::Said;
use crate::link::{Opcode, PeerId, SendOutcome, Shell};
use crate::pcp::message::error_text;

impl BrokerCore {
    /// Forwards a message that has passed all checks.
    pub(super) fn route(&mut self, said: &Said<'_>, target: &str, shell: &mut dyn Shell<BrokerMail>) -> Outcome {
        let sender = said.envelope.sender.is_none().then(|| format!(",\"sender\":\"{}\"}}", said.from));
        let parts = forwarded(said.payload, sender.as_deref());
        let outcome = match self.broker.directory.locate(target) {
            Some(peer) => self.send_to_peer(peer, said, &parts, shell),
            None => self.send_to_controller(target, said, &parts, shell),
        };
        match outcome {
            Outcome::NotConnected => {
                self.reply_error(&said.origin, Some(&said.envelope.id), error_text::NOT_CONNECTED, shell)
            }
            Outcome::Overloaded => {
                self.reply_error(&said.origin, Some(&said.envelope.id), error_text::OVERLOADED, shell)
            }
            _ => {}
        }
        outcome
    }

    fn send_to_peer(
        &self,
        peer: PeerId,
        said: &Said<'_>,
        parts: &[&[u8]],
        shell: &mut dyn Shell<BrokerMail>,
    ) -> Outcome {
        if peer.worker != shell.worker() {
            let Some(mail) = self.delivery(peer, said, parts) else { return Outcome::Overloaded };
            return posted(shell.mail(peer.worker, mail));
        }
        match shell.send(peer, Opcode::Text, parts) {
            SendOutcome::Sent => Outcome::Authorized,
            SendOutcome::Gone => Outcome::NotConnected,
            SendOutcome::Full => Outcome::Overloaded,
        }
    }

    /// A message as mail to the worker of its target, if that worker has room for its bytes.
    fn delivery(&self, peer: PeerId, said: &Said<'_>, parts: &[&[u8]]) -> Option<BrokerMail> {
        let payload = self.broker.mail.get(usize::from(peer.worker))?.accept(Bytes::from(parts.concat())).ok()?;
        let id = said.envelope.id.as_ref().into();
        Some(BrokerMail::Deliver { to: peer, payload, origin: said.origin.clone(), id })
    }

    fn send_to_controller(
        &mut self,
        target: &str,
        said: &Said<'_>,
        parts: &[&[u8]],
        shell: &mut dyn Shell<BrokerMail>,
    ) -> Outcome {
        let Some(controller) = self.broker.controllers.find(target) else { return Outcome::NotConnected };
        match &controller.way {
            Way::Link(peer) if peer.worker == shell.worker() => self.send_to_peer(*peer, said, parts, shell),
            Way::Link(peer) => {
                let Some(mail) = self.delivery(*peer, said, parts) else { return Outcome::Overloaded };
                posted(self.mail_to_links(mail, shell))
            }
            Way::Port(port) => match port.offer(Bytes::from(parts.concat())) {
                Ok(()) => Outcome::Authorized,
                Err(_) => Outcome::Overloaded,
            },
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
        let current = match self.sessions.get(to) {
            Some(session) => self.broker.directory.locate(&session.uri) == Some(to),
            None => self.links.controller(to).is_some(),
        };
        let outcome = if current { shell.send(to, Opcode::Text, &[payload]) } else { SendOutcome::Gone };
        let (outcome, text) = match outcome {
            SendOutcome::Sent => return,
            SendOutcome::Gone => (Outcome::NotConnected, error_text::NOT_CONNECTED),
            SendOutcome::Full => (Outcome::Overloaded, error_text::OVERLOADED),
        };
        self.broker.observer.outcome(outcome);
        match origin.peer() {
            Some(peer) if peer.worker != shell.worker() => {
                let mail = BrokerMail::Undeliverable { to: peer, id: id.into(), text };
                if shell.mail(peer.worker, mail).is_err() && self.may_log("sender-not-told") {
                    warn!(%peer, id = %id.escape_debug(), text, "the sender could not be told of a lost message");
                }
            }
            _ => self.reply_error(origin, Some(id), text, shell),
        }
    }
}

fn posted(result: Result<(), BrokerMail>) -> Outcome {
    match result {
        Ok(()) => Outcome::Authorized,
        Err(_) => Outcome::Overloaded,
    }
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
