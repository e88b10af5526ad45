//! What can go wrong in TLS, in words precise enough for a counter, a log line and somebody who must mend it. The
//! alerts are those of RFC 8446, section 6.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::tls::identity::IdentityError;

/// Why a TLS connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFailure {
    /// The first bytes are not a TLS record: plain HTTP, a port scanner.
    NotTls,
    /// A record or message that cannot be read or decrypted.
    BadRecord,
    /// The peer must present a certificate and did not.
    NoClientCertificate,
    /// The peer's certificate is not from a CA we trust, or its signature is wrong.
    CertificateUnknownCa,
    /// The peer's certificate is not valid any more.
    CertificateExpired,
    /// The peer's certificate is not valid yet.
    CertificateNotYetValid,
    /// The peer's certificate is on the CRL.
    CertificateRevoked,
    /// There is no CRL for the CA of the peer's certificate.
    CertificateWithoutCrl,
    /// Our CRL is past its next update.
    CrlExpired,
    /// The server's certificate is for other names.
    CertificateWrongName,
    /// The certificate's extended key usage does not allow this use.
    CertificateWrongPurpose,
    /// The certificate is unusable in another way.
    CertificateInvalid,
    /// The certificate is valid but names nobody.
    Identity(IdentityError),
    /// No common version, suite, group or signature scheme.
    Incompatible,
    /// The peer broke a rule of TLS.
    Misbehaved,
    /// A handshake message split over records after the handshake.
    FragmentedHandshake,
    /// The peer ended the connection with this alert.
    Alert(AlertDescription),
    /// Neither the peer's doing nor ours: the clock or the random numbers failed.
    Internal,
}

impl TlsFailure {
    /// The word for logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotTls => "not-tls",
            Self::BadRecord => "bad-record",
            Self::NoClientCertificate => "no-client-certificate",
            Self::CertificateUnknownCa => "certificate-unknown-ca",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificateRevoked => "certificate-revoked",
            Self::CertificateWithoutCrl => "certificate-without-crl",
            Self::CrlExpired => "crl-expired",
            Self::CertificateWrongName => "certificate-wrong-name",
            Self::CertificateWrongPurpose => "certificate-wrong-purpose",
            Self::CertificateInvalid => "certificate-invalid",
            Self::Identity(error) => error.label(),
            Self::Incompatible => "tls-incompatible",
            Self::Misbehaved => "tls-misbehaved",
            Self::FragmentedHandshake => "tls-fragmented-handshake",
            Self::Alert(alert) => alert_label(alert),
            Self::Internal => "tls-internal",
        }
    }

    /// What to check when a connection that we made ends with this; `host` is the name we asked for.
    pub fn advice(self, host: &str) -> String {
        match self {
            Self::NotTls => "the other end does not speak TLS: check host and port".to_owned(),
            Self::CertificateUnknownCa => {
                "the server's certificate is not signed by a CA of ours: check ssl-ca-cert, intermediates included"
                    .to_owned()
            }
            Self::CertificateExpired => "the server's certificate has expired: renew it there".to_owned(),
            Self::CertificateNotYetValid => {
                "the server's certificate is not valid yet: check the clocks of both hosts".to_owned()
            }
            Self::CertificateRevoked => "the server's certificate is revoked: it needs a new one".to_owned(),
            Self::CertificateWithoutCrl => {
                "no CRL for the server's CA: the CRL file must cover every CA of the chain".to_owned()
            }
            Self::CrlExpired => "our CRL is past its next update: fetch a new one from the CA".to_owned(),
            Self::CertificateWrongName => format!(
                "the server's certificate is not valid for \"{host}\": use a name from its subject alternative names"
            ),
            Self::Alert(AlertDescription::CertificateRevoked) => {
                "the server says that our certificate is revoked: sign a new one at the CA".to_owned()
            }
            Self::Alert(AlertDescription::CertificateExpired) => {
                "the server says that our certificate has expired: renew it at the CA".to_owned()
            }
            Self::Alert(AlertDescription::UnknownCA) => {
                "the server does not know the CA of our certificate: check ssl-cert and the server's CA bundle"
                    .to_owned()
            }
            Self::Alert(alert) => format!("the server refused us with the TLS alert {alert:?}: see its log"),
            other => format!("TLS failed ({}): see the server's log", other.label()),
        }
    }

    /// Bytes that cannot be a record before any record was understood are no TLS at all.
    pub(super) fn before_handshake(self, is_first: bool) -> Self {
        match self {
            Self::NotTls if !is_first => Self::BadRecord,
            other => other,
        }
    }
}

impl From<Error> for TlsFailure {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Self::NotTls,
            Error::InvalidMessage(_) | Error::DecryptError | Error::PeerSentOversizedRecord => Self::BadRecord,
            Error::NoCertificatesPresented => Self::NoClientCertificate,
            Error::InvalidCertificate(error) => certificate_failure(&error),
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible,
            Error::AlertReceived(alert) => Self::Alert(alert),
            Error::FailedToGetCurrentTime
            | Error::FailedToGetRandomBytes
            | Error::General(_)
            | Error::EncryptError
            | Error::Other(_) => Self::Internal,
            _ => Self::Misbehaved,
        }
    }
}

/// Why bytes could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealFailure {
    /// TLS 1.2 keys have protected as many records as they may (RFC 8446, 5.5); the connection must end.
    KeysExhausted,
    /// The session has failed or ended.
    Closed,
}

impl SealFailure {
    /// The word for logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::KeysExhausted => "tls-keys-exhausted",
            Self::Closed => "tls-closed",
        }
    }
}

fn certificate_failure(error: &CertificateError) -> TlsFailure {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFailure::CertificateExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFailure::CertificateNotYetValid
        }
        CertificateError::Revoked => TlsFailure::CertificateRevoked,
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFailure::CertificateUnknownCa,
        CertificateError::UnknownRevocationStatus => TlsFailure::CertificateWithoutCrl,
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            TlsFailure::CrlExpired
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFailure::CertificateWrongName
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsFailure::CertificateWrongPurpose
        }
        _ => TlsFailure::CertificateInvalid,
    }
}

/// A closed set of words: the alert is chosen by the peer and must not choose the number of counters.
const fn alert_label(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnknownCA => "alert-unknown-ca",
        AlertDescription::BadCertificate => "alert-bad-certificate",
        AlertDescription::CertificateExpired => "alert-certificate-expired",
        AlertDescription::CertificateRevoked => "alert-certificate-revoked",
        AlertDescription::CertificateUnknown => "alert-certificate-unknown",
        AlertDescription::CertificateRequired => "alert-certificate-required",
        AlertDescription::HandshakeFailure => "alert-handshake-failure",
        AlertDescription::ProtocolVersion => "alert-protocol-version",
        AlertDescription::DecryptError => "alert-decrypt-error",
        _ => "alert-other",
    }
}
