//! TLS sessions that are fed damaged handshakes and damaged records, with both record layers. Nothing panics, what is
//! held stays in bounds, and no damaged record ever becomes data.

use std::sync::Arc;

use podium::config::settings::CertificatePaths;
use podium::limits::TLS_CARRY_BYTES_MAX;
use podium::tls::failure::SealFailure;
use podium::tls::material::{ClientAuth, Material};
use podium::tls::session::{TlsSession, TlsState, make_compact};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig};

use super::cases;
use super::mutator::{mutate, noise, pieces};
use super::target::{Target, Verdict};
use crate::support::pki::{Keys, Pki};
use podium::random::Random;

const WORDS: [&[u8]; 8] = [
    b"\x16\x03\x03\x00\x04",
    b"\x17\x03\x03\x00\x20",
    b"\x15\x03\x03\x00\x02\x01\x00",
    b"\x14\x03\x03\x00\x01\x01",
    b"\x16\x03\x01\xFF\xFF",
    b"\x16\x03\x03\x00\x00",
    b"\0\0\0\0",
    b"\xFF\xFF",
];

/// Of [`tamper`].
const ORDERS: [&[u8]; 4] = [&[0, 1], &[5, 0, 1], &[3, 255], &[7, 2, 2]];

/// Flights of a whole handshake, and one more.
const FLIGHTS: usize = 6;

struct Configs {
    /// Of rustls' record layer and of ours.
    servers: [Arc<ServerConfig>; 2],
    clients: [Arc<ClientConfig>; 2],
}

impl Configs {
    fn new() -> Self {
        let pki = Pki::new(Keys::P256);
        let files = pki.server_files();
        let paths = CertificatePaths { certificate: files.certificate, key: files.key, ca: files.ca, crl: None };
        let rustls = Material::load(&paths).unwrap().server_config(ClientAuth::Required).unwrap();
        let mut ours = rustls.clone();
        make_compact(Arc::make_mut(&mut ours));
        Self {
            servers: [rustls, ours],
            clients: [pki.agent("agent.example", &TLS12), pki.agent("agent.example", &TLS13)],
        }
    }
}

/// One side with what it has not been able to read and what it has read.
struct End {
    session: TlsSession,
    carry: Vec<u8>,
    plain: Vec<u8>,
    is_dead: bool,
}

impl End {
    fn new(session: TlsSession) -> Self {
        Self { session, carry: Vec::new(), plain: Vec::new(), is_dead: false }
    }

    /// Takes bytes in pieces and returns the answer.
    fn take(&mut self, pieces: Vec<Vec<u8>>) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in pieces {
            if self.is_dead {
                break;
            }
            self.carry.extend_from_slice(&piece);
            match self.session.read(&mut self.carry, &mut self.plain, &mut out) {
                Ok(progress) => {
                    assert!(progress.consumed <= self.carry.len());
                    self.carry.drain(..progress.consumed);
                    assert!(self.carry.len() <= TLS_CARRY_BYTES_MAX, "{} bytes are held", self.carry.len());
                }
                Err(failure) => {
                    assert!(!failure.label().is_empty() && !failure.advice("host").is_empty());
                    assert_eq!(self.session.seal(b"x", &mut Vec::new()), Err(SealFailure::Closed));
                    self.is_dead = true;
                }
            }
        }
        out
    }
}

fn damaged(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    if random.percent(10) { noise(random) } else { mutate(random, bytes, &WORDS) }
}

/// Shakes hands with the flight `bad` damaged; true if both sides are content.
fn shake(random: &mut Random, client: &mut End, server: &mut End, bad: usize) -> bool {
    let mut flight = Vec::new();
    client.session.read(&mut [], &mut client.plain, &mut flight).unwrap();
    for number in 0..FLIGHTS {
        if number == bad {
            flight = damaged(random, &flight);
        }
        let cut = pieces(random, &flight);
        flight = if number % 2 == 0 { server.take(cut) } else { client.take(cut) };
    }
    [client, server].iter().all(|end| !end.is_dead && end.session.state() == TlsState::Established)
}

#[test]
fn damaged_handshakes() {
    let configs = Configs::new();
    cases(150, |random| {
        let client = configs.clients[random.index(2)].clone();
        let mut client = End::new(TlsSession::client(client, "localhost".try_into().unwrap()).unwrap());
        let mut server = End::new(TlsSession::server(random.pick(&configs.servers).clone()).unwrap());
        let bad = random.index(FLIGHTS);
        shake(random, &mut client, &mut server, bad);
        assert!(server.plain.is_empty() && client.plain.is_empty(), "nobody has sent data");
        // Who is content knows whom it speaks with.
        if server.session.state() == TlsState::Established {
            assert_eq!(&*server.session.establish().unwrap().common_name, "agent.example");
        }
    });
}

#[test]
fn damaged_records() {
    let configs = Configs::new();
    cases(100, |random| {
        let client = configs.clients[random.index(2)].clone();
        let mut client = End::new(TlsSession::client(client, "localhost".try_into().unwrap()).unwrap());
        let mut server = End::new(TlsSession::server(random.pick(&configs.servers).clone()).unwrap());
        assert!(shake(random, &mut client, &mut server, FLIGHTS), "nothing was damaged");
        let said: Vec<u8> = (0..random.index(40_000)).map(|_| random.next_u64() as u8).collect();
        let mut wire = Vec::new();
        client.session.seal(&said, &mut wire).unwrap();
        if random.percent(90) {
            wire = damaged(random, &wire);
        }
        let cut = pieces(random, &wire);
        server.take(cut);
        assert!(said.starts_with(&server.plain), "a damaged record became data");
    });
}

/// Records of a handshake message that never ends: refused before more is held than the limit.
#[test]
fn an_endless_handshake_message() {
    let configs = Configs::new();
    cases(20, |random| {
        let mut server = End::new(TlsSession::server(random.pick(&configs.servers).clone()).unwrap());
        let fragment = 1 + random.index(16_000);
        let mut record = vec![0x16, 3, 3];
        record.extend_from_slice(&u16::try_from(fragment).unwrap().to_be_bytes());
        record.resize(5 + fragment, 0);
        record[5] = 1;
        for (at, byte) in record.iter_mut().skip(6).take(3).enumerate() {
            *byte = if at == 0 && random.percent(50) { 0 } else { 0xFF };
        }
        let most = 2 * TLS_CARRY_BYTES_MAX / fragment.max(1_000);
        for _ in 0..most {
            server.take(vec![record.clone()]);
            record[5..].fill(0);
        }
    });
}

/// What is done to the records of a client on their way, a byte or two for each.
fn tamper(client: &mut End, script: &[u8]) -> Vec<u8> {
    let (mut wire, mut former) = (Vec::new(), Vec::new());
    let mut script = script.iter().copied();
    let mut number = 0u8;
    while let Some(order) = script.next() {
        let mut operand = || usize::from(script.next().unwrap_or(0));
        number = number.wrapping_add(1);
        let mut record = Vec::new();
        match order % 8 {
            0 | 1 => client.session.seal(&vec![number; operand()], &mut record).unwrap(),
            2 => client.session.seal(&vec![number; operand() * 256], &mut record).unwrap(),
            3 => {
                client.session.seal(&[number], &mut record).unwrap();
                let bit = operand() % (record.len() * 8);
                record[bit / 8] ^= 1 << (bit % 8);
            }
            4 => {
                client.session.seal(&[number; 9], &mut record).unwrap();
                record.truncate(operand() % record.len());
            }
            5 => record.clone_from(&former),
            6 => record.extend((0..operand() % 32).map(|_| 0).collect::<Vec<u8>>()),
            _ => {
                let length = operand() % 64;
                record.extend([[21, 22, 23, 20, 24][operand() % 5], 3, 3, 0, length as u8]);
                record.extend(vec![number; length]);
            }
        }
        wire.extend_from_slice(&record);
        former = record;
    }
    wire
}

/// The same is done to a connection of each record layer: what becomes data is the same, to the byte, and so is whether
/// the connection goes on, unless ours is the stricter one.
#[test]
fn record() {
    let configs = Configs::new();
    Target { name: "record", words: &ORDERS, cases: 150 }.run(|random, script| {
        let Some((&version, script)) = script.split_first() else { return Verdict::Refused };
        let ends = configs.servers.each_ref().map(|server| {
            let client = configs.clients[usize::from(version) % 2].clone();
            let mut client = End::new(TlsSession::client(client, "localhost".try_into().unwrap()).unwrap());
            let mut server = End::new(TlsSession::server(server.clone()).unwrap());
            assert!(shake(random, &mut client, &mut server, FLIGHTS), "nothing was damaged");
            server.session.establish().unwrap();
            let wire = tamper(&mut client, script);
            let cut = pieces(random, &wire);
            let answer = server.take(cut);
            assert!(answer.len() <= 64, "{} bytes are too much for an alert", answer.len());
            server
        });
        let [rustls, ours] = ends;
        assert!(rustls.plain.starts_with(&ours.plain), "ours takes what rustls does not");
        assert!(ours.is_dead || (!rustls.is_dead && rustls.plain == ours.plain), "ours is the more lenient one");
        if ours.is_dead { Verdict::Refused } else { Verdict::Sound }
    });
}
