//! Outgoing connections up to the point where TLS can begin: the host name, for which the system has only a blocking
//! call, and the TCP connection, one address after the other.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::net::TcpStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::clock::Moment;
use crate::limits::RESOLVERS_MAX;
use crate::link::Dial;
use crate::observe::metrics::count;
use crate::reactor::connection::{Closing, Origin, Outgoing, Stage};
use crate::reactor::core::{Core, Notice, Target};
use crate::reactor::mailbox::Bell;
use crate::reactor::refusal::Refusal;
use crate::tls::session::TlsSession;
use crate::tunnel::{self, ProxyUri};

/// Gives dialled connections what is particular to each of them, for whoever dials under many names at once.
pub trait Outfitter: Send + Sync {
    /// The certificate and whatever else TLS needs; `None` takes that of all.
    fn tls(&self, dial: &Dial) -> Option<Arc<ClientConfig>>;

    /// Where the host is, if that is known; otherwise its name is resolved for every dial.
    fn address(&self, dial: &Dial) -> Option<SocketAddr>;

    /// The local address to connect from; `None` leaves the choice to the system.
    fn source(&self, dial: &Dial) -> Option<IpAddr>;

    /// The proxy to connect through, if there is one.
    fn proxy(&self, _dial: &Dial) -> Option<ProxyUri> {
        None
    }
}

/// Host names of one worker that are being resolved.
pub(super) struct Dialler {
    bell: Arc<Bell>,
    sender: Sender<Resolved>,
    receiver: Receiver<Resolved>,
    /// Threads under way, also those whose answer nobody wants any more.
    threads: usize,
    /// Dials without a thread yet, in order. One that has timed out in the meantime is not in `unresolved` any more.
    waiting: VecDeque<u64>,
    unresolved: HashMap<u64, (Dial, Moment)>,
    last: u64,
}

struct Resolved {
    number: u64,
    found: Found,
}

/// What a thread has found out.
enum Found {
    Addresses(Result<Vec<SocketAddr>, String>),
    /// A connection, which a proxy has made.
    Tunnel(std::io::Result<std::net::TcpStream>),
}

impl Dialler {
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        let (sender, receiver) = bounded(RESOLVERS_MAX);
        let (waiting, unresolved) = (VecDeque::new(), HashMap::new());
        Self { bell, sender, receiver, threads: 0, waiting, unresolved, last: 0 }
    }
}

impl<M: Send> Core<M> {
    /// Begins to dial.
    pub(super) fn start_dial(&mut self, dial: Dial) {
        let until = self.now + self.common.options.limits.handshake_timeout;
        let known = self.common.options.outfitter.as_ref().and_then(|outfitter| outfitter.address(&dial));
        let literal = || Some(SocketAddr::new(dial.host.parse().ok()?, dial.port));
        if let Some(address) = known.or_else(literal).filter(|_| self.proxy(&dial).is_none()) {
            return self.connect_next(Outgoing { dial, others: vec![address], until });
        }
        self.dialler.last += 1;
        let number = self.dialler.last;
        self.dialler.unresolved.insert(number, (dial, until));
        self.dialler.waiting.push_back(number);
        self.alarms.replace(Target::Resolution(number), None, Some(until));
        self.resolve_waiting();
    }

    fn resolve_waiting(&mut self) {
        while self.dialler.threads < RESOLVERS_MAX {
            let Some(number) = self.dialler.waiting.pop_front() else { return };
            let Some((dial, until)) = self.dialler.unresolved.get(&number) else { continue };
            let (host, port, until) = (dial.host.clone(), dial.port, *until);
            let proxy = self.proxy(dial);
            let limit = self.common.options.limits.handshake_timeout;
            let (sender, bell) = (self.dialler.sender.clone(), self.dialler.bell.clone());
            let resolve = move || {
                let found = match proxy {
                    Some(proxy) => Found::Tunnel(tunnel::open(&proxy, &host, port, limit)),
                    None => {
                        let addresses = (&*host, port).to_socket_addrs().map(Iterator::collect);
                        Found::Addresses(addresses.map_err(|error| error.to_string()))
                    }
                };
                // There is room for the answer of every thread; without a receiver nobody wants it.
                let _ = sender.send(Resolved { number, found });
                bell.ring();
            };
            match std::thread::Builder::new().name("podium-resolve".to_owned()).spawn(resolve) {
                Ok(_) => self.dialler.threads += 1,
                Err(error) => {
                    self.alarms.replace(Target::Resolution(number), Some(until), None);
                    self.resolution_failed(number, &Refusal::Resolve(error.to_string()));
                }
            }
        }
    }

    /// Takes the answers of the threads.
    pub(super) fn take_resolved(&mut self) {
        while let Ok(Resolved { number, found }) = self.dialler.receiver.try_recv() {
            self.dialler.threads -= 1;
            let Some((dial, until)) = self.dialler.unresolved.remove(&number) else { continue };
            self.alarms.replace(Target::Resolution(number), Some(until), None);
            match found {
                Found::Tunnel(tunnel) => self.use_tunnel(Outgoing { dial, others: Vec::new(), until }, tunnel),
                Found::Addresses(Ok(mut addresses)) => {
                    // They are taken from the end.
                    addresses.reverse();
                    self.connect_next(Outgoing { dial, others: addresses, until });
                }
                Found::Addresses(Err(error)) => self.dial_failed(&dial, &Refusal::Resolve(error)),
            }
        }
        self.resolve_waiting();
    }

    fn proxy(&self, dial: &Dial) -> Option<ProxyUri> {
        self.common.options.outfitter.as_ref().and_then(|outfitter| outfitter.proxy(dial))
    }

    /// Goes on with a connection that is there already: its socket can be written to at once.
    fn use_tunnel(&mut self, outgoing: Outgoing, tunnel: std::io::Result<std::net::TcpStream>) {
        let tls = match self.client_session(&outgoing.dial) {
            Ok(tls) => tls,
            Err(refusal) => return self.dial_failed(&outgoing.dial, &refusal),
        };
        let (dial, until) = (outgoing.dial.clone(), outgoing.until);
        let inserted = tunnel.and_then(|stream| {
            stream.set_nonblocking(true)?;
            let remote = stream.peer_addr()?;
            let stage = Stage::Connecting(Box::new(outgoing));
            self.insert(TcpStream::from_std(stream), remote, tls, stage, until).map(drop)
        });
        if let Err(error) = inserted {
            self.dial_failed(&dial, &Refusal::Connect(error));
        }
    }

    /// A host name takes too long; its deadline is in `alarms` no more.
    pub(super) fn resolution_due(&mut self, number: u64) {
        self.resolution_failed(number, &Refusal::Resolve("the name servers do not answer in time".to_owned()));
    }

    fn resolution_failed(&mut self, number: u64, refusal: &Refusal) {
        if let Some((dial, _)) = self.dialler.unresolved.remove(&number) {
            self.dial_failed(&dial, refusal);
        }
    }

    /// Gives up all names that are being resolved.
    pub(super) fn abandon_dials(&mut self) {
        for (number, (dial, until)) in std::mem::take(&mut self.dialler.unresolved) {
            self.alarms.replace(Target::Resolution(number), Some(until), None);
            self.dial_failed(&dial, &Refusal::Stopping);
        }
    }

    /// Connects to the next address that there is.
    fn connect_next(&mut self, mut outgoing: Outgoing) {
        let mut last_error = std::io::Error::other("the host name has no address");
        while let Some(address) = outgoing.others.pop() {
            let tls = match self.client_session(&outgoing.dial) {
                Ok(tls) => tls,
                Err(refusal) => return self.dial_failed(&outgoing.dial, &refusal),
            };
            let until = outgoing.until;
            let outfitter = self.common.options.outfitter.as_ref();
            let source = outfitter.and_then(|outfitter| outfitter.source(&outgoing.dial));
            match source.map_or_else(|| TcpStream::connect(address), |source| connect_from(source, address)) {
                Ok(socket) => {
                    let copy = Outgoing { dial: outgoing.dial.clone(), others: outgoing.others.clone(), until };
                    match self.insert(socket, address, tls, Stage::Connecting(Box::new(copy)), until) {
                        Ok(_) => return,
                        Err(error) => last_error = error,
                    }
                }
                Err(error) => last_error = error,
            }
        }
        self.dial_failed(&outgoing.dial, &Refusal::Connect(last_error));
    }

    fn client_session(&self, dial: &Dial) -> Result<TlsSession, Refusal> {
        let options = &self.common.options;
        let own = options.outfitter.as_ref().and_then(|outfitter| outfitter.tls(dial));
        let Some(config) = own.or_else(|| options.client_tls.as_ref().map(|config| config.load_full())) else {
            return Err(Refusal::Unusable("no client certificate is configured"));
        };
        let name = ServerName::try_from(&*dial.host)
            .map_err(|_| Refusal::Unusable("this is no host name that a certificate can be valid for"))?;
        TlsSession::client(config, name.to_owned()).map_err(Refusal::Tls)
    }

    /// The socket has an event: connected, failed, or neither yet.
    pub(super) fn finish_connect(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        match connection.socket.take_error() {
            Ok(None) => match connection.socket.peer_addr() {
                Ok(_) => self.connected(slot),
                Err(error) if error.kind() == std::io::ErrorKind::NotConnected => {}
                Err(error) => self.connect_failed(slot, error),
            },
            Ok(Some(error)) | Err(error) => self.connect_failed(slot, error),
        }
    }

    /// TCP is there; the client speaks first.
    fn connected(&mut self, slot: usize) {
        let closing = Stage::Closing(Closing::Leaving);
        let Stage::Connecting(outgoing) = self.set_stage(slot, closing) else {
            unreachable!("only called while connecting");
        };
        self.set_stage(slot, Stage::AwaitingHandshake(Origin::Dialled(outgoing)));
        self.out.clear();
        let Some(tls) = self.connections[slot].tls() else { return };
        match tls.read(&mut [], &mut Vec::new(), &mut self.out) {
            Ok(_) => {
                if self.transmit(slot).is_err() {
                    self.refuse(slot, Refusal::Lost);
                }
            }
            Err(failure) => self.refuse(slot, Refusal::Tls(failure)),
        }
    }

    fn connect_failed(&mut self, slot: usize, error: std::io::Error) {
        let closing = Stage::Closing(Closing::Leaving);
        let Stage::Connecting(outgoing) = self.set_stage(slot, closing) else {
            unreachable!("only called while connecting");
        };
        self.remove(slot);
        if outgoing.others.is_empty() {
            self.dial_failed(&outgoing.dial, &Refusal::Connect(error));
        } else {
            self.connect_next(*outgoing);
        }
    }

    /// Tells the application.
    pub(super) fn dial_failed(&mut self, dial: &Dial, refusal: &Refusal) {
        let error = refusal.dial_error(dial);
        count(&self.common.options.metrics.dial_failed, error.kind);
        self.notices.push_back(Notice::DialFailed { tag: dial.tag, error });
    }
}

/// Begins to connect from a local address of the caller's choice, with a port that the system chooses.
fn connect_from(source: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
    match socket.connect(&SockAddr::from(to)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
