//! The agent as an application on the reactor: keeps one connection to one of its brokers, hands requests to the
//! executor and sends its replies (pxp-agent's connector). PURE: randomness comes from a seed.
//!
//! ```text
//! Idle -start-> Dialling -opened-> Open -closed-> Waiting -timer-> Dialling
//!                        -failed-> Waiting
//! any -stopping-> Stopped
//! ```
//!
//! With PCP v1 there is a state `Associating` between `Dialling` and `Open`.

use std::sync::Arc;
use std::time::Duration;

use super::access::AccessLog;
use super::backoff::Backoff;
use super::dialect::{Association, Dialect, read_association};
use super::registry::Registry;
use super::reply::Reply;
use super::requests::{Order, Verdict, judge_envelope};
use crate::clock::Moment;
use crate::config::settings::BrokerUri;
use crate::limits::{AGENT_ENVELOPE_BYTES_MAX, AGENT_RECEIVE_BYTES_MAX};
use crate::link::{
    Admission, Application, CloseReason, Dial, DialError, DialTag, Event, Opcode, Opening, PeerId, SendOutcome, Shell,
    TimerKey,
};
use crate::observe::pace::Pace;
use crate::pcp::Outgoing;
use crate::random::Random;

/// Does the work that must not hold up the connection.
pub trait Executor: Send + 'static {
    /// Takes an order, or gives it back if too many wait.
    fn submit(&self, order: Order) -> Result<(), Order>;
}

/// What other threads may tell the agent.
#[derive(Debug)]
pub enum Mail {
    /// Begin to connect. Sent once, when the reactor runs.
    Start,
    /// Send this. Boxed because the mailbox has thousands of places.
    Reply(Box<Reply>),
}

/// A connection that lived for less than this counts as a failed attempt: a broker that closes right after the upgrade
/// must not have its agents back at once.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Time between purges of spool and cache.
const PURGE_INTERVAL: Duration = Duration::from_secs(3600);

const RECONNECT: TimerKey = TimerKey(1);
const PURGE: TimerKey = TimerKey(2);
const ASSOCIATION: TimerKey = TimerKey(3);

/// How the agent stands with its broker.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Link {
    Idle,
    Dialling(DialTag),
    /// The broker has been asked with a message of this id.
    Associating {
        peer: PeerId,
        id: String,
    },
    Open {
        peer: PeerId,
        since: Moment,
    },
    Waiting,
    Stopped,
}

/// The agent.
pub struct Agent<E> {
    executor: E,
    registry: Arc<Registry>,
    uri: String,
    /// Never empty.
    brokers: Vec<BrokerUri>,
    /// Index of the broker in use or to be tried next.
    current: usize,
    link: Link,
    attempts: u64,
    backoff: Backoff,
    random: Random,
    data_max: usize,
    pace: Pace,
    dialect: Dialect,
    access: Option<AccessLog>,
}

/// Bytes that the data of a message may have: what the settings allow, as long as brokers forward it.
pub fn data_max(message_bytes_max: usize) -> usize {
    message_bytes_max.min(AGENT_RECEIVE_BYTES_MAX - AGENT_ENVELOPE_BYTES_MAX)
}

impl<E: Executor> Agent<E> {
    /// An agent named `common_name` by its certificate, with at least one broker. It does nothing before
    /// [`Mail::Start`].
    pub fn new(
        common_name: &str,
        brokers: Vec<BrokerUri>,
        registry: Arc<Registry>,
        message_bytes_max: usize,
        executor: E,
        seed: u64,
    ) -> Self {
        assert!(!brokers.is_empty(), "the settings have at least one broker");
        Self {
            executor,
            registry,
            uri: format!("pcp://{common_name}/agent"),
            brokers,
            current: 0,
            link: Link::Idle,
            attempts: 0,
            backoff: Backoff::default(),
            random: Random::seeded(seed),
            data_max: data_max(message_bytes_max),
            pace: Pace::default(),
            dialect: Dialect::V2,
            access: None,
        }
    }

    /// The same agent in another version of PCP.
    pub fn speaking(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The same agent with a log of what it receives.
    pub fn logging(mut self, access: Option<AccessLog>) -> Self {
        self.access = access;
        self
    }

    fn start(&mut self, now: Moment, shell: &mut dyn Shell<Mail>) {
        if self.link == Link::Idle {
            self.dial(shell);
            self.purge(now, shell);
        }
    }

    fn dial(&mut self, shell: &mut dyn Shell<Mail>) {
        self.attempts += 1;
        let tag = DialTag(self.attempts);
        let BrokerUri { host, port, path } = &self.brokers[self.current];
        shell.dial(Dial { tag, host: host.as_str().into(), port: *port, path: Arc::from(path.as_str()) });
        self.link = Link::Dialling(tag);
    }

    fn purge(&mut self, now: Moment, shell: &mut dyn Shell<Mail>) {
        if self.executor.submit(Order::Purge).is_err() {
            tracing::warn!("old results cannot be removed now: no thread is to be had; trying again later");
        }
        shell.arm(PURGE, now + PURGE_INTERVAL);
    }

    fn opened(&mut self, now: Moment, peer: PeerId, opening: &Opening<'_>, shell: &mut dyn Shell<Mail>) {
        match self.link {
            Link::Dialling(tag) if opening.dialled == Some(tag) => self.greet(now, peer, shell),
            _ => shell.close(peer, 1000, "not needed"),
        }
    }

    /// Asks for an association where that is needed.
    fn greet(&mut self, now: Moment, peer: PeerId, shell: &mut dyn Shell<Mail>) {
        let id = self.random.uuid();
        let Some((request, time)) = self.dialect.association(&id, &self.uri) else { return self.ready(now, peer) };
        self.link = Link::Associating { peer, id };
        if shell.send(peer, Opcode::Binary, &[&request]) == SendOutcome::Sent {
            shell.arm(ASSOCIATION, now + time);
        }
    }

    fn ready(&mut self, now: Moment, peer: PeerId) {
        self.link = Link::Open { peer, since: now };
        tracing::info!("connected to {} as {}", self.broker(), self.uri);
        self.note(format!("connected to {}", self.broker()));
    }

    /// For people who look; nothing depends on it.
    fn note(&self, text: String) {
        let _ = self.executor.submit(Order::Contact(text));
    }

    fn not_associated(&mut self, now: Moment, why: &str, shell: &mut dyn Shell<Mail>) {
        let Link::Associating { peer, .. } = self.link else { return };
        shell.close(peer, 1000, "must Associate Session again");
        let what = format!("{} does not associate this agent: {why}", self.broker());
        self.failed(now, &what, "see the broker's log", shell);
    }

    fn closed(&mut self, now: Moment, peer: PeerId, reason: &CloseReason, shell: &mut dyn Shell<Mail>) {
        let (ours, since) = match &self.link {
            Link::Open { peer, since } => (*peer, Some(*since)),
            Link::Associating { peer, .. } => (*peer, None),
            _ => return,
        };
        if ours != peer {
            return;
        }
        shell.disarm(ASSOCIATION);
        let why = describe(reason);
        if since.is_some_and(|since| now.since(since) >= SETTLED_AFTER) {
            let pause = self.backoff.after_loss(&mut self.random);
            tracing::warn!("lost the connection to {}: {why}; connecting again in {pause:?}", self.broker());
            self.note(format!("lost {}: {why}", self.broker()));
            self.wait(now, pause, shell);
        } else {
            let why = format!("{} closed the connection soon after it was open: {why}", self.broker());
            self.failed(now, &why, "see the broker's log", shell);
        }
    }

    fn dial_failed(&mut self, now: Moment, tag: DialTag, error: &DialError, shell: &mut dyn Shell<Mail>) {
        if self.link == Link::Dialling(tag) {
            // The text names the broker.
            self.failed(now, &format!("cannot connect ({})", error.kind), &error.message, shell);
        }
    }

    /// Moves on to the next broker.
    fn failed(&mut self, now: Moment, what: &str, advice: &str, shell: &mut dyn Shell<Mail>) {
        let pause = self.backoff.after_failure(&mut self.random);
        self.current = (self.current + 1) % self.brokers.len();
        tracing::warn!("{what}: {advice}; trying {} in {pause:?}", self.broker());
        self.wait(now, pause, shell);
    }

    fn wait(&mut self, now: Moment, pause: Duration, shell: &mut dyn Shell<Mail>) {
        self.link = Link::Waiting;
        shell.arm(RECONNECT, now + pause);
    }

    fn message(&mut self, now: Moment, peer: PeerId, opcode: Opcode, payload: &[u8], shell: &mut dyn Shell<Mail>) {
        let read = self.dialect.decode(opcode, payload);
        if let Some(access) = &self.access {
            access.message(&self.broker(), read.as_ref().ok());
        }
        let envelope = match read {
            Ok(envelope) => envelope,
            Err(why) => return self.ignored(now, &why),
        };
        if let Link::Associating { id, .. } = &self.link {
            return match read_association(&envelope, id) {
                Some(Association::Granted) => {
                    shell.disarm(ASSOCIATION);
                    self.ready(now, peer);
                }
                Some(Association::Denied(why)) => {
                    shell.disarm(ASSOCIATION);
                    self.not_associated(now, &why, shell);
                }
                None => self.ignored(now, "a message before the association"),
            };
        }
        match judge_envelope(&envelope, &self.registry, self.data_max) {
            Verdict::Ignore { why } => self.ignored(now, &why),
            Verdict::Answer(reply) => self.send(peer, &reply, shell),
            Verdict::Order(order) => {
                if let Err(order) = self.executor.submit(order) {
                    self.refuse(peer, &order, shell);
                }
            }
        }
    }

    /// Every holder of a certificate may send answers and errors to every agent.
    fn ignored(&mut self, now: Moment, why: &str) {
        if self.pace.allows(now, "ignored") {
            tracing::warn!("ignored: {why}");
        }
    }

    fn refuse(&mut self, peer: PeerId, order: &Order, shell: &mut dyn Shell<Mail>) {
        let origin = match order {
            Order::Run(order) => &order.origin,
            Order::Query(order) | Order::Stop(order) => &order.origin,
            Order::Purge | Order::Contact(_) => return,
        };
        let reply = origin.error("the agent has too many requests waiting; try again later");
        self.send(peer, &reply, shell);
    }

    fn reply(&mut self, reply: &Reply, shell: &mut dyn Shell<Mail>) {
        match self.link {
            Link::Open { peer, .. } => self.send(peer, reply, shell),
            _ => {
                self.lost(reply, "there is no connection to a broker");
            }
        }
    }

    fn send(&mut self, peer: PeerId, reply: &Reply, shell: &mut dyn Shell<Mail>) {
        let message = Outgoing {
            id: &self.random.uuid(),
            message_type: reply.message_type,
            target: Some(&reply.target),
            sender: Some(&self.uri),
            in_reply_to: reply.in_reply_to.as_deref(),
            data: Some(&reply.data),
        };
        let (opcode, bytes) = self.dialect.encode(&message);
        match shell.send(peer, opcode, &[&bytes]) {
            SendOutcome::Sent => {}
            SendOutcome::Gone => self.lost(reply, "the connection to the broker is closing"),
            SendOutcome::Full => self.lost(reply, "too much is waiting for the broker"),
        }
    }

    /// Nothing is sent twice: what a task left is in the spool, and a status query gets it.
    fn lost(&self, reply: &Reply, why: &str) {
        let kind = reply.message_type.rsplit('/').next().unwrap_or_default();
        let id = &reply.transaction_id;
        tracing::warn!("{kind} of transaction {id:?} is not sent: {why}; a status query gets the result of a task");
    }

    fn stop(&mut self, shell: &mut dyn Shell<Mail>) {
        if let Link::Open { peer, .. } | Link::Associating { peer, .. } = self.link {
            shell.close(peer, 1000, "agent stops");
        }
        shell.disarm(ASSOCIATION);
        shell.disarm(RECONNECT);
        shell.disarm(PURGE);
        self.link = Link::Stopped;
    }

    fn broker(&self) -> String {
        let BrokerUri { host, port, path } = &self.brokers[self.current];
        format!("wss://{host}:{port}{path}")
    }
}

fn describe(reason: &CloseReason) -> String {
    match reason {
        CloseReason::Peer { code, reason } if reason.is_empty() => format!("the broker closed it with code {code}"),
        CloseReason::Peer { code, reason } => format!("the broker closed it with code {code}, {reason:?}"),
        CloseReason::Application => "closed by this agent".into(),
        CloseReason::Lost => "it ended without a close frame".into(),
        CloseReason::Protocol(what) => format!("the broker broke the protocol ({what})"),
        CloseReason::Idle => "the broker did not answer pings".into(),
        CloseReason::Overflow => "too much was waiting for the broker".into(),
        CloseReason::Shutdown => "the agent stops".into(),
    }
}

impl<E: Executor> Application for Agent<E> {
    type Mail = Mail;

    fn admit(&mut self, _now: Moment, opening: &Opening<'_>) -> Admission {
        match opening.dialled {
            Some(_) => Admission::Accept,
            None => Admission::Refuse { status: 403, reason: "agents take no connections" },
        }
    }

    fn handle(&mut self, now: Moment, event: Event<'_, Mail>, shell: &mut dyn Shell<Mail>) {
        match event {
            Event::Opened { peer, opening } => self.opened(now, peer, &opening, shell),
            Event::Message { peer, opcode, payload } => self.message(now, peer, opcode, payload, shell),
            Event::Closed { peer, reason } => self.closed(now, peer, &reason, shell),
            Event::Drained { .. } => {}
            Event::DialFailed { tag, error } => self.dial_failed(now, tag, &error, shell),
            Event::Timer(RECONNECT) if self.link == Link::Waiting => self.dial(shell),
            Event::Timer(PURGE) => self.purge(now, shell),
            Event::Timer(ASSOCIATION) => self.not_associated(now, "no answer in time", shell),
            Event::Timer(_) => {}
            Event::Mail(Mail::Start) => self.start(now, shell),
            Event::Mail(Mail::Reply(reply)) => self.reply(&reply, shell),
            Event::Stopping => self.stop(shell),
        }
    }
}

#[cfg(test)]
mod tests;
