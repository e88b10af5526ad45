//! The order of a job's nodes.

use super::*;
use crate::orchestrator::store::order::{Ended, Precedence, Wait};
use crate::orchestrator::store::{Pruned, UnfinishedJob};

pub(super) fn an_order_is_kept_as_long_as_nodes_wait(open: Open<'_>) {
    let store = open();
    let pair = |node, after| Precedence { node, after };
    let mut job = new_job("t", &["a", "b", "c", "d"]);
    job.order = vec![pair(1, 0), pair(2, 0), pair(2, 1), pair(3, 2)];
    let id = store.create_job(job).unwrap();
    let waits = |store: &dyn Store| {
        store.unfinished().unwrap().into_iter().find(|job: &UnfinishedJob| job.id == id).unwrap().waits
    };
    let all = [pair(1, 0), pair(2, 0), pair(2, 1), pair(3, 2)].map(Wait::new);
    assert_eq!(waits(&*store), all);
    store.commit(vec![started(key(id, 0), 2_000), ended(key(id, 0), NodeState::Finished, 2_001)]).unwrap();
    store.commit(vec![started(key(id, 1), 2_002)]).unwrap();
    assert_eq!(waits(&*store), [pair(2, 1), pair(3, 2)].map(Wait::new), "what is done is waited for by nobody");
    drop(store);
    let store = open();
    store.commit(vec![ended(key(id, 1), NodeState::Failed, 2_003)]).unwrap();
    let failed = Ended { name: "b".into(), state: NodeState::Failed };
    assert_eq!(waits(&*store), [Wait { precedence: pair(2, 1), ended: Some(failed) }, Wait::new(pair(3, 2))]);
    assert_eq!(store.waits(id).unwrap(), waits(&*store));
    let ends = [2, 3].map(|position| ended(key(id, position), NodeState::Skipped, 2_004)).into_iter();
    store.commit(ends.chain([entered(id, JobState::Failed, 2_005, None)]).collect()).unwrap();
    while store.prune(at(2_006), 3).unwrap() != Pruned::Nothing {}
    assert_eq!((store.job(id).unwrap(), store.waits(id).unwrap()), (None, vec![]));
}
