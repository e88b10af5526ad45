//! Links to controllers that the broker dials itself (pcp-broker, `controller-uris`), and what follows for the clients
//! when none of them is there. Worker 0 has all links. LIFECYCLE.md beside this file walks a link through its states.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::controllers::{Controller, Way};
use super::core::{BrokerCore, BrokerMail, EVICTION, GRACE, OUTBOX, Origin, REDIAL_FIRST};
use super::drain::GOING_AWAY;
use super::state::{BrokerState, Change};
use crate::clock::Moment;
use crate::config::settings::BrokerUri;
use crate::limits;
use crate::link::{CertificateId, CloseReason, Dial, DialError, DialTag, PeerId, Shell, TimerKey};
use crate::random::Random;

/// The worker that has the links; one, so that the order of a controller's messages is kept.
pub const WORKER: u16 = 0;

/// Close code and reason for the clients of a broker whose controllers have been away for too long (pcp-broker).
pub(super) const NO_CONTROLLERS: (u16, &str) = (1011, "All controllers disconnected.");

/// A controller that the broker is to dial.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its PCP URI.
    pub uri: Arc<str>,
    /// Where it is.
    pub address: BrokerUri,
}

/// What is known of the controllers to dial.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// The controllers; no two have the same URI.
    pub expected: Vec<Expected>,
    /// Message types that they may send.
    pub allowlist: Vec<Box<str>>,
    /// Time without any of them after which all clients are closed.
    pub grace_period: Duration,
}

/// The links of a worker; only worker 0 has any.
#[derive(Debug, Default)]
pub(super) struct Links {
    lines: Vec<Line>,
    allowlist: Vec<Box<str>>,
    grace_period: Duration,
    attempts: u64,
}

/// One configured controller.
#[derive(Debug)]
struct Line {
    expected: Expected,
    stage: Stage,
    backoff: Backoff,
    /// When and of which kind the last failure was that got a line in the log.
    logged: Option<(Moment, &'static str)>,
}

#[derive(Debug)]
enum Stage {
    /// Not dialled yet.
    Idle,
    Dialling(DialTag),
    Open {
        controller: Arc<Controller>,
        certificate: CertificateId,
        since: Moment,
    },
    /// Its timer is armed.
    Waiting,
    /// The broker stops.
    Stopped,
}

/// The clients of a worker are being closed.
#[derive(Debug)]
pub(super) struct Eviction {
    /// What set it off; another change of the state ends it.
    cause: Change,
    closed: usize,
}

impl Links {
    pub(super) fn new(settings: LinkSettings) -> Self {
        let line = |expected| Line { expected, stage: Stage::Idle, backoff: Backoff::default(), logged: None };
        let LinkSettings { expected, allowlist, grace_period } = settings;
        Self { lines: expected.into_iter().map(line).collect(), allowlist, grace_period, attempts: 0 }
    }

    /// The controller at the other end of a connection.
    pub(super) fn controller(&self, peer: PeerId) -> Option<&Arc<Controller>> {
        self.open().find(|controller| controller.link() == Some(peer))
    }

    fn open(&self) -> impl Iterator<Item = &Arc<Controller>> {
        self.certificates().map(|(controller, _)| controller)
    }

    /// The controllers that are linked, and the certificates that they have shown.
    pub(super) fn certificates(&self) -> impl Iterator<Item = (&Arc<Controller>, CertificateId)> {
        self.lines.iter().filter_map(|line| match &line.stage {
            Stage::Open { controller, certificate, .. } => Some((controller, *certificate)),
            _ => None,
        })
    }

    fn dialling(&self, tag: DialTag) -> Option<usize> {
        self.lines.iter().position(|line| matches!(line.stage, Stage::Dialling(dialled) if dialled == tag))
    }
}

impl BrokerCore {
    /// Begins to dial; the reactor runs.
    pub(super) fn dial_controllers(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        self.dial_those(|stage| matches!(stage, Stage::Idle), shell);
    }

    fn dial_those(&mut self, are: impl Fn(&Stage) -> bool, shell: &mut dyn Shell<BrokerMail>) {
        for index in 0..self.links.lines.len() {
            if are(&self.links.lines[index].stage) {
                self.dial(index, shell);
            }
        }
    }

    fn dial(&mut self, index: usize, shell: &mut dyn Shell<BrokerMail>) {
        self.links.attempts += 1;
        let tag = DialTag(self.links.attempts);
        let line = &mut self.links.lines[index];
        line.stage = Stage::Dialling(tag);
        let BrokerUri { host, port, path } = &line.expected.address;
        shell.dial(Dial { tag, host: host.as_str().into(), port: *port, path: path.as_str().into() });
    }

    /// Dials afresh whoever is being dialled: a handshake that began before a review may accept what is not good any
    /// more. What becomes of the former attempt is not looked at.
    pub(super) fn dial_afresh(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        self.dial_those(|stage| matches!(stage, Stage::Dialling(_)), shell);
    }

    /// A pause is over.
    pub(super) fn redial(&mut self, key: TimerKey, shell: &mut dyn Shell<BrokerMail>) {
        let index = usize::try_from(key.0.saturating_sub(REDIAL_FIRST.0)).unwrap_or(usize::MAX);
        if self.links.lines.get(index).is_some_and(|line| matches!(line.stage, Stage::Waiting)) {
            self.dial(index, shell);
        }
    }

    /// A controller is there. It knows nothing yet, and asks for the inventory if it wants it.
    pub(super) fn link_opened(
        &mut self,
        tag: DialTag,
        peer: PeerId,
        certificate: CertificateId,
        shell: &mut dyn Shell<BrokerMail>,
    ) {
        let Some(index) = self.links.dialling(tag) else {
            return shell.close(peer, GOING_AWAY.0, GOING_AWAY.1);
        };
        let line = &mut self.links.lines[index];
        let uri = line.expected.uri.clone();
        let controller = Arc::new(Controller { uri, way: Way::Link(peer), allowlist: self.links.allowlist.clone() });
        line.stage = Stage::Open { controller: controller.clone(), certificate, since: self.now };
        line.logged = None;
        info!(uri = %controller.uri, "established connection with controller");
        self.broker.controllers.link(controller);
        self.broker.observer.controllers_linked(self.broker.controllers.count());
        if self.broker.state() != BrokerState::Running {
            self.broker.state.set(BrokerState::Running);
            shell.disarm(GRACE);
            info!("clients are accepted");
        }
    }

    /// Whether this was a link; if so, it is lost.
    pub(super) fn link_closed(
        &mut self,
        peer: PeerId,
        reason: &CloseReason,
        shell: &mut dyn Shell<BrokerMail>,
    ) -> bool {
        let is_it =
            |line: &Line| matches!(&line.stage, Stage::Open { controller, .. } if controller.link() == Some(peer));
        let Some(index) = self.links.lines.iter().position(is_it) else { return false };
        let line = &mut self.links.lines[index];
        let Stage::Open { controller, since, .. } = std::mem::replace(&mut line.stage, Stage::Waiting) else {
            return false;
        };
        let settled = self.now.since(since) >= limits::CONTROLLER_SETTLED_AFTER;
        let pause = line.backoff.after_loss(settled, &mut self.random);
        warn!(uri = %controller.uri, ?reason, ?pause, "lost connection to controller; connecting again");
        shell.arm(redial_key(index), self.now + pause);
        self.forget_controller(controller);
        if self.links.open().next().is_none() {
            self.all_controllers_lost(shell);
        }
        true
    }

    fn forget_controller(&mut self, controller: Arc<Controller>) {
        self.broker.controllers.unlink(&controller);
        self.broker.observer.controllers_linked(self.broker.controllers.count());
        self.subscriptions.end(&self.broker.directory, &Origin::Controller(controller));
    }

    fn all_controllers_lost(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        self.broker.state.set(BrokerState::Error);
        let grace = self.links.grace_period;
        warn!(
            ?grace,
            "all controllers disconnected: no new clients, and those that are here are closed after the grace"
        );
        shell.arm(GRACE, self.now + grace);
    }

    /// An attempt to reach a controller has failed.
    pub(super) fn dial_failed(&mut self, tag: DialTag, error: &DialError, shell: &mut dyn Shell<BrokerMail>) {
        let Some(index) = self.links.dialling(tag) else { return };
        let line = &mut self.links.lines[index];
        line.stage = Stage::Waiting;
        let pause = line.backoff.after_failure(&mut self.random);
        let is_news = line.logged.is_none_or(|(when, kind)| {
            kind != error.kind || self.now.since(when) >= limits::CONTROLLER_FAILURE_LOG_INTERVAL
        });
        if is_news {
            line.logged = Some((self.now, error.kind));
            warn!(uri = %line.expected.uri, kind = error.kind, "cannot connect to controller: {}", error.message);
        }
        shell.arm(redial_key(index), self.now + pause);
        let tried = self.links.lines.iter().all(|line| line.backoff.failures > 0);
        if self.broker.state() == BrokerState::Starting && tried {
            warn!("no controller can be reached: no clients are accepted");
            self.broker.state.set(BrokerState::Error);
        }
    }

    /// The grace period is over: if no controller has come back, all workers close their clients.
    pub(super) fn grace_over(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        if self.broker.state() != BrokerState::Error {
            return;
        }
        let cause = self.broker.state.last_change();
        warn!("no controller has come back: closing all clients");
        let own = shell.worker();
        for worker in (0..self.broker.workers()).filter(|worker| *worker != own) {
            self.mail_or_postpone(worker, BrokerMail::Evict(cause), shell);
        }
        self.evict(cause, shell);
    }

    /// Begins to close the clients of this worker.
    pub(super) fn evict(&mut self, cause: Change, shell: &mut dyn Shell<BrokerMail>) {
        self.eviction = Some(Eviction { cause, closed: 0 });
        self.evict_slice(shell);
    }

    /// Closes a few clients.
    pub(super) fn evict_slice(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        let Some(eviction) = &mut self.eviction else { return };
        if self.broker.state.last_change() != eviction.cause {
            info!(closed = eviction.closed, "the other clients stay: controllers have come back, or the broker stops");
            self.eviction = None;
            return;
        }
        let slice = (limits::EVICTION_SLICE / usize::from(self.broker.workers())).max(1);
        let peers: Vec<PeerId> = self.sessions.peers().take(slice).collect();
        if peers.is_empty() {
            info!(closed = eviction.closed, "evicted all clients as there is no controller connection");
            self.eviction = None;
            return;
        }
        eviction.closed += peers.len();
        for peer in peers {
            shell.close(peer, NO_CONTROLLERS.0, NO_CONTROLLERS.1);
        }
        shell.arm(EVICTION, self.now + limits::EVICTION_PAUSE);
    }

    /// Sends mail for a controller to the worker that has the links. Agents answer all at once what all of them were
    /// asked, faster than one worker takes it: what finds its mailbox full waits here. The mail comes back if too much
    /// waits already.
    pub(super) fn mail_to_links(
        &mut self,
        mail: BrokerMail,
        shell: &mut dyn Shell<BrokerMail>,
    ) -> Result<(), BrokerMail> {
        if !self.outbox.is_empty() {
            if self.outbox.len() >= limits::CONTROLLER_OUTBOX_MAX {
                return Err(mail);
            }
            self.outbox.push_back(mail);
        } else if let Err(mail) = shell.mail(WORKER, mail) {
            self.outbox.push_back(mail);
            shell.arm(OUTBOX, self.now + limits::CONTROLLER_OUTBOX_RETRY);
        }
        Ok(())
    }

    /// Offers again what waits.
    pub(super) fn empty_outbox(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        while let Some(mail) = self.outbox.pop_front() {
            if let Err(mail) = shell.mail(WORKER, mail) {
                self.outbox.push_front(mail);
                shell.arm(OUTBOX, self.now + limits::CONTROLLER_OUTBOX_RETRY);
                return;
            }
        }
        self.outbox = VecDeque::new();
    }

    /// Dials no controller again; those that are linked stay for now.
    pub(super) fn stop_dialling(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        for (index, line) in self.links.lines.iter_mut().enumerate() {
            shell.disarm(redial_key(index));
            if !matches!(line.stage, Stage::Open { .. }) {
                line.stage = Stage::Stopped;
            }
        }
        shell.disarm(GRACE);
    }

    /// Says goodbye to the controllers, after [`Self::stop_dialling`].
    pub(super) fn close_links(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        for index in 0..self.links.lines.len() {
            let stage = std::mem::replace(&mut self.links.lines[index].stage, Stage::Stopped);
            if let Stage::Open { controller, .. } = stage {
                if let Some(peer) = controller.link() {
                    shell.close(peer, GOING_AWAY.0, GOING_AWAY.1);
                }
                self.forget_controller(controller);
            }
        }
    }
}

fn redial_key(index: usize) -> TimerKey {
    TimerKey(REDIAL_FIRST.0 + index as u64)
}

/// Pauses between attempts to reach one controller.
#[derive(Debug, Clone, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure.
    fn after_failure(&mut self, random: &mut Random) -> Duration {
        let pause = self.pause(random);
        self.failures += 1;
        pause
    }

    fn pause(&self, random: &mut Random) -> Duration {
        let doubled = limits::CONTROLLER_REDIAL_FIRST * 2u32.pow(self.failures.min(16));
        let longest = doubled.min(limits::CONTROLLER_REDIAL_MAX);
        // All brokers have lost the same controller at the same moment.
        random.between(longest * 3 / 4, longest)
    }

    /// The pause after the loss of a link that had settled, or had not.
    fn after_loss(&mut self, settled: bool, random: &mut Random) -> Duration {
        if settled {
            self.failures = 0;
            return self.pause(random);
        }
        self.after_failure(random)
    }
}
