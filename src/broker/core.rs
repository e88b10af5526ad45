//! One worker's share of the broker as an [`Application`]: admission, and sessions from their beginning to their end. The
//! walk through a session's life is in LIFECYCLE.md beside this file.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};

use super::Broker;
use super::controllers::Controller;
use super::directory::Room;
use super::drain::{DRAIN, Drain};
use super::inventory::Subscriptions;
use super::session::{Session, Sessions, Standing};
use super::sweep::{Review, SWEEP, Sweep};
use crate::backlog::Waiting;
use crate::clock::Moment;
use crate::limits;
use crate::link::{Admission, Application, CloseReason, Event, Identity, Opening, PeerId, Shell, TimerKey};
use crate::observe::pace::Pace;
use crate::random::Random;

/// Close code and reason of a refused association (pcp-broker).
pub const ASSOCIATION_UNSUCCESSFUL: (u16, &str) = (4002, "Association unsuccessful.");

/// The timer on which subscribers are told and postponed mail is retried.
pub(super) const TICK: TimerKey = TimerKey(0);

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
    /// CRLs, CAs or the policy have changed.
    Review(Arc<Review>),
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
            postponed: VecDeque::new(),
            tick_armed: false,
            reviewed: Arc::new(Review::nothing()),
            sweep: None,
            drain: None,
            now: Moment::default(),
            pace: Pace::default(),
        }
    }

    fn opened(&mut self, peer: PeerId, opening: &Opening<'_>, shell: &mut dyn Shell<BrokerMail>) {
        let Ok(client_type) = self.broker.mounts.resolve(opening.path) else {
            // `admit` refuses such paths; a shell that opens one all the same gets rid of it again.
            shell.close(peer, ASSOCIATION_UNSUCCESSFUL.0, ASSOCIATION_UNSUCCESSFUL.1);
            return;
        };
        let Identity { common_name, attributes, certificate } = opening.identity;
        let uri: Arc<str> = format!("pcp://{common_name}/{client_type}").into();
        let attributes = (!attributes.is_empty()).then(|| Box::new(attributes.clone()));
        let rights = self.broker.policy.load().rights(common_name, attributes.as_deref());
        let (uri_of, remote, standing) = (uri.clone(), opening.remote, Standing::Associated);
        self.sessions.insert(Session { peer, uri: uri_of, standing, remote, certificate, attributes, rights });
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
            BrokerMail::Review(review) => self.review(review, shell),
        }
    }
}

impl Application for BrokerCore {
    type Mail = BrokerMail;

    fn admit(&mut self, now: Moment, opening: &Opening<'_>) -> Admission {
        if self.broker.is_stopping() {
            return Admission::Refuse { status: 503, reason: "Broker is not running." };
        }
        let name = opening.identity.common_name;
        // The handshake was under way while the CRL was read again.
        if self.is_revoked(opening.identity.certificate) {
            return Admission::Refuse { status: 403, reason: "Certificate is revoked." };
        }
        let uri = match self.broker.mounts.resolve(opening.path) {
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
            Room::Full if !self.broker.policy.load().is_privileged(name) => {
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
            Event::Timer(SWEEP) => self.sweep(shell),
            Event::Timer(DRAIN) => self.drain(shell),
            Event::Stopping => self.begin_drain(shell),
            // The broker does not dial, arms no other timer, and does not wait for a queue to drain.
            Event::Timer(_) | Event::Drained { .. } | Event::DialFailed { .. } => {}
        }
    }
}
