//! Wakes whoever waits for events: rung after each commit that may have written some. It says only that there may be
//! more; what there is says the store. Another process may write too, so nobody relies on it alone.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// The bell.
#[derive(Debug, Default)]
pub struct Bell {
    /// For threads.
    rings: Mutex<u64>,
    rung: Condvar,
    /// For tasks.
    watched: watch::Sender<u64>,
}

impl Bell {
    /// Wakes everybody.
    pub fn ring(&self) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        *rings += 1;
        self.watched.send_replace(*rings);
        self.rung.notify_all();
    }

    /// How often it has been rung.
    pub fn rings(&self) -> u64 {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until it has been rung more often than `seen`, but not for longer than `limit`.
    pub fn wait(&self, seen: u64, limit: Duration) {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.rung.wait_timeout_while(rings, limit, |rings| *rings <= seen));
    }

    /// For a task that waits.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.watched.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_ring_between_looking_and_waiting_is_not_lost() {
        let bell = Arc::new(Bell::default());
        let seen = bell.rings();
        let mut listener = bell.listen();
        bell.ring();
        bell.wait(seen, Duration::from_secs(3600));
        assert!(listener.has_changed().unwrap());
        listener.mark_unchanged();
        let (seen, waiting) = (bell.rings(), bell.clone());
        let thread = thread::spawn(move || waiting.wait(seen, Duration::from_secs(3600)));
        bell.ring();
        thread.join().unwrap();
        assert!(listener.has_changed().unwrap());
    }
}
