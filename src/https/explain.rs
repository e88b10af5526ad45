//! Errors of connections for people: what happened, where, and what to do.

use std::io;

use rustls::CertificateError;

use super::{HttpError, HttpErrorKind, Place};

/// The error for people, from whatever layer it came.
pub(super) fn explain(error: &(dyn std::error::Error + 'static), place: &Place<'_>) -> HttpError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return explain_tls(tls, place);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => explain_tls(tls, place),
                None => explain_io(io, place),
            };
        }
        cause = error.source();
    }
    let text = format!("{place} gave no valid HTTP answer ({error}); check that an HTTPS server is at this port");
    HttpError::new(HttpErrorKind::Protocol, text)
}

fn explain_io(error: &io::Error, place: &Place<'_>) -> HttpError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => HttpError::new(
            HttpErrorKind::Refused,
            format!("{place} refused the connection; check that the server runs and listens at this port"),
        ),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => HttpError::new(
            HttpErrorKind::Protocol,
            format!("{place} closed the connection before its answer was complete ({error}); see the server's log"),
        ),
        _ => {
            HttpError::new(HttpErrorKind::Io, format!("{place} cannot be reached ({error}); check network and routes"))
        }
    }
}

fn explain_tls(error: &rustls::Error, place: &Place<'_>) -> HttpError {
    let advice = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name; use a name it holds, or have the name added to it"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the server's certificate is not from a CA we trust; check the CA file, and that it has the intermediates"
            }
            CertificateError::Revoked => "the server's certificate is revoked; it needs a new one",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired, or this host's clock is ahead"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet, or this host's clock is behind"
            }
            CertificateError::UnknownRevocationStatus => {
                "no CRL says whether the server's certificate is revoked; add its CA's CRL to the CRL file"
            }
            _ => "the server's certificate cannot be used",
        },
        rustls::Error::AlertReceived(_) => {
            "the server does not accept us; check that our certificate is valid, not revoked, and from the CA it trusts"
        }
        rustls::Error::InvalidMessage(_) => "that is not TLS; check the port",
        _ => "TLS failed",
    };
    HttpError::new(HttpErrorKind::Tls, format!("{place}: {advice} ({error})"))
}
