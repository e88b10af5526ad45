//! rustls' part of a connection, over its unbuffered API: the handshake, and where our own record layer is not wanted all
//! that follows. TLS 1.2 and 1.3 (RFC 5246, RFC 8446). When the handshake is over, [`Handshake::into_records`] takes keys
//! and numbers and lets go of the rest.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion};

use crate::clock::WallTime;
use crate::tls::cipher::{Aead, IV_BYTES};
use crate::tls::direction::{Direction, Suite, Version};
use crate::tls::failure::{SealFailure, TlsFailure};
use crate::tls::identity::{self, PeerName};
use crate::tls::record::{Records, Side};
use crate::tls::resumption::Recheck;
use crate::tls::secrets::{Captured, TrafficSecret, capture};
use crate::tls::session::{Progress, RECORD_HEADER, RECORD_PLAINTEXT_MAX, TlsState};

/// Room for an alert, a key update or a small handshake message before the exact size is known.
const RECORD_ROOM: usize = 512;

/// What rustls has of a connection.
pub(super) struct Handshake {
    connection: Connection,
    state: TlsState,
    after: After,
    /// For whoever resumes a session, until the handshake is over.
    recheck: Option<Recheck>,
}

/// Both sides.
pub(super) enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What becomes of a connection after its handshake.
pub(super) enum After {
    /// It stays with rustls.
    Same,
    /// Our record layer takes over, with these secrets. Of an unfinished message rustls has seen so many bytes.
    Records { captured: Captured, seen: usize },
}

/// What one turn of rustls' state machine came to.
enum Step {
    Again,
    Blocked,
    Traffic,
    PeerClosed,
    BothClosed,
}

impl Handshake {
    /// Before the first byte.
    pub(super) fn new(connection: Connection, after: After) -> Self {
        Self { connection, state: TlsState::Handshaking, after, recheck: None }
    }

    /// The same, where sessions may be resumed.
    pub(super) fn rechecked(self, recheck: Recheck) -> Self {
        Self { recheck: Some(recheck), ..self }
    }

    /// Where the connection is.
    pub(super) fn state(&self) -> TlsState {
        self.state
    }

    /// Whether the hello of both is known.
    pub(super) fn is_begun(&self) -> bool {
        self.connection.common().protocol_version().is_some()
    }

    /// Whether it is time for [`Handshake::into_records`].
    pub(super) fn is_over(&self) -> bool {
        self.state != TlsState::Handshaking && matches!(self.after, After::Records { .. })
    }

    /// As [`super::session::TlsSession::read`]. If our record layer is to follow, nothing after the handshake is taken.
    pub(super) fn read(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, TlsFailure> {
        let connection = &mut self.connection;
        let (consumed, result) = match &mut self.after {
            After::Same => connection.read(incoming, plain, out),
            After::Records { captured, seen } => {
                capture(captured, || connection.shake_hands(seen, incoming, plain, out))
            }
        };
        let state = match result {
            Ok(state) => state,
            Err(failure) => {
                let is_first = self.connection.common().protocol_version().is_none();
                self.connection.write_alert(out);
                return Err(failure.before_handshake(is_first));
            }
        };
        if state != TlsState::Handshaking
            && let Some(recheck) = self.recheck.take()
        {
            recheck.judge(self.connection.common(), WallTime::now())?;
        }
        // rustls reports the peer's close once.
        if self.state != TlsState::PeerClosed {
            self.state = state;
        }
        // A handshake message split over records stays in the input, already decrypted, and rustls counts on it in
        // every later call, also in those that only seal. No peer has a reason to split the few short messages that
        // may come after the handshake.
        if self.state == TlsState::Established && !self.is_over() && record(&incoming[consumed..]).is_some() {
            return Err(TlsFailure::FragmentedHandshake);
        }
        Ok(Progress { consumed, state: self.state })
    }

    /// As [`super::session::TlsSession::seal`].
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealFailure> {
        assert_ne!(self.state, TlsState::Handshaking, "nothing is sealed before the handshake is over");
        plain.chunks(RECORD_PLAINTEXT_MAX).try_for_each(|record| {
            self.connection.write(out, record.len() + RECORD_ROOM, |traffic, room| match traffic {
                Traffic::Server(traffic) => traffic.encrypt(record, room),
                Traffic::Client(traffic) => traffic.encrypt(record, room),
            })
        })
    }

    /// As [`super::session::TlsSession::close_notify`].
    pub(super) fn close_notify(&mut self, out: &mut Vec<u8>) {
        if self.state == TlsState::Handshaking {
            return;
        }
        // A session whose keys are used up has queued this alert itself; there is nothing else that can fail.
        let _ = self.connection.write(out, RECORD_ROOM, |traffic, room| match traffic {
            Traffic::Server(traffic) => traffic.queue_close_notify(room),
            Traffic::Client(traffic) => traffic.queue_close_notify(room),
        });
    }

    /// Who the peer's certificate names.
    pub(super) fn peer(&self) -> Result<PeerName, TlsFailure> {
        let chain = self.connection.common().peer_certificates().unwrap_or_default();
        let leaf = chain.first().ok_or(TlsFailure::NoClientCertificate)?;
        identity::peer_name(leaf).map_err(TlsFailure::Identity)
    }

    /// What our record layer goes on with. Fails if the configuration was not made for this
    /// (`super::session::make_compact`): without secrets there could be no new keys later.
    pub(super) fn into_records(self) -> Result<Records, TlsFailure> {
        let After::Records { captured, .. } = self.after else { return Err(TlsFailure::Internal) };
        let version = match self.connection.common().protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => return Err(TlsFailure::Internal),
        };
        let (side, extracted, ours, theirs) = match self.connection {
            Connection::Server(connection) => {
                let (extracted, _) = connection.dangerous_into_kernel_connection()?;
                (Side::Server, extracted, captured.server, captured.client)
            }
            Connection::Client(connection) => {
                let (extracted, _) = connection.dangerous_into_kernel_connection()?;
                (Side::Client, extracted, captured.client, captured.server)
            }
        };
        let ExtractedSecrets { tx, rx } = extracted;
        let (sealing_aead, sealing) = direction(version, tx, ours)?;
        let (opening_aead, opening) = direction(version, rx, theirs)?;
        if sealing_aead != opening_aead {
            return Err(TlsFailure::Internal);
        }
        Ok(Records::new(side, Suite { aead: sealing_aead, version }, opening, sealing))
    }
}

/// One direction as rustls has left it. The traffic secret must give the keys that rustls used: whatever else was
/// captured would only be noticed at the first key update.
fn direction(
    version: Version,
    (number, secrets): (u64, ConnectionTrafficSecrets),
    secret: Option<TrafficSecret>,
) -> Result<(Aead, Direction), TlsFailure> {
    let (aead, key, iv) = match &secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Aead::Aes128Gcm, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Aead::Aes256Gcm, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Aead::ChaCha20Poly1305, key, iv),
        _ => return Err(TlsFailure::Internal),
    };
    let iv = <[u8; IV_BYTES]>::try_from(iv.as_ref()).map_err(|_| TlsFailure::Internal)?;
    if key.as_ref().len() != aead.key_bytes() {
        return Err(TlsFailure::Internal);
    }
    let direction = match version {
        Version::Tls12 => Direction::tls12(key.as_ref(), iv, number),
        Version::Tls13 => {
            let secret = secret.filter(|secret| secret.bytes().len() == aead.secret_bytes());
            Direction::tls13(aead, secret.ok_or(TlsFailure::Internal)?.bytes(), number)
        }
    };
    if !direction.has(aead, key.as_ref(), &iv) {
        return Err(TlsFailure::Internal);
    }
    Ok((aead, direction))
}

impl Connection {
    fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    /// Reads as much as there is, and how much that was.
    fn read(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> (usize, Result<TlsState, TlsFailure>) {
        let mut consumed = 0;
        loop {
            let (discard, step) = self.step(&mut incoming[consumed..], plain, out);
            consumed += discard;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Blocked) => return (consumed, Ok(TlsState::Handshaking)),
                Ok(Step::Traffic) => return (consumed, Ok(TlsState::Established)),
                Ok(Step::PeerClosed | Step::BothClosed) => return (consumed, Ok(TlsState::PeerClosed)),
                Err(failure) => return (consumed, Err(failure)),
            }
        }
    }

    /// The same, but one record after the other is shown to rustls, until the handshake is over: it would go on with
    /// what follows, and change keys of which we know nothing. It remembers how much of an unfinished message it has
    /// seen, `seen` bytes, and must not be shown less.
    fn shake_hands(
        &mut self,
        seen: &mut usize,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> (usize, Result<TlsState, TlsFailure>) {
        let (mut consumed, mut shown) = (0, *seen);
        loop {
            let next = record(&incoming[shown..]);
            let end = next.map_or(incoming.len(), |bytes| shown + bytes);
            let (taken, state) = self.read(&mut incoming[consumed..end], plain, out);
            consumed += taken;
            shown += next.unwrap_or(0);
            if state != Ok(TlsState::Handshaking) || next.is_none() {
                *seen = shown.saturating_sub(consumed);
                return (consumed, state);
            }
        }
    }

    fn step(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> (usize, Result<Step, TlsFailure>) {
        match self {
            Self::Server(connection) => take_step(connection.process_tls_records(incoming), plain, out),
            Self::Client(connection) => take_step(connection.process_tls_records(incoming), plain, out),
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
            let step = match self {
                Self::Server(connection) => match connection.process_tls_records(&mut []).state {
                    Ok(ConnectionState::WriteTraffic(traffic)) => {
                        return append(out, room, &mut Traffic::Server(traffic), &mut encode);
                    }
                    state => step(state, &mut Vec::new(), out),
                },
                Self::Client(connection) => match connection.process_tls_records(&mut []).state {
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
            if self.step(&mut [], &mut Vec::new(), out).1.is_err() {
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

/// The length of the first record, if it is whole.
fn record(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<RECORD_HEADER>()?;
    let length = RECORD_HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
    (bytes.len() >= length).then_some(length)
}
