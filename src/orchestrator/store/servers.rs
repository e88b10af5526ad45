//! What servers that share one store need of it: jobs that another one has left, and stops for jobs that another one runs.
//! A store with one server has none of it.

use std::any::Any;
use std::fmt;

use super::{StoreError, UnfinishedJob};
use crate::orchestrator::model::JobId;

/// A stop that another server has accepted for a job of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopWanted {
    /// Which.
    pub job: JobId,
    /// What runs is to be ended too.
    pub is_forced: bool,
}

/// Nobody else changes what must not be changed by two at once, as long as this lives.
pub struct Alone(Option<Box<dyn Any>>);

impl Alone {
    /// What is dropped with it lets the others.
    pub fn until_dropped(held: Box<dyn Any>) -> Self {
        Self(Some(held))
    }

    /// For a store with one server.
    pub const fn always() -> Self {
        Self(None)
    }
}

impl fmt::Debug for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alone").field(&self.0.is_some()).finish()
    }
}

/// Servers on one store.
pub trait Servers {
    /// Whether there may be others, so that the rest is worth asking.
    fn is_shared(&self) -> bool {
        false
    }

    /// Takes over the jobs of servers that are gone; they are ours from now on. Jobs that were committed when nobody waited
    /// for the answer any more are among them.
    fn take_over(&self) -> Result<Vec<UnfinishedJob>, StoreError> {
        Ok(Vec::new())
    }

    /// The server that runs a job, if that is another one.
    fn other_owner(&self, _job: JobId) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Has the server that runs a job stop it, soon.
    fn want_stop(&self, _stop: StopWanted) -> Result<(), StoreError> {
        Ok(())
    }

    /// Stops of jobs of ours that have not been begun.
    fn stops_wanted(&self) -> Result<Vec<StopWanted>, StoreError> {
        Ok(Vec::new())
    }

    /// Compares a key of this server with that of the others; the first one's counts. Keys are told by fingerprints.
    fn check_key(&self, _name: &str, _fingerprint: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// Waits until no other server changes what must be decided and written by one after the other: users and roles.
    fn alone(&self) -> Result<Alone, StoreError> {
        Ok(Alone::always())
    }

    /// Whether this server is the one that does what one of them does for all: the first to have started of those that have
    /// not ended. It stays that until it may write nothing any more, and only then another one is.
    fn leads(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Why this server may write nothing any more, if that is so.
    fn fenced(&self) -> Option<String> {
        None
    }
}
