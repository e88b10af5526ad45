//! What servers on one database do for each other, once a second: jobs that another server has left behind go on here, as they
//! would after a restart of that one, and stops that another has accepted reach the dispatcher. A server that may write
//! nothing any more ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::dispatch::{Command, Stop};
use super::jobs;
use super::store::{StopWanted, Store, StoreError};
use super::vault::Vault;
use crate::limits::{SERVERS_LOOK_INTERVAL, STOP_ELSEWHERE_TIMEOUT};

/// The thread; it ends when this is dropped.
pub struct Takeover {
    thread: Option<JoinHandle<()>>,
    /// Dropped to stop it.
    stop: Option<Sender<()>>,
}

/// What the thread needs.
pub struct TakeoverParts {
    /// Where the others are seen.
    pub store: Arc<dyn Store>,
    /// Opens the parameters of their jobs.
    pub vault: Arc<Vault>,
    /// To the dispatcher.
    pub commands: Sender<Command>,
    /// Nodes that have not ended; those of their jobs are added.
    pub unfinished_nodes: Arc<AtomicUsize>,
}

impl Takeover {
    /// Starts the thread, if the store may have other servers.
    pub fn start(parts: TakeoverParts) -> std::io::Result<Self> {
        if !parts.store.is_shared() {
            return Ok(Self { thread: None, stop: None });
        }
        let (stop, stopped) = bounded::<()>(0);
        let thread = thread::Builder::new().name("takeover".into()).spawn(move || {
            while stopped.recv_timeout(SERVERS_LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Some(why) = parts.store.fenced() {
                    tracing::error!(why, "the server ends: it may write nothing any more");
                    // A dispatcher that has stopped by itself takes no command.
                    let _ = parts.commands.send(Command::Quit);
                    return;
                }
                if let Err(error) = parts.look() {
                    tracing::warn!(%error, "other servers cannot be looked at; tried again");
                }
            }
        })?;
        Ok(Self { thread: Some(thread), stop: Some(stop) })
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

impl TakeoverParts {
    fn look(&self) -> Result<(), StoreError> {
        let left = self.store.take_over()?;
        if !left.is_empty() {
            let nodes: usize = left.iter().map(|job| job.nodes.len()).sum();
            tracing::warn!(jobs = left.len(), nodes, "goes on with jobs that another server has left");
            self.unfinished_nodes.fetch_add(nodes, Ordering::Relaxed);
        }
        for job in left {
            let accepted = Box::new(jobs::opened(job, &self.vault));
            // If the dispatcher is stopping, the next server finds them.
            let _ = self.commands.send(Command::TakeOver(accepted));
        }
        for StopWanted { job, is_forced } in self.store.stops_wanted()? {
            let (to, answer) = bounded(1);
            let stop = if is_forced { Stop::ByForce } else { Stop::Gently };
            let is_sent = self.commands.send(Command::Stop(job, stop, to)).is_ok();
            if is_sent && answer.recv_timeout(STOP_ELSEWHERE_TIMEOUT).is_ok() {
                tracing::info!(%job, ?stop, "stops a job, as another server has been asked to");
            }
        }
        Ok(())
    }
}
