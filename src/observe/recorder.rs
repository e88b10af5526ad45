//! The thread that writes the access logs, and looks at the process now and then. It sleeps unless a line has come:
//! then it waits a moment for more, or writes at once when a buffer is half full.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::Clock;
use crate::limits::{ACCESS_LOG_DELAY, OBSERVE_INTERVAL};

/// What the thread is woken for, the most urgent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ring {
    Quiet,
    /// A line has come.
    Soon,
    /// A buffer is half full.
    Now,
    /// The end.
    End,
}

/// The way to wake the thread.
pub(super) struct Bell {
    ring: Mutex<Ring>,
    woken: Condvar,
}

impl Bell {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { ring: Mutex::new(Ring::Quiet), woken: Condvar::new() })
    }

    pub(super) fn ring(&self, wanted: Ring) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > *ring {
            *ring = wanted;
            self.woken.notify_one();
        }
    }

    /// Waits for work; what is returned is forgotten, except for the end.
    fn wait(&self, longest: Duration) -> Ring {
        let wait_while = |held, time, most| {
            let waited = self.woken.wait_timeout_while(held, time, |ring: &mut Ring| *ring <= most);
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring = wait_while(ring, longest, Ring::Quiet);
        if *ring == Ring::Soon {
            ring = wait_while(ring, ACCESS_LOG_DELAY, Ring::Soon);
        }
        let heard = *ring;
        if heard != Ring::End {
            *ring = Ring::Quiet;
        }
        heard
    }
}

/// The thread; when it is dropped, what waits is written first.
pub(super) struct Recorder {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts the thread: `flush` writes what has come, `look` looks at the process, with the time since the last look.
    pub(super) fn start(
        bell: Arc<Bell>,
        flush: impl Fn() + Send + 'static,
        mut look: impl FnMut(Duration) + Send + 'static,
    ) -> std::io::Result<Self> {
        let heard = bell.clone();
        let work = move || {
            let clock = Clock::start();
            let mut looked = clock.now();
            loop {
                let next = OBSERVE_INTERVAL.saturating_sub(clock.now().since(looked));
                let ring = heard.wait(next);
                flush();
                if ring == Ring::End {
                    return;
                }
                let now = clock.now();
                if now.since(looked) >= OBSERVE_INTERVAL {
                    look(now.since(looked));
                    looked = now;
                }
            }
        };
        let thread = std::thread::Builder::new().name("podium-recorder".to_owned()).spawn(work)?;
        Ok(Self { bell, thread: Some(thread) })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.bell.ring(Ring::End);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by itself.
            let _ = thread.join();
        }
    }
}
