//! Proof of life: whether every worker has turned since the last time somebody asked.

use std::sync::Arc;

use crate::reactor::mailbox::Bell;

/// Watches the workers of a reactor.
pub struct Pulse {
    bells: Vec<(Arc<Bell>, u64)>,
}

impl Pulse {
    pub(super) fn of(bells: &[Arc<Bell>]) -> Self {
        let pulse = Self { bells: bells.iter().map(|bell| (bell.clone(), bell.answers())).collect() };
        pulse.ring();
        pulse
    }

    /// The worker that has not turned since the last beat, or since this was made, if there is one. Ask no more often
    /// than the longest turn may take. A worker that has ended does not turn any more.
    pub fn beat(&mut self) -> Result<(), usize> {
        let mut stuck = None;
        for (worker, (bell, seen)) in self.bells.iter_mut().enumerate() {
            let answers = bell.answers();
            if answers == *seen {
                stuck.get_or_insert(worker);
            }
            *seen = answers;
        }
        self.ring();
        stuck.map_or(Ok(()), Err)
    }

    fn ring(&self) {
        for (bell, _) in &self.bells {
            bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::mailbox::poll_with_bell;

    #[test]
    fn a_worker_that_does_not_turn_is_found() {
        let (_first, one) = poll_with_bell(mio::Token(0)).unwrap();
        let (_second, other) = poll_with_bell(mio::Token(0)).unwrap();
        let mut pulse = Pulse::of(&[one.clone(), other.clone()]);
        one.answer();
        other.answer();
        assert_eq!(pulse.beat(), Ok(()));
        one.answer();
        assert_eq!(pulse.beat(), Err(1));
        one.answer();
        other.answer();
        assert_eq!(pulse.beat(), Ok(()));
    }
}
