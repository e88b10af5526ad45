//! TLS handshakes of accepted connections, on threads of their own: a signature with RSA-4096 takes 1.5 ms, and a worker
//! that makes it serves nobody meanwhile. A worker reads the bytes and hands them over together with the session; what
//! comes of them comes back with the worker's bell. The threads have a lower priority than the workers: messages of
//! those who are connected come before newcomers.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::clock::{Clock, Moment};
use crate::limits::{HANDSHAKE_NICE, HANDSHAKES_BEGUN_MAX, HELLOS_WAITING_MAX, TURN_HANDSHAKES_BACK};
use crate::link::{Application, CloseReason, PeerId};
use crate::reactor::buffers::Scratch;
use crate::reactor::connection::{Custody, Origin, Stage};
use crate::reactor::core::Core;
use crate::reactor::mailbox::Bell;
use crate::reactor::refusal::Refusal;
use crate::reactor::turns::Until;
use crate::reactor::worker::Worker;
use crate::tls::failure::TlsFailure;
use crate::tls::session::{Progress, TlsSession, TlsState};

/// A session with bytes for its handshake, on its way to the pool and back.
pub(super) struct Step {
    peer: PeerId,
    /// Afterwards nobody waits for it any more.
    until: Moment,
    tls: TlsSession,
    /// Whether the session has not answered a hello yet.
    is_first: bool,
    incoming: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
    outcome: Outcome,
}

/// What the pool has done.
enum Outcome {
    /// Nothing: it was too late.
    Skipped,
    /// The session has read the bytes.
    Read(Result<Progress, TlsFailure>),
}

impl Step {
    fn run(&mut self, now: Moment) {
        if now < self.until {
            self.outcome = Outcome::Read(self.tls.read(&mut self.incoming, &mut self.plain, &mut self.out));
        }
    }
}

/// The threads.
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Where a worker's steps go when they are done.
type Home = (Sender<Box<Step>>, Arc<Bell>);

struct Shared {
    clock: Clock,
    line: Mutex<Line>,
    arrival: Condvar,
    workers: Box<[Home]>,
}

/// What waits for a thread. There is at most one step for each handshake slot of each worker.
#[derive(Default)]
struct Line {
    /// Handshakes that work has been done for already come first, in their order. Only the session knows that: whatever
    /// its peer sends in front of its hello must not bring it here.
    begun: VecDeque<Box<Step>>,
    /// How many of those were taken since one of the others was.
    in_a_row: usize,
    /// Then the others, also in order: there are few of them, because whoever has to wait does so in the waiting room.
    first: VecDeque<Box<Step>>,
    is_over: bool,
}

/// A worker's end of the pool.
pub(super) struct Desk {
    shared: Arc<Shared>,
    back: Receiver<Box<Step>>,
    /// Steps whose connections have gone. Their slots are taken until they are back.
    orphans: usize,
    /// Steps of ours that are the first of their connections.
    hellos: usize,
}

impl Pool {
    /// Starts the threads, for the workers with these bells; each has at most so many handshakes under way.
    pub(super) fn start(
        threads: usize,
        clock: Clock,
        bells: &[Arc<Bell>],
        slots: usize,
    ) -> io::Result<(Self, Vec<Desk>)> {
        let (workers, backs): (Vec<_>, Vec<_>) = bells
            .iter()
            .map(|bell| {
                let (sender, back) = bounded(slots);
                ((sender, bell.clone()), back)
            })
            .unzip();
        let (line, arrival) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { clock, line, arrival, workers: workers.into() });
        let desk = |back| Desk { shared: shared.clone(), back, orphans: 0, hellos: 0 };
        let desks = backs.into_iter().map(desk).collect();
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..threads.max(1) {
            let shared = pool.shared.clone();
            let builder = std::thread::Builder::new().name(format!("podium-tls-{number}"));
            pool.threads.push(builder.spawn(move || shared.work())?);
        }
        Ok((pool, desks))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.line().is_over = true;
        self.shared.arrival.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread for handshakes has panicked");
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        // A system that does not allow it makes newcomers as important as messages.
        let _ = rustix::process::nice(HANDSHAKE_NICE);
        while let Some(mut step) = self.next() {
            step.run(self.clock.now());
            let (sender, bell) = &self.workers[usize::from(step.peer.worker)];
            // There is room for the step of every slot; a worker that has ended wants none.
            if sender.try_send(step).is_ok() {
                bell.ring();
            }
        }
    }

    /// Waits for a step.
    fn next(&self) -> Option<Box<Step>> {
        let mut line = self.line();
        loop {
            if line.is_over {
                return None;
            }
            if let Some(step) = line.take() {
                return Some(step);
            }
            line = self.arrival.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn put(&mut self, step: Box<Step>) {
        if step.is_first {
            self.first.push_back(step);
        } else {
            self.begun.push_back(step);
        }
    }

    fn take(&mut self) -> Option<Box<Step>> {
        if (self.in_a_row < HANDSHAKES_BEGUN_MAX || self.first.is_empty())
            && let Some(step) = self.begun.pop_front()
        {
            self.in_a_row += 1;
            return Some(step);
        }
        self.in_a_row = 0;
        self.first.pop_front()
    }
}

impl<M: Send> Core<M> {
    /// Gives the session of a connection in handshake to the pool, with the bytes that have come for it.
    pub(super) fn hand_over(&mut self, slot: usize, bytes: &[u8]) {
        let peer = self.peer(slot);
        let until = self.deadlines.get(slot as u32).unwrap_or(self.now);
        let connection = &mut self.connections[slot];
        let (Some(desk), Custody::Worker(tls)) =
            (&mut self.desk, std::mem::replace(&mut connection.tls, Custody::Pool))
        else {
            unreachable!("only a reactor with a pool accepts, and what is away is not read");
        };
        let mut incoming = std::mem::take(&mut connection.carry).into_vec();
        incoming.extend_from_slice(bytes);
        let (plain, out, outcome) = (Vec::new(), Vec::new(), Outcome::Skipped);
        let is_first = !tls.is_begun();
        desk.hellos += usize::from(is_first);
        desk.shared.line().put(Box::new(Step { peer, until, tls, is_first, incoming, plain, out, outcome }));
        desk.shared.arrival.notify_one();
    }

    /// Accepted connections in handshake or upgrade, those included whose connection has gone while the pool has the
    /// session.
    pub(super) fn handshakes_under_way(&self) -> usize {
        self.census.handshakes + self.desk.as_ref().map_or(0, |desk| desk.orphans)
    }

    /// Whether a slot will be free as soon as the pool is done with a session that nobody waits for any more.
    pub(super) fn has_orphans(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.orphans > 0)
    }

    /// Whether so many hellos wait at the pool that whoever comes next had better wait in the waiting room, where the
    /// newest is first and nobody stays too long.
    pub(super) fn has_hellos_waiting(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.hellos >= HELLOS_WAITING_MAX)
    }

    /// Whether the pool has given something back.
    pub(super) fn has_steps_back(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| !desk.back.is_empty())
    }

    /// A connection has gone; its session may be at the pool.
    pub(super) fn note_orphan(&mut self, tls: &Custody) {
        if let (Custody::Pool, Some(desk)) = (tls, &mut self.desk) {
            desk.orphans += 1;
        }
    }

    /// What is to be done with the session that has come back, as after a read.
    fn take_back(&mut self, step: Step, scratch: &mut Scratch) -> Option<TlsState> {
        if let Some(desk) = &mut self.desk {
            desk.hellos -= usize::from(step.is_first);
        }
        let Some(slot) = self.slot(step.peer) else {
            if let Some(desk) = &mut self.desk {
                desk.orphans -= 1;
            }
            return None;
        };
        self.connections[slot].tls = Custody::Worker(step.tls);
        let Outcome::Read(result) = step.outcome else {
            self.refuse(slot, Refusal::Timeout("handshake-timeout"));
            return None;
        };
        self.out.clear();
        self.out.extend_from_slice(&step.out);
        scratch.plain.clear();
        scratch.plain.extend_from_slice(&step.plain);
        self.digest(slot, &step.incoming, result)
    }
}

impl<A: Application> Worker<A> {
    /// Goes on with the connections whose sessions the pool has given back.
    pub(super) fn take_steps(&mut self) {
        for _ in 0..TURN_HANDSHAKES_BACK {
            let Some(step) = self.core.desk.as_ref().and_then(|desk| desk.back.try_recv().ok()) else { return };
            let peer = step.peer;
            if let Some(state) = self.core.take_back(*step, &mut self.scratch) {
                self.work_through(peer, state);
                // What has come in the meantime was reported and not read.
                self.read(peer, Until::Dry);
            }
            self.deliver();
        }
    }

    /// Does what the plaintext in the scratch buffer, and the state that TLS is in now, ask for; returns how many frames
    /// there were.
    pub(super) fn work_through(&mut self, peer: PeerId, state: TlsState) -> usize {
        if state != TlsState::Handshaking {
            self.core.finish_handshake(peer);
        }
        self.upgrade(peer);
        let frames = self.frames(peer);
        if state == TlsState::PeerClosed
            && let Some(slot) = self.core.slot(peer)
        {
            self.core.lose(slot, CloseReason::Lost);
        }
        frames
    }
}

/// Whether a connection's bytes are for the pool.
pub(super) fn is_for_the_pool(stage: &Stage) -> bool {
    matches!(stage, Stage::AwaitingHandshake(Origin::Accepted))
}

#[cfg(test)]
mod tests {
    use rustls::ClientConnection;
    use rustls::version::TLS13;

    use super::*;
    use crate::tls::testing::Pki;

    impl Desk {
        /// At a pool without threads.
        pub(in crate::reactor) fn of_nobody() -> Self {
            let (line, arrival, workers) = (Mutex::default(), Condvar::new(), Box::default());
            Self {
                shared: Arc::new(Shared { clock: Clock::start(), line, arrival, workers }),
                back: bounded(0).1,
                orphans: 0,
                hellos: 0,
            }
        }
    }

    fn step(pki: &Pki, slot: u32, incoming: &[u8]) -> Box<Step> {
        let tls = TlsSession::accept(pki.listener(&pki.issue("localhost")));
        Box::new(Step {
            peer: PeerId { worker: 0, slot, generation: 1 },
            until: Moment::from_millis(100),
            is_first: !tls.is_begun(),
            tls,
            incoming: incoming.to_vec(),
            plain: Vec::new(),
            out: Vec::new(),
            outcome: Outcome::Skipped,
        })
    }

    fn hello(pki: &Pki) -> Vec<u8> {
        let config = pki.client(&TLS13, Some(&pki.issue("agent.example")));
        let mut client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    /// A handshake that has been answered.
    fn begun(pki: &Pki, slot: u32, before: &[u8]) -> Box<Step> {
        let mut step = step(pki, slot, &[before, &hello(pki)].concat());
        step.run(Moment::default());
        assert!(matches!(step.outcome, Outcome::Read(Ok(_))) && !step.out.is_empty());
        step.is_first = !step.tls.is_begun();
        step
    }

    fn slots(line: &mut Line) -> Vec<u32> {
        std::iter::from_fn(|| line.take()).map(|step| step.peer.slot).collect()
    }

    #[test]
    fn what_has_begun_comes_first() {
        let pki = Pki::new("ca");
        let mut line = Line::default();
        line.put(step(&pki, 1, &hello(&pki)));
        line.put(begun(&pki, 2, &[]));
        line.put(step(&pki, 3, &hello(&pki)[..5]));
        line.put(begun(&pki, 4, &[]));
        assert_eq!(slots(&mut line), [2, 4, 1, 3]);
    }

    /// A warning, user_canceled, is allowed there.
    #[test]
    fn nobody_gets_ahead_by_what_comes_before_the_hello() {
        let pki = Pki::new("ca");
        let warning = [21, 3, 3, 0, 2, 1, 90];
        let mut line = Line::default();
        line.put(step(&pki, 1, &hello(&pki)));
        line.put(step(&pki, 2, &[&warning[..], &hello(&pki)].concat()));
        line.put(begun(&pki, 3, &warning));
        assert_eq!(slots(&mut line), [3, 1, 2]);
    }

    #[test]
    fn those_that_have_begun_do_not_keep_all_others_waiting() {
        let pki = Pki::new("ca");
        let mut line = Line::default();
        line.put(step(&pki, u32::MAX, &hello(&pki)));
        (0..HANDSHAKES_BEGUN_MAX as u32 + 3).for_each(|slot| line.put(begun(&pki, slot, &[])));
        assert_eq!(slots(&mut line).iter().position(|slot| *slot == u32::MAX), Some(HANDSHAKES_BEGUN_MAX));
    }

    #[test]
    fn nothing_is_done_for_whom_it_is_too_late() {
        let pki = Pki::new("ca");
        let mut late = step(&pki, 1, b"GET / HTTP/1.1");
        late.run(Moment::from_millis(100));
        assert!(matches!(late.outcome, Outcome::Skipped));
        late.run(Moment::from_millis(99));
        assert!(matches!(late.outcome, Outcome::Read(Err(TlsFailure::NotTls))));
    }
}
