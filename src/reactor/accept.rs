//! The listeners, one per worker on the same address so that the kernel spreads connections (SO_REUSEPORT) or, if it was
//! inherited, the same one for all, and the way from there to a handshake slot.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::Moment;
use crate::limits::{
    ACCEPT_BACKLOG, ACCEPT_PAUSE, ACCEPT_QUEUE_MAX, ACCEPT_QUEUE_WAIT, TURN_ACCEPTS, TURN_EXPIRIES, TURN_HANDSHAKES,
};
use crate::link::PeerId;
use crate::observe::metrics::count;
use crate::reactor::admission::{Flights, WaitRoom};
use crate::reactor::connection::{Origin, Stage, UpgradeSide};
use crate::reactor::core::Core;
use crate::reactor::listen::Listen;
use crate::reactor::refusal::Refusal;
use crate::tls::session::TlsSession;

/// A listener for each worker, and the address that they have.
pub(super) fn open(listen: &Listen, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    match listen {
        Listen::Address(address) => bind(*address, workers),
        Listen::Inherited(listener) => share(listener, workers),
    }
}

/// The same listener for all. Each poll is told of each connection, and whoever comes first has it.
fn share(listener: &std::net::TcpListener, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    listener.set_nonblocking(true)?;
    let listeners = (0..workers).map(|_| listener.try_clone().map(TcpListener::from_std));
    Ok((listener.local_addr()?, listeners.collect::<io::Result<_>>()?))
}

/// Opens one listener per worker on `address`; if its port is 0, all on the port the first one got.
fn bind(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    if address.port() != 0 {
        // With SO_REUSEPORT a second process would share the port, and with it the agents, without anybody noticing.
        unshared(address)?;
    }
    let first = listener(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(listener(address)?);
    }
    Ok((address, listeners))
}

/// Fails if anybody listens at the address.
fn unshared(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Where a worker's connections come in.
pub(super) struct Gate {
    listener: Option<TcpListener>,
    room: WaitRoom<(TcpStream, SocketAddr)>,
    flights: Flights<PeerId>,
    accepting: Accepting,
    /// Whether the last turn could have begun more handshakes.
    has_more: bool,
    published: i64,
    descriptors_max: usize,
}

/// The poll reports a listener once; this remembers it until there was nothing to accept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    /// Nothing to accept until the poll says so.
    Idle,
    /// There may be something.
    Ready,
    /// There is, but no descriptor for it.
    Paused(Moment),
}

impl Gate {
    pub(super) fn new(listener: Option<TcpListener>, descriptors_max: usize) -> Self {
        let room = WaitRoom::new(ACCEPT_QUEUE_MAX, ACCEPT_QUEUE_WAIT);
        let accepting = Accepting::Idle;
        Self { listener, room, flights: Flights::new(), accepting, has_more: false, published: 0, descriptors_max }
    }

    /// The poll has reported the listener.
    pub(super) fn knock(&mut self) {
        if self.accepting == Accepting::Idle {
            self.accepting = Accepting::Ready;
        }
    }

    /// Accepts what there is room for and gives free handshake slots to the newest.
    pub(super) fn turn<M: Send>(&mut self, core: &mut Core<M>) {
        let expired = (0..TURN_EXPIRIES).map_while(|_| self.room.expire(core.now)).count();
        if expired > 0 {
            core.common.options.metrics.accept_queue_expired.inc_by(expired as u64);
            let what = "connections waited too long for a handshake slot and were dropped";
            core.journal.note(core.now, "connection-refused", "accept-queue-expired", &expired, what);
        }
        if let Accepting::Paused(until) = self.accepting
            && until <= core.now
        {
            self.accepting = Accepting::Ready;
        }
        for _ in 0..TURN_ACCEPTS {
            if self.accepting != Accepting::Ready {
                break;
            }
            self.accept(core);
        }
        self.fill_slots(core);
        let waiting = self.room.len() as i64;
        core.common.options.metrics.accept_queue.inc_by(waiting - self.published);
        self.published = waiting;
    }

    /// Begins handshakes with those whose turn it is.
    fn fill_slots<M: Send>(&mut self, core: &mut Core<M>) {
        let slots = core.common.options.limits.handshakes_in_flight_max;
        let mut begun = 0;
        self.has_more = false;
        while let Some(source) = self.room.next_source() {
            // The pool rings when it has dealt with one.
            if core.has_hellos_waiting() {
                break;
            }
            // Only when their hellos are read is it known whether they have to wait.
            if begun == TURN_HANDSHAKES {
                self.has_more = true;
                break;
            }
            begun += 1;
            if core.handshakes_under_way() >= slots {
                // One is free as soon as its session is back, and nobody else has to go for that.
                if core.has_orphans() {
                    break;
                }
                let displaced = self.flights.displaced(core.now, source, |peer| is_shaking(core, peer));
                let Some((source, peer)) = displaced else { break };
                self.room.charge(source);
                if let Some(slot) = core.slot(peer) {
                    core.refuse(slot, Refusal::Displaced);
                }
                // Its session may be at the pool still.
                if core.handshakes_under_way() >= slots {
                    break;
                }
            }
            let Some((source, (socket, remote))) = self.room.take() else { break };
            if let Some(peer) = adopt(core, socket, remote) {
                self.flights.start(core.now, source, peer, slots, |peer| is_shaking(core, peer));
            }
        }
    }

    fn accept<M: Send>(&mut self, core: &mut Core<M>) {
        let Some(listener) = &self.listener else {
            self.accepting = Accepting::Idle;
            return;
        };
        let metrics = &core.common.options.metrics;
        match listener.accept() {
            Ok((socket, remote)) => {
                metrics.connections_accepted.inc();
                // The system gives the lowest number that is free.
                let is_one_too_many = usize::try_from(socket.as_raw_fd()).is_ok_and(|fd| fd >= self.descriptors_max);
                let refused = self.room.enter(core.now, remote.into(), (socket, remote));
                let refused = if is_one_too_many { refused.or_else(|| self.room.crowd_out()) } else { refused };
                if let Some((_, remote)) = refused {
                    let label = "accept-queue-full";
                    count(&metrics.refused, label);
                    core.journal.note(core.now, "connection-refused", label, &remote, "connection refused");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.accepting = Accepting::Idle,
            // The connection was reset before we came to it; the next one may be fine.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                count(&metrics.accept_errors, "aborted");
                core.journal.note(
                    core.now,
                    "connection-refused",
                    "accept-aborted",
                    &error,
                    "a connection could not be accepted",
                );
            }
            // No descriptors or memory, a security module that forbids it: the connection stays where it is, and trying
            // again at once would go on for ever.
            Err(error) => {
                count(&metrics.accept_errors, if is_exhaustion(&error) { "exhausted" } else { "failed" });
                self.accepting = Accepting::Paused(core.now + ACCEPT_PAUSE);
                core.journal.note(
                    core.now,
                    "connection-refused",
                    "accept-exhausted",
                    &error,
                    "no connection can be accepted for now",
                );
            }
        }
    }

    /// When the gate must be looked at even if nothing happens.
    pub(super) fn next(&mut self, now: Moment) -> Option<Moment> {
        let accept = match self.accepting {
            Accepting::Idle => None,
            Accepting::Ready => Some(now),
            Accepting::Paused(until) => Some(until),
        };
        let more = self.has_more.then_some(now);
        [accept, more, self.room.next_expiry()].into_iter().flatten().min()
    }

    /// The listener in the poll.
    pub(super) fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> io::Result<()> {
        match &mut self.listener {
            Some(listener) => registry.register(listener, token, mio::Interest::READABLE),
            None => Ok(()),
        }
    }

    /// No more connections; the waiting ones are dropped.
    pub(super) fn shut(&mut self) {
        self.listener = None;
        self.accepting = Accepting::Idle;
        self.room.clear();
    }
}

/// Whether a connection has a handshake slot.
fn is_shaking<M: Send>(core: &Core<M>, peer: PeerId) -> bool {
    core.slot(peer).is_some_and(|slot| match &core.connections[slot].stage {
        Stage::AwaitingHandshake(Origin::Accepted) => true,
        Stage::AwaitingUpgrade(upgrade) => matches!(upgrade.side, UpgradeSide::Request),
        _ => false,
    })
}

fn adopt<M: Send>(core: &mut Core<M>, socket: TcpStream, remote: SocketAddr) -> Option<PeerId> {
    let config = core.common.options.server_tls.as_ref()?;
    let until = core.now + core.common.options.limits.handshake_timeout;
    let tls = TlsSession::accept(config.load_full());
    let adopted = core.insert(socket, remote, tls, Stage::AwaitingHandshake(Origin::Accepted), until);
    adopted
        .inspect_err(|_| {
            let label = "poll-full";
            count(&core.common.options.metrics.refused, label);
            core.journal.note(core.now, "connection-refused", label, &remote, "connection refused");
        })
        .ok()
}

/// Whether the process or the host has run out of descriptors or memory.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arc_swap::ArcSwap;

    use super::*;
    use crate::limits::HANDSHAKE_UNDISPLACED;
    use crate::reactor::connection::Seats;
    use crate::reactor::core::Common;
    use crate::reactor::handshakes::Desk;
    use crate::reactor::mailbox::poll_with_bell;
    use crate::reactor::{Mailboxes, Options};
    use crate::tls::testing::Pki;

    #[test]
    fn listeners_share_the_port_with_each_other_only() {
        let (address, listeners) = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_eq!(listeners.len(), 3);
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
        assert_eq!(bind(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    /// A worker's core whose pool never gives anything back.
    fn core(pki: &Pki, slots: usize) -> (Core<()>, mio::Poll) {
        let (poll, bell) = poll_with_bell(mio::Token(0)).unwrap();
        let mut options = Options::new();
        options.server_tls = Some(Arc::new(ArcSwap::new(pki.listener(&pki.issue("localhost")))));
        options.limits.handshakes_in_flight_max = slots;
        let (mailboxes, _) = Mailboxes::new(std::slice::from_ref(&bell));
        let common = Arc::new(Common { options, seats: Seats::new(1), mailboxes });
        let registry = poll.registry().try_clone().unwrap();
        (Core::new(0, common, registry, bell, Some(Desk::of_nobody())), poll)
    }

    #[test]
    fn nobody_else_makes_way_while_a_slot_is_on_its_way_back() {
        let pki = Pki::new("ca");
        let (mut core, _poll) = core(&pki, 3);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut gate = Gate::new(None, usize::MAX);
        let mut clients = Vec::new();
        let mut arrive = |gate: &mut Gate, core: &Core<()>, host: u8| {
            clients.push(std::net::TcpStream::connect(address).unwrap());
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let remote = SocketAddr::from(([192, 0, 2, host], 1));
            assert!(gate.room.enter(core.now, remote.into(), (TcpStream::from_std(socket), remote)).is_none());
        };
        (0..3).for_each(|_| arrive(&mut gate, &core, 1));
        gate.turn(&mut core);
        (0..3).for_each(|slot| core.hand_over(slot, b"x"));
        core.now = core.now + HANDSHAKE_UNDISPLACED;
        arrive(&mut gate, &core, 2);
        (0..5).for_each(|_| gate.turn(&mut core));
        assert_eq!((core.census.handshakes, core.handshakes_under_way()), (2, 3), "one makes way for one");
    }

    #[test]
    fn a_lack_of_resources_is_told_apart() {
        assert!(is_exhaustion(&io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error())));
        assert!(!is_exhaustion(&io::Error::from(io::ErrorKind::ConnectionAborted)));
    }
}
