//! One connection and the states it goes through; LIFECYCLE.md walks them. Each state holds what it may know and nothing
//! else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::net::TcpStream;

use crate::clock::Moment;
use crate::limits::{CLOSE_TIMEOUT, PONG_TIMEOUT, PONGS_MISSED_MAX, WRITE_STALL_TIMEOUT};
use crate::link::Dial;
use crate::reactor::buffers::OutQueue;
use crate::tls::identity::PeerName;
use crate::tls::session::TlsSession;
use crate::websocket::session::Session;

/// One connection of a worker.
pub(super) struct Connection {
    pub(super) generation: u32,
    pub(super) remote: SocketAddr,
    pub(super) socket: TcpStream,
    pub(super) tls: Custody,
    /// Bytes of TLS that were read and cannot be processed before more come.
    pub(super) carry: Box<[u8]>,
    /// Who made it.
    pub(super) side: Side,
    /// Bytes that wait for the socket, while there are any.
    pub(super) queue: Option<Box<OutQueue>>,
    pub(super) stage: Stage,
    /// Whether the connection is in line for another turn.
    pub(super) is_in_line: bool,
}

/// Who has a connection's TLS session.
#[expect(clippy::large_enum_variant, reason = "it is away for moments, and what lives long is kept in the table")]
pub(super) enum Custody {
    /// The worker, where it is nearly always.
    Worker(TlsSession),
    /// The pool, for a step of the handshake. Nothing is read until it is back.
    Pool,
}

/// Who made a connection, and so which limit holds for what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The peer; all such connections of a worker share its limit.
    Accepted,
    /// We; each has a limit of its own.
    Dialled,
}

/// Where a connection is in its life.
pub(super) enum Stage {
    /// Our TCP connection is under way.
    Connecting(Box<Outgoing>),
    /// TLS handshake.
    AwaitingHandshake(Origin),
    /// HTTP request or answer.
    AwaitingUpgrade(Box<Upgrade>),
    /// Messages in both directions; the application knows the connection.
    Open(Open),
    /// The application does not know the connection any more.
    Closing(Closing),
}

/// How a connection came to be.
pub(super) enum Origin {
    /// A client of ours.
    Accepted,
    /// We are the client.
    Dialled(Box<Outgoing>),
}

/// An outgoing connection that is being made.
pub(super) struct Outgoing {
    pub(super) dial: Dial,
    /// Addresses to try if the present one fails.
    pub(super) others: Vec<SocketAddr>,
    pub(super) until: Moment,
}

/// An upgrade under way.
pub(super) struct Upgrade {
    /// `None` for a client without a certificate.
    pub(super) name: Option<PeerName>,
    /// What has come of the request or the answer.
    pub(super) received: Vec<u8>,
    pub(super) side: UpgradeSide,
}

/// What an upgrade waits for.
pub(super) enum UpgradeSide {
    /// The client's request.
    Request,
    /// The server's answer to our request with this key.
    Answer { outgoing: Box<Outgoing>, key: Box<str> },
}

/// An open connection.
pub(super) struct Open {
    pub(super) session: Session,
    pub(super) last_frame: Moment,
    /// Since when something incomplete has been held, if anything is.
    pub(super) partial_since: Moment,
    /// Our pings, on connections that we have dialled.
    pub(super) keepalive: Option<Box<Keepalive>>,
    pub(super) appetite: Appetite,
    /// The place of an accepted connection under the process's limit.
    #[expect(dead_code, reason = "held until the connection is not open any more")]
    pub(super) seat: Option<Seat>,
}

/// Whether the application has been told to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appetite {
    /// Sends were taken.
    Open,
    /// A send was refused as full, so that the application is told when there is room again.
    Refused,
}

/// The last steps of a connection.
pub(super) enum Closing {
    /// Our close frame is on its way; the peer's is awaited.
    AwaitingReply(Session),
    /// Both have said what there is to say: gone as soon as the queue is empty.
    Leaving,
    /// Our last word is on its way; the queue is flushed, then our direction is shut.
    Finishing,
    /// Our direction is shut. Input is thrown away until the peer closes too: closing with unread input would make the
    /// kernel send a reset, which may destroy our last word before the peer reads it.
    Lingering,
}

/// Pings of ours and their answers.
pub(super) struct Keepalive {
    interval: Duration,
    next: Moment,
    answer: Answer,
    missed: u8,
}

/// Whether a pong is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// No ping is out.
    None,
    /// One is, and its pong is due at this moment.
    Due(Moment),
}

/// What a [`Keepalive`] wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before its deadline.
    Nothing,
    /// A ping.
    Ping,
    /// The end: too many pongs were missed.
    Lost,
}

impl Keepalive {
    pub(super) fn new(interval: Duration, now: Moment) -> Box<Self> {
        Box::new(Self { interval, next: now + interval, answer: Answer::None, missed: 0 })
    }

    pub(super) fn deadline(&self) -> Moment {
        match self.answer {
            Answer::None => self.next,
            Answer::Due(at) => at,
        }
    }

    /// What to do now, as if it was done.
    pub(super) fn due(&mut self, now: Moment) -> Due {
        if let Answer::Due(at) = self.answer {
            if at > now {
                return Due::Nothing;
            }
            self.answer = Answer::None;
            self.missed += 1;
            if self.missed >= PONGS_MISSED_MAX {
                return Due::Lost;
            }
        }
        if self.next > now {
            return Due::Nothing;
        }
        self.answer = Answer::Due(now + PONG_TIMEOUT);
        self.next = now + self.interval;
        Due::Ping
    }

    pub(super) fn answered(&mut self) {
        self.answer = Answer::None;
        self.missed = 0;
    }
}

impl Connection {
    /// The TLS session, unless it is at the pool.
    pub(super) fn tls(&mut self) -> Option<&mut TlsSession> {
        match &mut self.tls {
            Custody::Worker(tls) => Some(tls),
            Custody::Pool => None,
        }
    }

    /// When the connection must be looked at again if nothing happens; only for open ones.
    pub(super) fn open_deadline(&self, idle_timeout: Duration) -> Option<Moment> {
        let Stage::Open(open) = &self.stage else { return None };
        let idle = open.last_frame + idle_timeout;
        let keepalive = open.keepalive.as_ref().map(|keepalive| keepalive.deadline());
        [Some(idle), keepalive, self.stall_deadline()].into_iter().flatten().min()
    }

    /// When the peer will have taken nothing of what waits for it for too long.
    pub(super) fn stall_deadline(&self) -> Option<Moment> {
        self.queue.as_ref().map(|queue| queue.moved() + WRITE_STALL_TIMEOUT)
    }

    /// Bytes that wait for the socket.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// How much the connection's incomplete message or record is in the way of others: its bytes and the time it has taken so far.
    /// Whoever holds a lot for long is more likely not to mean to finish it than whoever has just begun.
    pub(super) fn hoard(&self, now: Moment) -> u128 {
        let age = match &self.stage {
            Stage::Open(open) => now.since(open.partial_since),
            _ => CLOSE_TIMEOUT,
        };
        self.partial_bytes() as u128 * (age.as_millis() + 1)
    }

    /// Bytes held for incomplete messages and records. Handshakes have a limit of their own, their number.
    pub(super) fn partial_bytes(&self) -> usize {
        match &self.stage {
            Stage::Open(Open { session, .. }) | Stage::Closing(Closing::AwaitingReply(session)) => {
                session.held_bytes() + self.carry.len()
            }
            _ => 0,
        }
    }
}

/// Connections that the process may still accept.
#[derive(Debug)]
pub(super) struct Seats {
    taken: AtomicUsize,
    limit: usize,
}

/// One of them, given back when dropped.
pub(super) struct Seat(Arc<Seats>);

impl Seats {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), limit })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let more = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Seat(self.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_limited_and_given_back() {
        let seats = Seats::new(1);
        let seat = seats.take();
        assert!(seat.is_some() && seats.take().is_none());
        drop(seat);
        assert!(seats.take().is_some());
    }

    /// Besides its TLS: address 32, stage 80, and 40 for everything else. What only few connections have is behind
    /// pointers. (mio adds 8 in debug builds.)
    #[test]
    fn an_idle_connection_is_small() {
        let size = size_of::<Connection>() - size_of::<TlsSession>();
        assert!(size <= 160, "{size}");
    }

    #[test]
    fn pings_at_intervals_as_long_as_pongs_come() {
        let at = Moment::from_millis;
        let mut keepalive = Keepalive::new(Duration::from_secs(120), at(0));
        assert_eq!(keepalive.due(at(119_999)), Due::Nothing);
        for round in 1..10 {
            assert_eq!(keepalive.deadline(), at(round * 120_000));
            assert_eq!(keepalive.due(at(round * 120_000)), Due::Ping);
            assert_eq!(keepalive.deadline(), at(round * 120_000 + 5_000));
            assert_eq!(keepalive.due(at(round * 120_000 + 4_999)), Due::Nothing);
            keepalive.answered();
        }
    }

    #[test]
    fn three_missed_pongs_in_a_row_are_the_end() {
        let at = Moment::from_millis;
        let mut keepalive = Keepalive::new(Duration::from_secs(120), at(0));
        let miss = |keepalive: &mut Keepalive, round: u64| {
            assert_eq!(keepalive.due(at(round * 120_000)), Due::Ping);
            keepalive.due(at(round * 120_000 + 5_000))
        };
        assert_eq!((miss(&mut keepalive, 1), miss(&mut keepalive, 2)), (Due::Nothing, Due::Nothing));
        keepalive.answered();
        assert_eq!((miss(&mut keepalive, 3), miss(&mut keepalive, 4)), (Due::Nothing, Due::Nothing));
        assert_eq!(miss(&mut keepalive, 5), Due::Lost);
    }

    #[test]
    fn pings_more_often_than_pongs_time_out() {
        let at = Moment::from_millis;
        let mut keepalive = Keepalive::new(Duration::from_secs(1), at(0));
        assert_eq!(keepalive.due(at(1_000)), Due::Ping);
        assert_eq!(keepalive.due(at(2_000)), Due::Nothing);
        assert_eq!(keepalive.due(at(6_000)), Due::Ping);
        keepalive.answered();
        assert_eq!(keepalive.deadline(), at(7_000));
    }
}
