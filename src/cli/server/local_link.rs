//! The link between orchestrator and broker in one process: a bounded queue in each direction, bounded in messages and
//! in bytes.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::backlog::Backlog;
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
    backlog: Backlog,
}

impl ToOrchestrator {
    /// The port for the broker and the orchestrator's end.
    pub fn new() -> (Self, Receiver<Bytes>) {
        let (queue, receiver) = bounded(limits::ORCHESTRATOR_QUEUE_MAX);
        (Self { queue, backlog: Backlog::new(limits::ORCHESTRATOR_QUEUE_BYTES_MAX) }, receiver)
    }
}

impl Port for ToOrchestrator {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        let counted = self.backlog.accept(message.clone())?.into_bytes();
        self.queue.try_send(counted).map_err(|_| message)
    }
}

/// From the orchestrator to the broker.
pub struct ToBroker {
    mailboxes: Mailboxes<BrokerMail>,
    controller: Arc<Controller>,
    backlog: Backlog,
}

impl ToBroker {
    /// To the broker with these workers, from the orchestrator that it knows as `controller`.
    pub fn new(mailboxes: Mailboxes<BrokerMail>, controller: Arc<Controller>) -> Self {
        Self { mailboxes, controller, backlog: Backlog::new(limits::MAILBOX_BYTES_MAX) }
    }
}

impl Port for ToBroker {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        let counted = self.backlog.accept(message.clone())?.into_bytes();
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
    fn a_message_larger_than_the_bound_passes_alone() {
        let (port, receiver) = ToOrchestrator::new();
        assert!(port.offer(Bytes::from(vec![0; limits::ORCHESTRATOR_QUEUE_BYTES_MAX + 1])).is_ok());
        assert!(port.offer(Bytes::from_static(b"x")).is_err());
        drop(receiver.recv().unwrap());
        assert!(port.offer(Bytes::from_static(b"x")).is_ok());
    }
}
