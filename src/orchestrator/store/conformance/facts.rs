//! Facts, groups and task targets: what every store must do with them.

use serde_json::{Map, Value, json};

use super::{Open, at};
use crate::limits::NODE_FACTS_BYTES_MAX;
use crate::orchestrator::classifier::{Group, ROOT};
use crate::orchestrator::model::TaskTarget;
use crate::orchestrator::store::{Change, FactsChange, GroupsChange, Store, StoredNode};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// Everything known after a change.
fn known_since(store: &dyn Store, mut sequence: i64) -> Vec<StoredNode> {
    let mut nodes = Vec::new();
    loop {
        let page = store.nodes_known_since(sequence).unwrap();
        let Some(last) = page.last() else { return nodes };
        sequence = last.sequence;
        nodes.extend(page);
    }
}

/// What has changed is found from the number of an earlier change on, each node once with all that is known of it.
pub fn facts_are_found_by_their_changes(open: Open<'_>) {
    let store = open();
    let facts = |node: &str, facts: Value, millis| {
        Change::Facts(FactsChange::Facts { node: node.into(), facts: object(facts), at: at(millis) })
    };
    let certificate = |node: &str, extensions: Value| {
        Change::Facts(FactsChange::Certificate { node: node.into(), extensions: object(extensions) })
    };
    assert_eq!(known_since(&*store, 0), []);
    store.commit(vec![facts("a", json!({"n": 1}), 1), facts("b", json!({"n": 2}), 2)]).unwrap();
    let first = known_since(&*store, 0);
    let names: Vec<&str> = first.iter().map(|node| node.name.as_str()).collect();
    assert_eq!((names, first[0].sequence), (vec!["a", "b"], 1));
    let changes =
        vec![certificate("a", json!({"pp_role": "x"})), facts("a", json!({"n": 3}), 3), certificate("c", json!({}))];
    store.commit(changes).unwrap();
    drop(store);
    let store = open();
    let later = known_since(&*store, first[1].sequence);
    let [a, c] = later.as_slice() else { panic!("two have changed: {later:?}") };
    assert_eq!((a.name.as_str(), &a.facts), ("a", &Some((object(json!({"n": 3})), at(3)))));
    assert_eq!(a.extensions, Some(object(json!({"pp_role": "x"}))));
    assert_eq!((c.name.as_str(), &c.facts, &c.extensions), ("c", &None, &Some(Map::new())));
    let too_large = json!({"text": "x".repeat(NODE_FACTS_BYTES_MAX)});
    store.commit(vec![facts("b", too_large, 4), facts("d", json!({}), 4)]).unwrap();
    let last = known_since(&*store, c.sequence);
    assert_eq!(
        last.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(),
        ["d"],
        "the job goes on without the others"
    );
    let many = (0..600).map(|number| facts(&format!("many{number}"), json!({}), 5)).collect();
    store.commit(many).unwrap();
    assert_eq!(known_since(&*store, last[0].sequence).len(), 600);
}

/// A change is made only by who has seen the one before.
pub fn groups_change_one_after_the_other(open: Open<'_>) {
    let store = open();
    let group = |id: &str, name: &str| {
        Group::created(id, &json!({"name": name, "parent": ROOT, "classes": {"a": {"b": [1]}}})).unwrap()
    };
    let set =
        |seen, group: &Group| vec![Change::Groups(GroupsChange { seen, set: Some(group.clone()), removed: None })];
    let (a, b) = (group("1", "a"), group("2", "b"));
    assert_eq!(store.groups().unwrap(), (vec![], 0));
    store.commit(set(0, &b)).unwrap();
    assert!(store.commit(set(0, &a)).is_err());
    store.commit(set(1, &a)).unwrap();
    assert!(store.commit(set(2, &group("3", "a"))).is_err(), "the name is taken");
    drop(store);
    let store = open();
    assert_eq!(store.groups().unwrap(), (vec![a, b.clone()], 2));
    let removed = GroupsChange { seen: 2, set: None, removed: Some("1".into()) };
    store.commit(vec![Change::Groups(removed)]).unwrap();
    assert_eq!(store.groups().unwrap(), (vec![b], 3));
}

/// Numbers are given once.
pub fn task_targets_stay(open: Open<'_>) {
    let store = open();
    let target = |id, tasks| TaskTarget {
        id,
        display_name: "d".into(),
        tasks,
        nodes: vec!["n".into()],
        node_groups: vec![],
        pql_query: "nodes {}".into(),
    };
    let (first, second) = (target(1, None), target(2, Some(vec!["a".into()])));
    store.commit(vec![Change::TaskTargetCreated(second.clone()), Change::TaskTargetCreated(first.clone())]).unwrap();
    assert!(store.commit(vec![Change::TaskTargetCreated(first.clone())]).is_err());
    drop(store);
    let store = open();
    assert_eq!(store.task_targets().unwrap(), [first, second.clone()]);
    assert_eq!((store.task_target(2).unwrap(), store.task_target(3).unwrap()), (Some(second), None));
}
