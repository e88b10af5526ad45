//! Accepted connections that wait for a handshake slot: newest first, because the oldest has the least of its 5 s left
//! and would only waste a handshake; bounded in number and in time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// What the accept loop may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intake {
    /// Go on.
    Open,
    /// The room was full; the kernel's backlog keeps newcomers until it is emptier.
    Full,
}

/// Waiting connections of one worker.
#[derive(Debug)]
pub(super) struct WaitRoom<T> {
    waiting: VecDeque<(Moment, T)>,
    capacity: usize,
    patience: Duration,
    intake: Intake,
}

impl<T> WaitRoom<T> {
    pub(super) fn new(capacity: usize, patience: Duration) -> Self {
        Self { waiting: VecDeque::new(), capacity, patience, intake: Intake::Open }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether more may be accepted. Once full, only below 90 %, so that it does not flap.
    pub(super) fn intake(&mut self) -> Intake {
        let limit = match self.intake {
            Intake::Open => self.capacity,
            Intake::Full => self.capacity * 9 / 10,
        };
        self.intake = if self.waiting.len() >= limit { Intake::Full } else { Intake::Open };
        self.intake
    }

    pub(super) fn enter(&mut self, now: Moment, newcomer: T) {
        debug_assert!(self.waiting.len() < self.capacity);
        self.waiting.push_back((now + self.patience, newcomer));
    }

    /// Takes the newest.
    pub(super) fn take(&mut self) -> Option<T> {
        self.waiting.pop_back().map(|(_, newcomer)| newcomer)
    }

    /// Drops those that have waited too long and returns how many there were.
    pub(super) fn expire(&mut self, now: Moment) -> usize {
        let expired = self.waiting.iter().take_while(|(until, _)| *until <= now).count();
        self.waiting.drain(..expired);
        expired
    }

    /// When the oldest will have waited too long.
    pub(super) fn next_expiry(&self) -> Option<Moment> {
        self.waiting.front().map(|&(until, _)| until)
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn the_newest_is_first_and_the_oldest_expires() {
        let mut room = WaitRoom::new(10, Duration::from_millis(100));
        for newcomer in 0..4 {
            room.enter(at(newcomer * 10), newcomer);
        }
        assert_eq!(room.take(), Some(3));
        assert_eq!(room.next_expiry(), Some(at(100)));
        assert_eq!(room.expire(at(110)), 2);
        assert_eq!(room.take(), Some(2));
        assert_eq!(room.take(), None);
    }

    #[test]
    fn intake_stops_when_full_and_resumes_below_nine_tenths() {
        let mut room = WaitRoom::new(10, Duration::from_secs(1));
        for newcomer in 0..10 {
            assert_eq!(room.intake(), Intake::Open);
            room.enter(at(0), newcomer);
        }
        assert_eq!(room.intake(), Intake::Full);
        room.take();
        assert_eq!(room.intake(), Intake::Full);
        room.take();
        assert_eq!(room.intake(), Intake::Open);
    }
}
