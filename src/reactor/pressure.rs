//! What happens when the bytes of all connections of a worker reach its limits: whoever holds the most makes way. Were
//! newcomers refused instead, a few peers that read nothing, or never finish a message, could stop everybody's messages
//! for as long as they liked.

use crate::clock::Moment;
use crate::limits::EVICTIONS_MAX;
use crate::link::CloseReason;
use crate::reactor::connection::{Connection, Side, Stage};
use crate::reactor::core::Core;
use crate::websocket::violation::Violation;

/// For whom nobody could be found to make way at which moment. Looking means looking at every connection: whoever holds
/// the most himself must not have that done for each of his messages.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    queue: Option<(Moment, usize)>,
    partial: Option<(Moment, u128)>,
}

impl<M: Send> Core<M> {
    /// Whether the worker's queues have room for `wire` more bytes for this connection, after those that are longer than
    /// its own were dropped as far as needed.
    pub(super) fn make_queue_room(&mut self, slot: usize, wire: usize) -> bool {
        let limit = self.common.options.limits.worker_queue_bytes_max;
        let own = self.connections[slot].queued_bytes();
        for _ in 0..EVICTIONS_MAX {
            if self.queued_bytes + wire <= limit {
                return true;
            }
            if self.crowd.queue.is_some_and(|(when, least)| when == self.now && own >= least) {
                return false;
            }
            let queued = |connection: &Connection| match connection.side {
                Side::Accepted => connection.queued_bytes(),
                Side::Dialled => 0,
            };
            let Some(victim) = self.largest(slot, &own, queued) else {
                self.crowd.queue = Some((self.now, own));
                return false;
            };
            self.lose(victim, CloseReason::Overflow);
        }
        self.queued_bytes + wire <= limit
    }

    /// By how much this connection's incomplete message may grow, after those that are more in the way were dropped as
    /// far as needed for `input` bytes that have come.
    pub(super) fn make_partial_room(&mut self, slot: usize, input: usize) -> usize {
        let wanted = self.session(slot).map_or(0, |session| session.growth_max(input));
        self.evict_hoarders(slot, wanted);
        self.common.options.limits.worker_partial_bytes_max.saturating_sub(self.partial_bytes)
    }

    /// Whether the incomplete record that this connection's input ends with may be kept. If nobody else is more in the
    /// way, the connection makes way itself.
    pub(super) fn has_carry_room(&mut self, slot: usize) -> bool {
        let limit = self.common.options.limits.worker_partial_bytes_max;
        let connection = &self.connections[slot];
        if self.partial_bytes <= limit || connection.carry.is_empty() || connection.partial_bytes() == 0 {
            return true;
        }
        self.evict_hoarders(slot, 0);
        if self.partial_bytes <= limit {
            return true;
        }
        self.evict(slot);
        false
    }

    /// Drops connections with incomplete messages or records, those first that are most in the way, as long as there is
    /// no room for `wanted` bytes more and they are more in the way than this one.
    fn evict_hoarders(&mut self, slot: usize, wanted: usize) {
        let limit = self.common.options.limits.worker_partial_bytes_max;
        let now = self.now;
        let own = self.connections[slot].hoard(now);
        for _ in 0..EVICTIONS_MAX {
            if self.partial_bytes + wanted <= limit {
                return;
            }
            if self.crowd.partial.is_some_and(|(when, least)| when == now && own >= least) {
                return;
            }
            let Some(victim) = self.largest(slot, &own, |connection| connection.hoard(now)) else {
                self.crowd.partial = Some((now, own));
                return;
            };
            self.evict(victim);
        }
    }

    fn evict(&mut self, slot: usize) {
        match self.connections[slot].stage {
            Stage::Open(_) => {
                let violation = Violation::NoRoom;
                self.close_for_violation(slot, violation.close_code(), violation.label());
            }
            _ => self.remove(slot),
        }
    }

    /// What is held for something incomplete has changed.
    pub(super) fn note_partial(&mut self, slot: usize, before: usize, after: usize) {
        if before == 0
            && after > 0
            && let Stage::Open(open) = &mut self.connections[slot].stage
        {
            open.partial_since = self.now;
        }
    }

    /// The connection that is most in the way, if it is more so than `own`.
    fn largest<W: Ord>(&self, except: usize, own: &W, weight: impl Fn(&Connection) -> W) -> Option<usize> {
        let others = self.connections.iter().filter(|&(slot, _)| slot != except);
        let (heaviest, slot) = others.map(|(slot, connection)| (weight(connection), slot)).max()?;
        (heaviest > *own).then_some(slot)
    }
}
