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

use crate::clock::WallTime;
use crate::tls::failure::{SealFailure, TlsFailure};
use crate::tls::identity::{self, PeerName};
use crate::tls::resumption::{Recheck, ServerTls};

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
    recheck: Option<Recheck>,
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
        Ok(Self { side: Side::Server(connection), state: TlsState::Handshaking, recheck: None })
    }

    /// The accepting side where sessions may be resumed.
    pub fn accept(tls: &ServerTls) -> Result<Self, TlsFailure> {
        Ok(Self { recheck: Some(Recheck::new(tls)), ..Self::server(tls.config.clone())? })
    }

    /// The dialling side. The first [`TlsSession::read`], with empty input, writes the client's hello.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsFailure> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(TlsFailure::from)?;
        Ok(Self { side: Side::Client(connection), state: TlsState::Handshaking, recheck: None })
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
        if state != TlsState::Handshaking
            && let Some(recheck) = self.recheck.take()
            && let Err(failure) = recheck.judge(self.common(), WallTime::now())
        {
            self.state = TlsState::Failed;
            return Err(failure);
        }
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
mod tests;
