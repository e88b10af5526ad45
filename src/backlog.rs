//! Messages between two threads, bounded in bytes: each counts from when it is accepted until it is dropped, on whatever
//! path, so that no path can forget to give its bytes back.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// How many bytes of messages wait, and how many may. Clones count together.
#[derive(Debug, Clone)]
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

/// The sending end of a queue that is bounded in messages and in bytes.
#[derive(Debug)]
pub struct Queue {
    messages: Sender<Bytes>,
    backlog: Backlog,
}

/// Why a message was not queued; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Too much waits already.
    Full(Bytes),
    /// Nobody reads any more.
    Gone(Bytes),
}

impl Queue {
    /// Both ends of a queue of at most so many messages, and as many bytes as the backlog allows.
    pub fn bounded(messages_max: usize, backlog: Backlog) -> (Self, Receiver<Bytes>) {
        let (messages, receiver) = bounded(messages_max);
        (Self { messages, backlog }, receiver)
    }

    /// Queues a message without waiting.
    pub fn offer(&self, message: Bytes) -> Result<(), Rejected> {
        let counted = self.backlog.accept(message.clone()).map_err(Rejected::Full)?.into_bytes();
        self.messages.try_send(counted).map_err(|error| match error {
            TrySendError::Full(_) => Rejected::Full(message),
            TrySendError::Disconnected(_) => Rejected::Gone(message),
        })
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

    #[test]
    fn a_queue_is_bounded_both_ways_and_says_when_nobody_reads() {
        let (queue, receiver) = Queue::bounded(2, Backlog::new(7));
        let message = Bytes::from_static(b"four");
        assert_eq!(queue.offer(message.clone()), Ok(()));
        assert_eq!(queue.offer(message.clone()), Err(Rejected::Full(message.clone())));
        assert_eq!(queue.offer(Bytes::from_static(b"1")), Ok(()));
        assert_eq!(queue.offer(Bytes::from_static(b"2")), Err(Rejected::Full(Bytes::from_static(b"2"))));
        assert_eq!(receiver.recv().unwrap(), message);
        assert_eq!(queue.offer(message.clone()), Ok(()));
        drop(receiver);
        assert_eq!(queue.offer(Bytes::new()), Err(Rejected::Gone(Bytes::new())));
    }
}
