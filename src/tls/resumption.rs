//! Session tickets (RFC 8446, 4.6.1; RFC 5077, 4) for our own agents, with TLS 1.3 only: a resumed handshake costs the
//! server a twentieth of a full one. The deployed agents speak TLS 1.2 and never resume, so with 1.2 no ticket is made
//! and none is taken.
//!
//! In a resumed handshake rustls asks no verifier: the certificates come from the ticket as they were. So `Recheck`
//! asks it again, for CA, CRL and expiry as of now. And tickets are only good for the files that they were made under:
//! the key is random and new each time the files are read, and nobody else has it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CommonState, HandshakeKind, ServerConfig};

use crate::clock::WallTime;
use crate::tls::failure::TlsFailure;

/// What is needed to accept connections.
#[derive(Debug)]
pub struct ServerTls {
    /// How to shake hands.
    pub config: Arc<ServerConfig>,
    /// Who may come in, also without a full handshake.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
}

/// The verifier, once more, for whoever resumes a session.
pub(super) struct Recheck(Arc<dyn ClientCertVerifier>);

impl Recheck {
    pub(super) fn new(tls: &ServerTls) -> Self {
        Self(tls.verifier.clone())
    }

    /// After the handshake: whether the peer may come in.
    pub(super) fn judge(&self, connection: &CommonState, now: WallTime) -> Result<(), TlsFailure> {
        // Whatever else there may be some day is judged.
        if let Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) = connection.handshake_kind() {
            return Ok(());
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        let (leaf, others) = chain.split_first().ok_or(TlsFailure::NoClientCertificate)?;
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_millis(millis));
        self.0.verify_client_cert(leaf, others, now).map(drop).map_err(TlsFailure::from)
    }
}

/// Tickets of TLS 1.3.
pub(super) struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// With a new key.
    pub(super) fn new() -> Result<Arc<Self>, rustls::Error> {
        Ok(Arc::new(Self(rustls::crypto::aws_lc_rs::Ticketer::new()?)))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        is_tls13(session).then(|| self.0.encrypt(session)).flatten()
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(ticket)
    }
}

/// Whether this is a session of TLS 1.3, as rustls writes it: the name that the client has asked for, if it has, in front of
/// the version. If it wrote something else, there would be no tickets.
fn is_tls13(session: &[u8]) -> bool {
    let version = match session {
        [0, rest @ ..] => rest,
        [1, length, rest @ ..] => rest.get(usize::from(*length)..).unwrap_or_default(),
        _ => return false,
    };
    version.starts_with(&[3, 4])
}

#[cfg(test)]
mod tests;
