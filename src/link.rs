//! The contract between the reactor, which owns sockets, TLS, frames and time, and the applications that run on it
//! (broker core, agent, simulated fleet). An application gets [`Event`]s and acts through a [`Shell`]; it never sees a
//! socket, so a simulation can stand in for the reactor.
//!
//! Each worker thread owns one application instance. Instances talk by [`Shell::mail`], which is bounded.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::backlog::{Queue, Rejected};
use crate::clock::Moment;

/// One connection of one worker. The generation makes an id of a closed connection never equal to a later one in the
/// same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId {
    /// Index of the worker that owns the connection.
    pub worker: u16,
    /// Key in the worker's slab.
    pub slot: u32,
    /// Counts the connections this worker has ever had.
    pub generation: u32,
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.worker, self.slot, self.generation)
    }
}

/// What the peer proved in the TLS handshake.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The subject's common name of the verified leaf certificate.
    pub common_name: &'a str,
    /// Which certificate it is, to find it in a CRL later.
    pub certificate: CertificateId,
    /// What else the certificate says of its holder.
    pub attributes: &'a CertificateAttributes,
}

impl<'a> Identity<'a> {
    /// A holder of whom nothing but the name is known.
    pub fn named(common_name: &'a str) -> Self {
        const NOTHING: &CertificateAttributes =
            &CertificateAttributes { dns_names: Vec::new(), ip_addresses: Vec::new(), extensions: Vec::new() };
        Self { common_name, certificate: CertificateId([0; 16]), attributes: NOTHING }
    }
}

/// Names one certificate: the beginning of a hash over its issuer and serial number, which together are unique
/// (RFC 5280, 4.1.2.2), so that an idle connection need not keep the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId(pub [u8; 16]);

/// What access rules may ask of a certificate besides its common name. Empty for most agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateAttributes {
    /// Subject alternative names of kind dNSName other than the common name.
    pub dns_names: Vec<Box<str>>,
    /// Subject alternative names of kind iPAddress, as text.
    pub ip_addresses: Vec<Box<str>>,
    /// Extensions below Puppet's arc 1.3.6.1.4.1.34380: OID in dotted form and value.
    pub extensions: Vec<(Box<str>, Box<str>)>,
}

impl CertificateAttributes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.dns_names.is_empty() && self.ip_addresses.is_empty() && self.extensions.is_empty()
    }
}

/// A connection that has finished TLS and asks for, or has just finished, the WebSocket upgrade.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// Who the peer is.
    pub identity: Identity<'a>,
    /// The request's path without its query, undecoded.
    pub path: &'a str,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The tag of the [`Dial`] that made this connection; `None` if it was accepted.
    pub dialled: Option<DialTag>,
}

/// An application's answer to an upgrade request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Answer 101; [`Event::Opened`] follows.
    Accept,
    /// Answer with this HTTP status and close. Agents back off from that; they would not from a close after the 101.
    Refuse {
        /// 4xx or 5xx.
        status: u16,
        /// Sent as the body, logged, and the label of the counter.
        reason: &'static str,
    },
}

/// Kind of a WebSocket data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text: PCP v2. The reactor has checked the encoding.
    Text,
    /// Binary: PCP v1.
    Binary,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer sent a close frame.
    Peer {
        /// Its code; 1005 if it sent none.
        code: u16,
        /// Its reason.
        reason: Box<str>,
    },
    /// The application asked for it with [`Shell::close`] or [`Shell::abort`].
    Application,
    /// End of file or a reset without a close frame; reported as 1006.
    Lost,
    /// The peer broke TLS or WebSocket rules; the word is also the metric label.
    Protocol(&'static str),
    /// No frame in either direction for the idle timeout.
    Idle,
    /// More bytes waited for the peer than its queue may hold.
    Overflow,
    /// The process stops.
    Shutdown,
}

/// Names an attempt to connect, chosen by the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DialTag(pub u64);

/// An outgoing connection to be made.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Comes back in [`Opening::dialled`] or [`Event::DialFailed`].
    pub tag: DialTag,
    /// Host name or address; also what the peer's certificate must be valid for.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Path of the upgrade request.
    pub path: Arc<str>,
}

/// Why an outgoing connection could not be made. The text says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialError {
    /// One word per cause, for counters: `resolve`, `refused`, `timeout`, `tls`, `upgrade`, `ports`, `io`.
    pub kind: &'static str,
    /// What happened and what to check.
    pub message: String,
}

/// Names a timer of an application; arming the same key again replaces the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerKey(pub u64);

/// What happened. Borrowed parts live in the worker's buffers and are gone when the handler returns.
#[derive(Debug)]
pub enum Event<'a, M> {
    /// A connection is open in both directions.
    Opened {
        /// Its id from now on.
        peer: PeerId,
        /// Who it is.
        opening: Opening<'a>,
    },
    /// A whole message, reassembled and unmasked.
    Message {
        /// From whom.
        peer: PeerId,
        /// Text or binary.
        opcode: Opcode,
        /// The content.
        payload: &'a [u8],
    },
    /// A connection that was [`Event::Opened`] cannot be used any more, though its last bytes may still be on their
    /// way. Exactly one per opened connection.
    Closed {
        /// Which.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// A connection whose queue had filled is empty again.
    Drained {
        /// Which.
        peer: PeerId,
    },
    /// An attempt of [`Shell::dial`] failed.
    DialFailed {
        /// Which.
        tag: DialTag,
        /// Why.
        error: DialError,
    },
    /// A timer's deadline has passed.
    Timer(TimerKey),
    /// From another worker or thread.
    Mail(M),
    /// The process is about to stop: say goodbye to peers; the reactor closes what is left when its grace is over.
    Stopping,
}

/// What runs on one worker.
pub trait Application: Send + 'static {
    /// What other workers and threads may send to this instance.
    type Mail: Send + 'static;

    /// Decides on an upgrade request before it is answered.
    fn admit(&mut self, now: Moment, opening: &Opening<'_>) -> Admission;

    /// Handles one event.
    fn handle(&mut self, now: Moment, event: Event<'_, Self::Mail>, shell: &mut dyn Shell<Self::Mail>);
}

/// What became of a message given to [`Shell::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// Written to the socket or queued behind it.
    Sent,
    /// The connection does not exist any more, or is closing.
    Gone,
    /// Its queue, or the worker's, would exceed its limit; nothing was queued.
    Full,
}

/// What an application can do.
pub trait Shell<M> {
    /// The index of this worker.
    fn worker(&self) -> u16;

    /// The address of the other end of a connection of this worker.
    fn remote(&self, peer: PeerId) -> Option<SocketAddr>;

    /// Sends one message made of the concatenated parts to a connection of this worker.
    fn send(&mut self, to: PeerId, opcode: Opcode, parts: &[&[u8]]) -> SendOutcome;

    /// Closes a connection of this worker with a WebSocket code and reason (at most 123 bytes).
    fn close(&mut self, peer: PeerId, code: u16, reason: &str);

    /// Drops a connection of this worker without a close frame.
    fn abort(&mut self, peer: PeerId);

    /// Asks for [`Event::Timer`] at `at` or soon after.
    fn arm(&mut self, key: TimerKey, at: Moment);

    /// Forgets a timer.
    fn disarm(&mut self, key: TimerKey);

    /// Sends to the application of another worker (or this one); gives the mail back if that mailbox is full.
    fn mail(&mut self, worker: u16, mail: M) -> Result<(), M>;

    /// Starts to connect; ends in [`Event::Opened`] or [`Event::DialFailed`].
    fn dial(&mut self, dial: Dial);
}

/// Where one end of the link between a broker and an orchestrator puts its messages: a bounded channel in one process,
/// a websocket between two. Neither end can tell which.
pub trait Port: Send + Sync {
    /// Hands over one PCP v2 message; gives it back if the other end is not keeping up or is gone.
    fn offer(&self, message: Bytes) -> Result<(), Bytes>;
}

impl Port for Queue {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        Queue::offer(self, message).map_err(|(Rejected::Full(message) | Rejected::Gone(message))| message)
    }
}
