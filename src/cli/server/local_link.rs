//! The link between orchestrator and broker in one process: a bounded queue in each direction, bounded in messages and
//! in bytes.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Receiver;

use crate::backlog::{Backlog, Queue};
use crate::broker::controllers::Controller;
use crate::broker::core::BrokerMail;
use crate::limits;
use crate::link::Port;
use crate::reactor::Mailboxes;

/// The worker that speaks for local controllers; one, so that the order of their messages is kept.
const WORKER: u16 = 0;

/// From the broker to the orchestrator: the port for the broker and the orchestrator's end.
pub fn to_orchestrator() -> (Queue, Receiver<Bytes>) {
    Queue::bounded(limits::ORCHESTRATOR_QUEUE_MAX, Backlog::new(limits::ORCHESTRATOR_QUEUE_BYTES_MAX))
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
