//! Who of those that have connected comes first: accepted connections that wait for a handshake slot, and the slots. No
//! clock and no socket, so that a simulation can drive it (`simulation.rs`).
//!
//! * **Newest first**: the oldest has the least of its client's 5 s left and would only waste a handshake.
//! * **Refused early**: when the room is full somebody is closed at once, before any cryptography. Its client comes back
//!   at its next try; were it left to wait, it would come back as well, and later.
//! * **Fair between sources**: each has its turn once before another has it twice (start-time fair queueing). Whoever is
//!   alone gets everything, so a site behind one address is only as slow as there are others.
//! * **Bounded**: those that wait by number and time, and what is remembered of sources by number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::clock::Moment;
use crate::limits::{DISPLACED_TURNS, HANDSHAKE_UNDISPLACED, SOURCES_MAX};

/// Where a connection comes from, as far as one host can choose it: an IPv4 address or the /64 of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first half of an IPv6 address.
    V6([u8; 8]),
}

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let octets = address.octets();
                Self::V6(std::array::from_fn(|index| octets[index]))
            }
        }
    }
}

/// Waiting connections of one worker.
#[derive(Debug)]
pub(super) struct WaitRoom<T> {
    /// By their number, which is the order of their arrival.
    waiting: BTreeMap<u64, Waiting<T>>,
    sources: HashMap<Source, Account>,
    /// Sources that have somebody waiting: first who has had the fewest turns, then who has the newest.
    order: BTreeSet<(u64, Reverse<u64>, Source)>,
    /// The same: last who has the most waiting, then who has the oldest.
    crowds: BTreeSet<(usize, Reverse<u64>, Source)>,
    /// How many turns everybody has had who has been waiting all the time.
    round: u64,
    last: u64,
    capacity: usize,
    patience: Duration,
}

#[derive(Debug)]
struct Waiting<T> {
    until: Moment,
    source: Source,
    newcomer: T,
}

/// What is known of a source.
#[derive(Debug, Default)]
struct Account {
    /// The round that its next turn belongs to.
    turn: u64,
    /// Numbers of those that wait, oldest first.
    waiting: VecDeque<u64>,
}

impl<T> WaitRoom<T> {
    pub(super) fn new(capacity: usize, patience: Duration) -> Self {
        Self {
            waiting: BTreeMap::new(),
            sources: HashMap::new(),
            order: BTreeSet::new(),
            crowds: BTreeSet::new(),
            round: 0,
            last: 0,
            capacity,
            patience,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes somebody in. If the room is full, gives back who has to go for that: the oldest of the source that has the
    /// most, which may be the newcomer's own.
    pub(super) fn enter(&mut self, now: Moment, source: Source, newcomer: T) -> Option<T> {
        self.last += 1;
        let number = self.last;
        self.waiting.insert(number, Waiting { until: now + self.patience, source, newcomer });
        let round = self.round;
        self.change(source, |account| {
            account.turn = account.turn.max(round);
            account.waiting.push_back(number);
        });
        self.forget_sources();
        if self.waiting.len() <= self.capacity {
            return None;
        }
        self.crowd_out()
    }

    /// Takes out the oldest of the source that has the most.
    pub(super) fn crowd_out(&mut self) -> Option<T> {
        let &(_, Reverse(oldest), _) = self.crowds.last()?;
        self.leave(oldest)
    }

    /// Whose turn it is.
    pub(super) fn next_source(&self) -> Option<Source> {
        self.order.first().map(|&(_, _, source)| source)
    }

    /// Takes the newest of the source whose turn it is.
    pub(super) fn take(&mut self) -> Option<(Source, T)> {
        let &(turn, Reverse(newest), source) = self.order.first()?;
        self.round = self.round.max(turn);
        self.change(source, |account| account.turn = turn + 1);
        self.leave(newest).map(|newcomer| (source, newcomer))
    }

    /// A handshake of this source had to make way: it has held a slot for as long as many others.
    pub(super) fn charge(&mut self, source: Source) {
        let round = self.round;
        self.change(source, |account| account.turn = account.turn.max(round) + DISPLACED_TURNS);
    }

    /// Takes out the oldest of those that have waited too long.
    pub(super) fn expire(&mut self, now: Moment) -> Option<T> {
        let oldest = self.waiting.first_entry().filter(|oldest| oldest.get().until <= now)?;
        let number = *oldest.key();
        self.leave(number)
    }

    /// When the oldest will have waited too long.
    pub(super) fn next_expiry(&self) -> Option<Moment> {
        self.waiting.first_key_value().map(|(_, waiting)| waiting.until)
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.capacity, self.patience);
    }

    fn leave(&mut self, number: u64) -> Option<T> {
        let Waiting { source, newcomer, .. } = self.waiting.remove(&number)?;
        // It is the newest or the oldest.
        self.change(source, |account| {
            if account.waiting.back() == Some(&number) {
                account.waiting.pop_back();
            } else {
                account.waiting.pop_front();
            }
        });
        if self.waiting.is_empty() {
            // There is nobody to be fair to, and the memory of a storm is given back.
            self.clear();
        }
        Some(newcomer)
    }

    /// Changes what is known of a source, and its places in line with it.
    fn change(&mut self, source: Source, change: impl FnOnce(&mut Account)) {
        let account = self.sources.entry(source).or_default();
        if let (Some(&oldest), Some(&newest)) = (account.waiting.front(), account.waiting.back()) {
            self.order.remove(&(account.turn, Reverse(newest), source));
            self.crowds.remove(&(account.waiting.len(), Reverse(oldest), source));
        }
        change(account);
        if let (Some(&oldest), Some(&newest)) = (account.waiting.front(), account.waiting.back()) {
            self.order.insert((account.turn, Reverse(newest), source));
            self.crowds.insert((account.waiting.len(), Reverse(oldest), source));
        }
    }

    /// When too many are remembered only for the turns that they have had, those with the fewest start afresh, and all who
    /// have had no more than everybody: to them it makes no difference. So there are few others, who have been charged for
    /// instance, and nobody can have all of them looked through for each newcomer.
    fn forget_sources(&mut self) {
        while self.sources.len() > SOURCES_MAX + self.capacity {
            let idle = self.sources.values().filter(|account| account.waiting.is_empty());
            let Some(fewest) = idle.map(|account| account.turn).min() else { return };
            let forgotten = fewest.max(self.round);
            self.sources.retain(|_, account| !account.waiting.is_empty() || account.turn > forgotten);
        }
    }
}

/// Handshakes under way, and whose they are.
#[derive(Debug)]
pub(super) struct Flights<K> {
    /// Oldest first; those that have ended are taken out now and then.
    started: VecDeque<(Moment, Source, K)>,
}

impl<K: Copy> Flights<K> {
    pub(super) const fn new() -> Self {
        Self { started: VecDeque::new() }
    }

    /// One has begun; there are at most `slots`.
    pub(super) fn start(&mut self, now: Moment, source: Source, key: K, slots: usize, is_live: impl Fn(K) -> bool) {
        if self.started.len() > 2 * slots {
            self.started.retain(|&(_, _, key)| is_live(key));
        }
        self.started.push_back((now, source, key));
    }

    /// Which one must make way for a newcomer from this source when no slot is free: the oldest of the source that has
    /// the most, if that is more than one more than the newcomer's has, and if it has had a fair time.
    pub(super) fn displaced(
        &mut self,
        now: Moment,
        newcomer: Source,
        is_live: impl Fn(K) -> bool,
    ) -> Option<(Source, K)> {
        let is_old = |since: Moment| since + HANDSHAKE_UNDISPLACED <= now;
        while self.started.front().is_some_and(|&(since, _, key)| is_old(since) && !is_live(key)) {
            self.started.pop_front();
        }
        if !self.started.front().is_some_and(|&(since, _, _)| is_old(since)) {
            return None;
        }
        self.started.retain(|&(_, _, key)| is_live(key));
        let mut counts: HashMap<Source, usize> = HashMap::new();
        for &(_, source, _) in &self.started {
            *counts.entry(source).or_default() += 1;
        }
        let own = counts.get(&newcomer).copied().unwrap_or(0);
        let old = self.started.iter().enumerate().take_while(|(_, (since, _, _))| is_old(*since));
        let (most, Reverse(index)) = old.map(|(index, (_, source, _))| (counts[source], Reverse(index))).max()?;
        if most <= own + 1 {
            return None;
        }
        self.started.remove(index).map(|(_, source, key)| (source, key))
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
