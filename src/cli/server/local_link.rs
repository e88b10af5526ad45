//! The link between orchestrator and broker in one process: a bounded queue in each direction, bounded in messages and
//! in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::broker::controllers::Controller;
use crate::broker::core::BrokerMail;
use crate::limits;
use crate::link::Port;
use crate::reactor::Mailboxes;

/// The worker that speaks for local controllers; one, so that the order of their messages is kept.
const WORKER: u16 = 0;

/// From the broker to the orchestrator.
pub struct ToOrchestrator {
    queue: Sender<Bytes>,
    bytes: Arc<AtomicUsize>,
}

impl ToOrchestrator {
    /// The port for the broker and the orchestrator's end.
    pub fn new() -> (Self, Receiver<Bytes>) {
        let (queue, receiver) = bounded(limits::ORCHESTRATOR_QUEUE_MAX);
        (Self { queue, bytes: Arc::default() }, receiver)
    }
}

impl Port for ToOrchestrator {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        let counted = Counted::take(&message, &self.bytes, limits::ORCHESTRATOR_QUEUE_BYTES_MAX);
        let Some(counted) = counted else { return Err(message) };
        self.queue.try_send(counted).map_err(|_| message)
    }
}

/// A message that gives its bytes back to the count when the other end is done with it.
struct Counted {
    message: Bytes,
    bytes: Arc<AtomicUsize>,
}

impl Counted {
    /// Counts a message; `None` if it does not fit. One always fits into an empty queue.
    fn take(message: &Bytes, bytes: &Arc<AtomicUsize>, max: usize) -> Option<Bytes> {
        let length = message.len();
        let before = bytes.fetch_add(length, Ordering::Relaxed);
        if before > 0 && before + length > max {
            bytes.fetch_sub(length, Ordering::Relaxed);
            return None;
        }
        Some(Bytes::from_owner(Self { message: message.clone(), bytes: bytes.clone() }))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.message.len(), Ordering::Relaxed);
    }
}

/// From the orchestrator to the broker.
pub struct ToBroker {
    /// The broker's workers.
    pub mailboxes: Mailboxes<BrokerMail>,
    /// The orchestrator as the broker knows it.
    pub controller: Arc<Controller>,
    /// Bytes on their way.
    pub bytes: Arc<AtomicUsize>,
}

impl Port for ToBroker {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        let counted = Counted::take(&message, &self.bytes, limits::MAILBOX_BYTES_MAX);
        let Some(counted) = counted else { return Err(message) };
        let mail = BrokerMail::FromController(self.controller.clone(), counted);
        self.mailboxes.send(WORKER, mail).map_err(|_| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded_in_bytes_and_drains() {
        let (port, receiver) = ToOrchestrator::new();
        let half = Bytes::from(vec![0; limits::ORCHESTRATOR_QUEUE_BYTES_MAX / 2 + 1]);
        assert!(port.offer(half.clone()).is_ok());
        assert!(port.offer(half.clone()).is_err());
        drop(receiver.recv().unwrap());
        assert!(port.offer(half).is_ok());
    }

    #[test]
    fn what_is_counted_is_given_back() {
        let bytes = Arc::new(AtomicUsize::new(0));
        let message = Bytes::from_static(b"four");
        let counted = Counted::take(&message, &bytes, 7).unwrap();
        assert!(Counted::take(&message, &bytes, 7).is_none());
        assert_eq!(counted, message);
        drop(counted);
        assert_eq!(bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_message_larger_than_the_bound_passes_alone() {
        let (port, receiver) = ToOrchestrator::new();
        assert!(port.offer(Bytes::from(vec![0; limits::ORCHESTRATOR_QUEUE_BYTES_MAX + 1])).is_ok());
        assert!(port.offer(Bytes::from_static(b"x")).is_err());
        drop(receiver.recv().unwrap());
        assert!(port.offer(Bytes::from_static(b"x")).is_ok());
    }
}
