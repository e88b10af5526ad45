//! Outgoing connections up to the point where TLS can begin: the host name, for which the system has only a blocking
//! call, and the TCP connection, one address after the other.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::net::TcpStream;
use rustls::pki_types::ServerName;

use crate::clock::Moment;
use crate::limits::RESOLVERS_MAX;
use crate::link::Dial;
use crate::observe::metrics::count;
use crate::reactor::connection::{Closing, Origin, Outgoing, Stage};
use crate::reactor::core::{Core, Notice, Target};
use crate::reactor::mailbox::Bell;
use crate::reactor::refusal::Refusal;
use crate::tls::session::TlsSession;

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
    addresses: Result<Vec<SocketAddr>, String>,
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
        if let Ok(address) = dial.host.parse::<IpAddr>() {
            let others = vec![SocketAddr::new(address, dial.port)];
            return self.connect_next(Outgoing { dial, others, until });
        }
        self.dialler.last += 1;
        let number = self.dialler.last;
        self.dialler.unresolved.insert(number, (dial, until));
        self.dialler.waiting.push_back(number);
        self.deadlines.replace(Target::Resolution(number), None, Some(until));
        self.resolve_waiting();
    }

    fn resolve_waiting(&mut self) {
        while self.dialler.threads < RESOLVERS_MAX {
            let Some(number) = self.dialler.waiting.pop_front() else { return };
            let Some((dial, until)) = self.dialler.unresolved.get(&number) else { continue };
            let (host, port, until) = (dial.host.clone(), dial.port, *until);
            let (sender, bell) = (self.dialler.sender.clone(), self.dialler.bell.clone());
            let resolve = move || {
                let addresses = (&*host, port).to_socket_addrs().map(Iterator::collect);
                let addresses = addresses.map_err(|error| error.to_string());
                // There is room for the answer of every thread; without a receiver nobody wants it.
                let _ = sender.send(Resolved { number, addresses });
                bell.ring();
            };
            match std::thread::Builder::new().name("podium-resolve".to_owned()).spawn(resolve) {
                Ok(_) => self.dialler.threads += 1,
                Err(error) => {
                    self.deadlines.replace(Target::Resolution(number), Some(until), None);
                    self.resolution_failed(number, &Refusal::Resolve(error.to_string()));
                }
            }
        }
    }

    /// Takes the answers of the threads.
    pub(super) fn take_resolved(&mut self) {
        while let Ok(Resolved { number, addresses }) = self.dialler.receiver.try_recv() {
            self.dialler.threads -= 1;
            let Some((dial, until)) = self.dialler.unresolved.remove(&number) else { continue };
            self.deadlines.replace(Target::Resolution(number), Some(until), None);
            match addresses {
                Ok(mut addresses) => {
                    // They are taken from the end.
                    addresses.reverse();
                    self.connect_next(Outgoing { dial, others: addresses, until });
                }
                Err(error) => self.dial_failed(&dial, &Refusal::Resolve(error)),
            }
        }
        self.resolve_waiting();
    }

    /// A host name takes too long; its deadline is in `deadlines` no more.
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
            self.deadlines.replace(Target::Resolution(number), Some(until), None);
            self.dial_failed(&dial, &Refusal::Stopping);
        }
    }

    /// Connects to the next address that there is.
    fn connect_next(&mut self, mut outgoing: Outgoing) {
        let mut last_error = std::io::Error::other("the host name has no address");
        while let Some(address) = outgoing.others.pop() {
            let tls = match self.client_session(&outgoing.dial.host) {
                Ok(tls) => tls,
                Err(refusal) => return self.dial_failed(&outgoing.dial, &refusal),
            };
            let until = outgoing.until;
            match TcpStream::connect(address) {
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

    fn client_session(&self, host: &str) -> Result<TlsSession, Refusal> {
        let Some(config) = &self.common.options.client_tls else {
            return Err(Refusal::Unusable("no client certificate is configured"));
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Refusal::Unusable("this is no host name that a certificate can be valid for"))?;
        TlsSession::client(config.load_full(), name).map_err(Refusal::Tls)
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
