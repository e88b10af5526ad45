//! The TLS of one connection without a socket, over rustls' unbuffered API, so that an idle connection owns no
//! buffer: bytes come in and go out through buffers of the caller. TLS 1.2 and 1.3 (RFC 5246, RFC 8446).
//!
//! Nothing of rustls shows in the interface, so that another record layer can take its place.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};

use crate::tls::failure::{SealFailure, TlsFailure};
use crate::tls::identity::{self, PeerName};

/// Plaintext of one record at most (RFC 8446, 5.1).
pub const RECORD_PLAINTEXT_MAX: usize = 16_384;

/// Upper bound of what a record adds to its plaintext: header, explicit nonce or content type, tag.
pub const RECORD_OVERHEAD_MAX: usize = 5 + 8 + 16 + 1;

/// Room for an alert, a key update or a small handshake message before the exact size is known.
const RECORD_ROOM: usize = 512;

/// Bytes in front of each record's content.
const RECORD_HEADER: usize = 5;

/// Where a connection is after a [`TlsSession::read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsState {
    /// More bytes of the peer are needed.
    Handshaking,
    /// Data may flow in both directions.
    Established,
    /// The peer has said that it sends nothing more. We may still send.
    PeerClosed,
    /// A failure was reported; nothing is read or sealed any more.
    Failed,
}

/// What a [`TlsSession::read`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes at the front of the input that are done with. The rest, which may have been changed in place, must be at
    /// the front of the next input.
    pub consumed: usize,
    /// Where the connection is now.
    pub state: TlsState,
}

/// One connection's TLS.
pub struct TlsSession {
    side: Side,
    state: TlsState,
}

/// Held inline: the connection table is the one place where long-lived state is, small boxes would pin heap pages.
enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What one turn of rustls' state machine came to.
enum Step {
    Again,
    Blocked,
    Traffic,
    PeerClosed,
    BothClosed,
}

impl TlsSession {
    /// The accepting side.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, TlsFailure> {
        let connection = UnbufferedServerConnection::new(config).map_err(TlsFailure::from)?;
        Ok(Self { side: Side::Server(connection), state: TlsState::Handshaking })
    }

    /// The dialling side. The first [`TlsSession::read`], with empty input, writes the client's hello.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsFailure> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(TlsFailure::from)?;
        Ok(Self { side: Side::Client(connection), state: TlsState::Handshaking })
    }

    /// Where the connection is.
    pub fn state(&self) -> TlsState {
        self.state
    }

    /// Takes all whole records from the front of `incoming`, appends their content to `plain` and what the peer must
    /// be told (handshake, key updates, alerts) to `out`. After a failure `out` ends with the alert, and the session
    /// must not be used any more.
    pub fn read(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, TlsFailure> {
        let mut consumed = 0;
        let result = loop {
            let rest = &mut incoming[consumed..];
            let (discard, step) = match &mut self.side {
                Side::Server(connection) => take_step(connection.process_tls_records(rest), plain, out),
                Side::Client(connection) => take_step(connection.process_tls_records(rest), plain, out),
            };
            consumed += discard;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Blocked) => break Ok(TlsState::Handshaking),
                Ok(Step::Traffic) => break Ok(TlsState::Established),
                Ok(Step::PeerClosed | Step::BothClosed) => break Ok(TlsState::PeerClosed),
                Err(failure) => break Err(failure),
            }
        };
        let state = match result {
            Ok(state) => state,
            Err(failure) => {
                let is_first = self.common().protocol_version().is_none();
                self.write_alert(out);
                self.state = TlsState::Failed;
                return Err(failure.before_handshake(is_first));
            }
        };
        // rustls reports the peer's close once.
        if self.state != TlsState::PeerClosed {
            self.state = state;
        }
        // A handshake message split over records stays in the input, already decrypted, and rustls counts on it in
        // every later call, also in those that only seal. No peer has a reason to split the few short messages that
        // may come after the handshake.
        if self.state == TlsState::Established && holds_record(&incoming[consumed..]) {
            self.state = TlsState::Failed;
            return Err(TlsFailure::FragmentedHandshake);
        }
        // Whatever follows a close_notify must be ignored (RFC 8446, 6.1).
        if self.state == TlsState::PeerClosed {
            consumed = incoming.len();
        }
        Ok(Progress { consumed, state: self.state })
    }

    /// Appends `plain` to `out` as records. Only after the handshake.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealFailure> {
        assert_ne!(self.state, TlsState::Handshaking, "nothing is sealed before the handshake is over");
        if self.state == TlsState::Failed {
            return Err(SealFailure::Closed);
        }
        plain.chunks(RECORD_PLAINTEXT_MAX).try_for_each(|record| {
            self.write(out, record.len() + RECORD_ROOM, |traffic, room| match traffic {
                Traffic::Server(traffic) => traffic.encrypt(record, room),
                Traffic::Client(traffic) => traffic.encrypt(record, room),
            })
        })
    }

    /// Appends the alert that ends our direction; before the end of the handshake or after a failure, nothing.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        if matches!(self.state, TlsState::Handshaking | TlsState::Failed) {
            return;
        }
        // A session whose keys are used up has queued this alert itself; there is nothing else that can fail.
        let _ = self.write(out, RECORD_ROOM, |traffic, room| match traffic {
            Traffic::Server(traffic) => traffic.queue_close_notify(room),
            Traffic::Client(traffic) => traffic.queue_close_notify(room),
        });
    }

    /// Who the peer's certificate names.
    pub fn peer(&self) -> Result<PeerName, TlsFailure> {
        let chain = self.common().peer_certificates().unwrap_or_default();
        let leaf = chain.first().ok_or(TlsFailure::NoClientCertificate)?;
        identity::peer_name(leaf).map_err(TlsFailure::Identity)
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    /// Gets at rustls' writing state, encodes what it wants to send first, and lets `encode` write into `out`.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        room: usize,
        mut encode: impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), SealFailure> {
        loop {
            let step = match &mut self.side {
                Side::Server(connection) => match connection.process_tls_records(&mut []).state {
                    Ok(ConnectionState::WriteTraffic(traffic)) => {
                        return append(out, room, &mut Traffic::Server(traffic), &mut encode);
                    }
                    state => step(state, &mut Vec::new(), out),
                },
                Side::Client(connection) => match connection.process_tls_records(&mut []).state {
                    Ok(ConnectionState::WriteTraffic(traffic)) => {
                        return append(out, room, &mut Traffic::Client(traffic), &mut encode);
                    }
                    state => step(state, &mut Vec::new(), out),
                },
            };
            match step {
                Ok(Step::Again | Step::PeerClosed) => {}
                Ok(Step::Blocked | Step::Traffic | Step::BothClosed) | Err(_) => return Err(SealFailure::Closed),
            }
        }
    }

    /// After an error rustls may hold an alert for the peer. Input is not shown to it again.
    fn write_alert(&mut self, out: &mut Vec<u8>) {
        while self.common().wants_write() {
            let step = match &mut self.side {
                Side::Server(connection) => take_step(connection.process_tls_records(&mut []), &mut Vec::new(), out),
                Side::Client(connection) => take_step(connection.process_tls_records(&mut []), &mut Vec::new(), out),
            };
            if step.1.is_err() {
                return;
            }
        }
    }
}

/// rustls has one type of writing state per side.
enum Traffic<'c> {
    Server(rustls::unbuffered::WriteTraffic<'c, rustls::server::ServerConnectionData>),
    Client(rustls::unbuffered::WriteTraffic<'c, rustls::client::ClientConnectionData>),
}

fn take_step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> (usize, Result<Step, TlsFailure>) {
    (status.discard, step(status.state, plain, out))
}

/// Carries out what rustls asks for in one of its states.
fn step<Data>(
    state: Result<ConnectionState<'_, '_, Data>, rustls::Error>,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Step, TlsFailure> {
    match state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                plain.extend_from_slice(record?.payload);
            }
            Ok(Step::Again)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            let start = out.len();
            out.resize(start + RECORD_ROOM, 0);
            let written = match data.encode(&mut out[start..]) {
                Err(EncodeError::InsufficientSize(needed)) => {
                    out.resize(start + needed.required_size, 0);
                    data.encode(&mut out[start..])
                }
                written => written,
            };
            out.truncate(start + written.unwrap_or(0));
            Ok(Step::Again)
        }
        // The caller sends `out` in order and drops the connection if it cannot, so it counts as transmitted.
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Step::Again)
        }
        ConnectionState::BlockedHandshake => Ok(Step::Blocked),
        ConnectionState::WriteTraffic(_) => Ok(Step::Traffic),
        ConnectionState::PeerClosed => Ok(Step::PeerClosed),
        ConnectionState::Closed => Ok(Step::BothClosed),
        // Early data is never offered or accepted by our configurations.
        ConnectionState::ReadEarlyData(_) => Err(TlsFailure::Misbehaved),
        _ => Err(TlsFailure::Internal),
    }
}

fn append<'c>(
    out: &mut Vec<u8>,
    room: usize,
    traffic: &mut Traffic<'c>,
    encode: &mut impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), SealFailure> {
    let start = out.len();
    out.resize(start + room, 0);
    let written = match encode(traffic, &mut out[start..]) {
        Err(EncryptError::InsufficientSize(needed)) => {
            out.resize(start + needed.required_size, 0);
            encode(traffic, &mut out[start..])
        }
        written => written,
    };
    out.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(drop).map_err(|_| SealFailure::KeysExhausted)
}

fn holds_record(bytes: &[u8]) -> bool {
    bytes.len() >= RECORD_HEADER && bytes.len() - RECORD_HEADER >= usize::from(u16::from_be_bytes([bytes[3], bytes[4]]))
}

#[cfg(test)]
mod tests {
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
                assert_eq!(&*pair.server.peer().unwrap().common_name, "agent.example");
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
}
