//! Controllers: orchestrators linked to this broker. They are not in the inventory, are reached by their exact URI, and
//! may send only the types of their allow-list.

use std::sync::{Arc, PoisonError, RwLock};

use crate::link::Port;

/// One linked orchestrator.
pub struct Controller {
    /// Its URI.
    pub uri: Arc<str>,
    /// Where its messages go.
    pub port: Box<dyn Port>,
    /// Message types that it may send.
    pub allowlist: Vec<Box<str>>,
}

/// The linked orchestrators.
#[derive(Default)]
pub struct Controllers {
    linked: RwLock<Vec<Arc<Controller>>>,
}

impl Controllers {
    /// Links a controller; one with the same URI is replaced.
    pub fn link(&self, controller: Arc<Controller>) {
        let mut linked = self.linked.write().unwrap_or_else(PoisonError::into_inner);
        linked.retain(|other| other.uri != controller.uri);
        linked.push(controller);
    }

    /// Whether a controller with this URI is linked.
    pub fn is_linked(&self, uri: &str) -> bool {
        let linked = self.linked.read().unwrap_or_else(PoisonError::into_inner);
        linked.iter().any(|controller| *controller.uri == *uri)
    }

    /// The controller with this URI.
    pub fn find(&self, uri: &str) -> Option<Arc<Controller>> {
        let linked = self.linked.read().unwrap_or_else(PoisonError::into_inner);
        linked.iter().find(|controller| *controller.uri == *uri).cloned()
    }
}
