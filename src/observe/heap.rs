//! Memory that was freed and that the allocator keeps: given back to the system when there has been work, which is when
//! pages become free. The way to do so belongs to the allocator, and so to the binary that has chosen it.

use std::sync::OnceLock;

use super::metrics::Metrics;

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
        if self.worked(work)
            && let Some(give_back) = GIVE_BACK.get()
        {
            give_back();
        }
    }

    /// Whether there has been work since the last look.
    fn worked(&mut self, work: Work) -> bool {
        std::mem::replace(&mut self.last, work) != work
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_after_work_and_not_again() {
        let mut heap = Heap::default();
        assert!(!heap.worked(Work::default()), "nobody has come yet");
        let mut work = Work { accepted: 3, ..Work::default() };
        assert_eq!([heap.worked(work), heap.worked(work)], [true, false]);
        work.open = 3;
        assert_eq!([heap.worked(work), heap.worked(work)], [true, false]);
        work.messages = 1;
        assert_eq!([heap.worked(work), heap.worked(work)], [true, false]);
        work.open = 0;
        assert_eq!([heap.worked(work), heap.worked(work)], [true, false], "they have gone");
        work.mebibytes = 1;
        assert_eq!([heap.worked(work), heap.worked(work)], [true, false]);
    }
}
