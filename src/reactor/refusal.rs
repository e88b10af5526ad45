//! Why a connection did not come to be: a counter's label for those that we accepted, a text that says what to do for
//! those that we dialled.

use crate::link::{Dial, DialError};
use crate::tls::failure::TlsFailure;
use crate::websocket::upgrade::{AnswerError, RequestError};

/// Why a connection ended before it was open.
#[derive(Debug)]
pub(super) enum Refusal {
    /// TLS failed.
    Tls(TlsFailure),
    /// The client's request is not one for a WebSocket.
    Request(RequestError),
    /// The server did not agree to ours.
    Answer(AnswerError),
    /// The application or the reactor does not want it.
    Unwanted { status: u16, reason: &'static str, label: &'static str },
    /// Nothing came for too long.
    Timeout(&'static str),
    /// Its slot is needed for somebody whose address has fewer of them.
    Displaced,
    /// The peer went away.
    Lost,
    /// TCP could not connect.
    Connect(std::io::Error),
    /// The host name could not be resolved.
    Resolve(String),
    /// The name cannot stand in a TLS handshake, or there is no configuration to dial with.
    Unusable(&'static str),
    /// The process stops.
    Stopping,
}

impl Refusal {
    /// The word for logs and metric labels.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Tls(failure) => failure.label(),
            Self::Request(error) => error.label(),
            Self::Answer(_) => "upgrade-refused",
            Self::Unwanted { label, .. } => label,
            Self::Timeout(label) => label,
            Self::Displaced => "handshake-displaced",
            Self::Lost => "lost-before-open",
            Self::Connect(_) => "connect",
            Self::Resolve(_) => "resolve",
            Self::Unusable(_) => "unusable",
            Self::Stopping => "stopping",
        }
    }

    /// Status and text of the HTTP answer, if one can be given.
    pub(super) fn answer(&self) -> Option<(u16, &'static str)> {
        match self {
            Self::Request(error) => Some(error.answer()),
            Self::Unwanted { status, reason, .. } => Some((*status, reason)),
            Self::Stopping => Some((503, "The server stops.")),
            _ => None,
        }
    }

    /// What the application that dialled is told.
    pub(super) fn dial_error(&self, dial: &Dial) -> DialError {
        let target = format!("wss://{}:{}{}", dial.host, dial.port, dial.path);
        let (kind, what) = match self {
            Self::Tls(failure) => ("tls", failure.advice(&dial.host)),
            Self::Answer(error) => ("upgrade", error.advice(&dial.path)),
            Self::Timeout(_) | Self::Displaced => {
                ("timeout", "no answer in time: is the port open in the firewall?".to_owned())
            }
            Self::Lost => ("io", "the other end closed the connection: see its log".to_owned()),
            Self::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => (
                "refused",
                "connection refused: nothing listens there; check host and port, and that it runs".to_owned(),
            ),
            Self::Connect(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => (
                "ports",
                "no local port is free for this address: widen net.ipv4.ip_local_port_range, or use more source addresses"
                    .to_owned(),
            ),
            Self::Connect(error) => ("io", format!("{error}: check the network between the hosts")),
            Self::Resolve(error) => ("resolve", format!("the host name cannot be resolved: {error}")),
            Self::Unusable(what) => ("tls", (*what).to_owned()),
            Self::Stopping => ("io", "this process stops".to_owned()),
            Self::Request(_) | Self::Unwanted { .. } => ("upgrade", self.label().to_owned()),
        };
        DialError { kind, message: format!("{target}: {what}") }
    }
}
