//! The connection table of one worker and everything about it that needs no application: lookup, changes of state,
//! deadlines, the ways a connection ends. What the application must be told waits in `notices`, because it may be the
//! application itself that is acting.

use std::collections::{HashMap, VecDeque};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Token};
use slab::Slab;

use crate::clock::Moment;
use crate::limits::{CLOSE_TIMEOUT, LINGERING_MAX};
use crate::link::{CloseReason, DialError, DialTag, PeerId, TimerKey};
use crate::observe::metrics::count;
use crate::reactor::Options;
use crate::reactor::connection::{Closing, Connection, Custody, Due, Open, Origin, Seats, Side, Stage, UpgradeSide};
use crate::reactor::dial::Dialler;
use crate::reactor::end;
use crate::reactor::handshakes::Desk;
use crate::reactor::journal::Journal;
use crate::reactor::mailbox::{Bell, Mailboxes};
use crate::reactor::pressure::Crowd;
use crate::reactor::refusal::Refusal;
use crate::reactor::sampling::Sampling;
use crate::reactor::timer::{Deadlines, SlotDeadlines};
use crate::reactor::turns::Waiting;
use crate::reactor::write::Gathered;
use crate::tls::session::TlsSession;
use crate::websocket::frame::Kind;
use crate::websocket::session::close_payload;
use crate::websocket::upgrade::Answer;
use crate::websocket::violation::code;

/// What every connection is registered for, once: the poll is edge-triggered.
const READ_AND_WRITE: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Who has a deadline, besides connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// The application.
    Application(TimerKey),
    /// A host name that is being resolved, by number.
    Resolution(u64),
}

/// What the application must be told as soon as it is not acting itself.
#[derive(Debug)]
pub(super) enum Notice {
    Closed { peer: PeerId, reason: CloseReason },
    Drained { peer: PeerId },
    DialFailed { tag: DialTag, error: DialError },
}

/// Counts of the present turn, added to the metrics at its end.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// The gauges as this worker has last published them; a gauge is the sum over the workers.
#[derive(Debug, Default)]
struct Published {
    open: i64,
    handshakes: i64,
    queued_bytes: i64,
    partial_bytes: i64,
    mails: i64,
}

/// How many connections are in which part of their life.
#[derive(Debug, Default)]
pub(super) struct Census {
    pub(super) handshakes: usize,
    pub(super) open: usize,
    lingering: usize,
}

/// What is the same for all workers.
pub(super) struct Common<M> {
    pub(super) options: Options,
    pub(super) seats: Arc<Seats>,
    pub(super) mailboxes: Mailboxes<M>,
}

/// The table and what belongs to it.
pub(super) struct Core<M> {
    pub(super) index: u16,
    pub(super) now: Moment,
    pub(super) common: Arc<Common<M>>,
    pub(super) registry: mio::Registry,
    pub(super) connections: Slab<Connection>,
    generation: u32,
    /// Of connections.
    pub(super) deadlines: SlotDeadlines,
    /// Of everything else.
    pub(super) alarms: Deadlines<Target>,
    pub(super) timers: HashMap<TimerKey, Moment>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) waiting: Waiting,
    /// Connections that were refused a send because of the worker's limit while nothing waited for themselves.
    pub(super) starved: Vec<PeerId>,
    pub(super) dialler: Dialler,
    /// Where handshakes of accepted connections are made.
    pub(super) desk: Option<Desk>,
    /// Encrypted bytes on their way to a socket.
    pub(super) out: Vec<u8>,
    /// Records that wait for others to the same connection.
    pub(super) gathered: Gathered,
    /// The record that is being filled.
    pub(super) staging: Vec<u8>,
    /// Of accepted connections.
    pub(super) queued_bytes: usize,
    dialled_queued_bytes: usize,
    pub(super) partial_bytes: usize,
    pub(super) crowd: Crowd,
    pub(super) census: Census,
    pub(super) tally: Tally,
    pub(super) received: Sampling,
    pub(super) sent: Sampling,
    published: Published,
    pub(super) journal: Journal,
}

impl<M: Send> Core<M> {
    pub(super) fn new(
        index: u16,
        common: Arc<Common<M>>,
        registry: mio::Registry,
        bell: Arc<Bell>,
        desk: Option<Desk>,
    ) -> Self {
        Self {
            index,
            now: Moment::default(),
            common,
            registry,
            connections: Slab::new(),
            generation: 0,
            deadlines: SlotDeadlines::default(),
            alarms: Deadlines::new(),
            timers: HashMap::new(),
            notices: VecDeque::new(),
            waiting: Waiting::default(),
            starved: Vec::new(),
            dialler: Dialler::new(bell),
            desk,
            out: Vec::new(),
            gathered: Gathered::default(),
            staging: Vec::new(),
            queued_bytes: 0,
            dialled_queued_bytes: 0,
            partial_bytes: 0,
            crowd: Crowd::default(),
            census: Census::default(),
            tally: Tally::default(),
            received: Sampling::default(),
            sent: Sampling::default(),
            published: Published::default(),
            journal: Journal::default(),
        }
    }

    /// The connection's place in the table, if it is still there.
    pub(super) fn slot(&self, peer: PeerId) -> Option<usize> {
        let slot = peer.slot as usize;
        let connection = self.connections.get(slot)?;
        (connection.generation == peer.generation && peer.worker == self.index).then_some(slot)
    }

    /// The same if the application knows it.
    pub(super) fn open_slot(&self, peer: PeerId) -> Option<usize> {
        self.slot(peer).filter(|&slot| matches!(self.connections[slot].stage, Stage::Open(_)))
    }

    pub(super) fn peer(&self, slot: usize) -> PeerId {
        let generation = self.connections[slot].generation;
        PeerId { worker: self.index, slot: slot as u32, generation }
    }

    /// Puts a new connection into the table and into the poll.
    pub(super) fn insert(
        &mut self,
        mut socket: TcpStream,
        remote: SocketAddr,
        tls: TlsSession,
        stage: Stage,
        until: Moment,
    ) -> std::io::Result<PeerId> {
        let entry = self.connections.vacant_entry();
        // 0 is not used: the tokens of bell and listener would be those of a connection.
        self.generation = self.generation.wrapping_add(1).max(1);
        let peer = PeerId { worker: self.index, slot: entry.key() as u32, generation: self.generation };
        self.registry.register(&mut socket, token(peer), READ_AND_WRITE)?;
        // Without this every small answer waits for the peer's delayed acknowledgement; failing that it is only slow.
        let _ = socket.set_nodelay(true);
        count_stage(&mut self.census, &stage, 1);
        let side = if matches!(stage, Stage::Connecting(_)) { Side::Dialled } else { Side::Accepted };
        entry.insert(Connection {
            side,
            generation: peer.generation,
            remote,
            socket,
            tls: Custody::Worker(tls),
            carry: Box::default(),
            queue: None,
            stage,
            is_in_line: false,
        });
        self.set_deadline(peer.slot as usize, Some(until));
        Ok(peer)
    }

    pub(super) fn set_stage(&mut self, slot: usize, stage: Stage) -> Stage {
        let connection = &mut self.connections[slot];
        let held = connection.partial_bytes();
        count_stage(&mut self.census, &stage, 1);
        let old = std::mem::replace(&mut connection.stage, stage);
        count_stage(&mut self.census, &old, -1);
        self.partial_bytes = self.partial_bytes - held + connection.partial_bytes();
        old
    }

    pub(super) fn set_deadline(&mut self, slot: usize, at: Option<Moment>) {
        self.deadlines.set(slot as u32, at);
    }

    /// Moves an open connection's deadline forward if something has become due earlier than it was.
    pub(super) fn hasten(&mut self, slot: usize) {
        let wanted = self.connections[slot].open_deadline(self.common.options.limits.idle_timeout);
        let present = self.deadlines.get(slot as u32);
        if wanted.is_some_and(|wanted| present.is_none_or(|present| wanted < present)) {
            self.set_deadline(slot, wanted);
        }
    }

    /// A connection's deadline has passed; it is in `deadlines` no more.
    pub(super) fn connection_due(&mut self, slot: usize) {
        match &self.connections[slot].stage {
            Stage::Connecting(_) => self.refuse(slot, Refusal::Timeout("connect-timeout")),
            Stage::AwaitingHandshake(_) => self.refuse(slot, Refusal::Timeout("handshake-timeout")),
            Stage::AwaitingUpgrade(_) => self.refuse(slot, Refusal::Timeout("upgrade-timeout")),
            Stage::Open(_) => self.open_due(slot),
            Stage::Closing(_) => self.remove(slot),
        }
    }

    fn open_due(&mut self, slot: usize) {
        let now = self.now;
        let idle_timeout = self.common.options.limits.idle_timeout;
        let connection = &mut self.connections[slot];
        let stalled = connection.stall_deadline().is_some_and(|at| at <= now);
        let Stage::Open(open) = &mut connection.stage else { return };
        if stalled {
            return self.lose(slot, CloseReason::Overflow);
        }
        if open.last_frame + idle_timeout <= now {
            return self.close_open(slot, code::GOING_AWAY, "Connection Idle Timeout", CloseReason::Idle);
        }
        match open.keepalive.as_mut().map_or(Due::Nothing, |keepalive| keepalive.due(now)) {
            Due::Nothing => {}
            Due::Ping => {
                if let Err(broken) = self.write_frame(slot, Kind::Ping, &[]) {
                    return self.lose(slot, broken.into());
                }
            }
            Due::Lost => {
                return self.close_open(slot, code::NORMAL, "consecutive onPongTimeouts", CloseReason::Lost);
            }
        }
        let next = self.connections[slot].open_deadline(idle_timeout);
        self.set_deadline(slot, next);
    }

    /// Sends a close frame and waits for the peer's. From now on the application does not know the connection.
    pub(super) fn close_open(&mut self, slot: usize, code: u16, text: &str, reason: CloseReason) {
        let payload = close_payload(code, text);
        if let Err(broken) = self.write_frame(slot, Kind::Close, &[&payload]) {
            let reason = if reason == CloseReason::Application { reason } else { broken.into() };
            return self.lose(slot, reason);
        }
        self.leave_open(slot, reason, |open| Closing::AwaitingReply(open.session));
    }

    /// Sends a close frame for a broken rule and reads nothing more.
    pub(super) fn close_for_violation(&mut self, slot: usize, code: u16, label: &'static str) {
        let payload = close_payload(code, label);
        if let Err(broken) = self.write_frame(slot, Kind::Close, &[&payload]) {
            return self.lose(slot, broken.into());
        }
        self.leave_open(slot, CloseReason::Protocol(label), |_| Closing::Finishing);
    }

    /// The peer closes; its close frame is answered with the same content.
    pub(super) fn closed_by_peer(&mut self, slot: usize, code: u16, reason: Box<str>) {
        let payload = close_payload(code, &reason);
        let written = self.write_frame(slot, Kind::Close, &[&payload]);
        let reason = CloseReason::Peer { code, reason };
        match written {
            Ok(()) => self.leave_open(slot, reason, |_| Closing::Leaving),
            Err(_) => self.lose(slot, reason),
        }
    }

    /// Takes an open connection from the application.
    pub(super) fn leave_open(&mut self, slot: usize, reason: CloseReason, next: impl FnOnce(Open) -> Closing) {
        self.tell_closed(slot, reason);
        let Stage::Open(open) = self.set_stage(slot, Stage::Closing(Closing::Leaving)) else {
            unreachable!("only open connections are known to the application");
        };
        self.start_closing(slot, next(open));
    }

    pub(super) fn start_closing(&mut self, slot: usize, next: Closing) {
        // Those that were open are bounded by the limit of connections; anybody can be refused.
        let is_refusal = matches!(next, Closing::Finishing);
        let is_read = matches!(next, Closing::AwaitingReply(_));
        self.set_stage(slot, Stage::Closing(next));
        if !is_read {
            self.connections[slot].carry = Box::default();
        }
        if is_refusal && self.census.lingering > LINGERING_MAX {
            return self.remove(slot);
        }
        self.set_deadline(slot, Some(self.now + CLOSE_TIMEOUT));
        self.settle(slot);
    }

    /// Goes on with closing once nothing waits for the socket any more.
    pub(super) fn settle(&mut self, slot: usize) {
        let connection = &self.connections[slot];
        if connection.queue.is_some() {
            return;
        }
        match connection.stage {
            Stage::Closing(Closing::Leaving) => {
                self.say_goodbye(slot);
                self.remove(slot);
            }
            Stage::Closing(Closing::Finishing) => {
                if self.say_goodbye(slot) && self.connections[slot].socket.shutdown(Shutdown::Write).is_ok() {
                    self.set_stage(slot, Stage::Closing(Closing::Lingering));
                } else {
                    self.remove(slot);
                }
            }
            _ => {}
        }
    }

    /// The end of our TLS direction; false if the socket does not take it at once, when it is not worth waiting.
    fn say_goodbye(&mut self, slot: usize) -> bool {
        self.out.clear();
        let connection = &mut self.connections[slot];
        if let Some(tls) = connection.tls() {
            tls.close_notify(&mut self.out);
        }
        self.transmit(slot).is_ok() && self.connections[slot].queue.is_none()
    }

    /// A connection ends in whatever state it is, without another word.
    pub(super) fn lose(&mut self, slot: usize, reason: CloseReason) {
        match &self.connections[slot].stage {
            Stage::Open(_) => {
                self.tell_closed(slot, reason);
                self.remove(slot);
            }
            Stage::Closing(_) => self.remove(slot),
            _ => self.refuse(slot, Refusal::Lost),
        }
    }

    fn tell_closed(&mut self, slot: usize, reason: CloseReason) {
        let peer = self.peer(slot);
        let label = end::label(&reason);
        count(&self.common.options.metrics.closed, label);
        self.journal.note(self.now, end::event(&reason), label, &self.connections[slot].remote, "connection closed");
        self.notices.push_back(Notice::Closed { peer, reason });
    }

    /// A connection will not be opened. What is to be said about it in TLS has been said.
    pub(super) fn refuse(&mut self, slot: usize, refusal: Refusal) {
        let stage = self.set_stage(slot, Stage::Closing(Closing::Finishing));
        let upgrade = match stage {
            Stage::Connecting(outgoing) | Stage::AwaitingHandshake(Origin::Dialled(outgoing)) => {
                self.remove(slot);
                return self.dial_failed(&outgoing.dial, &refusal);
            }
            Stage::AwaitingUpgrade(upgrade) => match upgrade.side {
                UpgradeSide::Answer { outgoing, .. } => {
                    self.remove(slot);
                    return self.dial_failed(&outgoing.dial, &refusal);
                }
                UpgradeSide::Request => Some((upgrade.name, upgrade.received)),
            },
            _ => None,
        };
        let label = refusal.label();
        count(&self.common.options.metrics.refused, label);
        self.journal.note(self.now, "connection-refused", label, &self.connections[slot].remote, "connection refused");
        if let Some((name, received)) = upgrade
            && let Some((status, text)) = refusal.answer()
            && self.answer(slot, name.as_ref(), &received, &Answer::refusal(status, text)).is_err()
        {
            return self.remove(slot);
        }
        match refusal {
            Refusal::Lost | Refusal::Displaced | Refusal::Timeout("handshake-timeout") => self.remove(slot),
            // There is nothing that could be said.
            _ if matches!(self.connections[slot].tls, Custody::Pool) => self.remove(slot),
            _ => self.start_closing(slot, Closing::Finishing),
        }
    }

    /// The sum that a connection's queue is part of.
    pub(super) fn queued_bytes(&mut self, side: Side) -> &mut usize {
        match side {
            Side::Accepted => &mut self.queued_bytes,
            Side::Dialled => &mut self.dialled_queued_bytes,
        }
    }

    /// Forgets a connection. The socket closes.
    pub(super) fn remove(&mut self, slot: usize) {
        self.release_to(slot);
        self.set_deadline(slot, None);
        let mut connection = self.connections.remove(slot);
        count_stage(&mut self.census, &connection.stage, -1);
        self.note_orphan(&connection.tls);
        *self.queued_bytes(connection.side) -= connection.queued_bytes();
        self.partial_bytes -= connection.partial_bytes();
        // Closing the socket takes it out of the poll anyway.
        let _ = self.registry.deregister(&mut connection.socket);
        self.feed_starved();
    }

    /// Brings the process's metrics up to date with this worker, for which so many mails wait.
    pub(super) fn publish(&mut self, mails: usize) {
        let metrics = &self.common.options.metrics;
        let tally = std::mem::take(&mut self.tally);
        metrics.messages_in.inc_by(tally.messages_in);
        metrics.on_message.count(tally.messages_in);
        metrics.on_send.count(tally.messages_out);
        metrics.messages_out.inc_by(tally.messages_out);
        metrics.bytes_in.inc_by(tally.bytes_in);
        metrics.bytes_out.inc_by(tally.bytes_out);
        let present = Published {
            open: self.census.open as i64,
            handshakes: self.handshakes_under_way() as i64,
            queued_bytes: (self.queued_bytes + self.dialled_queued_bytes) as i64,
            partial_bytes: self.partial_bytes as i64,
            mails: mails as i64,
        };
        let last = std::mem::replace(&mut self.published, present);
        metrics.connections_open.inc_by(self.published.open - last.open);
        metrics.handshakes_in_flight.inc_by(self.published.handshakes - last.handshakes);
        metrics.queued_bytes.inc_by(self.published.queued_bytes - last.queued_bytes);
        metrics.partial_bytes.inc_by(self.published.partial_bytes - last.partial_bytes);
        metrics.mailbox_mails.inc_by(self.published.mails - last.mails);
    }
}

/// Slot and generation share a token.
const _: () = assert!(usize::BITS == 64);

/// What an event of the poll is about.
pub(super) fn token(peer: PeerId) -> Token {
    Token((peer.generation as usize) << 32 | peer.slot as usize)
}

/// The other way round.
pub(super) fn peer_of(token: Token, worker: u16) -> PeerId {
    PeerId { worker, slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
}

fn count_stage(census: &mut Census, stage: &Stage, change: isize) {
    let counter = match stage {
        Stage::AwaitingHandshake(Origin::Accepted) => &mut census.handshakes,
        Stage::AwaitingUpgrade(upgrade) if matches!(upgrade.side, UpgradeSide::Request) => &mut census.handshakes,
        Stage::Open(_) => &mut census.open,
        Stage::Closing(_) => &mut census.lingering,
        _ => return,
    };
    *counter = counter.checked_add_signed(change).expect("what leaves a state has entered it");
}
