//! What a message goes through before it is routed or answered, in the reference's order: decode, authenticate,
//! authorize, multicast check. Then the broker's own messages, or the route.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tracing::{debug, warn};

use super::authorize::Judged;
use super::controllers::Controller;
use super::core::{BrokerCore, BrokerMail, Origin};
use super::session::Standing;
use super::{Access, AccessEnvelope, Outcome};
use crate::clock::Moment;
use crate::link::{Opcode, PeerId, Shell};
use crate::pcp::message::error_text;
use crate::pcp::{DecodeError, Envelope, PcpUri, SERVER_URI, Version, message_type, translate, v1};

/// How a message came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form<'a> {
    /// In v2's form: these bytes can be forwarded.
    V2(&'a [u8]),
    /// In v1's form, with so many targets.
    V1 { targets: usize },
}

/// One message and who said it.
pub(super) struct Said<'a> {
    pub(super) origin: Origin,
    /// Address of a client.
    pub(super) remote: Option<SocketAddr>,
    /// URI of the client's connection, or of the controller.
    pub(super) from: &'a str,
    /// The name in it.
    common_name: &'a str,
    /// In v2's terms.
    pub(super) envelope: Envelope<'a>,
    /// What stands in the message besides its envelope.
    pub(super) form: Form<'a>,
}

impl Said<'_> {
    /// The envelope's sender, by default the connection's URI.
    fn sender(&self) -> &str {
        self.envelope.sender.as_deref().unwrap_or(self.from)
    }

    /// The envelope's target, by default the broker.
    fn target(&self) -> &str {
        self.envelope.target.as_deref().unwrap_or(SERVER_URI)
    }

    fn access(&self, at: Moment) -> Access<'_> {
        let envelope = AccessEnvelope {
            sender: self.sender(),
            message_type: &self.envelope.message_type,
            id: &self.envelope.id,
            target: self.target(),
        };
        Access { at, remote: self.remote, common_name: self.common_name, envelope: Some(envelope) }
    }
}

impl BrokerCore {
    /// A client has sent a message.
    pub(super) fn client_said(
        &mut self,
        peer: PeerId,
        opcode: Opcode,
        payload: &[u8],
        shell: &mut dyn Shell<BrokerMail>,
    ) {
        let Some(session) = self.sessions.get(peer) else { return };
        if session.standing == Standing::Superseded {
            debug!(uri = %session.uri, "message of a superseded connection ignored");
            return;
        }
        let (uri, remote, version) = (session.uri.clone(), shell.remote(peer), session.version);
        let origin = Origin::Peer(peer);
        let (envelope, form) = match decode(version, opcode, payload) {
            Ok(decoded) => decoded,
            Err(label) => return self.undecodable(&origin, remote, &uri, label, shell),
        };
        let said = Said { origin, remote, from: &uri, common_name: authority(&uri), envelope, form };
        let outcome = match sender_is(&said.envelope, said.common_name) {
            true => self.authorize(peer, &said),
            false => Outcome::NotAuthenticated,
        };
        self.checked(&said, outcome, shell);
    }

    /// Asks the policy whether a client may say this; a policy that has changed also for the client's rights.
    fn authorize(&mut self, peer: PeerId, said: &Said<'_>) -> Outcome {
        let policy = self.broker.policy.load();
        let Some(session) = self.sessions.get_mut(peer) else { return Outcome::NotAuthorized };
        let common_name = said.common_name;
        if !policy.made(&session.rights) {
            session.rights = policy.rights(common_name, session.attributes.as_deref());
        }
        let judged = Judged {
            common_name,
            sender: said.sender(),
            message_type: &said.envelope.message_type,
            target: said.target(),
        };
        match policy.judge(&session.rights, &judged, &self.broker.controllers) {
            Ok(()) => Outcome::Authorized,
            Err(denial) => {
                self.tell_refusal(said, Outcome::NotAuthorized, &denial);
                Outcome::NotAuthorized
            }
        }
    }

    /// A controller has sent a message.
    pub(super) fn controller_said(
        &mut self,
        controller: Arc<Controller>,
        opcode: Opcode,
        payload: &[u8],
        shell: &mut dyn Shell<BrokerMail>,
    ) {
        let uri = controller.uri.clone();
        let (envelope, form) = match decode(Version::V2, opcode, payload) {
            Ok(decoded) => decoded,
            Err(label) => return self.undecodable(&Origin::Controller(controller), None, &uri, label, shell),
        };
        let is_listed = controller.allowlist.iter().any(|allowed| **allowed == *envelope.message_type);
        let origin = Origin::Controller(controller);
        let said = Said { origin, remote: None, from: &uri, common_name: authority(&uri), envelope, form };
        let outcome = if !sender_is(&said.envelope, said.common_name) {
            Outcome::NotAuthenticated
        } else if !is_listed {
            self.tell_refusal(&said, Outcome::NotAuthorized, &"not in the controllers' allowlist");
            Outcome::NotAuthorized
        } else {
            Outcome::Authorized
        };
        self.checked(&said, outcome, shell);
    }

    /// What follows the checks of who and what, the second of which has told why not: the multicast check, then the
    /// broker's own messages or the route.
    fn checked(&mut self, said: &Said<'_>, outcome: Outcome, shell: &mut dyn Shell<BrokerMail>) {
        let target = said.target();
        let several = matches!(said.form, Form::V1 { targets } if targets > 1);
        let multicast = || several || PcpUri::parse(target).is_some_and(|uri| uri.is_wildcard());
        let outcome = match outcome {
            Outcome::NotAuthenticated => {
                self.tell_refusal(said, outcome, &"the sender is somebody else's name");
                self.refuse(said, outcome, error_text::NOT_AUTHENTICATED, shell)
            }
            Outcome::NotAuthorized => self.refuse(said, outcome, error_text::NOT_AUTHORIZED, shell),
            _ if multicast() => {
                self.tell_refusal(said, Outcome::Multicast, &"more than one target, or a wildcard");
                self.refuse(said, Outcome::Multicast, error_text::MULTICAST, shell)
            }
            _ if target == SERVER_URI => self.server_message(said, shell),
            _ => self.route(said, target, shell),
        };
        self.account(outcome, &said.access(self.now));
    }

    /// Counts what a message came to, and gives it to the access log.
    pub(super) fn account(&self, outcome: Outcome, access: &Access<'_>) {
        self.broker.observer.outcome(outcome);
        self.broker.observer.accessed(self.worker, outcome, access);
    }

    /// Whether there may be a line about a message: any client can cause them as fast as it can send.
    pub(super) fn may_log(&mut self, label: &'static str) -> bool {
        self.pace.allows(self.now, label)
    }

    fn undecodable(
        &mut self,
        origin: &Origin,
        remote: Option<SocketAddr>,
        from: &str,
        label: &'static str,
        shell: &mut dyn Shell<BrokerMail>,
    ) {
        if self.may_log(label) {
            warn!(event = "connection-message", uri = from, reason = label, "message could not be decoded");
        }
        let access = Access { at: self.now, remote, common_name: authority(from), envelope: None };
        self.account(Outcome::Undecodable(label), &access);
        self.reply_error(origin, None, error_text::NOT_DECODED, shell);
    }

    /// The line about a refused message. What the peer has said comes last: it may be long enough to be cut off.
    fn tell_refusal(&mut self, said: &Said<'_>, outcome: Outcome, denial: &dyn fmt::Display) {
        if self.may_log(outcome.label()) {
            warn!(
                event = "message-authorization",
                uri = said.from,
                outcome = outcome.label(),
                %denial,
                message_type = ?said.envelope.message_type,
                target = ?said.target(),
                "message refused"
            );
        }
    }

    /// Answers a refused message: an association is refused in its own form, everything else by an error message.
    fn refuse(
        &mut self,
        said: &Said<'_>,
        outcome: Outcome,
        text: &'static str,
        shell: &mut dyn Shell<BrokerMail>,
    ) -> Outcome {
        if said.envelope.message_type == message_type::ASSOCIATE_REQUEST && said.target() == SERVER_URI {
            self.refuse_association(said, text, shell);
        } else {
            self.reply_error(&said.origin, Some(&said.envelope.id), text, shell);
        }
        outcome
    }

    fn server_message(&mut self, said: &Said<'_>, shell: &mut dyn Shell<BrokerMail>) -> Outcome {
        match &*said.envelope.message_type {
            message_type::ASSOCIATE_REQUEST => self.associate(said, shell),
            message_type::INVENTORY_REQUEST => {
                self.inventory_request(said, shell);
                Outcome::Authorized
            }
            other => {
                let outcome = Outcome::Unhandled.label();
                if self.may_log(outcome) {
                    let what = "message of a type the broker does not handle";
                    warn!(event = "broker-unhandled-message", uri = said.from, outcome, message_type = ?other, "{what}");
                }
                Outcome::Unhandled
            }
        }
    }

    /// A client is associated by connecting. Asking again for the same type, as v1 clients must, is answered with success
    /// every time.
    fn associate(&mut self, said: &Said<'_>, shell: &mut dyn Shell<BrokerMail>) -> Outcome {
        if said.sender() == said.from {
            self.answer_association(said, None, shell);
            return Outcome::Authorized;
        }
        let outcome = Outcome::AssociationRefused.label();
        if self.may_log(outcome) {
            let asked = said.sender();
            let what = "session was already associated as somebody else";
            warn!(event = "connection-already-associated", uri = said.from, outcome, ?asked, "{what}");
        }
        self.refuse_association(said, "Session already associated.", shell);
        Outcome::AssociationRefused
    }
}

fn decode(version: Version, opcode: Opcode, payload: &[u8]) -> Result<(Envelope<'_>, Form<'_>), &'static str> {
    match (version, opcode) {
        (Version::V2, Opcode::Text) => {
            Envelope::decode(payload).map(|envelope| (envelope, Form::V2(payload))).map_err(DecodeError::label)
        }
        (Version::V1, Opcode::Binary) => {
            let message = v1::Message::decode(payload).map_err(DecodeError::label)?;
            let targets = message.envelope.targets.count;
            Ok((translate::from_v1(message), Form::V1 { targets }))
        }
        (Version::V2, Opcode::Binary) => Err("binary-on-v2"),
        (Version::V1, Opcode::Text) => Err("text-on-v1"),
    }
}

/// Whether the envelope's sender, if it has one, is of this authority; the type is not compared.
fn sender_is(envelope: &Envelope<'_>, authority: &str) -> bool {
    envelope.sender.as_deref().is_none_or(|sender| PcpUri::parse(sender).is_some_and(|uri| uri.authority == authority))
}

/// The name in the URI of a connection or controller.
fn authority(uri: &str) -> &str {
    PcpUri::parse(uri).map_or("", |uri| uri.authority)
}
