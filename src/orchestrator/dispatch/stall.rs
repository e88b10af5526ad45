//! What the [`Driver`] does while the disk is full: it keeps the batch and tries again, reads nothing that it could not
//! store, and its clock stands still, so that no node runs out of time meanwhile. Nothing is sent and nobody is told
//! anything that is not stored; the process can still be stopped, since agents keep their results until they are asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::driver::{Command, Driver};
use crate::limits::{DISK_FULL_LOG_INTERVAL, DISK_RETRY_INTERVAL};
use crate::orchestrator::store::{Change, StoreError};

/// How a stall ended.
pub(super) enum Resumed {
    /// The batch is stored.
    Stored,
    /// The process stops; the batch is not stored.
    Stopping,
}

impl Driver {
    /// Commits, as often as it takes until there is room. Other failures are the caller's.
    pub(super) fn commit(&mut self, changes: Vec<Change>) -> Result<Resumed, StoreError> {
        let changes = Arc::new(changes);
        let Err(error) = self.parts.store.commit_patiently(changes.clone()) else { return Ok(Resumed::Stored) };
        if !matches!(error, StoreError::Full { .. }) {
            return Err(error);
        }
        tracing::error!(%error, "jobs wait: what happens to them cannot be stored until there is room on the disk");
        self.parts.disk.set_full(true);
        // Their wishes are in the batch; but nobody can say when it will be stored.
        self.answers.clear();
        let since = self.parts.clock.now();
        let resumed = self.try_again(&changes);
        let stalled = self.parts.clock.now().since(since);
        self.stalled += stalled;
        if matches!(resumed, Ok(Resumed::Stored)) {
            self.parts.disk.set_full(false);
            tracing::info!(seconds = stalled.as_secs(), "there is room on the disk again: jobs go on");
        }
        resumed
    }

    fn try_again(&mut self, changes: &Arc<Vec<Change>>) -> Result<Resumed, StoreError> {
        let mut quiet = Duration::ZERO;
        loop {
            let is_quitting = self.keep_commands();
            match self.parts.store.commit_patiently(changes.clone()) {
                Ok(()) => return Ok(Resumed::Stored),
                Err(StoreError::Full { .. }) if is_quitting => return Ok(Resumed::Stopping),
                Err(error @ StoreError::Full { .. }) => {
                    quiet += DISK_RETRY_INTERVAL;
                    if quiet >= DISK_FULL_LOG_INTERVAL {
                        quiet = Duration::ZERO;
                        tracing::error!(%error, "jobs still wait for room on the disk");
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes commands for a while, to be carried out later, except those whose senders wait: they are not answered, which
    /// tells them. Whether the process stops.
    fn keep_commands(&mut self) -> bool {
        let end = self.parts.clock.now() + DISK_RETRY_INTERVAL;
        loop {
            let rest = end.since(self.parts.clock.now());
            match self.parts.commands.recv_timeout(rest) {
                Ok(Command::Stop(..)) => {}
                Ok(Command::Quit) => {
                    self.is_stopping = true;
                    return true;
                }
                Ok(command) => self.kept.push_back(command),
                Err(error) => return error.is_disconnected(),
            }
        }
    }

    /// The next command: those that were kept first.
    pub(super) fn next_command(&mut self) -> Result<Command, crossbeam_channel::TryRecvError> {
        self.kept.pop_front().map_or_else(|| self.parts.commands.try_recv(), Ok)
    }
}

/// Commands that came during a stall.
pub(super) type Kept = VecDeque<Command>;
