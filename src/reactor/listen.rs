//! Where connections come from, and how the workers learn that there are to be no more.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A place to accept connections at.
#[derive(Debug, Clone)]
pub enum Listen {
    /// An address of our own; port 0 lets the system choose.
    Address(SocketAddr),
    /// A listener that somebody else has opened for us (systemd: socket activation). It outlives us, and with it the
    /// connections that nobody has accepted yet.
    Inherited(Arc<TcpListener>),
}

impl Listen {
    /// The address as far as it is known.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Address(address) => Ok(*address),
            Self::Inherited(listener) => listener.local_addr(),
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Inherited(_) => f.write_str("the inherited socket"),
        }
    }
}

/// What the owner of a reactor has decided about its end.
#[derive(Debug, Default)]
pub(super) struct Stop {
    shut: AtomicBool,
    grace: OnceLock<Duration>,
}

impl Stop {
    pub(super) fn shut(&self) {
        self.shut.store(true, Ordering::Release);
    }

    pub(super) fn end(&self, grace: Duration) {
        // Whoever stops first says how long; there is only one owner.
        let _ = self.grace.set(grace);
    }

    /// Whether there are to be no more connections.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// The time for goodbyes, once the end has come.
    pub(super) fn grace(&self) -> Option<Duration> {
        self.grace.get().copied()
    }
}
