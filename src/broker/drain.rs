//! The end of a broker: clients are sent away little by little, because each of them is back within 200 ms, here or at
//! another broker; those that watch the inventory go last, when they have been told who has gone, and so do the links to controllers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tracing::info;

use super::core::{BrokerCore, BrokerMail};
use crate::clock::Moment;
use crate::limits;
use crate::link::{PeerId, Shell, TimerKey};
use crate::random::Random;

/// Close code and reason when the broker stops.
pub(super) const GOING_AWAY: (u16, &str) = (1001, "Broker is stopping.");

/// The timer on which the next ones are sent away.
pub(super) const DRAIN: TimerKey = TimerKey(2);

/// What the workers must know of each other when they end.
#[derive(Debug, Default)]
pub(super) struct Departure {
    window_millis: AtomicU64,
    /// Workers that have nobody left but those who watch.
    workers_done: AtomicU32,
}

impl Departure {
    pub(super) fn set_window(&self, window: Duration) {
        self.window_millis.store(u64::try_from(window.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn window(&self) -> Duration {
        Duration::from_millis(self.window_millis.load(Ordering::Relaxed))
    }
}

/// One worker's part of the end.
#[derive(Debug)]
pub(super) struct Drain {
    /// In the order in which they go: the last one first.
    clients: Vec<PeerId>,
    watchers: Vec<PeerId>,
    total: usize,
    begin: Moment,
    duration: Duration,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Clients are being sent away.
    Clients,
    /// Other workers have some left, whose end those who watch must hear of.
    Others,
    /// Everybody has been told to go.
    Over,
}

impl Drain {
    /// How many are to have gone until `now`.
    fn due(&self, now: Moment) -> usize {
        let elapsed = now.since(self.begin).as_millis();
        let duration = self.duration.as_millis();
        if elapsed >= duration {
            return self.total;
        }
        usize::try_from(self.total as u128 * elapsed / duration).unwrap_or(self.total)
    }
}

/// How long so many clients take to leave.
fn duration(clients: usize, window: Duration) -> Duration {
    let clients = u32::try_from(clients).unwrap_or(u32::MAX);
    window.min(Duration::from_secs(1) * clients / limits::DRAIN_CLIENTS_PER_SECOND)
}

impl BrokerCore {
    /// Begins to say goodbye.
    pub(super) fn begin_drain(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        self.broker.begin_stop();
        self.sweep = None;
        self.stop_dialling(shell);
        self.empty_outbox(shell);
        let subscribers = self.subscriptions.clients();
        let (watchers, mut clients): (Vec<PeerId>, Vec<PeerId>) =
            self.sessions.peers().partition(|peer| subscribers.contains(peer));
        // In the order of their slots the oldest would always be first.
        shuffle(&mut clients, &mut self.random);
        let everybody = self.broker.directory.len();
        let duration = duration(everybody, self.broker.departure.window());
        info!(worker = shell.worker(), clients = clients.len(), ?duration, "clients are sent away");
        let (total, begin) = (clients.len(), self.now);
        self.drain = Some(Drain { clients, watchers, total, begin, duration, stage: Stage::Clients });
        self.drain(shell);
    }

    /// Sends away those whose time has come.
    pub(super) fn drain(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        let Some(drain) = &mut self.drain else { return };
        let left = drain.total - drain.due(self.now).min(drain.total);
        while drain.clients.len() > left {
            let Some(peer) = drain.clients.pop() else { break };
            shell.close(peer, GOING_AWAY.0, GOING_AWAY.1);
        }
        if drain.stage == Stage::Clients && drain.clients.is_empty() {
            drain.stage = Stage::Others;
            self.broker.departure.workers_done.fetch_add(1, Ordering::AcqRel);
            // The end of ours gets into the inventory after this event, so those who watch go with the next one.
        } else if drain.stage == Stage::Others
            && self.broker.departure.workers_done.load(Ordering::Acquire) >= u32::from(self.broker.workers())
        {
            drain.stage = Stage::Over;
            let watchers = std::mem::take(&mut drain.watchers);
            self.tell_subscribers(shell);
            for peer in watchers {
                shell.close(peer, GOING_AWAY.0, GOING_AWAY.1);
            }
            // After the last news for them.
            self.close_links(shell);
        }
        self.arm_drain(shell);
    }

    fn arm_drain(&mut self, shell: &mut dyn Shell<BrokerMail>) {
        let Some(drain) = &self.drain else { return };
        if drain.stage != Stage::Over {
            // Not all workers and brokers at the same moments.
            let step = limits::DRAIN_STEP;
            shell.arm(DRAIN, self.now + self.random.between(step / 2, step * 3 / 2));
        }
    }
}

fn shuffle(peers: &mut [PeerId], random: &mut Random) {
    for last in (1..peers.len()).rev() {
        peers.swap(last, random.index(last + 1));
    }
}

#[cfg(test)]
mod tests;
