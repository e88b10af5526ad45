//! One worker's share of the broker as an [`Application`]: admission, and sessions from their beginning to their end. The
//! walk through a session's life is in LIFECYCLE.md beside this file.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};

use super::controllers::Controller;
use super::directory::Room;
use super::drain::{DRAIN, Drain};
use super::inventory::Subscriptions;
use super::links::{Eviction, LinkSettings, Links, NO_CONTROLLERS};
use super::mounts::Endpoint;
use super::scratch::Scratch;
use super::session::{Session, Sessions, Standing};
use super::state::{BrokerState, Change};
use super::sweep::{Review, SWEEP, Sweep};
use super::{Access, AccessEnvelope, Broker, Outcome};
use crate::backlog::Waiting;
use crate::clock::Moment;
use crate::limits;
use crate::link::{Admission, Application, CloseReason, Event, Identity, Opcode, Opening, PeerId, Shell, TimerKey};
use crate::observe::pace::Pace;
use crate::pcp::{SERVER_URI, message_type};
use crate::random::Random;

/// Close code and reason of a refused association (pcp-broker).
pub const ASSOCIATION_UNSUCCESSFUL: (u16, &str) = (4002, "Association unsuccessful.");

/// The timer on which subscribers are told and postponed mail is retried.
pub(super) const TICK: TimerKey = TimerKey(0);

/// The timer on which clients are closed that have waited for a controller for too long.
pub(super) const GRACE: TimerKey = TimerKey(10);

/// The timer of the next slice of clients that are closed.
pub(super) const EVICTION: TimerKey = TimerKey(11);

/// The timer on which messages for controllers are offered again that found a full mailbox.
pub(super) const OUTBOX: TimerKey = TimerKey(12);

/// The timers on which controllers are dialled again, one each from this one on.
pub(super) const REDIAL_FIRST: TimerKey = TimerKey(100);

/// Who said something, and so who gets the answer.
#[derive(Clone)]
pub enum Origin {
    /// A client, on whichever worker.
    Peer(PeerId),
    /// An orchestrator.
    Controller(Arc<Controller>),
}

impl Origin {
    /// The connection over which it is answered; `None` for an orchestrator in this process.
    pub(super) fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Peer(peer) => Some(*peer),
            Self::Controller(controller) => controller.link(),
        }
    }
}

/// What cores and controllers send to a core.
pub enum BrokerMail {
    /// A message for a connection of this worker.
    Deliver {
        /// The connection that held the target's URI when the message was routed.
        to: PeerId,
        /// The whole message, in v2's form whatever its sender and its target speak.
        payload: Waiting,
        /// Who is told if it cannot be delivered.
        origin: Origin,
        /// The message's id.
        id: Box<str>,
    },
    /// A message of a client or controller of this worker could not be delivered.
    Undeliverable {
        /// Its connection.
        to: PeerId,
        /// Its message's id.
        id: Box<str>,
        /// The text of the error.
        text: &'static str,
    },
    /// A newer connection has this one's URI.
    Supersede(PeerId),
    /// A message from an orchestrator in this process.
    FromController(Arc<Controller>, Bytes),
    /// Begin to dial the controllers. Sent once, to [`super::links::WORKER`], when the reactor runs.
    DialControllers,
    /// Close the clients, because this change has left the broker without controllers for too long.
    Evict(Change),
    /// CRLs, CAs or the policy have changed.
    Review(Arc<Review>),
}

/// One worker's share of the broker.
pub struct BrokerCore {
    pub(super) broker: Arc<Broker>,
    pub(super) sessions: Sessions,
    pub(super) subscriptions: Subscriptions,
    pub(super) random: Random,
    /// For messages that are translated or are the broker's own.
    pub(super) scratch: Scratch,
    pub(super) links: Links,
    pub(super) eviction: Option<Eviction>,
    /// Messages for controllers that found the mailbox of their worker full, in order.
    pub(super) outbox: VecDeque<BrokerMail>,
    /// Mail that must not be lost and found a full mailbox; at most one per connection that was ever superseded and not
    /// yet told, and one per worker and outage of the controllers.
    postponed: VecDeque<(u16, BrokerMail)>,
    tick_armed: bool,
    /// Where it runs.
    pub(super) worker: u16,
    pub(super) reviewed: Arc<Review>,
    pub(super) sweep: Option<Sweep>,
    pub(super) drain: Option<Drain>,
    /// Of the present event.
    pub(super) now: Moment,
    pub(super) pace: Pace,
}

impl BrokerCore {
    /// A core; `seed` must differ between cores and runs.
    pub fn new(broker: Arc<Broker>, seed: u64) -> Self {
        Self {
            broker,
            sessions: Sessions::default(),
            subscriptions: Subscriptions::default(),
            random: Random::seeded(seed),
            scratch: Scratch::default(),
            links: Links::default(),
            eviction: None,
            outbox: VecDeque::new(),
            postponed: VecDeque::new(),
            tick_armed: false,
            worker: 0,
            reviewed: Arc::new(Review::nothing()),
            sweep: None,
            drain: None,
            now: Moment::default(),
            pace: Pace::default(),
        }
    }

    /// The same core for the worker of this number; it is the first one's otherwise.
    pub fn on_worker(mut self, worker: u16) -> Self {
        self.worker = worker;
        self
    }

    /// The same with controllers to dial; for worker [`super::links::WORKER`]. Clients are not let in before one of them
    /// is there.
    pub fn with_links(mut self, settings: LinkSettings) -> Self {
        if !settings.expected.is_empty() {
            self.broker.controllers.expect(settings.expected.iter().map(|expected| expected.uri.clone()).collect());
            self.broker.state.set(BrokerState::Starting);
        }
        self.links = Links::new(settings);
        self
    }

    fn opened(&mut self, peer: PeerId, opening: &Opening<'_>, shell: &mut dyn Shell<BrokerMail>) {
        if let Some(tag) = opening.dialled {
            return self.link_opened(tag, peer, opening.identity.certificate, shell);
        }
        let Ok(Endpoint { version, client_type }) = self.broker.mounts.resolve(opening.path) else {
            // `admit` refuses such paths; a shell that opens one all the same gets rid of it again.
            shell.close(peer, ASSOCIATION_UNSUCCESSFUL.0, ASSOCIATION_UNSUCCESSFUL.1);
            return;
        };
        let Identity { common_name, attributes, certificate } = opening.identity;
        let uri: Arc<str> = format!("pcp://{common_name}/{client_type}").into();
        let attributes = (!attributes.is_empty()).then(|| Box::new(attributes.clone()));
        let rights = self.broker.policy.load().rights(common_name, attributes.as_deref());
        let uri_of = uri.clone();
        let standing = Standing::Associated;
        let session = Session { peer, uri: uri_of, standing, version, certificate, attributes, rights };
        self.sessions.insert(session);
        info!(event = "connection-open", %uri, remote = %opening.remote, "connected");
        if let Some(old) = self.broker.directory.claim(&uri, peer, self.now) {
            info!(event = "connection-superseded", %uri, remote = %opening.remote, "supersedes an older connection");
            self.broker.observer.superseded();
            self.tell_superseded(old, shell);
        }
    }

    /// A client that may not associate has sent nothing; the access log gets the request that connecting stands for.
    fn report_refused_association(&mut self, uri: &str, opening: &Opening<'_>) {
        let envelope = AccessEnvelope {
            sender: uri,
            message_type: message_type::ASSOCIATE_REQUEST,
            id: &self.random.uuid(),
            target: SERVER_URI,
        };
        let common_name = opening.identity.common_name;
        let access = Access { at: self.now, remote: Some(opening.remote), common_name, envelope: Some(envelope) };
        self.account(Outcome::NotAuthorized, &access);
    }

    fn tell_superseded(&mut self, old: PeerId, shell: &mut dyn Shell<BrokerMail>) {
        if old.worker == shell.worker() {
            self.supersede(old, shell);
        } else {
            self.mail_or_postpone(old.worker, BrokerMail::Supersede(old), shell);
        }
    }

    /// Sends mail that must arrive, if not now then later.
    pub(super) fn mail_or_postpone(&mut self, worker: u16, mail: BrokerMail, shell: &mut dyn Shell<BrokerMail>) {
        if let Err(mail) = shell.mail(worker, mail) {
            self.postponed.push_back((worker, mail));
            self.arm_tick(shell);
        }
    }

    fn supersede(&mut self, peer: PeerId, shell: &mut dyn Shell<BrokerMail>) {
        if self.sessions.supersede(peer).is_some() {
            self.subscriptions.end(&self.broker.directory, &Origin::Peer(peer));
            shell.abort(peer);
        }
    }

    fn said(&mut self, peer: PeerId, opcode: Opcode, payload: &[u8], shell: &mut dyn Shell<BrokerMail>) {
        match self.links.controller(peer).cloned() {
            Some(controller) => self.controller_said(controller, opcode, payload, shell),
            None => self.client_said(peer, opcode, payload, shell),
        }
    }

    fn closed(&mut self, peer: PeerId, reason: &CloseReason, shell: &mut dyn Shell<BrokerMail>) {
        if self.link_closed(peer, reason, shell) {
            return;
        }
        let Some(session) = self.sessions.remove(peer) else { return };
        self.subscriptions.end(&self.broker.directory, &Origin::Peer(peer));
        self.broker.directory.release(&session.uri, peer);
        info!(event = "connection-close", uri = %session.uri, ?reason, "disconnected");
    }

    fn tick(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        self.tick_armed = false;
        for _ in 0..self.postponed.len() {
            let Some((worker, mail)) = self.postponed.pop_front() else { break };
            if let Err(mail) = shell.mail(worker, mail) {
                self.postponed.push_back((worker, mail));
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

    fn mail(&mut self, mail: BrokerMail, shell: &mut dyn Shell<BrokerMail>) {
        match mail {
            BrokerMail::Deliver { to, payload, origin, id } => self.deliver(to, &payload, &origin, &id, shell),
            BrokerMail::Undeliverable { to, id, text } => {
                let controller = self.links.controller(to).cloned();
                let origin = controller.map_or(Origin::Peer(to), Origin::Controller);
                self.reply_error(&origin, Some(&id), text, shell);
            }
            BrokerMail::Supersede(peer) => self.supersede(peer, shell),
            BrokerMail::FromController(controller, message) => {
                self.controller_said(controller, Opcode::Text, &message, shell);
            }
            BrokerMail::DialControllers => self.dial_controllers(shell),
            BrokerMail::Evict(cause) => self.evict(cause, shell),
            BrokerMail::Review(review) => self.review(review, shell),
        }
    }
}

impl Application for BrokerCore {
    type Mail = BrokerMail;

    fn admit(&mut self, now: Moment, opening: &Opening<'_>) -> Admission {
        self.now = now;
        match self.broker.state() {
            BrokerState::Running => {}
            BrokerState::Starting | BrokerState::Error => {
                return Admission::Refuse { status: 503, reason: NO_CONTROLLERS.1 };
            }
            BrokerState::Stopping => return Admission::Refuse { status: 503, reason: "Broker is not running." },
        }
        let Identity { common_name: name, certificate, attributes } = opening.identity;
        // The handshake was under way while the CRL was read again.
        if self.is_revoked(certificate) {
            return Admission::Refuse { status: 403, reason: "Certificate is revoked." };
        }
        let uri = match self.broker.mounts.resolve(opening.path) {
            Ok(endpoint) => format!("pcp://{name}/{}", endpoint.client_type),
            Err(refusal) => return refusal,
        };
        // Routing looks among clients first: whoever had it would get what is meant for the controller.
        if self.broker.controllers.is_known(&uri) {
            return Admission::Refuse { status: 403, reason: ASSOCIATION_UNSUCCESSFUL.1 };
        }
        let policy = self.broker.policy.load();
        let rights = policy.rights(name, Some(attributes));
        if let Err(denial) = policy.may_associate(&rights, &uri) {
            if self.pace.allows(now, "association-denied") {
                warn!(%uri, remote = %opening.remote, %denial, "association refused");
            }
            self.report_refused_association(&uri, opening);
            return Admission::Refuse { status: 403, reason: ASSOCIATION_UNSUCCESSFUL.1 };
        }
        match self.broker.directory.room_for(&uri, now) {
            Room::Contested => {
                let what = "connections of one URI supersede each other; do two hosts have the same certificate?";
                if self.pace.allows(now, "contested") {
                    warn!(event = "connection-refused", %uri, remote = %opening.remote, "{what}");
                }
                Admission::Refuse { status: 503, reason: "Superseded too often." }
            }
            Room::Full if !policy.is_privileged(&rights, &uri) => {
                Admission::Refuse { status: 503, reason: "Too many connections with one certificate." }
            }
            Room::Free | Room::Full => Admission::Accept,
        }
    }

    fn handle(&mut self, now: Moment, event: Event<'_, BrokerMail>, shell: &mut dyn Shell<BrokerMail>) {
        self.now = now;
        match event {
            Event::Opened { peer, opening } => self.opened(peer, &opening, shell),
            Event::Message { peer, opcode, payload } => self.said(peer, opcode, payload, shell),
            Event::Closed { peer, reason } => self.closed(peer, &reason, shell),
            Event::Mail(mail) => self.mail(mail, shell),
            Event::Timer(TICK) => self.tick(shell),
            Event::Timer(GRACE) => self.grace_over(shell),
            Event::Timer(EVICTION) => self.evict_slice(shell),
            Event::Timer(OUTBOX) => self.empty_outbox(shell),
            Event::Timer(SWEEP) => self.sweep(shell),
            Event::Timer(DRAIN) => self.drain(shell),
            Event::Timer(key) => self.redial(key, shell),
            Event::DialFailed { tag, error } => self.dial_failed(tag, &error, shell),
            Event::Stopping => self.begin_drain(shell),
            // The broker does not wait for a queue to drain: whoever is refused is told at once.
            Event::Drained { .. } => {}
        }
    }
}
