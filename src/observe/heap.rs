//! Memory that was freed and that the allocator keeps: given back to the system when there has been work, which is when
//! pages become free, but not in the middle of a storm: the allocator holds its locks meanwhile, for tenths of a second if
//! there is much, and all workers wait. The way to do so belongs to the allocator, and so to the binary that has chosen it.

use std::sync::OnceLock;

use super::metrics::Metrics;
use crate::limits::{CALM_CONNECTIONS_MAX, CALM_LOOKS_MAX};

/// Has the allocator give back what it keeps.
static GIVE_BACK: OnceLock<fn()> = OnceLock::new();

/// Says how memory is given back; without it, it is not. For the first lines of `main`.
pub fn give_back_with(give_back: fn()) {
    assert!(GIVE_BACK.set(give_back).is_ok(), "a process has one allocator");
}

/// Looks now and then whether memory may have become free.
#[derive(Debug, Default)]
pub(super) struct Heap {
    last: Work,
    /// Looks since there was work that nothing was given back for.
    owed: Option<u32>,
}

/// What changes whenever memory is taken and freed: connections, those in handshake included, messages, also over links, and
/// for everything else (jobs, requests of the API) the memory itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Work {
    accepted: u64,
    open: i64,
    messages: u64,
    mebibytes: i64,
}

impl Heap {
    pub(super) fn look(&mut self, metrics: &Metrics) {
        let work = Work {
            accepted: metrics.connections_accepted.get(),
            open: metrics.connections_open.get(),
            messages: metrics.messages_in.get() + metrics.broker_link_messages_in.get(),
            mebibytes: metrics.process.anonymous.get() >> 20,
        };
        if self.is_time(work)
            && let Some(give_back) = GIVE_BACK.get()
        {
            give_back();
        }
    }

    /// Whether there has been work, and it is calm by now or has not been for long.
    fn is_time(&mut self, work: Work) -> bool {
        let last = std::mem::replace(&mut self.last, work);
        let is_calm = work.accepted - last.accepted <= CALM_CONNECTIONS_MAX;
        let waited = match self.owed {
            Some(looks) => looks + 1,
            None if work != last => 0,
            None => return false,
        };
        let is_time = is_calm || waited >= CALM_LOOKS_MAX;
        self.owed = (!is_time).then_some(waited);
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_after_work_and_not_again() {
        let mut heap = Heap::default();
        assert!(!heap.is_time(Work::default()), "nobody has come yet");
        let mut work = Work { accepted: 3, ..Work::default() };
        assert_eq!([heap.is_time(work), heap.is_time(work)], [true, false]);
        work.open = 3;
        assert_eq!([heap.is_time(work), heap.is_time(work)], [true, false]);
        work.messages = 1;
        assert_eq!([heap.is_time(work), heap.is_time(work)], [true, false]);
        work.open = 0;
        assert_eq!([heap.is_time(work), heap.is_time(work)], [true, false], "they have gone");
        work.mebibytes = 1;
        assert_eq!([heap.is_time(work), heap.is_time(work)], [true, false]);
    }

    #[test]
    fn after_a_storm_and_not_in_it_unless_it_does_not_end() {
        let mut heap = Heap::default();
        let mut work = Work::default();
        let mut storm = |heap: &mut Heap| {
            work.accepted += CALM_CONNECTIONS_MAX + 1;
            heap.is_time(work)
        };
        assert_eq!([storm(&mut heap), storm(&mut heap)], [false, false]);
        assert_eq!([heap.is_time(heap.last), heap.is_time(heap.last)], [true, false], "it is over");
        let times = (0..2 * (CALM_LOOKS_MAX + 1)).filter(|_| storm(&mut heap)).count();
        assert_eq!(times, 2, "whoever never calms down gives back all the same");
    }
}
