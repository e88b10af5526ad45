//! The broker core, pure: who is connected, who may say what, where a message goes, who is told of changes. A
//! [`core::BrokerCore`] runs on each worker as its [`crate::link::Application`]; what workers share is in [`Broker`].

mod answer;
pub mod authorize;
pub mod controllers;
pub mod core;
pub mod directory;
mod drain;
mod inventory;
pub mod links;
pub mod mounts;
pub mod patterns;
#[cfg(test)]
mod recorder;
mod route;
mod said;
mod scratch;
mod session;
pub mod state;
pub mod sweep;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::backlog::Backlog;
use crate::clock::Moment;
use crate::limits;
use authorize::Policy;
use controllers::Controllers;
use directory::Directory;
use drain::Departure;
use mounts::Mounts;
use state::{BrokerState, StateCell};

/// What became of one message from a client or controller; the word is the access outcome of the reference where it has
/// one, and the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Allowed, and routed or answered.
    Authorized,
    /// The envelope could not be read; the word says how.
    Undecodable(&'static str),
    /// The sender is not the connection's certificate name.
    NotAuthenticated,
    /// The policy forbids it.
    NotAuthorized,
    /// A wildcard target, or several targets.
    Multicast,
    /// Allowed, but the target is not connected.
    NotConnected,
    /// Allowed, but too much is waiting for the target or its worker.
    Overloaded,
    /// Allowed, but larger than what the target takes.
    TooLarge,
    /// Allowed, but of a type that the broker itself does not handle.
    Unhandled,
    /// Allowed, but the client is associated as another type of its name.
    AssociationRefused,
}

impl Outcome {
    /// The word for logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Authorized => "authorization-success",
            Self::Undecodable(label) => label,
            Self::NotAuthenticated => "authentication-failure",
            Self::NotAuthorized => "authorization-failure",
            Self::Multicast => "multicast-unsupported",
            Self::NotConnected => "not-connected",
            Self::Overloaded => "overloaded",
            Self::TooLarge => "too-large-for-target",
            Self::Unhandled => "unhandled-type",
            Self::AssociationRefused => "association-refused",
        }
    }
}

/// Counts what the broker does; called for every message, so it must be cheap.
pub trait Observer: Send + Sync {
    /// One message had this outcome.
    fn outcome(&self, outcome: Outcome);

    /// The same with everything that the access log says of it; called once per message from a client or controller.
    fn accessed(&self, worker: u16, outcome: Outcome, access: &Access<'_>);

    /// A connection was superseded by a newer one of the same URI.
    fn superseded(&self);

    /// So many controllers are linked from now on.
    fn controllers_linked(&self, _linked: usize) {}
}

/// What the access log says of a message (pcp-broker, PCP access log).
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// When the message came.
    pub at: Moment,
    /// The client's address; `None` for a controller.
    pub remote: Option<SocketAddr>,
    /// The name in the client's certificate, or the controller's authority.
    pub common_name: &'a str,
    /// The envelope's routing fields; `None` if it could not be read.
    pub envelope: Option<AccessEnvelope<'a>>,
}

/// The routing fields of a message, defaults filled in. They are as the peer wrote them: whoever writes them into a log
/// escapes them.
#[derive(Debug, Clone, Copy)]
pub struct AccessEnvelope<'a> {
    /// The sender's URI.
    pub sender: &'a str,
    /// The full type.
    pub message_type: &'a str,
    /// The message's id.
    pub id: &'a str,
    /// The target's URI.
    pub target: &'a str,
}

/// What the workers' cores share: the directory, the policy, the controllers and the state of the whole broker.
pub struct Broker {
    /// Who is connected where.
    pub directory: Directory,
    /// Who may say what. A policy stored later holds from the next message on.
    pub policy: ArcSwap<Policy>,
    /// Where clients connect.
    pub mounts: Mounts,
    /// Orchestrators linked to this broker.
    pub controllers: Controllers,
    /// Bytes of the changes in one inventory update; what is more goes into further ones.
    pub update_bytes_max: usize,
    observer: Arc<dyn Observer>,
    /// Payload bytes on their way to each worker.
    mail: Vec<Backlog>,
    state: StateCell,
    departure: Departure,
}

impl Broker {
    /// A broker for `workers` workers.
    pub fn new(workers: usize, mounts: Mounts, policy: Policy, observer: Arc<dyn Observer>) -> Arc<Self> {
        Arc::new(Self {
            directory: Directory::new(limits::INVENTORY_LOG_MAX),
            policy: ArcSwap::from_pointee(policy),
            mounts,
            controllers: Controllers::default(),
            update_bytes_max: limits::INVENTORY_UPDATE_BYTES_MAX,
            observer,
            mail: (0..workers).map(|_| Backlog::new(limits::MAILBOX_BYTES_MAX)).collect(),
            state: StateCell::new(),
            departure: Departure::default(),
        })
    }

    /// Refuses new clients from now on.
    pub fn begin_stop(&self) {
        self.state.set(BrokerState::Stopping);
    }

    /// Refuses new clients from now on, and says goodbye to those that are there within `window` once the workers are
    /// stopped. Without this they all go at once.
    pub fn begin_drain(&self, window: Duration) {
        self.begin_stop();
        self.departure.set_window(window);
    }

    /// Whether the broker is about to stop.
    pub fn is_stopping(&self) -> bool {
        self.state() == BrokerState::Stopping
    }

    /// How the broker stands.
    pub fn state(&self) -> BrokerState {
        self.state.get()
    }

    /// How many workers there are.
    fn workers(&self) -> u16 {
        u16::try_from(self.mail.len()).expect("workers are counted in 16 bits")
    }
}
