//! What has to be done now and then: jobs that ended long ago and tokens that nobody can use are forgotten, a few rows at
//! a time, so that nobody who writes waits long.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::store::access::AccessChange;
use super::store::{Change, Pruned, Store, StoreError};
use crate::clock::WallTime;
use crate::limits::{PRUNE_INTERVAL, PRUNE_ROWS_MAX, TOKEN_KEPT, TOKENS_SWEPT_MAX};

/// The thread; it ends when this is dropped.
pub struct Upkeep {
    thread: Option<JoinHandle<()>>,
    /// Dropped to stop it.
    stop: Option<Sender<()>>,
}

impl Upkeep {
    /// Forgets jobs that ended longer ago than `keep` (`None` is for ever), and tokens.
    pub fn start(store: Arc<dyn Store>, keep: Option<Duration>) -> std::io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = thread::Builder::new().name("upkeep".into()).spawn(move || {
            loop {
                let is_stopping = || stopped.try_recv().is_err_and(|error| error.is_disconnected());
                let now = WallTime::now();
                if let Some(keep) = keep {
                    prune(&*store, now, keep, &is_stopping);
                }
                sweep_tokens(&*store, now, &is_stopping);
                if stopped.recv_timeout(PRUNE_INTERVAL) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        })?;
        Ok(Self { thread: Some(thread), stop: Some(stop) })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

/// Forgets all jobs that ended longer ago than `keep`.
fn prune(store: &dyn Store, now: WallTime, keep: Duration, is_stopping: &dyn Fn() -> bool) {
    let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let before = WallTime::from_millis(now.as_millis().saturating_sub(keep));
    let mut jobs = 0;
    while !is_stopping() {
        match store.prune(before, PRUNE_ROWS_MAX) {
            Ok(Pruned::Some { jobs: more }) => jobs += more,
            Ok(Pruned::Nothing) => break,
            Err(error) => {
                tracing::warn!(%error, "old jobs cannot be removed; tried again later");
                break;
            }
        }
    }
    if jobs > 0 {
        tracing::info!(jobs, before = before.to_millis_string(), "removed jobs that ended before");
    }
}

/// Forgets tokens that have long been out of use, which bounds their table by those that can be used.
fn sweep_tokens(store: &dyn Store, now: WallTime, is_stopping: &dyn Fn() -> bool) {
    let kept = i64::try_from(TOKEN_KEPT.as_millis()).unwrap_or(i64::MAX);
    let before = WallTime::from_millis(now.as_millis().saturating_sub(kept));
    let step = || -> Result<usize, StoreError> {
        let dead = store.dead_tokens(before, TOKENS_SWEPT_MAX)?;
        let number = dead.len();
        if number > 0 {
            store.commit(vec![Change::Access(AccessChange::TokensForgotten(dead))])?;
        }
        Ok(number)
    };
    while !is_stopping() {
        match step() {
            Ok(TOKENS_SWEPT_MAX..) => {}
            Ok(_) => return,
            Err(error) => return tracing::warn!(%error, "old tokens cannot be removed; tried again later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::model::{JobState, NodeState};
    use crate::orchestrator::store::Change;
    use crate::orchestrator::store::access::Token;
    use crate::orchestrator::store::conformance;
    use crate::orchestrator::store::sqlite::SqliteStore;

    #[test]
    fn jobs_are_forgotten_when_their_time_is_over_and_not_when_they_run() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        let names: Vec<String> = (0..PRUNE_ROWS_MAX + 1).map(|n| format!("n{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let job = |names: &[&str], ended: Option<i64>| {
            let id = store.create_job(conformance::new_job("t", names)).unwrap();
            if let Some(at) = ended {
                let node = conformance::ended(conformance::key(id, 0), NodeState::Finished, at);
                let at = WallTime::from_millis(at);
                store
                    .commit(vec![node, Change::JobEntered { job: id, state: JobState::Finished, at, event: None }])
                    .unwrap();
            }
            id
        };
        let (large, running, young) = (job(&names, Some(5_000)), job(&["a"], None), job(&["a"], Some(20_000)));
        prune(&store, WallTime::from_millis(30_000), Duration::from_secs(15), &|| false);
        let is_there = [large, running, young].map(|id| store.job(id).unwrap().is_some());
        assert_eq!(is_there, [false, true, true]);
        assert_eq!(store.events(large, 0).unwrap(), None);
        assert_eq!(store.prune(WallTime::from_millis(15_000), 10).unwrap(), Pruned::Nothing);
        assert!(job(&["a"], None) > young, "numbers are not used again");
    }

    #[test]
    fn tokens_long_out_of_use_are_forgotten_step_by_step() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir.path()).unwrap());
        let rbac =
            crate::orchestrator::rbac::Rbac::open(store.clone(), &crate::orchestrator::tests::settings(dir.path()));
        let user = rbac.unwrap().user_by_login("admin").unwrap().unwrap();
        let token = |number: usize, expires: i64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            let at = WallTime::from_millis;
            Change::Access(AccessChange::TokenIssued(Token {
                hash,
                user_id: user.id.clone(),
                label: None,
                description: String::new(),
                client: String::new(),
                created: at(0),
                expires: at(expires),
                last_active: at(0),
                timeout: None,
                revoked: None,
            }))
        };
        let now = 2 * i64::try_from(TOKEN_KEPT.as_millis()).unwrap();
        let mut tokens: Vec<Change> = (0..=TOKENS_SWEPT_MAX).map(|number| token(number, 1_000)).collect();
        tokens.push(token(TOKENS_SWEPT_MAX + 1, now - 1));
        store.commit(tokens).unwrap();
        sweep_tokens(&*store, WallTime::from_millis(now), &|| true);
        assert_eq!(store.dead_tokens(WallTime::from_millis(now), 1_000).unwrap().len(), TOKENS_SWEPT_MAX + 2);
        sweep_tokens(&*store, WallTime::from_millis(now), &|| false);
        let left = store.dead_tokens(WallTime::from_millis(now), 1_000).unwrap();
        assert_eq!(left.len(), 1, "one that has just expired is still told from an unknown one");
    }

    #[test]
    fn it_stops_when_it_is_asked_to() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir.path()).unwrap());
        drop(Upkeep::start(store.clone(), Some(Duration::from_secs(1))).unwrap());
        drop(Upkeep::start(store, None).unwrap());
    }
}
