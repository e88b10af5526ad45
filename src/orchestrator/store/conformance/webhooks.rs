//! Events of all jobs in one row, and webhooks.

use super::{Open, at, ended, key, new_job};
use crate::orchestrator::model::{EventType, NodeState};
use crate::orchestrator::store::Change;
use crate::orchestrator::store::webhooks::WebhooksChange;
use crate::orchestrator::webhooks::{HookState, Standing, Webhook};

pub fn run(open: Open<'_>) {
    events_of_all_jobs_are_in_one_row(open);
    webhooks_stay(open);
}

fn events_of_all_jobs_are_in_one_row(open: Open<'_>) {
    let store = open();
    let before = store.last_event().unwrap();
    let [one, other] = ["one", "other"].map(|task| store.create_job(new_job(task, &["a", "b"])).unwrap());
    assert_eq!(store.last_event().unwrap(), before);
    for (job, position) in [(one, 0), (other, 0), (one, 1)] {
        store.commit(vec![ended(key(job, position), NodeState::Finished, 5)]).unwrap();
    }
    let part = |job, start, events| -> Vec<_> {
        store.events_from(job, start, events).unwrap().into_iter().map(|found| (found.job, found.event.id)).collect()
    };
    let all = part(None, before + 1, 100);
    assert_eq!(all.iter().map(|(job, _)| *job).collect::<Vec<_>>(), [one, other, one]);
    assert!(all.is_sorted_by_key(|(_, event)| *event));
    assert_eq!(store.last_event().unwrap(), all[2].1);
    assert_eq!(part(None, all[1].1, 1), [all[1]]);
    assert_eq!(part(Some(one), 0, 100), [all[0], all[2]]);
    assert_eq!(part(Some(one), all[2].1 + 1, 100), []);
}

fn webhooks_stay(open: Open<'_>) {
    let standing = Standing {
        state: HookState::Active,
        next_event: 7,
        failures: 0,
        failing_since: None,
        last_error: None,
        delivered: None,
    };
    let hook = |id: &str, created| Webhook {
        id: id.to_owned(),
        url: "https://hooks.example.com/x".to_owned(),
        kinds: vec![EventType::NodeFailed, EventType::JobFinished],
        description: "d".to_owned(),
        owner: "ada".to_owned(),
        created: at(created),
        secret: vec![0, 1, 255],
        resumed: 0,
        standing: standing.clone(),
    };
    let (first, mut second) = (hook("b", 1), hook("a", 2));
    let store = open();
    for added in [&second, &first] {
        store.commit(vec![Change::Webhooks(WebhooksChange::Added(added.clone()))]).unwrap();
    }
    assert!(store.commit(vec![Change::Webhooks(WebhooksChange::Added(first.clone()))]).is_err(), "it is there");
    assert_eq!(store.webhooks().unwrap(), [first.clone(), second.clone()]);
    second.standing = Standing {
        state: HookState::Dead,
        next_event: 9,
        failures: 3,
        failing_since: Some(at(5)),
        last_error: Some("e".to_owned()),
        delivered: Some(at(4)),
    };
    let changes = [
        WebhooksChange::Stands(second.id.clone(), second.standing.clone()),
        WebhooksChange::Removed(first.id.clone()),
        WebhooksChange::Stands(first.id.clone(), standing.clone()),
        WebhooksChange::Resumed(first.id),
    ];
    store.commit(changes.map(Change::Webhooks).into()).unwrap();
    drop(store);
    let store = open();
    assert_eq!(store.webhooks().unwrap(), [second.clone()]);
    // One that was given up begins anew where it was; one that fails goes on failing.
    let resumed = || vec![Change::Webhooks(WebhooksChange::Resumed(second.id.clone()))];
    store.commit(resumed()).unwrap();
    let anew = Standing { next_event: 9, delivered: Some(at(4)), ..standing.clone() };
    assert_eq!(store.webhooks().unwrap(), [Webhook { standing: anew, resumed: 1, ..second.clone() }]);
    let failing = Standing { state: HookState::Active, ..second.standing.clone() };
    store.commit(vec![Change::Webhooks(WebhooksChange::Stands(second.id.clone(), failing.clone()))]).unwrap();
    store.commit(resumed()).unwrap();
    assert_eq!(store.webhooks().unwrap(), [Webhook { standing: failing, resumed: 2, ..second.clone() }]);
    store.commit(vec![Change::Webhooks(WebhooksChange::Removed(second.id))]).unwrap();
    assert_eq!(store.webhooks().unwrap(), []);
}
