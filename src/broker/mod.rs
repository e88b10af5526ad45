//! The broker core, pure: who is connected, who may say what, where a message goes, who is told of changes. A
//! [`core::BrokerCore`] runs on each worker as its [`crate::link::Application`]; what workers share is in [`Broker`].

pub mod authorize;
pub mod controllers;
pub mod core;
pub mod directory;
mod inventory;
mod route;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backlog::Backlog;
use crate::limits;
use authorize::Policy;
use controllers::Controllers;
use directory::Directory;

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
    /// A wildcard target.
    Multicast,
    /// Allowed, but the target is not connected.
    NotConnected,
    /// Allowed, but too much is waiting for the target or its worker.
    Overloaded,
    /// Allowed, but of a type that the broker itself does not handle.
    Unhandled,
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
            Self::Unhandled => "unhandled-type",
        }
    }
}

/// Counts what the broker does; called for every message, so it must be cheap.
pub trait Observer: Send + Sync {
    /// One message had this outcome.
    fn outcome(&self, outcome: Outcome);

    /// A connection was superseded by a newer one of the same URI.
    fn superseded(&self);
}

/// What the workers' cores share: the directory, the policy, the controllers and the state of the whole broker.
pub struct Broker {
    /// Who is connected where.
    pub directory: Directory,
    /// Who may say what.
    pub policy: Policy,
    /// Orchestrators linked to this broker.
    pub controllers: Controllers,
    observer: Arc<dyn Observer>,
    /// Payload bytes on their way to each worker.
    mail: Vec<Backlog>,
    stopping: AtomicBool,
}

impl Broker {
    /// A broker for `workers` workers.
    pub fn new(workers: usize, policy: Policy, observer: Arc<dyn Observer>) -> Arc<Self> {
        Arc::new(Self {
            directory: Directory::new(limits::INVENTORY_LOG_MAX),
            policy,
            controllers: Controllers::default(),
            observer,
            mail: (0..workers).map(|_| Backlog::new(limits::MAILBOX_BYTES_MAX)).collect(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Refuses new clients from now on.
    pub fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the broker is about to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
