//! The TLS of one connection without a socket: bytes come in and go out through buffers of the caller, so that an idle
//! connection owns no buffer. TLS 1.2 and 1.3 (RFC 5246, RFC 8446).
//!
//! rustls shakes hands. What follows is either its own doing too, or that of our record layer, which keeps a few hundred
//! bytes in place of rustls' few thousand: [`make_compact`] says so in a configuration. Nothing of either shows in the
//! interface.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};

use crate::tls::failure::{SealFailure, TlsFailure};
use crate::tls::handshake::{After, Connection, Handshake};
use crate::tls::identity::PeerName;
use crate::tls::record::Records;
use crate::tls::resumption::{Recheck, ServerTls};
use crate::tls::secrets::{Captured, Hook};

/// Plaintext of one record at most (RFC 8446, 5.1).
pub const RECORD_PLAINTEXT_MAX: usize = 16_384;

/// Upper bound of what a record adds to its plaintext: header, explicit nonce or content type, tag.
pub const RECORD_OVERHEAD_MAX: usize = RECORD_HEADER + 8 + 16 + 1;

/// Bytes in front of each record's content.
pub(super) const RECORD_HEADER: usize = 5;

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
    layer: Layer,
}

/// Who has the connection. What lasts is inline, because the connection table is the one place where long-lived state is
/// and small boxes would pin heap pages; a handshake does not last, and must not decide how large that place is.
#[expect(clippy::large_enum_variant, reason = "the large one is what connections are nearly all the time")]
enum Layer {
    /// Nothing has come yet.
    Silent(Arc<ServerTls>),
    Rustls(Box<Handshake>),
    /// The handshake is over, and [`TlsSession::establish`] is awaited.
    Shaken(Box<Shaken>),
    Records(Records),
    Failed,
}

struct Shaken {
    records: Records,
    peer: Result<PeerName, TlsFailure>,
}

impl TlsSession {
    /// The accepting side.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, TlsFailure> {
        Ok(Self::new(listen(config)?))
    }

    /// The accepting side where sessions may be resumed. A peer that says nothing costs nothing: rustls is called at the first
    /// [`TlsSession::read`], in the thread that reads.
    pub fn accept(tls: Arc<ServerTls>) -> Self {
        Self { layer: Layer::Silent(tls) }
    }

    /// The dialling side. The first [`TlsSession::read`], with empty input, writes the client's hello.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsFailure> {
        let after = after(config.enable_secret_extraction);
        let connection = UnbufferedClientConnection::new(config, name).map_err(TlsFailure::from)?;
        Ok(Self::new(Handshake::new(Connection::Client(connection), after)))
    }

    fn new(handshake: Handshake) -> Self {
        Self { layer: Layer::Rustls(Box::new(handshake)) }
    }

    /// Where the connection is.
    pub fn state(&self) -> TlsState {
        match &self.layer {
            Layer::Silent(_) => TlsState::Handshaking,
            Layer::Rustls(handshake) => handshake.state(),
            Layer::Shaken(shaken) => shaken.records.state(),
            Layer::Records(records) => records.state(),
            Layer::Failed => TlsState::Failed,
        }
    }

    /// Whether the peer's hello has been read, and answered: there is work that would be lost.
    pub fn is_begun(&self) -> bool {
        match &self.layer {
            Layer::Silent(_) => false,
            Layer::Rustls(handshake) => handshake.is_begun(),
            Layer::Shaken(_) | Layer::Records(_) | Layer::Failed => true,
        }
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
        match self.read_records(incoming, plain, out) {
            // Whatever follows a close_notify must be ignored (RFC 8446, 6.1).
            Ok(_) if self.state() == TlsState::PeerClosed => {
                Ok(Progress { consumed: incoming.len(), state: TlsState::PeerClosed })
            }
            Ok(consumed) => Ok(Progress { consumed, state: self.state() }),
            Err(failure) => {
                self.layer = Layer::Failed;
                Err(failure)
            }
        }
    }

    fn read_records(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, TlsFailure> {
        let mut consumed = 0;
        if let Layer::Silent(tls) = &self.layer {
            let handshake = listen(tls.config.clone())?.rechecked(Recheck::new(tls));
            self.layer = Layer::Rustls(Box::new(handshake));
        }
        if let Layer::Rustls(handshake) = &mut self.layer {
            consumed = handshake.read(incoming, plain, out)?.consumed;
            if !handshake.is_over() {
                return Ok(consumed);
            }
            self.leave_rustls()?;
        }
        let records = match &mut self.layer {
            Layer::Shaken(shaken) => &mut shaken.records,
            Layer::Records(records) => records,
            Layer::Silent(_) | Layer::Rustls(_) | Layer::Failed => return Err(TlsFailure::Internal),
        };
        Ok(consumed + records.read(&mut incoming[consumed..], plain, out)?)
    }

    fn leave_rustls(&mut self) -> Result<(), TlsFailure> {
        if let Layer::Rustls(handshake) = std::mem::replace(&mut self.layer, Layer::Failed) {
            let peer = handshake.peer();
            self.layer = Layer::Shaken(Box::new(Shaken { records: handshake.into_records()?, peer }));
        }
        Ok(())
    }

    /// The end of the handshake, once, right after the first [`TlsSession::read`] that left it: who the peer's
    /// certificate names, and from now on only what established connections need is kept. A peer without a certificate,
    /// [`TlsFailure::NoClientCertificate`], is established too; after other failures the session must not be used any more.
    pub fn establish(&mut self) -> Result<PeerName, TlsFailure> {
        match std::mem::replace(&mut self.layer, Layer::Failed) {
            Layer::Shaken(shaken) => {
                self.layer = Layer::Records(shaken.records);
                shaken.peer
            }
            Layer::Rustls(handshake) => {
                assert_ne!(handshake.state(), TlsState::Handshaking, "the handshake is not over");
                let peer = handshake.peer();
                self.layer = Layer::Rustls(handshake);
                peer
            }
            Layer::Silent(_) | Layer::Records(_) | Layer::Failed => Err(TlsFailure::Internal),
        }
    }

    /// Appends `plain` to `out` as records. Only after the handshake. When keys are used up, `out` ends with the alert.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealFailure> {
        match &mut self.layer {
            Layer::Rustls(handshake) => handshake.seal(plain, out),
            Layer::Shaken(shaken) => shaken.records.seal(plain, out),
            Layer::Records(records) => records.seal(plain, out),
            Layer::Silent(_) | Layer::Failed => Err(SealFailure::Closed),
        }
    }

    /// Appends the alert that ends our direction; before the end of the handshake or after a failure, nothing.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        match &mut self.layer {
            Layer::Rustls(handshake) => handshake.close_notify(out),
            Layer::Shaken(shaken) => shaken.records.close_notify(out),
            Layer::Records(records) => records.close_notify(out),
            Layer::Silent(_) | Layer::Failed => {}
        }
    }
}

/// Sessions with this configuration leave rustls when they are established. It takes the place of a key log.
pub fn make_compact(config: &mut ServerConfig) {
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(Hook);
}

/// The same for the dialling side.
pub fn make_compact_client(config: &mut ClientConfig) {
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(Hook);
}

/// rustls' accepting side.
fn listen(config: Arc<ServerConfig>) -> Result<Handshake, TlsFailure> {
    let after = after(config.enable_secret_extraction);
    let connection = UnbufferedServerConnection::new(config).map_err(TlsFailure::from)?;
    Ok(Handshake::new(Connection::Server(connection), after))
}

/// Only who has asked for it with [`make_compact`] allows secrets to be taken out of rustls.
fn after(may_extract: bool) -> After {
    if may_extract { After::Records { captured: Captured::default(), seen: 0 } } else { After::Same }
}

#[cfg(test)]
mod tests;
