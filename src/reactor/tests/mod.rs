//! A started reactor against tungstenite over rustls' buffered client, which share no code with ours above the records.

mod activation;
mod chaos;
mod dialling;
mod messages;
mod pages;
mod pressure;
mod refusals;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, unbounded};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::{Message, WebSocket};

use crate::clock::Moment;
use crate::link::{
    Admission, Application, CloseReason, Dial, DialError, Event, Opcode, Opening, PeerId, SendOutcome, Shell,
};
use crate::reactor::{Listen, Mailboxes, Options, Reactor};
use crate::tls::testing::{Issued, Pki};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

type Client = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

/// Mail to the application under test.
#[derive(Debug)]
enum Mail {
    /// Sends a text to all its peers.
    Say(String),
    Dial(Dial),
    /// Stands still until the other end of the channel is dropped.
    Pause(Receiver<()>),
}

/// What the application has been told, for the test to look at.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Opened { worker: u16, name: String, path: String, dialled: bool, remote: std::net::IpAddr },
    Message(usize),
    Closed(CloseReason),
    Drained,
    DialFailed(DialError),
    Full,
    Stopping,
    Paused,
}

/// Echoes, and obeys a few commands in text.
struct Echo {
    seen: Sender<Seen>,
    mailboxes: Mailboxes<Mail>,
    peers: Vec<PeerId>,
}

impl Application for Echo {
    type Mail = Mail;

    fn admit(&mut self, _now: Moment, opening: &Opening<'_>) -> Admission {
        match opening.path {
            "/unwanted" => Admission::Refuse { status: 503, reason: "Not today." },
            _ => Admission::Accept,
        }
    }

    fn handle(&mut self, _now: Moment, event: Event<'_, Mail>, shell: &mut dyn Shell<Mail>) {
        match event {
            Event::Opened { peer, opening } => {
                self.peers.push(peer);
                self.note(Seen::Opened {
                    worker: shell.worker(),
                    name: opening.identity.common_name.to_owned(),
                    path: opening.path.to_owned(),
                    dialled: opening.dialled.is_some(),
                    remote: opening.remote.ip(),
                });
            }
            Event::Message { peer, opcode, payload } => {
                self.note(Seen::Message(payload.len()));
                self.obey(peer, opcode, payload, shell);
            }
            Event::Closed { peer, reason } => {
                let before = self.peers.len();
                self.peers.retain(|&known| known != peer);
                assert_eq!(self.peers.len() + 1, before, "closed once, and only what was opened");
                self.note(Seen::Closed(reason));
            }
            Event::Drained { .. } => self.note(Seen::Drained),
            Event::DialFailed { error, .. } => self.note(Seen::DialFailed(error)),
            Event::Mail(Mail::Say(text)) => {
                for &peer in &self.peers {
                    assert_ne!(shell.send(peer, Opcode::Text, &[text.as_bytes()]), SendOutcome::Full);
                }
            }
            Event::Mail(Mail::Dial(dial)) => shell.dial(dial),
            Event::Mail(Mail::Pause(until)) => {
                self.note(Seen::Paused);
                let _ = until.recv();
            }
            Event::Timer(_) => {}
            Event::Stopping => self.note(Seen::Stopping),
        }
    }
}

impl Echo {
    fn note(&self, seen: Seen) {
        // The test may not look any more.
        let _ = self.seen.send(seen);
    }

    fn obey(&mut self, peer: PeerId, opcode: Opcode, payload: &[u8], shell: &mut dyn Shell<Mail>) {
        let words: Vec<&str> = std::str::from_utf8(payload).unwrap_or("").splitn(3, ' ').collect();
        match words[..] {
            ["all", text] => {
                for worker in 0..self.mailboxes.workers() {
                    shell.mail(worker, Mail::Say(text.to_owned())).unwrap();
                }
            }
            ["close", code] => shell.close(peer, code.parse().unwrap(), "as you wish"),
            ["last", size] => {
                let block = vec![b'l'; size.parse().unwrap()];
                assert_ne!(shell.send(peer, Opcode::Binary, &[&block]), SendOutcome::Full);
                shell.close(peer, 1000, "that was it");
                assert_eq!(shell.send(peer, Opcode::Binary, &[&block]), SendOutcome::Gone);
            }
            ["abort"] => shell.abort(peer),
            ["count", most, end] => {
                // To all in turn, many times over, and each is done differently with at the end.
                for number in 0..most.parse::<u32>().unwrap() {
                    for &peer in &self.peers {
                        for part in ["a", "b"] {
                            let text = format!("{number}{part}");
                            assert_ne!(shell.send(peer, Opcode::Text, &[text.as_bytes()]), SendOutcome::Full);
                        }
                    }
                }
                match end {
                    "abort" => shell.abort(peer),
                    "close" => shell.close(peer, 1000, "counted"),
                    _ => {}
                }
            }
            ["flood", size] => {
                let block = vec![b'f'; size.parse().unwrap()];
                while shell.send(peer, Opcode::Binary, &[&block]) == SendOutcome::Sent {}
                self.note(Seen::Full);
            }
            _ => {
                let (front, back) = payload.split_at(payload.len() / 2);
                assert_ne!(shell.send(peer, opcode, &[front, back]), SendOutcome::Full);
            }
        }
    }
}

/// A reactor under test, with its CA.
struct Bench {
    pki: Pki,
    agent: Issued,
    reactor: Reactor<Mail>,
    seen: Receiver<Seen>,
}

impl Bench {
    fn start(change: impl FnOnce(&mut Options)) -> Self {
        Self::start_with(|_, options| change(options))
    }

    fn start_with(change: impl FnOnce(&Pki, &mut Options)) -> Self {
        let pki = Pki::new("ca");
        let (agent, server) = (pki.issue("agent.example"), pki.issue("localhost"));
        let mut options = Options::new();
        options.listen = Some(Listen::Address("127.0.0.1:0".parse().unwrap()));
        options.server_tls = Some(Arc::new(ArcSwap::new(pki.listener(&server))));
        options.client_tls = Some(Arc::new(ArcSwap::new(pki.dialler(&server))));
        options.workers = 2;
        change(&pki, &mut options);
        let (sender, seen) = unbounded();
        let build = |_, mailboxes: &Mailboxes<Mail>| Echo {
            seen: sender.clone(),
            mailboxes: mailboxes.clone(),
            peers: Vec::new(),
        };
        let reactor = Reactor::start(options, build).unwrap();
        Self { pki, agent, reactor, seen }
    }

    fn tcp(&self) -> TcpStream {
        let socket = TcpStream::connect(self.reactor.local_addr().unwrap()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn tls(&self, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
        let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        StreamOwned::new(connection, self.tcp())
    }

    fn connect(&self) -> Client {
        self.connect_as(self.pki.client(&TLS13, Some(&self.agent)), "/pcp2/agent").unwrap()
    }

    fn connect_as(&self, config: Arc<ClientConfig>, path: &str) -> Result<Client, Box<dyn std::error::Error>> {
        let (client, _) = tungstenite::client(format!("wss://localhost{path}"), self.tls(config))?;
        Ok(client)
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits for the next connection and returns its name.
    fn opened(&self) -> String {
        loop {
            if let Seen::Opened { name, .. } = self.next() {
                return name;
            }
        }
    }

    /// Waits for the end of a connection.
    fn closed(&self) -> CloseReason {
        loop {
            if let Seen::Closed(reason) = self.next() {
                return reason;
            }
        }
    }

    /// A counter or gauge as an operator would see it.
    fn metric(&self, name: &str) -> u64 {
        let text = self.reactor.metrics().render();
        let line = text.lines().find(|line| line.starts_with(&format!("podium_{name} ")));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Waits until one has a value; metrics are published at the end of a turn.
    fn await_metric(&self, name: &str, value: u64) {
        let end = std::time::Instant::now() + PATIENCE;
        while self.metric(name) != value {
            assert!(std::time::Instant::now() < end, "{name} is {} and not {value}", self.metric(name));
            std::thread::yield_now();
        }
    }
}

/// A masked frame with a mask of zeros, so that its payload can be read in the test.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = vec![first];
    match payload.len() {
        length @ 0..126 => wire.push(0x80 | length as u8),
        length => {
            wire.push(0x80 | 126);
            wire.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    wire.extend_from_slice(&[0; 4]);
    wire.extend_from_slice(payload);
    wire
}

/// Writes bytes below tungstenite.
fn write_raw(client: &mut Client, bytes: &[u8]) {
    client.get_mut().write_all(bytes).unwrap();
    client.get_mut().flush().unwrap();
}

/// The close frame that comes, whatever comes before.
fn read_close(client: &mut Client) -> (u16, String) {
    loop {
        match client.read().unwrap() {
            Message::Close(Some(close)) => return (close.code.into(), close.reason.to_string()),
            Message::Close(None) => return (1005, String::new()),
            _ => {}
        }
    }
}

/// Everything up to the end of file.
fn read_rest(mut stream: impl Read) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset ends the file as well.
    let _ = stream.read_to_end(&mut rest);
    rest
}
