//! One worker's shell in the simulated world, and the shadow of what must be true.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use podium::broker::core::BrokerMail;
use podium::clock::Moment;
use podium::link::{Dial, Opcode, PeerId, SendOutcome, Shell, TimerKey};
use podium::pcp::{Version, message_type};
use podium::random::Random;

use super::view::{Seen, View};

/// Mail that fits into a worker's mailbox; small, so that it overflows now and then.
const MAILBOX: usize = 40;
/// Bytes of changes in an update: three changes, so that most batches are split.
pub const UPDATE_BYTES: usize = 150;

/// What one worker's shell holds.
#[derive(Default)]
pub struct Worker {
    /// Open connections by slot: id, URI and protocol.
    pub open: BTreeMap<u32, (PeerId, String, Version)>,
    pub mail: VecDeque<BrokerMail>,
    /// Connections whose Closed event is still to come, because a socket tells late.
    pub closing: Vec<PeerId>,
    pub timers: BTreeMap<TimerKey, Moment>,
    pub next_slot: u32,
    pub free_slots: Vec<u32>,
    pub generation: u32,
}

impl Worker {
    /// A new connection.
    pub fn enter(&mut self, index: usize, uri: &str, version: Version) -> PeerId {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.next_slot += 1;
            self.next_slot
        });
        self.generation += 1;
        let peer = PeerId { worker: u16::try_from(index).unwrap(), slot, generation: self.generation };
        self.open.insert(slot, (peer, uri.to_owned(), version));
        peer
    }
}

/// What is known to be true, kept apart from the broker.
#[derive(Default)]
pub struct Shadow {
    /// The newest connection of each URI.
    pub newest: HashMap<String, PeerId>,
    /// Messages sent and not yet accounted for, by id.
    pub pending: HashMap<String, Pending>,
    pub delivered: usize,
    pub returned: usize,
    /// What the subscribers believe, by URI.
    pub views: BTreeMap<String, View>,
}

/// A message under way.
pub struct Pending {
    pub target: String,
    pub data: String,
    /// The sender's connection.
    pub sender: PeerId,
}

impl Shadow {
    pub fn returned(&mut self, id: &str) {
        if self.pending.remove(id).is_some() {
            self.returned += 1;
        }
    }
}

pub struct SimulatedShell<'a> {
    pub index: u16,
    pub workers: &'a mut Vec<Worker>,
    pub shadow: &'a mut Shadow,
    pub random: &'a mut Random,
}

impl SimulatedShell<'_> {
    fn worker(&mut self) -> &mut Worker {
        &mut self.workers[usize::from(self.index)]
    }
}

impl Shell<BrokerMail> for SimulatedShell<'_> {
    fn worker(&self) -> u16 {
        self.index
    }

    fn remote(&self, _peer: PeerId) -> Option<SocketAddr> {
        None
    }

    fn send(&mut self, to: PeerId, opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        assert_eq!(to.worker, self.index, "a worker sends on its own connections only");
        let Some((peer, uri, version)) = self.worker().open.get(&to.slot).filter(|open| open.0 == to).cloned() else {
            return SendOutcome::Gone;
        };
        let message = match (version, opcode) {
            (Version::V1, Opcode::Binary) => Seen::v1(&parts.concat()),
            (Version::V2, Opcode::Text) => Seen::v2(&parts.concat()),
            wrong => panic!("{wrong:?}"),
        };
        if message.message_type == message_type::ERROR_MESSAGE {
            self.shadow.returned(message.in_reply_to.as_deref().unwrap());
            return SendOutcome::Sent;
        }
        if self.random.percent(3) {
            return SendOutcome::Full;
        }
        assert_eq!(message.target.as_deref(), Some(&*uri), "delivered to a wrong connection");
        if let Some(view) = self.shadow.views.get_mut(&uri) {
            view.told(&message, UPDATE_BYTES);
            return SendOutcome::Sent;
        }
        assert_eq!(self.shadow.newest.get(&uri), Some(&peer), "delivered to a stale connection");
        assert!(message.sender.is_some(), "delivered without a sender");
        if let Some(sent) = self.shadow.pending.remove(&message.id) {
            assert_eq!((sent.target, &*sent.data), (uri, message.data.as_str().unwrap()));
            self.shadow.delivered += 1;
        }
        SendOutcome::Sent
    }

    fn close(&mut self, peer: PeerId, code: u16, _reason: &str) {
        panic!("nothing in this world deserves close {code} of {peer}");
    }

    fn abort(&mut self, peer: PeerId) {
        if self.worker().open.get(&peer.slot).is_some_and(|open| open.0 == peer) {
            self.worker().open.remove(&peer.slot);
            self.worker().closing.push(peer);
        }
    }

    fn arm(&mut self, key: TimerKey, at: Moment) {
        self.worker().timers.insert(key, at);
    }

    fn disarm(&mut self, key: TimerKey) {
        self.worker().timers.remove(&key);
    }

    fn mail(&mut self, worker: u16, mail: BrokerMail) -> Result<(), BrokerMail> {
        let mailbox = &mut self.workers[usize::from(worker)].mail;
        // An answer to a lost message may itself be lost when the mailbox is full; this world spares it, so that every
        // message can be accounted for.
        if mailbox.len() >= MAILBOX && !matches!(mail, BrokerMail::Undeliverable { .. }) {
            return Err(mail);
        }
        mailbox.push_back(mail);
        Ok(())
    }

    fn dial(&mut self, dial: Dial) {
        panic!("the broker dialled {dial:?}");
    }
}
