//! One worker: a thread with its own poll, listener, connections and application. A turn of its loop is: wait, one look
//! at the clock, connections with events (those with messages before those in handshake), mail, timers, newcomers,
//! gauges.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::{Events, Poll, Token};
use prometheus_client::metrics::histogram::Histogram;

use crate::clock::{Clock, Moment, Stopwatch};
use crate::limits::{
    PONG_QUEUE_BYTES_MAX, PROGRESS_BYTES, READ_CHUNK_BYTES, STOP_FLUSH_TIMEOUT, TURN_DEADLINES, TURN_FRAME_BYTES,
    TURN_READ_BYTES, TURN_READS,
};
use crate::link::{Application, CloseReason, Event, Opening, PeerId};
use crate::reactor::accept::Gate;
use crate::reactor::buffers::Scratch;
use crate::reactor::connection::{Appetite, Closing, Keepalive, Open, Seat, Stage, UpgradeSide};
use crate::reactor::core::{Core, Notice, Target};
use crate::reactor::listen::Stop;
use crate::reactor::mailbox::Bell;
use crate::reactor::read::Received;
use crate::reactor::refusal::Refusal;
use crate::reactor::sampling;
use crate::reactor::turns::{Batch, Ready, Until};
use crate::websocket::frame::{Kind, Role};
use crate::websocket::session::{ControlPayload, Item, Session};
use crate::websocket::violation::code;

/// Events taken from the poll at once.
const EVENTS: usize = 1024;

/// The tokens that are no connection's: generations start at 1.
pub(super) const BELL: Token = Token(0);
/// The listener's.
pub(super) const LISTENER: Token = Token(1);

/// One thread's worth of a reactor.
pub(super) struct Worker<A: Application> {
    pub(super) application: A,
    pub(super) core: Core<A::Mail>,
    pub(super) scratch: Scratch,
    pub(super) gate: Gate,
    poll: Poll,
    pub(super) events: Events,
    pub(super) batch: Batch,
    mail: Receiver<A::Mail>,
    bell: Arc<Bell>,
    clock: Clock,
    stop: Arc<Stop>,
    pub(super) life: Life,
    turns: Histogram,
}

/// How far the worker is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// Nobody comes any more; everything else goes on.
    Shut,
    /// The application says goodbye until then.
    Stopping(Moment),
    /// The last close frames leave until then.
    Flushing(Moment),
    Over,
}

impl<A: Application> Worker<A> {
    #[expect(clippy::too_many_arguments, reason = "called once, by the reactor that has made all of them")]
    pub(super) fn new(
        application: A,
        core: Core<A::Mail>,
        gate: Gate,
        poll: Poll,
        mail: Receiver<A::Mail>,
        bell: Arc<Bell>,
        clock: Clock,
        stop: Arc<Stop>,
    ) -> Self {
        let turns = core.common.options.metrics.turns(core.index);
        Self {
            application,
            turns,
            core,
            scratch: Scratch::new(),
            gate,
            poll,
            events: Events::with_capacity(EVENTS),
            batch: Batch::default(),
            mail,
            bell,
            clock,
            stop,
            life: Life::Running,
        }
    }

    /// Works until the reactor stops.
    pub(super) fn run(mut self) {
        self.core.now = self.clock.now();
        while self.life != Life::Over {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let timeout = self.timeout();
        if let Err(error) = self.poll.poll(&mut self.events, timeout) {
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "a worker's poll failed: {error}");
            self.events.clear();
        }
        let begun = Stopwatch::start();
        self.core.now = self.clock.now();
        self.bell.answer();
        let mails = self.mail.len();
        self.core.take_resolved();
        self.deliver();
        self.sort_events();
        self.serve_batch();
        self.take_steps();
        for _ in 0..mails {
            let Ok(mail) = self.mail.try_recv() else { break };
            self.application.handle(self.core.now, Event::Mail(mail), &mut self.core);
            self.deliver();
        }
        self.fire_timers();
        // After everything that can free a handshake slot.
        self.gate.turn(&mut self.core);
        self.live();
        self.core.release();
        self.core.publish(self.mail.len());
        self.turns.observe(begun.elapsed().as_secs_f64());
    }

    fn timeout(&mut self) -> Option<Duration> {
        if !self.core.waiting.is_empty()
            || !self.mail.is_empty()
            || !self.core.notices.is_empty()
            || self.core.has_steps_back()
        {
            return Some(Duration::ZERO);
        }
        let now = self.core.now;
        let end = match self.life {
            Life::Running | Life::Shut | Life::Over => None,
            Life::Stopping(until) | Life::Flushing(until) => Some(until),
        };
        let next =
            [self.core.deadlines.next(), self.core.alarms.next(), self.gate.next(now), end].into_iter().flatten().min();
        next.map(|at| at.since(now))
    }

    /// Does everything that a connection's socket is ready for.
    pub(super) fn serve(&mut self, Ready { peer, until }: Ready) {
        if let Some(slot) = self.core.slot(peer)
            && matches!(self.core.connections[slot].stage, Stage::Connecting(_))
        {
            self.core.finish_connect(slot);
        }
        if let Some(slot) = self.core.slot(peer) {
            self.core.flush(slot);
        }
        self.deliver();
        self.read(peer, until);
        self.deliver();
    }

    pub(super) fn read(&mut self, peer: PeerId, until: Until) {
        let mut taken = 0;
        while let Some(slot) = self.core.slot(peer) {
            if matches!(self.core.connections[slot].stage, Stage::Connecting(_)) {
                return;
            }
            let (count, state) = match self.core.receive(slot, &mut self.scratch) {
                Received::Bytes(count, state) => (count, state),
                Received::Nothing | Received::Over => return,
            };
            let frames = self.work_through(peer, state);
            if until == Until::Short && count < READ_CHUNK_BYTES {
                return;
            }
            taken += count.max(TURN_READ_BYTES / TURN_READS) + frames * TURN_FRAME_BYTES;
            if taken >= TURN_READ_BYTES {
                return self.core.queue_turn(peer);
            }
        }
    }

    /// The connection is open in both directions. The peer's name is not kept: that is the application's.
    pub(super) fn open(&mut self, slot: usize, role: Role, path: &str, seat: Option<Seat>) {
        let (now, peer) = (self.core.now, self.core.peer(slot));
        let options = &self.core.common.options;
        let keepalive = match role {
            Role::Server => None,
            Role::Client => options.ping_interval.map(|interval| Keepalive::new(interval, now)),
        };
        let session = Session::new(role, options.limits.message_bytes_max);
        let open = Open { session, last_frame: now, partial_since: now, keepalive, appetite: Appetite::Open, seat };
        let Stage::AwaitingUpgrade(upgrade) = self.core.set_stage(slot, Stage::Open(open)) else {
            unreachable!("only an upgrade opens a connection");
        };
        let name = upgrade.name.expect("nobody without a name is admitted");
        let connection = &self.core.connections[slot];
        let remote = connection.remote;
        let deadline = connection.open_deadline(self.core.common.options.limits.idle_timeout);
        self.core.set_deadline(slot, deadline);
        let (path, dialled) = match &upgrade.side {
            UpgradeSide::Request => (path, None),
            UpgradeSide::Answer { outgoing, .. } => (&*outgoing.dial.path, Some(outgoing.dial.tag)),
        };
        let opening = Opening { identity: name.identity(), path, remote, dialled };
        let begun = Stopwatch::start();
        self.application.handle(now, Event::Opened { peer, opening }, &mut self.core);
        let timer = &self.core.common.options.metrics.on_connect;
        timer.count(1);
        timer.measured(begun.elapsed());
        self.deliver();
    }

    /// Works through the plaintext in the scratch buffer, frame by frame; returns how many there were.
    pub(super) fn frames(&mut self, peer: PeerId) -> usize {
        let (mut at, mut count) = (0, 0);
        let mut ping = None;
        while at < self.scratch.plain.len() {
            let Some(slot) = self.core.slot(peer) else { return count };
            let room = self.core.make_partial_room(slot, self.scratch.plain.len() - at);
            let held = self.core.partial_bytes;
            let Some(session) = self.core.session(slot) else { return count };
            let before = session.held_bytes();
            let result = session.next(&mut self.scratch.plain[at..], room);
            let after = session.held_bytes();
            self.core.partial_bytes = held - before + after;
            self.core.note_partial(slot, before, after);
            let is_open = matches!(self.core.connections[slot].stage, Stage::Open(_));
            count += 1;
            match result {
                Ok((taken, Item::Nothing)) => {
                    at += taken;
                    if taken >= PROGRESS_BYTES {
                        self.core.seen(slot, &Item::Nothing);
                    }
                }
                Ok((taken, Item::Close(code, reason))) => {
                    at += taken;
                    // It came before the close frame, so it is owed an answer (RFC 6455, 5.5.2).
                    self.core.pong(peer, ping.take());
                    self.closed(peer, code, reason);
                }
                // We have said that we close: nothing else counts any more.
                Ok((taken, _)) if !is_open => at += taken,
                Ok((taken, item)) => {
                    at += taken;
                    self.core.seen(slot, &item);
                    match item {
                        // Of those that came at once, only the last has to be answered (RFC 6455, 5.5.3).
                        Item::Ping(payload) => ping = Some(payload),
                        Item::Message(opcode, payload) => {
                            self.core.pong(peer, ping.take());
                            let event = Event::Message { peer, opcode, payload };
                            sampling::hand_over(&mut self.application, &mut self.core, event);
                        }
                        Item::Assembled(opcode, payload) => {
                            self.core.pong(peer, ping.take());
                            let event = Event::Message { peer, opcode, payload: &payload };
                            sampling::hand_over(&mut self.application, &mut self.core, event);
                        }
                        Item::Nothing | Item::Fragment | Item::Pong | Item::Close(..) => {}
                    }
                    self.deliver();
                }
                Err(violation) if is_open => {
                    self.core.close_for_violation(slot, violation.close_code(), violation.label());
                    return count;
                }
                Err(_) => {
                    self.core.remove(slot);
                    return count;
                }
            }
        }
        self.core.pong(peer, ping);
        count
    }

    /// A close frame has come.
    fn closed(&mut self, peer: PeerId, code: u16, reason: Box<str>) {
        let Some(slot) = self.core.slot(peer) else { return };
        match self.core.connections[slot].stage {
            Stage::Open(_) => self.core.closed_by_peer(slot, code, reason),
            _ => {
                self.core.set_stage(slot, Stage::Closing(Closing::Leaving));
                self.core.settle(slot);
            }
        }
    }

    /// Tells the application what its own acts, or the core, have brought about. What it brings about by acting on
    /// that waits for the next time, so that dialling again and again at once stops nobody else.
    pub(super) fn deliver(&mut self) {
        for _ in 0..self.core.notices.len() {
            let Some(notice) = self.core.notices.pop_front() else { return };
            let event = match notice {
                Notice::Closed { peer, reason } => {
                    sampling::take_back(&mut self.application, &mut self.core, peer, reason);
                    continue;
                }
                Notice::Drained { peer } if self.core.open_slot(peer).is_none() => continue,
                Notice::Drained { peer } => Event::Drained { peer },
                Notice::DialFailed { tag, error } => Event::DialFailed { tag, error },
            };
            self.application.handle(self.core.now, event, &mut self.core);
        }
    }

    fn fire_timers(&mut self) {
        // What is armed while timers fire waits for the next turn, however soon it is due.
        for _ in 0..self.core.deadlines.len().min(TURN_DEADLINES) {
            let Some(slot) = self.core.deadlines.pop_due(self.core.now) else { break };
            self.core.connection_due(slot as usize);
            self.deliver();
        }
        for _ in 0..self.core.alarms.len() {
            let Some((_, target)) = self.core.alarms.pop_due(self.core.now) else { return };
            match target {
                Target::Application(key) => {
                    self.core.timers.remove(&key);
                    self.application.handle(self.core.now, Event::Timer(key), &mut self.core);
                }
                Target::Resolution(number) => self.core.resolution_due(number),
            }
            self.deliver();
        }
    }

    /// Goes on towards the end once the reactor has been stopped.
    fn live(&mut self) {
        let now = self.core.now;
        match self.life {
            Life::Running if self.stop.is_shut() => {
                self.gate.shut();
                self.life = Life::Shut;
                self.live();
            }
            Life::Running | Life::Shut => {
                let Some(grace) = self.stop.grace() else { return };
                self.gate.shut();
                self.life = Life::Stopping(now + grace);
                self.application.handle(now, Event::Stopping, &mut self.core);
                self.deliver();
                self.live();
            }
            Life::Stopping(until) => {
                // Whoever has said goodbye may still have to read what was sent before.
                if now < until && (self.core.census.open > 0 || self.core.queued_bytes > 0) {
                    return;
                }
                self.life = Life::Flushing(now + STOP_FLUSH_TIMEOUT);
                self.close_all();
                self.live();
            }
            Life::Flushing(until) => {
                if now >= until || self.core.connections.is_empty() {
                    self.life = Life::Over;
                }
            }
            Life::Over => {}
        }
    }

    fn close_all(&mut self) {
        self.core.abandon_dials();
        let slots: Vec<usize> = self.core.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            match self.core.connections.get(slot).map(|connection| &connection.stage) {
                Some(Stage::Open(_)) => {
                    self.core.close_open(slot, code::GOING_AWAY, "The server stops.", CloseReason::Shutdown);
                }
                Some(Stage::Closing(_)) | None => {}
                Some(_) => self.core.refuse(slot, Refusal::Stopping),
            }
            self.deliver();
        }
    }
}

impl<M: Send> Core<M> {
    /// A frame, or a good part of one, has come on an open connection.
    fn seen(&mut self, slot: usize, item: &Item<'_>) {
        let connection = &mut self.connections[slot];
        let Stage::Open(open) = &mut connection.stage else { return };
        open.last_frame = self.now;
        match item {
            Item::Message(..) | Item::Assembled(..) => self.tally.messages_in += 1,
            Item::Pong => {
                if let Some(keepalive) = &mut open.keepalive {
                    keepalive.answered();
                    // The next ping is due earlier than the pong would have been.
                    self.hasten(slot);
                }
            }
            _ => {}
        }
    }

    /// Answers the ping, if there was one and too much does not wait for the peer already.
    fn pong(&mut self, peer: PeerId, ping: Option<ControlPayload>) {
        let Some(payload) = ping else { return };
        let Some(slot) = self.open_slot(peer) else { return };
        if self.connections[slot].queued_bytes() <= PONG_QUEUE_BYTES_MAX
            && let Err(broken) = self.write_frame(slot, Kind::Pong, &[payload.as_slice()])
        {
            self.lose(slot, broken.into());
        }
    }
}
