//! The health of the process's services as the status endpoints show it (Trapperkeeper's status API).

use std::sync::Arc;

use serde_json::{Map, Value};

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// Does its work.
    Running,
    /// Not ready yet.
    Starting,
    /// On its way out.
    Stopping,
    /// Cannot do its work.
    Error,
    /// Nobody knows.
    Unknown,
}

impl ServiceState {
    /// The word in the answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

/// State of a service and what belongs to it.
#[derive(Debug, Clone)]
pub struct ServiceHealth {
    /// How it is.
    pub state: ServiceState,
    /// `status` of the answer at level `info` and above; left out at `critical`.
    pub details: Map<String, Value>,
}

/// A service that the status endpoints know.
#[derive(Clone)]
pub struct Service {
    /// `orchestrator-service`, `broker-service`.
    pub name: &'static str,
    /// Tells its health; called on the API's own thread, so it must not block.
    pub probe: Arc<dyn Fn() -> ServiceHealth + Send + Sync>,
}
