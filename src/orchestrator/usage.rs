//! Figures of each day's use (orchestrator API v1, `usage`): which nodes are connected is looked at now and then; on how many
//! something was done is counted from the jobs. Only figures are kept of days that are over.

use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::inventory::Inventory;
use super::store::usage::UsageChange;
use super::store::{Change, Store, StoreError};
use crate::clock::WallTime;
use crate::limits::{USAGE_INTERVAL, USAGE_NAMES_PER_CHANGE};

const DAY_MILLIS: i64 = 86_400_000;

/// The thread; it ends when this is dropped.
pub struct Usage {
    thread: Option<JoinHandle<()>>,
    /// Dropped to stop it.
    stop: Option<Sender<()>>,
}

impl Usage {
    /// Keeps figures of the last `days` days.
    pub fn start(store: Arc<dyn Store>, inventory: Arc<RwLock<Inventory>>, days: u32) -> std::io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = thread::Builder::new().name("usage".into()).spawn(move || {
            // Nobody is connected right after the start.
            while stopped.recv_timeout(USAGE_INTERVAL) != Err(RecvTimeoutError::Disconnected) {
                let is_stopping = || stopped.try_recv().is_err_and(|error| error.is_disconnected());
                if let Err(error) = look(&*store, connected(&inventory), day_of(WallTime::now()), days, &is_stopping) {
                    tracing::warn!(%error, "today's use cannot be written down; tried again later");
                }
            }
        })?;
        Ok(Self { thread: Some(thread), stop: Some(stop) })
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

/// The day of a time in UTC, counted from 1970-01-01.
pub fn day_of(time: WallTime) -> i64 {
    time.as_millis().div_euclid(DAY_MILLIS)
}

fn connected(inventory: &RwLock<Inventory>) -> Vec<String> {
    let entries = inventory.read().unwrap_or_else(PoisonError::into_inner).entries();
    entries.into_iter().filter(|entry| entry.connection.is_some()).map(|entry| entry.name).collect()
}

/// Writes down who is connected, and counts.
fn look(
    store: &dyn Store,
    connected: Vec<String>,
    today: i64,
    days: u32,
    is_stopping: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    for names in connected.chunks(USAGE_NAMES_PER_CHANGE) {
        if is_stopping() {
            return Ok(());
        }
        store.commit(vec![Change::Usage(UsageChange::Seen { day: today, names: names.to_vec() })])?;
    }
    store.count_usage(today, today.saturating_sub(i64::from(days)).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::store::sqlite::SqliteStore;
    use crate::orchestrator::store::usage::UsageStore;

    #[test]
    fn nodes_are_counted_once_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        let look = |names: &[String], day, days| look(&store, names.to_vec(), day, days, &|| false).unwrap();
        let names: Vec<String> = (0..USAGE_NAMES_PER_CHANGE + 5).map(|number| format!("n{number}")).collect();
        look(&names, 20_000, 30);
        look(&names[..2], 20_000, 30);
        look(&names[..3], 20_001, 30);
        let nodes =
            |first, last| store.usage(first, last).unwrap().iter().map(|day| (day.day, day.nodes)).collect::<Vec<_>>();
        let all = names.len() as u64;
        assert_eq!(nodes(0, 30_000), [(20_000, all), (20_001, 3)]);
        assert_eq!(nodes(20_001, 20_001), [(20_001, 3)]);
        // The day that is over keeps its figures although its names are gone.
        look(&[], 20_001, 30);
        assert_eq!(nodes(0, 30_000), [(20_000, all), (20_001, 3)]);
        look(&names[..1], 20_002, 2);
        assert_eq!(nodes(0, 30_000), [(20_001, 3), (20_002, 1)]);
    }
}
