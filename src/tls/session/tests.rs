//! TLS sessions in memory against rustls' buffered connections, in pieces of every size.

use std::io::{Read, Write};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, SupportedProtocolVersion};

use super::*;
use crate::tls::testing::Pki;

/// Both ends in memory: ours under test, rustls' buffered client as the oracle.
struct Pair {
    server: TlsSession,
    carry: Vec<u8>,
    plain: Vec<u8>,
    /// What the client has got.
    seen: Vec<u8>,
    client: ClientConnection,
    at_once: usize,
}

fn pair(version: &'static SupportedProtocolVersion, at_once: usize) -> Pair {
    let pki = Pki::new("ca");
    let agent = pki.issue("agent.example");
    let client = ClientConnection::new(pki.client(version, Some(&agent)), "localhost".try_into().unwrap()).unwrap();
    Pair { server: server(&pki), carry: Vec::new(), plain: Vec::new(), seen: Vec::new(), client, at_once }
}

fn server(pki: &Pki) -> TlsSession {
    TlsSession::server(pki.server(&pki.issue("localhost"))).unwrap()
}

impl Pair {
    /// Moves bytes until neither end has any, `at_once` bytes per read.
    fn settle(&mut self) -> Result<TlsState, TlsFailure> {
        loop {
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut wire).unwrap();
            }
            if wire.is_empty() {
                return Ok(self.server.state());
            }
            for piece in wire.chunks(self.at_once) {
                let mut out = Vec::new();
                let result = self.give(piece, &mut out);
                self.answer(&out);
                result?;
            }
        }
    }

    fn give(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        self.carry.extend_from_slice(piece);
        let progress = self.server.read(&mut self.carry, &mut self.plain, out)?;
        self.carry.drain(..progress.consumed);
        Ok(())
    }

    fn answer(&mut self, mut out: &[u8]) {
        while !out.is_empty() {
            self.client.read_tls(&mut out).unwrap();
            let _ = self.client.process_new_packets();
            // Without data this is an error, with a close the end.
            let _ = self.client.reader().read_to_end(&mut self.seen);
        }
    }
}

#[test]
fn handshake_and_data_in_pieces_of_any_size() {
    for version in [&TLS12, &TLS13] {
        for at_once in [1, 7, 1000, usize::MAX] {
            let mut pair = pair(version, at_once);
            assert_eq!(pair.settle(), Ok(TlsState::Established), "{version:?} {at_once}");
            assert_eq!(&*pair.server.establish().unwrap().common_name, "agent.example");
            pair.client.writer().write_all(b"hello").unwrap();
            pair.settle().unwrap();
            assert_eq!(pair.plain, b"hello");
            assert!(pair.carry.is_empty());
            let long = vec![7; 40_000];
            let mut out = Vec::new();
            pair.server.seal(&long, &mut out).unwrap();
            assert!(out.len() <= long.len() + 3 * RECORD_OVERHEAD_MAX);
            pair.answer(&out);
            assert_eq!(pair.seen, long);
        }
    }
}

#[test]
fn a_handshake_in_small_records_is_put_together() {
    for version in [&TLS12, &TLS13] {
        let pki = Pki::new("ca");
        let mut config = (*pki.client(version, Some(&pki.issue("agent")))).clone();
        config.max_fragment_size = Some(40);
        let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut pair = Pair { client, server: server(&pki), ..pair(version, 3) };
        assert_eq!(pair.settle(), Ok(TlsState::Established));
    }
}

/// Sealing while rustls waits for the rest of a message would make it look for bytes that are not there.
#[test]
fn a_split_message_after_the_handshake_is_refused() {
    let pki = Pki::new("ca");
    let mut config = (*pki.server(&pki.issue("localhost"))).clone();
    config.send_tls13_tickets = 1;
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    config.max_fragment_size = Some(40);
    let mut server = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    let mut client = TlsSession::client(pki.dialler(&pki.issue("agent")), "localhost".try_into().unwrap()).unwrap();
    let (mut carry, mut plain, mut out) = (Vec::new(), Vec::new(), Vec::new());
    client.read(&mut [], &mut plain, &mut out).unwrap();
    let mut failure = None;
    while failure.is_none() {
        server.read_tls(&mut &out[..]).unwrap();
        server.process_new_packets().unwrap();
        out.clear();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        assert!(!wire.is_empty(), "there was no ticket");
        for byte in wire {
            carry.push(byte);
            match client.read(&mut carry, &mut plain, &mut out) {
                Ok(progress) => drop(carry.drain(..progress.consumed)),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
    }
    assert_eq!(failure, Some(TlsFailure::FragmentedHandshake));
    assert_eq!(client.seal(b"x", &mut out), Err(SealFailure::Closed));
}

#[test]
fn key_updates_are_answered() {
    let mut pair = pair(&TLS13, usize::MAX);
    pair.settle().unwrap();
    for _ in 0..3 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client.writer().write_all(b"x").unwrap();
        pair.settle().unwrap();
        let mut out = Vec::new();
        pair.server.seal(b"y", &mut out).unwrap();
        pair.answer(&out);
    }
    assert_eq!((&pair.plain[..], &pair.seen[..]), (&b"xxx"[..], &b"yyy"[..]));
}

#[test]
fn close_notify_goes_both_ways() {
    for version in [&TLS12, &TLS13] {
        let mut pair = pair(version, usize::MAX);
        pair.settle().unwrap();
        pair.client.writer().write_all(b"last").unwrap();
        pair.client.send_close_notify();
        assert_eq!(pair.settle(), Ok(TlsState::PeerClosed));
        assert_eq!(pair.plain, b"last");
        let mut out = Vec::new();
        pair.server.seal(b"still", &mut out).unwrap();
        pair.server.close_notify(&mut out);
        pair.give(b"ignored", &mut out).unwrap();
        assert!(pair.carry.is_empty());
        pair.answer(&out);
        assert_eq!(pair.seen, b"still");
        assert_eq!(pair.server.seal(b"too late", &mut Vec::new()), Err(SealFailure::Closed));
    }
}

#[test]
fn what_is_not_tls_is_called_so() {
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], b"\x16\x05\x05\x00\x05hello"] {
        let mut pair = pair(&TLS13, usize::MAX);
        let mut out = Vec::new();
        assert_eq!(pair.give(garbage, &mut out), Err(TlsFailure::NotTls));
        assert_eq!(out[0], 21, "an alert is the answer");
        assert_eq!(pair.server.seal(b"x", &mut out), Err(SealFailure::Closed));
    }
}

#[test]
fn a_changed_record_is_refused_with_an_alert() {
    for version in [&TLS12, &TLS13] {
        let mut pair = pair(version, usize::MAX);
        pair.settle().unwrap();
        pair.client.writer().write_all(b"hello").unwrap();
        let mut wire = Vec::new();
        pair.client.write_tls(&mut wire).unwrap();
        *wire.last_mut().unwrap() ^= 1;
        let mut out = Vec::new();
        assert_eq!(pair.give(&wire, &mut out), Err(TlsFailure::BadRecord));
        pair.answer(&out);
        assert!(matches!(pair.client.process_new_packets(), Err(rustls::Error::AlertReceived(_))));
    }
}

#[test]
fn certificates_are_refused_by_their_fault() {
    let (pki, foreign) = (Pki::new("ca"), Pki::new("other"));
    let revoked = pki.issue("revoked.example");
    pki.revoke(&[&revoked]);
    let server = pki.issue("localhost");
    let cases = [
        (None, TlsFailure::NoClientCertificate),
        (Some(foreign.issue("agent.example")), TlsFailure::CertificateUnknownCa),
        (Some(pki.issue_expired("old.example")), TlsFailure::CertificateExpired),
        (Some(revoked), TlsFailure::CertificateRevoked),
    ];
    for (issued, expected) in cases {
        for version in [&TLS12, &TLS13] {
            let client = pki.client(version, issued.as_ref());
            let client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
            let session = TlsSession::server(pki.server(&server)).unwrap();
            let (carry, plain, seen) = (Vec::new(), Vec::new(), Vec::new());
            let mut pair = Pair { server: session, carry, plain, seen, client, at_once: usize::MAX };
            assert_eq!(pair.settle(), Err(expected));
        }
    }
}

#[test]
fn two_sessions_of_ours_agree() {
    let pki = Pki::new("ca");
    let mut client = TlsSession::client(pki.dialler(&pki.issue("agent")), "localhost".try_into().unwrap()).unwrap();
    let mut server = TlsSession::server(pki.server(&pki.issue("localhost"))).unwrap();
    let (mut to_server, mut to_client, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    client.read(&mut [], &mut plain, &mut to_server).unwrap();
    while client.state() == TlsState::Handshaking || server.state() == TlsState::Handshaking {
        let taken = server.read(&mut to_server, &mut plain, &mut to_client).unwrap().consumed;
        to_server.drain(..taken);
        let taken = client.read(&mut to_client, &mut plain, &mut to_server).unwrap().consumed;
        to_client.drain(..taken);
    }
    client.seal(b"ping", &mut to_server).unwrap();
    server.read(&mut to_server, &mut plain, &mut to_client).unwrap();
    assert_eq!(plain, b"ping");
}
