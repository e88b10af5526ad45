//! A server of the real binary, the certificates of its clients, and what an operator sees of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use podium::https::{Client, Method, Request};
use rustls::ClientConfig;
use rustls::version::TLS13;

use super::client::{Wire, frame};
use crate::support::fleet::{tcp, tls};
use crate::support::pki::{Keys, Pki};
use crate::support::server::Server;

/// Serial number of the certificate on the server's CRL.
pub const REVOKED: u64 = 4711;

/// Who may give orders.
pub const PRIVILEGED: &str = "pcp-broker.privileged-clients: [\"ctl.example\"]";

/// A question that everybody may ask the broker.
const ASSOCIATE: &[u8] = br#"{"id":"1-1-1-1-1","message_type":"http://puppetlabs.com/associate_request"}"#;

/// Numbers that come back to where they were once a peer is gone.
const GAUGES: [&str; 5] = ["connections_open", "handshakes_in_flight", "accept_queue", "queued_bytes", "partial_bytes"];

/// Counters whose changes are told. Bytes and messages are no news.
const COUNTERS: [&str; 13] = [
    "refused",
    "pages",
    "closed",
    "decode_errors",
    "messages_refused",
    "messages_routed",
    "undeliverable",
    "superseded",
    "sends_full",
    "mailbox_full",
    "accept_errors",
    "accept_queue_expired",
    "dial_failed",
];

/// What an operator sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub gauges: BTreeMap<String, i64>,
    pub counters: BTreeMap<String, i64>,
    pub descriptors: usize,
}

impl View {
    /// What has been counted since, in words: `closed lost, decode_errors envelope-syntax`.
    pub fn counted_since(&self, before: &Self) -> String {
        let new = self.counters.iter().filter_map(|(name, value)| {
            match value - before.counters.get(name).copied().unwrap_or(0) {
                0 => None,
                1 => Some(name.clone()),
                many => Some(format!("{many} {name}")),
            }
        });
        new.collect::<Vec<_>>().join(", ")
    }

    /// Whether nothing is held that was not held before.
    pub fn is_as_empty_as(&self, before: &Self) -> bool {
        self.gauges == before.gauges && self.descriptors == before.descriptors
    }
}

/// The server with a client that is there all the time.
pub struct Site {
    pub pki: Pki,
    pub server: Server,
    /// Of the client `node.example`.
    pub node: Arc<ClientConfig>,
    /// Of the client `ctl.example`, which may give orders.
    pub privileged: Arc<ClientConfig>,
    metrics: RefCell<Client>,
    witness: RefCell<Wire>,
    newcomers: Cell<u32>,
}

impl Site {
    pub fn start() -> Self {
        Self::start_with(PRIVILEGED)
    }

    /// With this in its configuration.
    pub fn start_with(more: &str) -> Self {
        let pki = Pki::new(Keys::P256);
        let files = pki.server_files_with_crl(&[REVOKED]);
        let server = Server::start_with(&files, &format!("{more}\n"), &[]);
        let patience = Duration::from_secs(30);
        let metrics = Client::new(pki.agent("metrics.example", &TLS13), patience, patience).unwrap();
        let (node, privileged) = (pki.agent("node.example", &TLS13), pki.agent("ctl.example", &TLS13));
        let witness = Wire::open(server.address, pki.agent("witness.example", &TLS13), "/pcp2/witness");
        let (metrics, witness) = (RefCell::new(metrics), RefCell::new(witness));
        Self { pki, server, node, privileged, metrics, witness, newcomers: Cell::new(0) }
    }

    /// Gauges, counters and descriptors as they are now.
    pub fn view(&self) -> View {
        let request = Request {
            method: Method::GET,
            host: "localhost",
            port: self.server.api.port(),
            path_and_query: "/metrics",
            headers: &[],
            body: Vec::new(),
        };
        let answer = self.metrics.borrow_mut().request(&request, 1 << 20).unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        assert!(answer.status.is_success(), "{text}");
        let (mut gauges, mut counters) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in text.lines().filter_map(|line| line.strip_prefix("podium_")?.rsplit_once(' ')) {
            let (family, label) = name.split_once('{').unwrap_or((name, ""));
            let family = family.trim_end_matches("_total");
            if GAUGES.contains(&family) {
                gauges.insert(family.to_owned(), value.parse().unwrap());
            } else if COUNTERS.contains(&family) {
                let label = label.trim_start_matches("label=\"").trim_end_matches("\"}");
                counters.insert([family, label].join(" ").trim_end().to_owned(), value.parse().unwrap());
            }
        }
        View { gauges, counters, descriptors: self.server.descriptors() }
    }

    /// The view once nobody but the witness is connected.
    pub fn calm(&self) -> View {
        let mut view = self.view();
        self.server.wait("all but one to be gone", || {
            view = self.view();
            view.gauges.iter().all(|(name, &value)| value == i64::from(name == "connections_open"))
        });
        view
    }

    /// The client that is there all the time, and one that comes now, get their answers.
    pub fn serves(&self) {
        self.serves_the_witness();
        let number = self.newcomers.replace(self.newcomers.get() + 1);
        let newcomer = self.open(&format!("/pcp2/newcomer{number}"));
        self.welcomes(newcomer);
    }

    /// Serves them in a crowd: whoever comes may have to come again, as agents do, because all handshake slots are taken.
    pub fn serves_in_a_crowd(&self) {
        self.serves_the_witness();
        let mut newcomer = None;
        self.server.wait("one of a newcomer's attempts to succeed", || {
            newcomer = Wire::attempt(self.server.address, self.node.clone(), "/pcp2/newcomer");
            newcomer.is_some()
        });
        self.welcomes(newcomer.unwrap());
    }

    fn serves_the_witness(&self) {
        let mut witness = self.witness.borrow_mut();
        // An answer may be here before it is counted, but not the answer to what comes behind it.
        witness.send(&[frame(0x81, ASSOCIATE), frame(0x89, b"counted")].concat());
        // It may have been sent something meanwhile.
        let mut answers = std::iter::repeat_with(|| witness.next()).filter(|said| !said.starts_with("rpc_"));
        assert_eq!(answers.next().unwrap(), "associate_response: success (re 1-1-1-1-1)");
        assert_eq!(answers.next().unwrap(), "pong counted");
    }

    fn welcomes(&self, mut newcomer: Wire) {
        newcomer.send(&frame(0x81, ASSOCIATE));
        newcomer.send(&frame(0x88, b"\x03\xE8"));
        assert_eq!(newcomer.rest(), "associate_response: success (re 1-1-1-1-1), close 1000, end");
    }

    /// A connection of `node.example`.
    pub fn open(&self, path: &str) -> Wire {
        Wire::open(self.server.address, self.node.clone(), path)
    }

    /// What the server says to these frames of `node.example`, and to a close frame after them.
    pub fn frames(&self, frames: &[u8]) -> String {
        self.frames_of(&self.node, frames)
    }

    /// The same for another client.
    pub fn frames_of(&self, config: &Arc<ClientConfig>, frames: &[u8]) -> String {
        self.frames_at("/pcp2/wire", config, frames)
    }

    /// The same at another path.
    pub fn frames_at(&self, path: &str, config: &Arc<ClientConfig>, frames: &[u8]) -> String {
        let mut wire = Wire::open(self.server.address, config.clone(), path);
        wire.send(&[frames, &frame(0x88, b"\x03\xE8")].concat());
        wire.rest()
    }

    /// What the server says to a message of `node.example`.
    pub fn text(&self, text: &str) -> String {
        self.frames(&frame(0x81, text.as_bytes()))
    }

    /// What it says if nothing comes after these frames but the end of the client's direction.
    pub fn frames_then_silence(&self, frames: &[u8]) -> String {
        let mut wire = self.open("/pcp2/wire");
        wire.send(frames);
        wire.tcp().shutdown(Shutdown::Write).unwrap();
        wire.rest()
    }

    /// A connection of `node.example` after the handshake of TLS.
    pub fn shaken(&self) -> Wire {
        let mut stream = tls(self.server.address, self.node.clone()).unwrap();
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Wire::new(stream)
    }

    /// What the server says to a request, and to a close frame after it.
    pub fn http(&self, request: &[u8]) -> String {
        let mut wire = self.shaken();
        wire.send(&[request, &frame(0x88, b"\x03\xE8")].concat());
        wire.http()
    }

    /// What becomes of a handshake of such a client and of its request.
    pub fn handshake(&self, config: Arc<ClientConfig>) -> String {
        self.request(config, super::upgrade::request("/pcp2/wire").as_bytes())
    }

    /// The same with another request.
    pub fn request(&self, config: Arc<ClientConfig>, request: &[u8]) -> String {
        let mut wire = Wire::new(tls(self.server.address, config).unwrap());
        wire.send(request);
        wire.send(&frame(0x88, b"\x03\xE8"));
        wire.http()
    }

    /// What the server says below TLS.
    pub fn raw(&self, bytes: &[u8]) -> String {
        super::records::rest(tcp(self.server.address).unwrap(), bytes)
    }
}
