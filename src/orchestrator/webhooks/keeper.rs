//! Which webhooks have a thread here: those that are active, in the server that delivers. Of several servers on one database
//! the one that has started first does; another one begins only once that one may write nothing any more, so what it then
//! reads of how far each webhook got is the last word. Whatever another server's API has changed is seen within a second.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::delivery::{self, Ends};
use super::{HookState, Parts, Webhook};
use crate::limits::EVENTS_POLL_INTERVAL;
use crate::orchestrator::store::StoreError;

/// The threads of webhooks.
pub(super) struct Keeper {
    shared: Arc<Parts>,
    workers: Mutex<HashMap<String, Worker>>,
}

/// A webhook's thread.
struct Worker {
    thread: JoinHandle<()>,
    /// A word tries again at once; dropped, it ends the thread.
    wake: Sender<()>,
    /// Set before it is written down that the webhook is given up.
    is_ending: Arc<AtomicBool>,
    /// [`Webhook::resumed`] when it was last looked at.
    resumed: i64,
}

/// The thread that looks at what other servers have changed; it ends when this is dropped.
pub(super) struct Looking {
    thread: Option<JoinHandle<()>>,
    /// Dropped to stop it.
    stop: Option<Sender<()>>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

impl Keeper {
    /// There are no threads yet.
    pub(super) fn new(shared: Arc<Parts>) -> Self {
        Self { shared, workers: Mutex::default() }
    }

    /// Looks from time to time, if there may be other servers.
    pub(super) fn keep_looking(self: &Arc<Self>) -> io::Result<Looking> {
        if !self.shared.store.is_shared() {
            return Ok(Looking { thread: None, stop: None });
        }
        let (keeper, (stop, stopped)) = (self.clone(), bounded::<()>(0));
        let thread = thread::Builder::new().name("webhooks".into()).spawn(move || {
            while stopped.recv_timeout(EVENTS_POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                keeper.look_now();
            }
        })?;
        Ok(Looking { thread: Some(thread), stop: Some(stop) })
    }

    /// Starts, wakes and ends threads as the stored webhooks want it.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        let mut workers = self.workers();
        // In this order: what is read once it is this server's turn, nobody else changes.
        let stored = if self.shared.store.leads()? { self.shared.store.webhooks()? } else { Vec::new() };
        let is_stored = |id: &String| stored.iter().any(|hook| hook.id == *id);
        let before = workers.len();
        workers.retain(|id, _| is_stored(id));
        let mut known = self.shared.unwell();
        known.retain(|id, _| is_stored(id));
        for hook in &stored {
            known.entry(hook.id.clone()).or_default();
        }
        drop(known);
        if workers.len() < before {
            self.shared.bell.ring();
        }
        for hook in stored {
            match workers.get_mut(&hook.id) {
                Some(worker) if !worker.is_over() => {
                    if worker.resumed != hook.resumed {
                        worker.resumed = hook.resumed;
                        // Nothing is lost if it has been woken already.
                        let _ = worker.wake.try_send(());
                    }
                }
                _ if hook.standing.state == HookState::Dead => self.shared.note(&hook.id, Some(HookState::Dead)),
                _ => self.work(&mut workers, hook),
            }
        }
        Ok(())
    }

    /// The same; a failure matters to nobody who waits.
    pub(super) fn look_now(&self) {
        if let Err(error) = self.look() {
            tracing::warn!(%error, "what has become of webhooks cannot be read");
        }
    }

    /// Ends the threads, after the deliveries that are under way.
    pub(super) fn stop(&self) {
        let workers: Vec<Worker> = self.workers().drain().map(|(_, worker)| worker).collect();
        let threads: Vec<_> = workers.into_iter().map(|worker| worker.thread).collect();
        self.shared.bell.ring();
        for thread in threads {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }

    fn work(&self, workers: &mut HashMap<String, Worker>, hook: Webhook) {
        let ((wake, woken), is_ending) = (bounded(1), Arc::<AtomicBool>::default());
        let (id, resumed) = (hook.id.clone(), hook.resumed);
        self.shared.note(&id, (hook.standing.failures > 0).then_some(HookState::Active));
        match delivery::spawn(self.shared.clone(), hook, Ends { woken, is_ending: is_ending.clone() }) {
            Ok(thread) => drop(workers.insert(id, Worker { thread, wake, is_ending, resumed })),
            Err(error) => tracing::error!(webhook = id, %error, "a webhook's thread cannot be started"),
        }
    }

    fn workers(&self) -> MutexGuard<'_, HashMap<String, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn is_over(&self) -> bool {
        self.is_ending.load(Ordering::Acquire) || self.thread.is_finished()
    }
}
