//! How a peer can break the rules of WebSocket, or our limits, and the close code that tells it so (RFC 6455, 7.4).

use crate::websocket::frame::HeaderError;

/// Close codes (RFC 6455, 7.4.1, and the IANA registry).
pub mod code {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The endpoint goes away.
    pub const GOING_AWAY: u16 = 1001;
    /// A rule of the protocol was broken.
    pub const PROTOCOL: u16 = 1002;
    /// A kind of message that is not taken.
    pub const UNSUPPORTED: u16 = 1003;
    /// Stands for a close frame without a code; never on the wire.
    pub const NONE: u16 = 1005;
    /// Content that does not match its type: text that is not UTF-8.
    pub const BAD_CONTENT: u16 = 1007;
    /// A message too big to process.
    pub const TOO_BIG: u16 = 1009;
    /// The server is overloaded.
    pub const TRY_AGAIN: u16 = 1013;
}

/// How a peer broke the rules, or our limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A header that it may not send.
    Header(HeaderError),
    /// A continuation without a message to go on with.
    StrayContinuation,
    /// A new message before the end of the last.
    InterleavedMessage,
    /// Text that is not UTF-8, in a message or in a close frame.
    BadText,
    /// A close frame with one byte, or with a code that may not be sent.
    BadClose,
    /// A message larger than the limit.
    TooBig,
    /// Too many incomplete messages over all connections of the worker.
    NoRoom,
}

impl Violation {
    /// The word for logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Header(HeaderError::ReservedBits) => "ws-reserved-bits",
            Self::Header(HeaderError::ReservedOpcode) => "ws-reserved-opcode",
            Self::Header(HeaderError::FragmentedControl) => "ws-fragmented-control",
            Self::Header(HeaderError::LongControl) => "ws-long-control",
            Self::Header(HeaderError::BadLength) => "ws-bad-length",
            Self::Header(HeaderError::Unmasked) => "ws-unmasked",
            Self::Header(HeaderError::Masked) => "ws-masked",
            Self::StrayContinuation => "ws-stray-continuation",
            Self::InterleavedMessage => "ws-interleaved-message",
            Self::BadText => "ws-bad-text",
            Self::BadClose => "ws-bad-close",
            Self::TooBig => "ws-too-big",
            Self::NoRoom => "ws-no-room",
        }
    }

    /// The code to close the connection with.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::BadText => code::BAD_CONTENT,
            Self::TooBig => code::TOO_BIG,
            Self::NoRoom => code::TRY_AGAIN,
            _ => code::PROTOCOL,
        }
    }
}

impl From<HeaderError> for Violation {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}
