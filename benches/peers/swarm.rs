//! The client: one controller and its agents in one thread over one poll, the same for every broker. An agent answers
//! with what it was sent; the controller notes when each answer has come.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::{ClientConnection, SupportedProtocolVersion};

use super::brokers::Broker;
use super::protocol::{Incoming, Protocol, Who};
use super::support::fleet::{in_parallel, tcp};
use super::support::pki::Pki;

/// The controller's name in its certificate.
pub const CONTROLLER: &str = "controller";

/// Its place among the connections.
const CONTROLLER_AT: usize = 0;

/// Digits of the request's number at the front of each payload.
const NUMBER_DIGITS: usize = 12;

/// An answer that has not come after this time never will.
const LOST: Duration = Duration::from_secs(30);

/// How requests are made.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// So many at a time: the next one as soon as one is answered.
    Window(usize),
    /// So many a second, whatever becomes of them.
    Rate(u64),
}

/// What came of it.
pub struct Measured {
    /// Of each request: from when it should have been sent until its answer was there.
    pub latencies: Vec<Duration>,
    pub elapsed: Duration,
}

struct Connection {
    socket: TcpStream,
    tls: ClientConnection,
    protocol: Protocol,
    incoming: Vec<u8>,
}

/// All connections.
pub struct Swarm {
    poll: Poll,
    connections: Vec<Connection>,
    payload: usize,
    scratch: Vec<u8>,
    /// When each request of the present run was due, by its number.
    due: Vec<Instant>,
    latencies: Vec<Duration>,
}

impl Swarm {
    /// Connects the controller and so many agents.
    pub fn connect(
        broker: &Broker,
        pki: &Pki,
        version: &'static SupportedProtocolVersion,
        agents: usize,
        payload: usize,
    ) -> Self {
        let poll = Poll::new().unwrap();
        let mut connections = in_parallel(agents + 1, |number| {
            let who = if number == CONTROLLER_AT { Who::Controller } else { Who::Agent(number) };
            (number, connect(broker, pki, version, who))
        });
        connections.sort_by_key(|(number, _)| *number);
        let mut connections: Vec<Connection> = connections.into_iter().map(|(_, connection)| connection).collect();
        for (number, connection) in connections.iter_mut().enumerate() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut connection.socket, Token(number), interest).unwrap();
        }
        let payload = payload.max(NUMBER_DIGITS);
        Self { poll, connections, payload, scratch: Vec::new(), due: Vec::new(), latencies: Vec::new() }
    }

    /// Makes requests for so long, and at least one to each agent, and waits for all answers.
    pub fn run(&mut self, load: Load, length: Duration) -> Measured {
        self.due.clear();
        self.latencies.clear();
        let agents = self.connections.len() - 1;
        let start = Instant::now();
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            let is_over = now - start >= length && self.due.len() >= agents;
            if is_over && self.latencies.len() == self.due.len() {
                return Measured { latencies: std::mem::take(&mut self.latencies), elapsed: now - start };
            }
            assert!(now - start < length + LOST + Duration::from_secs(agents as u64 / 100), "answers are missing");
            let wait = if is_over { Duration::from_millis(10) } else { self.ask(load, start, now) };
            self.poll.poll(&mut events, Some(wait)).unwrap();
            for event in &events {
                self.serve(event.token().0);
            }
        }
    }

    /// Sends the requests that are due and returns how long there is nothing to send.
    fn ask(&mut self, load: Load, start: Instant, now: Instant) -> Duration {
        match load {
            Load::Window(window) => {
                while self.due.len() - self.latencies.len() < window {
                    self.request(now);
                }
                Duration::from_millis(10)
            }
            Load::Rate(rate) => loop {
                let due = start + Duration::from_nanos(1_000_000_000 / rate * self.due.len() as u64);
                if due > now {
                    return due - now;
                }
                self.request(due);
            },
        }
    }

    fn request(&mut self, due: Instant) {
        let number = self.due.len();
        let agent = 1 + number % (self.connections.len() - 1);
        self.due.push(due);
        let payload = format!("{number:0>NUMBER_DIGITS$}{}", "x".repeat(self.payload - NUMBER_DIGITS));
        self.send(CONTROLLER_AT, Who::Agent(agent), payload.as_bytes());
    }

    fn send(&mut self, from: usize, to: Who, payload: &[u8]) {
        self.scratch.clear();
        let connection = &mut self.connections[from];
        connection.protocol.message(to, payload, &mut self.scratch);
        connection.tls.writer().write_all(&self.scratch).unwrap();
        connection.flush();
    }

    fn serve(&mut self, number: usize) {
        self.connections[number].fill();
        let mut at = 0;
        loop {
            let connection = &mut self.connections[number];
            let Some((taken, found)) = connection.protocol.take(&mut connection.incoming[at..]) else { break };
            at += taken;
            match found {
                Incoming::Payload(payload) if number == CONTROLLER_AT => self.answered(&payload),
                Incoming::Payload(payload) => self.send(number, Who::Controller, &payload),
                Incoming::Reply(bytes) => {
                    connection.tls.writer().write_all(&bytes).unwrap();
                    connection.flush();
                }
                Incoming::Other => {}
            }
        }
        let connection = &mut self.connections[number];
        connection.incoming.drain(..at);
        connection.flush();
    }

    fn answered(&mut self, payload: &[u8]) {
        let digits = std::str::from_utf8(&payload[..NUMBER_DIGITS]).expect("digits");
        let number: usize = digits.parse().expect("a request's number");
        assert_eq!(payload.len(), self.payload, "an answer of another length");
        self.latencies.push(self.due[number].elapsed());
    }
}

impl Connection {
    /// Takes everything that has come.
    fn fill(&mut self) {
        loop {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => panic!("the broker has closed the connection"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
            let state = self.tls.process_new_packets().expect("records as they should be");
            let start = self.incoming.len();
            self.incoming.resize(start + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut self.incoming[start..]).unwrap();
        }
    }

    fn flush(&mut self) {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn connect(broker: &Broker, pki: &Pki, version: &'static SupportedProtocolVersion, who: Who) -> Connection {
    let config = pki.agent(&who.name(), version);
    let mut socket = tcp(broker.address).unwrap();
    Protocol::before_tls(broker.peer, &socket).unwrap();
    let mut tls = ClientConnection::new(Arc::clone(&config), "localhost".try_into().unwrap()).unwrap();
    tls.set_buffer_limit(None);
    let protocol = Protocol::join(broker.peer, who, &mut rustls::Stream::new(&mut tls, &mut socket)).unwrap();
    socket.set_nonblocking(true).unwrap();
    Connection { socket: TcpStream::from_std(socket), tls, protocol, incoming: Vec::new() }
}
