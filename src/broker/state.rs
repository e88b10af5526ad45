//! How the broker as a whole stands: whether clients are let in, and the word that the status page has for it
//! (pcp-broker, `broker-service`).

use std::sync::atomic::{AtomicU64, Ordering};

/// How the broker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerState {
    /// Its controllers are being dialled for the first time; no client is let in.
    Starting,
    /// Clients are let in.
    Running,
    /// Controllers are configured and none is linked; no client is let in.
    Error,
    /// It is about to end; no client is let in.
    Stopping,
}

impl BrokerState {
    /// The word of the status page.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Error => "error",
            Self::Stopping => "stopping",
        }
    }
}

/// The state that all workers share. Each change is numbered, so that what one change has set off can be told from what
/// the next one has.
#[derive(Debug)]
pub(super) struct StateCell(AtomicU64);

/// One change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change(u64);

const STATES: [BrokerState; 4] =
    [BrokerState::Starting, BrokerState::Running, BrokerState::Error, BrokerState::Stopping];

impl StateCell {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(BrokerState::Running as u64))
    }

    pub(super) fn get(&self) -> BrokerState {
        STATES[(self.0.load(Ordering::Acquire) % STATES.len() as u64) as usize]
    }

    /// The change that made it what it is.
    pub(super) fn last_change(&self) -> Change {
        Change(self.0.load(Ordering::Acquire))
    }

    /// A broker that stops does nothing else any more.
    pub(super) fn set(&self, state: BrokerState) {
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let count = STATES.len() as u64;
            let stops = word % count == BrokerState::Stopping as u64;
            (!stops).then(|| (word / count + 1) * count + state as u64)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_apart_and_stopping_is_the_last() {
        let cell = StateCell::new();
        let mut seen = vec![cell.last_change()];
        for state in [BrokerState::Starting, BrokerState::Running, BrokerState::Error, BrokerState::Running] {
            cell.set(state);
            assert_eq!(cell.get(), state);
            assert!(!seen.contains(&cell.last_change()));
            seen.push(cell.last_change());
        }
        cell.set(BrokerState::Stopping);
        cell.set(BrokerState::Running);
        assert_eq!((cell.get(), cell.get().word()), (BrokerState::Stopping, "stopping"));
    }
}
