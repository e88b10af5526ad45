//! One worker's share of the broker as an [`Application`]: admission, association, and the checks that every message
//! passes before it is routed, in the reference's order (decode, authenticate, authorize, multicast). The walk through
//! a session's life is in LIFECYCLE.md beside this file.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{debug, info, warn};

use super::controllers::Controller;
use super::directory::Room;
use super::inventory::Subscriptions;
use super::session::{Session, Sessions, Standing};
use super::{Broker, Outcome};
use crate::backlog::Waiting;
use crate::clock::Moment;
use crate::limits;
use crate::link::{Admission, Application, CloseReason, Event, Opcode, Opening, PeerId, Shell, TimerKey};
use crate::observe::pace::Pace;
use crate::pcp::message::{AssociateResponse, error_text};
use crate::pcp::{Envelope, Outgoing, PcpUri, SERVER_URI, message_type};
use crate::random::Random;

/// Close code and reason of a refused association (pcp-broker).
pub const ASSOCIATION_UNSUCCESSFUL: (u16, &str) = (4002, "Association unsuccessful.");

/// Close code and reason when the broker stops.
const GOING_AWAY: (u16, &str) = (1001, "Broker is stopping.");

/// The timer on which subscribers are told and postponed mail is retried.
pub(super) const TICK: TimerKey = TimerKey(0);

/// The path at which PCP v2 clients connect.
const MOUNT_V2: &str = "/pcp2";

/// Who said something, and so who gets the answer.
#[derive(Clone)]
pub enum Origin {
    /// A client, on whichever worker.
    Peer(PeerId),
    /// An orchestrator.
    Controller(Arc<Controller>),
}

/// What cores and controllers send to a core.
pub enum BrokerMail {
    /// A message for a connection of this worker.
    Deliver {
        /// The connection that held the target's URI when the message was routed.
        to: PeerId,
        /// The whole message.
        payload: Waiting,
        /// Who is told if it cannot be delivered.
        origin: Origin,
        /// The message's id.
        id: Box<str>,
    },
    /// A message of a client of this worker could not be delivered.
    Undeliverable {
        /// The client.
        to: PeerId,
        /// Its message's id.
        id: Box<str>,
        /// The text of the error.
        text: &'static str,
    },
    /// A newer connection has this one's URI.
    Supersede(PeerId),
    /// A message from an orchestrator.
    FromController(Arc<Controller>, Bytes),
}

/// One worker's share of the broker.
pub struct BrokerCore {
    pub(super) broker: Arc<Broker>,
    pub(super) sessions: Sessions,
    pub(super) subscriptions: Subscriptions,
    pub(super) random: Random,
    /// Supersede mail that found a full mailbox; at most one per connection that was ever superseded and not yet told.
    postponed: VecDeque<(u16, PeerId)>,
    tick_armed: bool,
    /// Of the present event.
    now: Moment,
    pace: Pace,
}

impl BrokerCore {
    /// A core; `seed` must differ between cores and runs.
    pub fn new(broker: Arc<Broker>, seed: u64) -> Self {
        Self {
            broker,
            sessions: Sessions::default(),
            subscriptions: Subscriptions::default(),
            random: Random::seeded(seed),
            postponed: VecDeque::new(),
            tick_armed: false,
            now: Moment::default(),
            pace: Pace::default(),
        }
    }

    fn opened(&mut self, peer: PeerId, opening: &Opening<'_>, shell: &mut dyn Shell<BrokerMail>) {
        let Ok(client_type) = client_type(opening.path) else {
            // `admit` refuses such paths; a shell that opens one all the same gets rid of it again.
            shell.close(peer, ASSOCIATION_UNSUCCESSFUL.0, ASSOCIATION_UNSUCCESSFUL.1);
            return;
        };
        let uri: Arc<str> = format!("pcp://{}/{client_type}", opening.identity.common_name).into();
        self.sessions.insert(Session { peer, uri: uri.clone(), standing: Standing::Associated });
        info!(%uri, remote = %opening.remote, "connected");
        if let Some(old) = self.broker.directory.claim(&uri, peer, self.now) {
            info!(%uri, remote = %opening.remote, "supersedes an older connection");
            self.broker.observer.superseded();
            self.tell_superseded(old, shell);
        }
    }

    fn tell_superseded(&mut self, old: PeerId, shell: &mut dyn Shell<BrokerMail>) {
        if old.worker == shell.worker() {
            self.supersede(old, shell);
        } else if shell.mail(old.worker, BrokerMail::Supersede(old)).is_err() {
            self.postponed.push_back((old.worker, old));
            self.arm_tick(shell);
        }
    }

    fn supersede(&mut self, peer: PeerId, shell: &mut dyn Shell<BrokerMail>) {
        if self.sessions.supersede(peer).is_some() {
            self.subscriptions.end(&self.broker.directory, &Origin::Peer(peer));
            shell.abort(peer);
        }
    }

    fn closed(&mut self, peer: PeerId, reason: &CloseReason) {
        let Some(session) = self.sessions.remove(peer) else { return };
        self.subscriptions.end(&self.broker.directory, &Origin::Peer(peer));
        self.broker.directory.release(&session.uri, peer);
        info!(uri = %session.uri, ?reason, "disconnected");
    }

    /// Says goodbye to every client; they go to another broker or come back later.
    fn stop(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        self.broker.begin_stop();
        for peer in self.sessions.peers() {
            shell.close(peer, GOING_AWAY.0, GOING_AWAY.1);
        }
    }

    fn tick(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        self.tick_armed = false;
        for _ in 0..self.postponed.len() {
            let Some((worker, peer)) = self.postponed.pop_front() else { break };
            if shell.mail(worker, BrokerMail::Supersede(peer)).is_err() {
                self.postponed.push_back((worker, peer));
            }
        }
        self.tell_subscribers(shell);
        if !self.subscriptions.is_empty() || !self.postponed.is_empty() {
            self.arm_tick(shell);
        }
    }

    pub(super) fn arm_tick(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        if !self.tick_armed {
            self.tick_armed = true;
            shell.arm(TICK, self.now + limits::INVENTORY_TICK);
        }
    }

    fn client_said(&mut self, peer: PeerId, opcode: Opcode, payload: &[u8], shell: &mut dyn Shell<BrokerMail>) {
        let Some(session) = self.sessions.get(peer) else { return };
        if session.standing == Standing::Superseded {
            debug!(uri = %session.uri, "message of a superseded connection ignored");
            return;
        }
        let uri = session.uri.clone();
        let origin = Origin::Peer(peer);
        let envelope = match decode(opcode, payload) {
            Ok(envelope) => envelope,
            Err(label) => return self.undecodable(&origin, &uri, label, shell),
        };
        let name = PcpUri::parse(&uri).expect("session URIs are well-formed").authority;
        let target = envelope.target.as_deref().unwrap_or(SERVER_URI);
        let outcome = if !sender_is(&envelope, name) {
            Outcome::NotAuthenticated
        } else if !self.broker.policy.allows(name, &envelope.message_type, target, &self.broker.controllers) {
            Outcome::NotAuthorized
        } else {
            Outcome::Authorized
        };
        self.checked(&Said { origin, from: &uri, envelope, payload }, outcome, shell);
    }

    fn controller_said(&mut self, controller: Arc<Controller>, payload: &[u8], shell: &mut dyn Shell<BrokerMail>) {
        let uri = controller.uri.clone();
        let envelope = match decode(Opcode::Text, payload) {
            Ok(envelope) => envelope,
            Err(label) => return self.undecodable(&Origin::Controller(controller), &uri, label, shell),
        };
        let authority = PcpUri::parse(&uri).map_or("", |uri| uri.authority);
        let outcome = if !sender_is(&envelope, authority) {
            Outcome::NotAuthenticated
        } else if !controller.allowlist.iter().any(|allowed| **allowed == *envelope.message_type) {
            Outcome::NotAuthorized
        } else {
            Outcome::Authorized
        };
        let said = Said { origin: Origin::Controller(controller), from: &uri, envelope, payload };
        self.checked(&said, outcome, shell);
    }

    /// What follows the checks of who and what: the multicast check, then the broker's own messages or the route.
    fn checked(&mut self, said: &Said<'_>, outcome: Outcome, shell: &mut dyn Shell<BrokerMail>) {
        let target = said.envelope.target.as_deref().unwrap_or(SERVER_URI);
        let wildcard = || PcpUri::parse(target).is_some_and(|uri| uri.is_wildcard());
        let outcome = match outcome {
            Outcome::NotAuthenticated => self.refuse(said, outcome, error_text::NOT_AUTHENTICATED, shell),
            Outcome::NotAuthorized => self.refuse(said, outcome, error_text::NOT_AUTHORIZED, shell),
            _ if wildcard() => self.refuse(said, Outcome::Multicast, error_text::MULTICAST, shell),
            _ if target == SERVER_URI => self.server_message(said, shell),
            _ => self.route(said, target, shell),
        };
        self.broker.observer.outcome(outcome);
    }

    /// Whether there may be a line about a message: any client can cause them as fast as it can send.
    pub(super) fn may_log(&mut self, label: &'static str) -> bool {
        self.pace.allows(self.now, label)
    }

    fn undecodable(&mut self, origin: &Origin, from: &str, label: &'static str, shell: &mut dyn Shell<BrokerMail>) {
        if self.may_log(label) {
            warn!(uri = from, reason = label, "message could not be decoded");
        }
        self.broker.observer.outcome(Outcome::Undecodable(label));
        self.reply_error(origin, None, error_text::NOT_DECODED, shell);
    }

    /// Answers a refused message: an association is refused in its own form, everything else by an error message.
    fn refuse(
        &mut self,
        said: &Said<'_>,
        outcome: Outcome,
        text: &'static str,
        shell: &mut dyn Shell<BrokerMail>,
    ) -> Outcome {
        if self.may_log(outcome.label()) {
            warn!(
                uri = said.from,
                message_type = %said.envelope.message_type.escape_debug(),
                target = %said.envelope.target.as_deref().unwrap_or(SERVER_URI).escape_debug(),
                outcome = outcome.label(),
                "message refused"
            );
        }
        let to_server = said.envelope.target.as_deref().is_none_or(|target| target == SERVER_URI);
        if said.envelope.message_type == message_type::ASSOCIATE_REQUEST && to_server {
            self.refuse_association(said, text, shell);
        } else {
            self.reply_error(&said.origin, Some(&said.envelope.id), text, shell);
        }
        outcome
    }

    fn server_message(&mut self, said: &Said<'_>, shell: &mut dyn Shell<BrokerMail>) -> Outcome {
        match &*said.envelope.message_type {
            message_type::ASSOCIATE_REQUEST => self.associate(said, shell),
            message_type::INVENTORY_REQUEST => self.inventory_request(said, shell),
            other => {
                if self.may_log(Outcome::Unhandled.label()) {
                    let other = other.escape_debug();
                    warn!(uri = said.from, message_type = %other, "message of a type the broker does not handle");
                }
                return Outcome::Unhandled;
            }
        }
        Outcome::Authorized
    }

    /// A v2 client is associated by connecting; asking again for the same type is answered with success every time.
    fn associate(&mut self, said: &Said<'_>, shell: &mut dyn Shell<BrokerMail>) {
        if said.sender() != said.from {
            if self.may_log("already-associated") {
                info!(uri = said.from, asked = %said.sender().escape_debug(), "session was already associated");
            }
            self.refuse_association(said, "Session already associated.", shell);
        } else {
            self.answer_association(said, None, shell);
        }
    }

    fn refuse_association(&mut self, said: &Said<'_>, reason: &str, shell: &mut dyn Shell<BrokerMail>) {
        self.answer_association(said, Some(reason), shell);
        if let Origin::Peer(peer) = said.origin {
            shell.close(peer, ASSOCIATION_UNSUCCESSFUL.0, ASSOCIATION_UNSUCCESSFUL.1);
        }
    }

    fn answer_association(&mut self, said: &Said<'_>, refused: Option<&str>, shell: &mut dyn Shell<BrokerMail>) {
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
            Origin::Peer(peer) => shell.send(*peer, Opcode::Text, &[message]) == crate::link::SendOutcome::Sent,
            Origin::Controller(controller) => controller.port.offer(Bytes::copy_from_slice(message)).is_ok(),
        }
    }

    fn mail(&mut self, mail: BrokerMail, shell: &mut dyn Shell<BrokerMail>) {
        match mail {
            BrokerMail::Deliver { to, payload, origin, id } => self.deliver(to, &payload, &origin, &id, shell),
            BrokerMail::Undeliverable { to, id, text } => {
                if self.sessions.get(to).is_some() {
                    self.reply_error(&Origin::Peer(to), Some(&id), text, shell);
                }
            }
            BrokerMail::Supersede(peer) => self.supersede(peer, shell),
            BrokerMail::FromController(controller, message) => self.controller_said(controller, &message, shell),
        }
    }
}

/// One message and who said it.
pub(super) struct Said<'a> {
    pub(super) origin: Origin,
    /// URI of the client's connection, or of the controller.
    pub(super) from: &'a str,
    pub(super) envelope: Envelope<'a>,
    pub(super) payload: &'a [u8],
}

impl Said<'_> {
    /// The envelope's sender, by default the connection's URI.
    fn sender(&self) -> &str {
        self.envelope.sender.as_deref().unwrap_or(self.from)
    }
}

impl Application for BrokerCore {
    type Mail = BrokerMail;

    fn admit(&mut self, now: Moment, opening: &Opening<'_>) -> Admission {
        if self.broker.is_stopping() {
            return Admission::Refuse { status: 503, reason: "Broker is not running." };
        }
        let name = opening.identity.common_name;
        let uri = match client_type(opening.path) {
            Ok(client_type) => format!("pcp://{name}/{client_type}"),
            Err(refusal) => return refusal,
        };
        match self.broker.directory.room_for(&uri, now) {
            Room::Contested => {
                let what = "connections of one URI supersede each other; do two hosts have the same certificate?";
                if self.pace.allows(now, "contested") {
                    warn!(%uri, remote = %opening.remote, "{what}");
                }
                Admission::Refuse { status: 503, reason: "Superseded too often." }
            }
            Room::Full if !self.broker.policy.is_privileged(name) => {
                Admission::Refuse { status: 503, reason: "Too many connections with one certificate." }
            }
            Room::Free | Room::Full => Admission::Accept,
        }
    }

    fn handle(&mut self, now: Moment, event: Event<'_, BrokerMail>, shell: &mut dyn Shell<BrokerMail>) {
        self.now = now;
        match event {
            Event::Opened { peer, opening } => self.opened(peer, &opening, shell),
            Event::Message { peer, opcode, payload } => self.client_said(peer, opcode, payload, shell),
            Event::Closed { peer, reason } => self.closed(peer, &reason),
            Event::Mail(mail) => self.mail(mail, shell),
            Event::Timer(TICK) => self.tick(shell),
            Event::Stopping => self.stop(shell),
            // The broker does not dial, arms no other timer, and does not wait for a queue to drain.
            Event::Timer(_) | Event::Drained { .. } | Event::DialFailed { .. } => {}
        }
    }
}

/// The client type that a path names, or how to refuse it.
fn client_type(path: &str) -> Result<&str, Admission> {
    let refuse = |status, reason| Err(Admission::Refuse { status, reason });
    let Some(rest) = path.strip_prefix(MOUNT_V2) else { return refuse(404, "Not found.") };
    let client_type = match rest.strip_prefix('/') {
        None if rest.is_empty() => "agent",
        Some("") => "agent",
        Some(client_type) => client_type,
        None => return refuse(404, "Not found."),
    };
    let well_formed = client_type.len() <= limits::URI_BYTES_MAX / 4
        && client_type.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
    if !well_formed {
        return refuse(400, "The path names no client type.");
    }
    if client_type == "server" {
        return refuse(403, ASSOCIATION_UNSUCCESSFUL.1);
    }
    Ok(client_type)
}

fn decode(opcode: Opcode, payload: &[u8]) -> Result<Envelope<'_>, &'static str> {
    match opcode {
        Opcode::Text => Envelope::decode(payload).map_err(crate::pcp::DecodeError::label),
        Opcode::Binary => Err("binary-on-v2"),
    }
}

/// Whether the envelope's sender, if it has one, is of this authority; the type is not compared.
fn sender_is(envelope: &Envelope<'_>, authority: &str) -> bool {
    envelope.sender.as_deref().is_none_or(|sender| PcpUri::parse(sender).is_some_and(|uri| uri.authority == authority))
}
