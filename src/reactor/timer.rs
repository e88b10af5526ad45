//! Deadlines of one worker in order of time: those of its connections in a heap that is one block of memory, because each
//! idle connection has one, and those of everybody else, who are few, in an ordered set.

use std::collections::BTreeSet;

use crate::clock::Moment;

/// Deadlines of connections, at most one per slot of the connection table.
#[derive(Debug, Default)]
pub struct SlotDeadlines {
    /// Each entry is not later than its children, the four from [`first_child`] on.
    heap: Vec<(Moment, u32)>,
    /// By slot, where its entry is in the heap, or [`NOWHERE`].
    places: Vec<u32>,
}

/// The place of a slot without a deadline.
const NOWHERE: u32 = u32::MAX;

/// Four lie in one cache line, and the way to the top is half as long as with two.
const CHILDREN: usize = 4;

fn first_child(place: usize) -> usize {
    place * CHILDREN + 1
}

impl SlotDeadlines {
    /// The deadline of a slot.
    pub fn get(&self, slot: u32) -> Option<Moment> {
        self.place(slot).map(|place| self.heap[place].0)
    }

    /// Gives a slot another deadline, or none.
    pub fn set(&mut self, slot: u32, at: Option<Moment>) {
        match (self.place(slot), at) {
            (Some(place), Some(at)) => {
                self.heap[place].0 = at;
                self.settle(place);
            }
            (Some(place), None) => self.remove(place),
            (None, Some(at)) => {
                let index = slot as usize;
                if index >= self.places.len() {
                    self.places.resize(index + 1, NOWHERE);
                }
                self.heap.push((at, slot));
                self.rise(self.heap.len() - 1);
            }
            (None, None) => {}
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Moment> {
        self.heap.first().map(|&(at, _)| at)
    }

    /// Takes the earliest deadline if it has passed, and says whose it was.
    pub fn pop_due(&mut self, now: Moment) -> Option<u32> {
        let &(_, slot) = self.heap.first().filter(|&&(at, _)| at <= now)?;
        self.remove(0);
        Some(slot)
    }

    fn place(&self, slot: u32) -> Option<usize> {
        self.places.get(slot as usize).filter(|&&place| place != NOWHERE).map(|&place| place as usize)
    }

    fn remove(&mut self, place: usize) {
        let (_, slot) = self.heap.swap_remove(place);
        self.places[slot as usize] = NOWHERE;
        if place < self.heap.len() {
            self.settle(place);
        }
    }

    /// Brings an entry that may be too early or too late for its place to where it belongs.
    fn settle(&mut self, place: usize) {
        let place = self.rise(place);
        self.sink(place);
    }

    fn rise(&mut self, mut place: usize) -> usize {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.heap[parent] <= entry {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
        place
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = first_child(place);
            let children = first..(first + CHILDREN).min(self.heap.len());
            let Some(least) = children.min_by_key(|&child| self.heap[child]) else { break };
            if entry <= self.heap[least] {
                break;
            }
            self.put(place, self.heap[least]);
            place = least;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: (Moment, u32)) {
        self.heap[place] = entry;
        self.places[entry.1 as usize] = place as u32;
    }
}

/// Deadlines of owners named by `K`, who remember the moment, so that there is one entry per owner however often it is
/// moved.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    ordered: BTreeSet<(Moment, K)>,
}

impl<K: Ord + Copy> Deadlines<K> {
    pub(super) fn new() -> Self {
        Self { ordered: BTreeSet::new() }
    }

    /// Moves the deadline of `key` from `old`, where it must be if it is anywhere, to `new`.
    pub(super) fn replace(&mut self, key: K, old: Option<Moment>, new: Option<Moment>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            let was_there = self.ordered.remove(&(old, key));
            debug_assert!(was_there, "a deadline is where its owner says");
        }
        if let Some(new) = new {
            self.ordered.insert((new, key));
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ordered.len()
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Moment> {
        self.ordered.first().map(|&(at, _)| at)
    }

    /// Takes the earliest deadline if it has passed.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<(Moment, K)> {
        let &(at, key) = self.ordered.first()?;
        if at > now {
            return None;
        }
        self.ordered.pop_first();
        Some((at, key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    proptest! {
        #[test]
        fn slots_are_due_as_in_an_ordered_set(steps in vec((0..20u32, option::of(0..50u64)), 0..300)) {
            let (mut deadlines, mut expected) = (SlotDeadlines::default(), BTreeMap::new());
            for (slot, millis) in steps {
                deadlines.set(slot, millis.map(at));
                match millis {
                    Some(millis) => expected.insert(slot, at(millis)),
                    None => expected.remove(&slot),
                };
                prop_assert_eq!(deadlines.get(slot), millis.map(at));
                prop_assert_eq!((deadlines.next(), deadlines.len()), (expected.values().min().copied(), expected.len()));
            }
            let mut order: Vec<(Moment, u32)> = expected.into_iter().map(|(slot, at)| (at, slot)).collect();
            order.sort_unstable();
            for (due, slot) in order {
                let before = Moment::from_millis(due.as_millis().wrapping_sub(1));
                prop_assert!(before > due || deadlines.pop_due(before).is_none());
                prop_assert_eq!(deadlines.pop_due(due), Some(slot));
            }
            prop_assert_eq!(deadlines.pop_due(at(u64::MAX)), None);
        }
    }

    #[test]
    fn deadlines_come_in_order_and_not_early() {
        let mut deadlines = Deadlines::new();
        deadlines.replace('b', None, Some(at(20)));
        deadlines.replace('a', None, Some(at(10)));
        deadlines.replace('c', None, Some(at(20)));
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.pop_due(at(9)), None);
        assert_eq!(deadlines.pop_due(at(25)), Some((at(10), 'a')));
        assert_eq!(deadlines.pop_due(at(25)), Some((at(20), 'b')));
        assert_eq!(deadlines.pop_due(at(25)), Some((at(20), 'c')));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_moved_deadline_leaves_nothing_behind() {
        let mut deadlines = Deadlines::new();
        let mut armed = None;
        for millis in 0..1000 {
            deadlines.replace('a', armed, Some(at(millis)));
            armed = Some(at(millis));
        }
        assert_eq!(deadlines.ordered.len(), 1);
        deadlines.replace('a', armed, None);
        assert_eq!(deadlines.next(), None);
    }
}
