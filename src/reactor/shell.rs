//! What an application can do, on the connection table of its worker.

use std::net::SocketAddr;

use crate::clock::Moment;
use crate::link::{CloseReason, Dial, Opcode, PeerId, SendOutcome, Shell, TimerKey};
use crate::reactor::core::{Core, Target};

impl<M: Send> Shell<M> for Core<M> {
    fn worker(&self) -> u16 {
        self.index
    }

    fn remote(&self, peer: PeerId) -> Option<SocketAddr> {
        self.slot(peer).map(|slot| self.connections[slot].remote)
    }

    fn send(&mut self, to: PeerId, opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        let begun = self.sent.next();
        let outcome = self.send_message(to, opcode, parts);
        if let Some(begun) = begun {
            self.common.options.metrics.on_send.measured(begun.elapsed());
        }
        outcome
    }

    fn close(&mut self, peer: PeerId, code: u16, reason: &str) {
        if let Some(slot) = self.open_slot(peer) {
            self.close_open(slot, code, reason, CloseReason::Application);
        }
    }

    fn abort(&mut self, peer: PeerId) {
        if let Some(slot) = self.open_slot(peer) {
            self.lose(slot, CloseReason::Application);
        }
    }

    fn arm(&mut self, key: TimerKey, at: Moment) {
        let old = self.timers.insert(key, at);
        self.alarms.replace(Target::Application(key), old, Some(at));
    }

    fn disarm(&mut self, key: TimerKey) {
        let old = self.timers.remove(&key);
        self.alarms.replace(Target::Application(key), old, None);
    }

    fn mail(&mut self, worker: u16, mail: M) -> Result<(), M> {
        self.common.mailboxes.send(worker, mail).inspect_err(|_| {
            self.common.options.metrics.mailbox_full.inc();
        })
    }

    fn dial(&mut self, dial: Dial) {
        self.start_dial(dial);
    }
}
