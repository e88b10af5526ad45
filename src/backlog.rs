//! Messages between two threads, bounded in bytes: each counts from when it is accepted until it is dropped, on whatever
//! path, so that no path can forget to give its bytes back.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// How many bytes of messages wait, and how many may.
#[derive(Debug)]
pub struct Backlog {
    waiting: Arc<AtomicUsize>,
    max: usize,
}

impl Backlog {
    /// Nothing waits, and at most `max` bytes may.
    pub fn new(max: usize) -> Self {
        Self { waiting: Arc::default(), max }
    }

    /// Counts a message; gives it back if it does not fit. One always fits if nothing else waits.
    pub fn accept(&self, message: Bytes) -> Result<Waiting, Bytes> {
        let length = message.len();
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        if before > 0 && before + length > self.max {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
            return Err(message);
        }
        Ok(Waiting { message, waiting: self.waiting.clone() })
    }
}

/// A message that is counted until this is dropped.
#[derive(Debug)]
pub struct Waiting {
    message: Bytes,
    waiting: Arc<AtomicUsize>,
}

impl Waiting {
    /// The message as bytes that are counted until the last of their clones is dropped.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Waiting {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

impl Deref for Waiting {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.message
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.message.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_given_back() {
        let backlog = Backlog::new(7);
        let message = Bytes::from_static(b"four");
        let waiting = backlog.accept(message.clone()).unwrap().into_bytes();
        assert_eq!(backlog.accept(message.clone()).unwrap_err(), message);
        assert_eq!(waiting, message);
        drop(waiting);
        assert_eq!(backlog.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_message_larger_than_the_bound_passes_alone() {
        let backlog = Backlog::new(2);
        let waiting = backlog.accept(Bytes::from_static(b"four")).unwrap();
        assert!(backlog.accept(Bytes::from_static(b"x")).is_err());
        drop(waiting);
        assert!(backlog.accept(Bytes::from_static(b"x")).is_ok());
    }
}
