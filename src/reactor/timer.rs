//! Deadlines of one worker in order of time. The owner of a deadline remembers its moment, so that there is one entry
//! per owner however often it is moved.

use std::collections::BTreeSet;

use crate::clock::Moment;

/// Deadlines of owners named by `K`.
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
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
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
