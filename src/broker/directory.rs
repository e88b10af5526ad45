//! The directory: which connection holds which URI, shared by all workers, and the log of changes that subscribers are
//! told of.
//!
//! A URI belongs to its newest connection. [`Directory::claim`] replaces the holder atomically and
//! [`Directory::release`] removes an entry only for the very connection that holds it, so a late close of a superseded
//! connection never removes its successor. Snapshot and position in the log are taken under one lock: what a subscriber
//! sees in its first response is never repeated, and nothing after it is missed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::patterns::{Patterns, SCHEME, Split};
use crate::clock::Moment;
use crate::limits::CLIENTS_PER_NAME_MAX;
use crate::link::PeerId;
use crate::pcp::PcpUri;
use crate::succession::Succession;

/// Names a subscription in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriptionId(u64);

/// One change of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub uri: Arc<str>,
    /// Came or went.
    pub came: bool,
    split: Split,
}

impl Change {
    /// Bytes of its form in an update, and a few more.
    fn bytes(&self) -> usize {
        self.uri.len() + r#"{"client":"","change":-1},"#.len()
    }
}

/// The next changes for a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub changes: Vec<Change>,
    /// To be given to [`Directory::advance`] once they have been sent.
    pub end: LogPosition,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// Changes that a subscriber has not been told of.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// What comes next.
    Changes(Batch),
    /// The subscriber is further behind than the log reaches; it needs a new snapshot.
    Behind,
}

/// What [`Directory::room_for`] says of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It may be claimed.
    Free,
    /// Connections supersede each other too quickly; the present one is left alone for a while.
    Contested,
    /// Its name has as many clients as it may have.
    Full,
}

/// A place in the log of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition(u64);

/// Which connection holds which URI.
#[derive(Debug)]
pub struct Directory {
    state: RwLock<State>,
    log_max: usize,
}

/// The connection that has a URI.
#[derive(Debug, Clone, Copy)]
struct Holder {
    peer: PeerId,
    split: Split,
    succession: Succession,
}

#[derive(Debug, Default)]
struct State {
    holders: HashMap<Arc<str>, Holder>,
    /// Held URIs of other types than `agent`, by name: only these can be many.
    others: HashMap<Box<str>, u32>,
    /// Changes not yet read by every subscriber; empty while there is none.
    log: VecDeque<Change>,
    /// Position of the first entry of `log`.
    log_start: u64,
    readers: HashMap<SubscriptionId, u64>,
    subscriptions_made: u64,
}

impl Directory {
    /// An empty directory whose log holds at most `log_max` changes.
    pub fn new(log_max: usize) -> Self {
        Self { state: RwLock::default(), log_max }
    }

    /// Makes `peer` the holder of `uri` and returns the connection that it supersedes, if any.
    pub fn claim(&self, uri: &Arc<str>, peer: PeerId, now: Moment) -> Option<PeerId> {
        let mut state = self.write();
        let old = state.holders.get(uri).copied();
        let succession = Succession::after(old.as_ref().map(|old| &old.succession), now);
        let split = old.map_or_else(|| Split::of(uri), |old| old.split);
        state.holders.insert(uri.clone(), Holder { peer, split, succession });
        match old {
            Some(_) => state.record(uri, split, false, self.log_max),
            None => state.count_other(uri, true),
        }
        state.record(uri, split, true, self.log_max);
        old.map(|old| old.peer)
    }

    /// Removes `uri` if `peer` holds it; false if another connection does, or none.
    pub fn release(&self, uri: &Arc<str>, peer: PeerId) -> bool {
        let mut state = self.write();
        let Some(&Holder { split, .. }) = state.holders.get(uri).filter(|holder| holder.peer == peer) else {
            return false;
        };
        state.holders.remove(uri);
        state.count_other(uri, false);
        state.record(uri, split, false, self.log_max);
        true
    }

    /// Whether a newcomer may claim `uri`. Somebody who is about to is not counted yet.
    pub fn room_for(&self, uri: &str, now: Moment) -> Room {
        let state = self.read();
        if let Some(holder) = state.holders.get(uri) {
            return if holder.succession.is_contested(now) { Room::Contested } else { Room::Free };
        }
        match other_name(uri).and_then(|name| state.others.get(name)) {
            Some(&count) if count >= CLIENTS_PER_NAME_MAX => Room::Full,
            _ => Room::Free,
        }
    }

    /// The connection that holds `uri`.
    pub fn locate(&self, uri: &str) -> Option<PeerId> {
        self.read().holders.get(uri).map(|holder| holder.peer)
    }

    /// Number of URIs held.
    pub fn len(&self) -> usize {
        self.read().holders.len()
    }

    /// Whether no URI is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All held URIs that match a pattern, sorted, each once.
    pub fn matching(&self, patterns: &Patterns) -> Vec<Arc<str>> {
        sorted(self.collected(patterns))
    }

    /// The same in no order: all that is done while the lock is held.
    pub fn collected(&self, patterns: &Patterns) -> Vec<Arc<str>> {
        self.read().matching(patterns)
    }

    /// As [`Self::matching`], and a subscription to every change after it.
    pub fn subscribe(&self, patterns: &Patterns) -> (Vec<Arc<str>>, SubscriptionId) {
        let id = {
            let mut state = self.write();
            state.subscriptions_made += 1;
            let id = SubscriptionId(state.subscriptions_made);
            // From here on changes are kept, so that the snapshot needs no lock that keeps others from looking up.
            let end = state.log_end();
            state.readers.insert(id, end);
            id
        };
        (self.resume(id, patterns), id)
    }

    /// A new snapshot for a subscriber that fell behind; its subscription goes on from there.
    pub fn resume(&self, id: SubscriptionId, patterns: &Patterns) -> Vec<Arc<str>> {
        let (uris, end) = {
            let state = self.read();
            (state.matching(patterns), state.log_end())
        };
        let mut state = self.write();
        state.readers.insert(id, end);
        state.trim();
        drop(state);
        sorted(uris)
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, id: SubscriptionId) {
        let mut state = self.write();
        state.readers.remove(&id);
        state.trim();
    }

    /// The next changes that match and that the subscriber has not been told of: at least one, and no more than take
    /// `bytes_max` in an update.
    pub fn news(&self, id: SubscriptionId, patterns: &Patterns, bytes_max: usize) -> News {
        let state = self.read();
        let Some(&position) = state.readers.get(&id) else { return News::Behind };
        let Some(skip) = position.checked_sub(state.log_start) else { return News::Behind };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(state.log.len());
        let mut batch = Batch { changes: Vec::new(), end: LogPosition(state.log_end()), more: false };
        let mut bytes = 0;
        for (change, at) in state.log.range(skip..).zip(position..) {
            if !patterns.matches(&change.uri, change.split) {
                continue;
            }
            bytes += change.bytes();
            if bytes > bytes_max && !batch.changes.is_empty() {
                (batch.end, batch.more) = (LogPosition(at), true);
                break;
            }
            batch.changes.push(change.clone());
        }
        News::Changes(batch)
    }

    /// Notes that the subscriber has been told of everything before `position`.
    pub fn advance(&self, id: SubscriptionId, position: LogPosition) {
        // Most ticks bring nothing, and writers keep everybody from looking up.
        if self.read().readers.get(&id).is_none_or(|reader| *reader == position.0) {
            return;
        }
        let mut state = self.write();
        if let Some(reader) = state.readers.get_mut(&id) {
            *reader = position.0;
            state.trim();
        }
    }

    // A panic while the lock was held cannot leave the maps half-changed in a way that matters more than serving on.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// In no order: whoever holds the lock does nothing but collect.
    fn matching(&self, patterns: &Patterns) -> Vec<Arc<str>> {
        match patterns.exact() {
            Some(exact) => {
                exact.filter_map(|uri| self.holders.get_key_value(uri)).map(|(uri, _)| uri.clone()).collect()
            }
            None => {
                let matching = |(uri, holder): &(&Arc<str>, &Holder)| patterns.matches(uri, holder.split);
                self.holders.iter().filter(matching).map(|(uri, _)| uri.clone()).collect()
            }
        }
    }

    fn count_other(&mut self, uri: &str, came: bool) {
        let Some(name) = other_name(uri) else { return };
        if came {
            *self.others.entry(name.into()).or_default() += 1;
        } else if let Some(count) = self.others.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.others.remove(name);
            }
        }
    }

    fn record(&mut self, uri: &Arc<str>, split: Split, came: bool, log_max: usize) {
        if self.readers.is_empty() {
            self.log_start += 1;
            return;
        }
        if self.log.len() == log_max {
            self.log.pop_front();
            self.log_start += 1;
        }
        self.log.push_back(Change { uri: uri.clone(), came, split });
    }

    fn log_end(&self) -> u64 {
        self.log_start + self.log.len() as u64
    }

    /// Forgets what every subscriber has read.
    fn trim(&mut self) {
        let read_by_all = self.readers.values().copied().min().unwrap_or(self.log_end());
        let count = usize::try_from(read_by_all.saturating_sub(self.log_start)).unwrap_or(0).min(self.log.len());
        self.log.drain(..count);
        self.log_start += count as u64;
        if self.log.is_empty() {
            self.log.shrink_to(1024);
        }
    }
}

/// In the order of their bytes. The first ones that differ are kept beside each URI: without them, every comparison of
/// 100,000 would wait for two texts somewhere in memory.
fn sorted(uris: Vec<Arc<str>>) -> Vec<Arc<str>> {
    let beginning = |uri: &str| {
        let mut bytes = [0; 16];
        let name = uri.as_bytes().get(SCHEME.len()..).unwrap_or_default();
        let length = name.len().min(bytes.len());
        bytes[..length].copy_from_slice(&name[..length]);
        u128::from_be_bytes(bytes)
    };
    let mut keyed: Vec<(u128, Arc<str>)> = uris.into_iter().map(|uri| (beginning(&uri), uri)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, uri)| uri).collect()
}

/// The name of a URI whose type is not `agent`.
fn other_name(uri: &str) -> Option<&str> {
    PcpUri::parse(uri).filter(|uri| uri.client_type != "agent").map(|uri| uri.authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SUPERSEDED_QUICKLY_MAX;

    const NOW: Moment = Moment::from_millis(0);

    fn peer(slot: u32, generation: u32) -> PeerId {
        PeerId { worker: 0, slot, generation }
    }

    fn uri(name: &str) -> Arc<str> {
        format!("pcp://{name}/agent").into()
    }

    fn agents() -> Patterns {
        Patterns::new(["pcp://*/agent"])
    }

    fn told(directory: &Directory, id: SubscriptionId) -> Vec<(String, bool)> {
        let News::Changes(batch) = directory.news(id, &agents(), usize::MAX) else { panic!("behind") };
        directory.advance(id, batch.end);
        batch.changes.into_iter().map(|change| (change.uri.to_string(), change.came)).collect()
    }

    #[test]
    fn the_newest_connection_wins_and_a_late_release_is_nothing() {
        let directory = Directory::new(10);
        let a = uri("a");
        assert_eq!(directory.claim(&a, peer(1, 1), NOW), None);
        assert_eq!(directory.claim(&a, peer(2, 2), NOW), Some(peer(1, 1)));
        assert!(!directory.release(&a, peer(1, 1)));
        assert_eq!(directory.locate(&a), Some(peer(2, 2)));
        assert!(directory.release(&a, peer(2, 2)));
        assert_eq!(directory.locate(&a), None);
    }

    #[test]
    fn two_hosts_with_one_certificate_are_slowed_down() {
        let directory = Directory::new(10);
        let a = uri("a");
        let at = Moment::from_millis;
        for turn in 0..=u32::from(SUPERSEDED_QUICKLY_MAX) {
            assert_eq!(directory.room_for(&a, at(u64::from(turn) * 300)), Room::Free);
            directory.claim(&a, peer(turn, turn), at(u64::from(turn) * 300));
        }
        assert_eq!(directory.room_for(&a, at(1_800)), Room::Contested);
        assert_eq!(directory.room_for(&uri("b"), at(1_800)), Room::Free);
        assert_eq!(directory.room_for(&a, at(11_500)), Room::Free);
        directory.claim(&a, peer(20, 20), at(11_500));
        assert_eq!(directory.room_for(&a, at(11_800)), Room::Contested, "one every ten seconds");
        directory.release(&a, peer(20, 20));
        assert_eq!(directory.room_for(&a, at(11_800)), Room::Free, "a URI that nobody has is free");
    }

    #[test]
    fn a_name_has_only_so_many_types() {
        let directory = Directory::new(10);
        let typed = |number: u32| -> Arc<str> { format!("pcp://a/t{number}").into() };
        for number in 0..CLIENTS_PER_NAME_MAX {
            assert_eq!(directory.room_for(&typed(number), NOW), Room::Free);
            directory.claim(&typed(number), peer(number, 1), NOW);
            directory.claim(&typed(number), peer(number, 2), NOW);
        }
        assert_eq!(directory.room_for("pcp://a/more", NOW), Room::Full);
        assert_eq!(directory.room_for(&typed(0), NOW), Room::Free, "it has its place already");
        assert_eq!(directory.room_for("pcp://a/agent", NOW), Room::Free);
        assert_eq!(directory.room_for("pcp://b/more", NOW), Room::Free);
        for number in 0..CLIENTS_PER_NAME_MAX {
            directory.release(&typed(number), peer(number, 2));
        }
        assert!(directory.read().others.is_empty());
    }

    #[test]
    fn subscribers_see_each_change_once_and_in_order() {
        let directory = Directory::new(10);
        directory.claim(&uri("a"), peer(1, 1), NOW);
        let (snapshot, id) = directory.subscribe(&agents());
        assert_eq!(snapshot, [uri("a")]);
        directory.claim(&uri("b"), peer(2, 2), NOW);
        directory.claim(&uri("b"), peer(3, 3), NOW);
        directory.release(&uri("a"), peer(1, 1));
        let (a, b) = (uri("a").to_string(), uri("b").to_string());
        assert_eq!(told(&directory, id), [(b.clone(), true), (b.clone(), false), (b, true), (a, false)]);
        assert_eq!(told(&directory, id), []);
    }

    #[test]
    fn unread_changes_are_kept_until_read_and_dropped_past_the_limit() {
        let directory = Directory::new(2);
        let (_, id) = directory.subscribe(&agents());
        directory.claim(&uri("a"), peer(1, 1), NOW);
        assert!(matches!(directory.news(id, &agents(), 0), News::Changes(batch) if batch.changes.len() == 1));
        assert!(matches!(directory.news(id, &agents(), 0), News::Changes(batch) if batch.changes.len() == 1));
        directory.claim(&uri("b"), peer(2, 2), NOW);
        directory.claim(&uri("c"), peer(3, 3), NOW);
        assert_eq!(directory.news(id, &agents(), 0), News::Behind);
        assert_eq!(directory.resume(id, &agents()).len(), 3);
        assert_eq!(told(&directory, id), []);
    }

    #[test]
    fn many_changes_come_in_parts_with_none_lost() {
        let directory = Directory::new(100);
        let (_, id) = directory.subscribe(&agents());
        for number in 0..20 {
            directory.claim(&uri(&format!("{number:02}")), peer(number, 1), NOW);
            directory.claim(&format!("pcp://{number:02}/ctl").into(), peer(100 + number, 1), NOW);
        }
        let (three, mut told, mut parts) = (3 * 40 + 39, Vec::new(), Vec::new());
        loop {
            let News::Changes(batch) = directory.news(id, &agents(), three) else { panic!("behind") };
            assert_eq!(
                directory.news(id, &agents(), three),
                News::Changes(Batch { changes: batch.changes.clone(), ..batch })
            );
            directory.advance(id, batch.end);
            parts.push(batch.changes.len());
            told.extend(batch.changes.iter().map(|change| change.uri.to_string()));
            if !batch.more {
                break;
            }
        }
        assert_eq!(parts, [3, 3, 3, 3, 3, 3, 2]);
        assert_eq!(told, (0..20).map(|number| format!("pcp://{number:02}/agent")).collect::<Vec<_>>());
        assert_eq!(directory.read().log.len(), 0);
    }

    #[test]
    fn nothing_is_logged_for_nobody() {
        let directory = Directory::new(10);
        let (_, id) = directory.subscribe(&agents());
        directory.claim(&uri("a"), peer(1, 1), NOW);
        directory.unsubscribe(id);
        directory.claim(&uri("b"), peer(2, 2), NOW);
        assert_eq!(directory.read().log.len(), 0);
        let (_, id) = directory.subscribe(&agents());
        directory.release(&uri("b"), peer(2, 2));
        assert_eq!(told(&directory, id), [(uri("b").to_string(), false)]);
    }

    #[test]
    fn snapshots_are_in_the_order_of_bytes() {
        let directory = Directory::new(10);
        let long = "same-for-sixteen-bytes";
        let names = ["b", "a", "", "a.b", "a-b", "a\u{e4}", "ab", long, &long[..16], "same-for-sixteen-byt"];
        for (slot, name) in (0..).zip(names) {
            directory.claim(&uri(name), peer(slot, 0), NOW);
        }
        let mut expected = names.map(uri).to_vec();
        expected.sort_unstable();
        assert_eq!(directory.matching(&agents()), expected);
    }

    #[test]
    fn queries_match_exactly_or_by_component() {
        let directory = Directory::new(10);
        for (slot, name) in ["a", "b"].into_iter().enumerate() {
            directory.claim(&uri(name), peer(u32::try_from(slot).unwrap(), 0), NOW);
        }
        directory.claim(&"pcp://a/ctl".into(), peer(7, 7), NOW);
        let matching = |texts: &[&str]| directory.matching(&Patterns::new(texts.iter().copied())).len();
        assert_eq!(matching(&["pcp://a/agent", "pcp://a/agent", "pcp://x/agent", "nonsense"]), 1);
        assert_eq!(matching(&["pcp://*/agent", "pcp://a/agent"]), 2);
        assert_eq!(matching(&["pcp://a/*"]), 2);
        assert_eq!(matching(&["pcp://*/*"]), 3);
        assert_eq!(matching(&[]), 0);
    }
}
