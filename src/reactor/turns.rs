//! Who is served in one turn of a worker, and in which order: messages first, then a few of those whose peer has gone,
//! then a few handshakes. Ends cost the application more than messages do, and thousands come at once when a network
//! breaks: the others must not wait for all of them.

use std::collections::VecDeque;

use mio::event::Event;

use crate::limits::{TURN_ENDS, TURN_HANDSHAKES};
use crate::link::{Application, PeerId};
use crate::reactor::connection::Stage;
use crate::reactor::core::{Core, peer_of};
use crate::reactor::worker::{BELL, LISTENER, Worker};

/// A connection that has something to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) peer: PeerId,
    pub(super) until: Until,
}

/// How far a socket is read. It reports new input once, when it comes (epoll(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Until a read brings less than it had room for: there is no more, and more will be reported.
    Short,
    /// Until there is nothing: the end of input, which is reported together with the last bytes, comes after them.
    Dry,
}

/// Those that wait for another turn. A connection is in one of them at most.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Unread input, and their turn was over.
    pub(super) line: VecDeque<PeerId>,
    /// Nothing more comes from the peer than what has come.
    pub(super) ending: VecDeque<PeerId>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty() && self.ending.is_empty()
    }
}

/// The connections of one turn.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<Ready>,
    handshakes: Vec<Ready>,
}

impl<M: Send> Core<M> {
    /// Puts a connection in line for another turn.
    pub(super) fn queue_turn(&mut self, peer: PeerId) {
        if self.may_wait(peer) {
            self.waiting.line.push_back(peer);
        }
    }

    fn queue_end(&mut self, peer: PeerId) {
        if self.may_wait(peer) {
            self.waiting.ending.push_back(peer);
        }
    }

    /// Whether the connection is there and did not wait for a turn; from now on it does.
    fn may_wait(&mut self, peer: PeerId) -> bool {
        let Some(slot) = self.slot(peer) else { return false };
        !std::mem::replace(&mut self.connections[slot].is_in_line, true)
    }

    /// A connection waits for a turn no more.
    fn called(&mut self, peer: PeerId) -> Ready {
        if let Some(slot) = self.slot(peer) {
            self.connections[slot].is_in_line = false;
        }
        Ready { peer, until: Until::Dry }
    }
}

impl<A: Application> Worker<A> {
    /// Events into the batch of this turn, after those whose last turn was cut short.
    pub(super) fn sort_events(&mut self) {
        self.batch.messages.clear();
        self.batch.handshakes.clear();
        for peer in std::mem::take(&mut self.core.waiting.line) {
            let ready = self.core.called(peer);
            self.sort(ready, Peer::There);
        }
        let events = std::mem::replace(&mut self.events, mio::Events::with_capacity(0));
        for event in &events {
            match event.token() {
                BELL => {}
                LISTENER => self.gate.knock(),
                token => {
                    let peer = peer_of(token, self.core.index);
                    let (until, side) = said(event);
                    self.sort(Ready { peer, until }, side);
                }
            }
        }
        self.events = events;
    }

    fn sort(&mut self, ready: Ready, side: Peer) {
        // A connection that closed while its event was under way is not in the table any more.
        let Some(slot) = self.core.slot(ready.peer) else { return };
        match (&self.core.connections[slot].stage, side) {
            (Stage::Open(_) | Stage::Closing(_), Peer::Gone) => self.core.queue_end(ready.peer),
            (Stage::Open(_) | Stage::Closing(_), Peer::There) => self.batch.messages.push(ready),
            _ => self.batch.handshakes.push(ready),
        }
    }

    pub(super) fn serve_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        for &ready in &batch.messages {
            self.serve(ready);
        }
        // What follows takes its time.
        self.core.release();
        for _ in 0..TURN_ENDS {
            let Some(peer) = self.core.waiting.ending.pop_front() else { break };
            let ready = self.core.called(peer);
            self.serve(ready);
        }
        self.core.release();
        let (now, later) = batch.handshakes.split_at(batch.handshakes.len().min(TURN_HANDSHAKES));
        for &ready in now {
            self.serve(ready);
        }
        for ready in later {
            self.core.queue_turn(ready.peer);
        }
        self.batch = batch;
    }
}

/// What is known of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    There,
    /// It has said its last byte, or the connection is broken.
    Gone,
}

/// What an event says about input.
fn said(event: &Event) -> (Until, Peer) {
    if event.is_read_closed() || event.is_error() {
        (Until::Dry, Peer::Gone)
    } else if event.is_readable() {
        (Until::Short, Peer::There)
    } else {
        (Until::Dry, Peer::There)
    }
}
