//! In which order the nodes of a job run, as it is kept: written with the job, read again after a restart.

use super::StoreError;
use crate::orchestrator::model::{JobId, NodeState};

/// Keeps the order of jobs. It is written by [`super::Store::create_job`] and removed with the job.
pub trait OrderStore {
    /// What the nodes of a job that have not started wait for: those before them that have not ended well.
    fn waits(&self, job: JobId) -> Result<Vec<Wait>, StoreError>;
}

/// A node of a job runs only after another one of it has ended well; both by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    /// The one that waits.
    pub node: u32,
    /// The one before it.
    pub after: u32,
}

/// A node that has not started, and one that it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Which, and for which.
    pub precedence: Precedence,
    /// How the one before it has ended, if it has: not well, or nobody would wait for it.
    pub ended: Option<Ended>,
}

/// A node that has ended, but not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// A final state.
    pub state: NodeState,
}

impl Wait {
    /// Of a job that has just been made.
    pub fn new(precedence: Precedence) -> Self {
        Self { precedence, ended: None }
    }
}
