//! TLS sessions in memory against rustls' buffered connections, in pieces of every size, with both record layers.

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

/// Whose records they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Rustls,
    Ours,
}

/// Everything that both must do in the same way.
const ALL: [(Whose, &SupportedProtocolVersion); 4] =
    [(Whose::Rustls, &TLS12), (Whose::Rustls, &TLS13), (Whose::Ours, &TLS12), (Whose::Ours, &TLS13)];

fn pair(whose: Whose, version: &'static SupportedProtocolVersion, at_once: usize) -> Pair {
    let pki = Pki::new("ca");
    let agent = pki.issue("agent.example");
    let client = ClientConnection::new(pki.client(version, Some(&agent)), "localhost".try_into().unwrap()).unwrap();
    Pair { server: server(whose, &pki), carry: Vec::new(), plain: Vec::new(), seen: Vec::new(), client, at_once }
}

fn server(whose: Whose, pki: &Pki) -> TlsSession {
    TlsSession::server(with(whose, pki.server(&pki.issue("localhost")))).unwrap()
}

fn with(whose: Whose, config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut config = Arc::unwrap_or_clone(config);
    if whose == Whose::Ours {
        make_compact(&mut config);
    }
    Arc::new(config)
}

fn dialling(whose: Whose, config: Arc<ClientConfig>) -> TlsSession {
    let mut config = Arc::unwrap_or_clone(config);
    if whose == Whose::Ours {
        make_compact_client(&mut config);
    }
    TlsSession::client(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
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
    for (whose, version) in ALL {
        for at_once in [1, 7, 1000, usize::MAX] {
            let mut pair = pair(whose, version, at_once);
            assert_eq!(pair.settle(), Ok(TlsState::Established), "{version:?} {at_once}");
            assert_eq!(&*pair.server.establish().unwrap().common_name, "agent.example");
            pair.client.writer().write_all(b"hello").unwrap();
            pair.settle().unwrap();
            assert_eq!(pair.plain, b"hello");
            assert!(pair.carry.is_empty());
            assert_eq!(matches!(pair.server.layer, Layer::Records(_)), whose == Whose::Ours);
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
    for (whose, version) in ALL {
        let pki = Pki::new("ca");
        let mut config = (*pki.client(version, Some(&pki.issue("agent")))).clone();
        config.max_fragment_size = Some(40);
        let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut pair = Pair { client, server: server(whose, &pki), ..pair(whose, version, 3) };
        assert_eq!(pair.settle(), Ok(TlsState::Established));
    }
}

/// Sealing while rustls waits for the rest of a message would make it look for bytes that are not there.
#[test]
fn a_split_message_after_the_handshake_is_refused() {
    for whose in [Whose::Rustls, Whose::Ours] {
        let pki = Pki::new("ca");
        let mut config = tickets(&pki, 1);
        config.max_fragment_size = Some(40);
        let mut server = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut client = dialling(whose, pki.dialler(&pki.issue("agent")));
        assert_eq!(meet(&mut client, &mut server), Err(TlsFailure::FragmentedHandshake));
        assert_eq!(client.seal(b"x", &mut Vec::new()), Err(SealFailure::Closed));
    }
}

#[test]
fn a_client_has_no_use_for_tickets() {
    for whose in [Whose::Rustls, Whose::Ours] {
        let pki = Pki::new("ca");
        let mut server = rustls::ServerConnection::new(Arc::new(tickets(&pki, 4))).unwrap();
        let mut client = dialling(whose, pki.dialler(&pki.issue("agent")));
        meet(&mut client, &mut server).unwrap();
        let mut out = Vec::new();
        client.seal(b"after the tickets", &mut out).unwrap();
        server.read_tls(&mut &out[..]).unwrap();
        server.process_new_packets().unwrap();
        let mut seen = Vec::new();
        let _ = server.reader().read_to_end(&mut seen);
        assert_eq!(seen, b"after the tickets");
    }
}

fn tickets(pki: &Pki, count: usize) -> ServerConfig {
    let mut config = (*pki.server(&pki.issue("localhost"))).clone();
    config.send_tls13_tickets = count;
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    config
}

/// A session of ours that dials, byte by byte, until rustls has nothing more to say.
fn meet(client: &mut TlsSession, server: &mut rustls::ServerConnection) -> Result<(), TlsFailure> {
    let (mut carry, mut plain, mut out) = (Vec::new(), Vec::new(), Vec::new());
    client.read(&mut [], &mut plain, &mut out).unwrap();
    loop {
        server.read_tls(&mut &out[..]).unwrap();
        server.process_new_packets().unwrap();
        out.clear();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        if wire.is_empty() {
            assert_eq!(client.state(), TlsState::Established);
            return Ok(());
        }
        for byte in wire {
            carry.push(byte);
            let progress = client.read(&mut carry, &mut plain, &mut out)?;
            carry.drain(..progress.consumed);
        }
    }
}

#[test]
fn key_updates_are_answered() {
    for whose in [Whose::Rustls, Whose::Ours] {
        let mut pair = pair(whose, &TLS13, usize::MAX);
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
}

/// The end of the handshake and what may follow it arrive together: rustls must not see the latter if it is to go.
#[test]
fn new_keys_in_the_same_bytes_as_the_end_of_the_handshake() {
    for whose in [Whose::Rustls, Whose::Ours] {
        let mut pair = pair(whose, &TLS13, usize::MAX);
        let mut wire = Vec::new();
        while pair.client.is_handshaking() {
            wire.clear();
            pair.client.write_tls(&mut wire).unwrap();
            let mut out = Vec::new();
            pair.give(&wire, &mut out).unwrap();
            let mut rest = &out[..];
            pair.client.read_tls(&mut rest).unwrap();
            pair.client.process_new_packets().unwrap();
        }
        for _ in 0..2 {
            pair.client.writer().write_all(b"x").unwrap();
            pair.client.refresh_traffic_keys().unwrap();
        }
        pair.client.writer().write_all(b"x").unwrap();
        assert_eq!(pair.server.state(), TlsState::Handshaking);
        assert_eq!(pair.settle(), Ok(TlsState::Established));
        assert_eq!(&*pair.server.establish().unwrap().common_name, "agent.example");
        let mut out = Vec::new();
        pair.server.seal(b"y", &mut out).unwrap();
        pair.answer(&out);
        assert_eq!((&pair.plain[..], &pair.seen[..]), (&b"xxx"[..], &b"y"[..]), "{whose:?}");
    }
}

#[test]
fn close_notify_goes_both_ways() {
    for (whose, version) in ALL {
        let mut pair = pair(whose, version, usize::MAX);
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
    for whose in [Whose::Rustls, Whose::Ours] {
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], b"\x16\x05\x05\x00\x05hello", b"GET /"] {
            let mut pair = pair(whose, &TLS13, usize::MAX);
            let mut out = Vec::new();
            assert_eq!(pair.give(garbage, &mut out), Err(TlsFailure::NotTls));
            assert_eq!(out[0], 21, "an alert is the answer");
            assert_eq!(pair.server.seal(b"x", &mut out), Err(SealFailure::Closed));
        }
    }
}

#[test]
fn a_changed_record_is_refused_with_an_alert() {
    for (whose, version) in ALL {
        let mut pair = pair(whose, version, usize::MAX);
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
        for (whose, version) in ALL {
            let client = pki.client(version, issued.as_ref());
            let client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
            let session = TlsSession::server(with(whose, pki.server(&server))).unwrap();
            let (carry, plain, seen) = (Vec::new(), Vec::new(), Vec::new());
            let mut pair = Pair { server: session, carry, plain, seen, client, at_once: usize::MAX };
            assert_eq!(pair.settle(), Err(expected));
        }
    }
}

#[test]
fn two_sessions_of_ours_agree() {
    for (ours, theirs) in [(Whose::Rustls, Whose::Ours), (Whose::Ours, Whose::Rustls), (Whose::Ours, Whose::Ours)] {
        let pki = Pki::new("ca");
        let mut client = dialling(ours, pki.dialler(&pki.issue("agent")));
        let mut server = server(theirs, &pki);
        let (mut to_server, mut to_client, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        client.read(&mut [], &mut plain, &mut to_server).unwrap();
        while client.state() == TlsState::Handshaking || server.state() == TlsState::Handshaking {
            let taken = server.read(&mut to_server, &mut plain, &mut to_client).unwrap().consumed;
            to_server.drain(..taken);
            let taken = client.read(&mut to_client, &mut plain, &mut to_server).unwrap().consumed;
            to_client.drain(..taken);
        }
        assert_eq!(&*client.establish().unwrap().common_name, "localhost");
        assert_eq!(&*server.establish().unwrap().common_name, "agent");
        client.seal(b"ping", &mut to_server).unwrap();
        server.read(&mut to_server, &mut plain, &mut to_client).unwrap();
        server.seal(&plain, &mut to_client).unwrap();
        client.read(&mut to_client, &mut plain, &mut to_server).unwrap();
        assert_eq!(plain, b"pingping");
    }
}

/// A handshake may go on in another thread, and the connection come back from there.
#[test]
fn threads_do_not_matter_between_reads() {
    for (whose, version) in ALL {
        let mut pair = pair(whose, version, usize::MAX);
        while pair.client.is_handshaking() || pair.server.state() == TlsState::Handshaking {
            pair = std::thread::spawn(move || {
                let mut wire = Vec::new();
                pair.client.write_tls(&mut wire).unwrap();
                let mut out = Vec::new();
                pair.give(&wire, &mut out).unwrap();
                pair.answer(&out);
                pair
            })
            .join()
            .unwrap();
        }
        assert_eq!(&*pair.server.establish().unwrap().common_name, "agent.example");
        pair.client.writer().write_all(b"hello").unwrap();
        assert_eq!(pair.settle(), Ok(TlsState::Established));
        assert_eq!(pair.plain, b"hello");
    }
}

/// Without the secrets there could be no new keys: better no connection than one that breaks later.
#[test]
fn a_configuration_with_another_key_log_does_not_get_our_record_layer() {
    let pki = Pki::new("ca");
    let mut config = Arc::unwrap_or_clone(with(Whose::Ours, pki.server(&pki.issue("localhost"))));
    config.key_log = Arc::new(rustls::KeyLogFile::new());
    let mut pair = Pair { server: TlsSession::server(Arc::new(config)).unwrap(), ..pair(Whose::Ours, &TLS13, 9) };
    pair.client =
        ClientConnection::new(pki.client(&TLS13, Some(&pki.issue("agent.example"))), "localhost".try_into().unwrap())
            .unwrap();
    assert_eq!(pair.settle(), Err(TlsFailure::Internal));
    assert_eq!(pair.server.state(), TlsState::Failed);
}

/// A client without a certificate is established all the same.
#[test]
fn a_client_without_a_certificate_where_that_is_allowed() {
    for (whose, version) in ALL {
        let pki = Pki::new("ca");
        let config = pki.material("localhost").server_config(crate::tls::material::ClientAuth::Optional).unwrap();
        let client = ClientConnection::new(pki.client(version, None), "localhost".try_into().unwrap()).unwrap();
        let server = TlsSession::server(with(whose, config)).unwrap();
        let mut pair = Pair { server, client, ..pair(whose, version, usize::MAX) };
        assert_eq!(pair.settle(), Ok(TlsState::Established));
        assert_eq!(pair.server.establish(), Err(TlsFailure::NoClientCertificate));
        pair.client.writer().write_all(b"GET").unwrap();
        assert_eq!(pair.settle(), Ok(TlsState::Established));
        assert_eq!(pair.plain, b"GET");
    }
}

/// Tickets that the server sends, and connections that they resume.
#[test]
fn resumed_connections() {
    for (whose, version) in ALL {
        let pki = Pki::new("ca");
        let mut config = tickets(&pki, 2);
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        let config = with(whose, Arc::new(config));
        let client = pki.client(version, Some(&pki.issue("agent.example")));
        for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let server = TlsSession::server(config.clone()).unwrap();
            let client = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
            let mut pair = Pair { server, client, ..pair(whose, version, usize::MAX) };
            assert_eq!(pair.settle(), Ok(TlsState::Established));
            assert_eq!(pair.client.handshake_kind(), Some(kind), "{whose:?} {version:?}");
            assert_eq!(&*pair.server.establish().unwrap().common_name, "agent.example");
            pair.client.writer().write_all(b"hello").unwrap();
            pair.settle().unwrap();
            let mut out = Vec::new();
            pair.server.seal(b"welcome", &mut out).unwrap();
            pair.answer(&out);
            assert_eq!((&pair.plain[..], &pair.seen[..]), (&b"hello"[..], &b"welcome"[..]));
        }
    }
}

/// All suites in all directions against rustls with its own keys: ours as they come, and lean ones in rustls.
#[test]
fn every_suite_against_rustls() {
    let pki = Pki::new("ca");
    let agent = pki.issue("agent.example");
    for (whose, version) in ALL {
        let config = with(whose, pki.server(&pki.issue("localhost")));
        let suites = crate::tls::material::provider().cipher_suites.clone();
        let mut met = 0;
        for suite in suites.into_iter().filter(|suite| suite.version() == version) {
            let mut provider = (*crate::tls::material::provider()).clone();
            provider.cipher_suites = vec![suite];
            let client = pki.client_that_has(Arc::new(provider), version, Some(&agent));
            let client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
            let server = TlsSession::server(config.clone()).unwrap();
            let mut pair = Pair { server, client, ..pair(whose, version, 4_000) };
            // Suites that want another kind of certificate than the one there is.
            if pair.settle() != Ok(TlsState::Established) {
                continue;
            }
            assert_eq!(pair.client.negotiated_cipher_suite(), Some(suite));
            met += 1;
            pair.server.establish().unwrap();
            converse(&mut pair, version);
        }
        assert_eq!(met, 3, "{whose:?} {version:?}: two of AES-GCM, one of ChaCha20");
    }
}

/// Everything that two ends may do with an established connection.
fn converse(pair: &mut Pair, version: &'static SupportedProtocolVersion) {
    for (round, length) in [0, 1, 13, 200, 1_024, 16_383, 16_384, 16_385, 40_000, 65_536].into_iter().enumerate() {
        let data: Vec<u8> = (0..length).map(|at| (at * 7 + round) as u8).collect();
        if version == &TLS13 && round % 2 == 1 {
            pair.client.refresh_traffic_keys().unwrap();
        }
        (pair.plain, pair.seen) = (Vec::new(), Vec::new());
        let mut rest = &data[..];
        while !rest.is_empty() {
            let taken = pair.client.writer().write(rest).unwrap();
            rest = &rest[taken..];
            pair.settle().unwrap();
        }
        pair.settle().unwrap();
        assert!(pair.plain == data, "{length} bytes to the server");
        let mut out = Vec::new();
        pair.server.seal(&data, &mut out).unwrap();
        pair.answer(&out);
        assert!(pair.seen == data, "{length} bytes to the client");
    }
    let mut out = Vec::new();
    pair.server.close_notify(&mut out);
    pair.answer(&out);
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    pair.client.send_close_notify();
    assert_eq!(pair.settle(), Ok(TlsState::PeerClosed));
}

/// What an established connection costs.
#[test]
fn our_record_layer_is_small() {
    assert!(size_of::<TlsSession>() <= 224, "{}", size_of::<TlsSession>());
}
