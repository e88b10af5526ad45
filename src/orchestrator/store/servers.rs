//! What servers that share one store need of it: jobs that another one has left, and stops for jobs that another one runs.
//! A store with one server has none of it.

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

    /// Why this server may write nothing any more, if that is so.
    fn fenced(&self) -> Option<String> {
        None
    }
}
