//! Controllers: orchestrators linked to this broker. They are not in the inventory, are reached by their exact URI, and
//! may send only the types of their allow-list.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::link::{PeerId, Port};

/// Where messages for a controller go.
pub enum Way {
    /// To an orchestrator in this process, from whichever worker.
    Port(Box<dyn Port>),
    /// Over a connection that the broker has dialled, by the worker that has it.
    Link(PeerId),
}

/// One linked orchestrator. One that is linked again is another one: what is still under way to or from the first must
/// not be mistaken for the second's.
pub struct Controller {
    /// Its URI.
    pub uri: Arc<str>,
    /// Where its messages go.
    pub way: Way,
    /// Message types that it may send.
    pub allowlist: Vec<Box<str>>,
}

impl Controller {
    /// Its connection, if it has one of its own.
    pub fn link(&self) -> Option<PeerId> {
        match self.way {
            Way::Link(peer) => Some(peer),
            Way::Port(_) => None,
        }
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// The linked orchestrators, and those that ought to be. Few: looking through them costs less than a hash, and nobody
/// waits for a lock.
#[derive(Debug, Default)]
pub struct Controllers {
    linked: ArcSwap<Vec<Arc<Controller>>>,
    expected: ArcSwap<Vec<Arc<str>>>,
}

impl Controllers {
    /// Links a controller; one with the same URI is replaced.
    pub fn link(&self, controller: Arc<Controller>) {
        self.linked.rcu(|linked| {
            let others = linked.iter().filter(|other| other.uri != controller.uri);
            others.chain([&controller]).cloned().collect::<Vec<_>>()
        });
    }

    /// Takes this very controller away; nothing happens if another one has its URI by now.
    pub fn unlink(&self, controller: &Arc<Controller>) {
        self.linked
            .rcu(|linked| linked.iter().filter(|other| !Arc::ptr_eq(other, controller)).cloned().collect::<Vec<_>>());
    }

    /// These URIs are of controllers, linked or not.
    pub(super) fn expect(&self, uris: Vec<Arc<str>>) {
        self.expected.store(Arc::new(uris));
    }

    /// How many are linked.
    pub fn count(&self) -> usize {
        self.linked.load().len()
    }

    /// Whether a controller with this URI is linked.
    pub fn is_linked(&self, uri: &str) -> bool {
        self.linked.load().iter().any(|controller| *controller.uri == *uri)
    }

    /// Whether this is the URI of a controller, be it linked or away: an answer to one that is away is allowed, and
    /// undeliverable.
    pub fn is_known(&self, uri: &str) -> bool {
        self.is_linked(uri) || self.expected.load().iter().any(|expected| **expected == *uri)
    }

    /// The controller with this URI.
    pub fn find(&self, uri: &str) -> Option<Arc<Controller>> {
        self.linked.load().iter().find(|controller| *controller.uri == *uri).cloned()
    }
}
