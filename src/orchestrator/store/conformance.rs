//! What every [`Store`] must do. An implementation calls [`run`] with a function that opens its store, again and again on
//! the same data: everything acknowledged must still be there, however the one before ended.

mod access;
mod facts;
pub mod log;
mod order;
pub mod plans;
pub mod schedules;
mod webhooks;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Change, NewEvent, NewJob, NewNode, NodeKey, Store};
use crate::clock::WallTime;
use crate::orchestrator::model::{
    DeployOptions, EventType, JobId, JobKind, JobOrder, JobQuery, JobSpec, JobState, NodeOrder, NodeQuery, NodeState,
    Scope, Subject, TaskWork, Terms, Work,
};

/// Opens the store on data that stays the same during one run of the suite.
pub type Open<'a> = &'a dyn Fn() -> Box<dyn Store>;

/// Runs the suite on empty data.
pub fn run(open: Open<'_>) {
    job_numbers_have_no_gaps(open);
    a_job_goes_through_its_life(open);
    lists_are_sliced_sorted_and_filtered(open);
    a_stop_is_kept(open);
    plans::run(open);
    order::an_order_is_kept_as_long_as_nodes_wait(open);
    a_failed_commit_changes_nothing(open);
    names(open);
    access::run(open);
    facts::facts_are_found_by_their_changes(open);
    facts::groups_change_one_after_the_other(open);
    facts::task_targets_stay(open);
    webhooks::run(open);
    schedules::run(open);
    many_threads_write_at_once(open);
    plans::running_plans_of_one_user_are_limited(open);
    a_closed_store_refuses(open);
}

const fn at(millis: i64) -> WallTime {
    WallTime::from_millis(millis)
}

fn owner(login: &str) -> Subject {
    Subject {
        id: "1".into(),
        login: login.into(),
        display_name: login.to_uppercase(),
        last_login: Some("2026-03-01T09:00:00.000Z".into()),
        role_ids: vec![2],
        ..Subject::default()
    }
}

/// A job of `ada` on these nodes.
pub fn new_job(task: &str, names: &[&str]) -> NewJob {
    let object = |value: Value| value.as_object().cloned().unwrap_or_default();
    let work = TaskWork {
        task: task.into(),
        params: object(json!({"a": [1, null, "é\u{0}"]})),
        sensitive: vec!["secret".into()],
        plan_job: None,
    };
    let scope = Scope::Nodes(names.iter().map(|name| (*name).to_owned()).collect());
    let terms = Terms {
        noop: true,
        concurrency: Some(7),
        description: "d".into(),
        userdata: object(json!({"u": 1})),
        timeout: Some(60),
        ..Terms::new("production", scope)
    };
    NewJob {
        spec: JobSpec { work: Work::Task(work), terms, owner: owner("ada") },
        created: at(1_000),
        payload: vec![0, 1, 255],
        firing: None,
        nodes: names.iter().map(|name| NewNode { name: (*name).into(), transaction: Uuid::new_v4() }).collect(),
        order: Vec::new(),
    }
}

fn event(kind: EventType, message: &str) -> NewEvent {
    NewEvent { kind, details: Map::from_iter([("node".to_owned(), json!("n"))]), message: message.into() }
}

pub fn key(job: JobId, position: u32) -> NodeKey {
    NodeKey { job, position }
}

pub fn started(node: NodeKey, millis: i64) -> Change {
    Change::NodeStarted { node, at: at(millis), event: event(EventType::NodeRunning, "started") }
}

pub fn ended(node: NodeKey, state: NodeState, millis: i64) -> Change {
    let event = event(EventType::NodeFinished, "ended");
    let details = Map::from_iter([("message".to_owned(), json!("m"))]);
    Change::NodeEnded { node, state, at: at(millis), details, result: json!({"x": 1}), event }
}

fn entered(job: JobId, state: JobState, millis: i64, event: Option<NewEvent>) -> Change {
    Change::JobEntered { job, state, at: at(millis), event }
}

pub fn all_nodes() -> NodeQuery {
    NodeQuery { limit: None, offset: 0, order_by: NodeOrder::Name, descending: false, state: None, with_results: true }
}

pub fn all_jobs() -> JobQuery {
    JobQuery {
        limit: 100,
        offset: 0,
        order_by: JobOrder::Name,
        descending: false,
        kind: None,
        task: None,
        min_finish: None,
        max_finish: None,
    }
}

fn job_numbers_have_no_gaps(open: Open<'_>) {
    let store = open();
    assert_eq!(store.create_job(new_job("first", &["a"])), Ok(JobId(1)));
    drop(store);
    let store = open();
    let mut broken = new_job("broken", &["a"]);
    broken.nodes.push(broken.nodes[0].clone());
    assert!(store.create_job(broken).is_err());
    assert!(store.commit(vec![started(key(JobId(99), 0), 1)]).is_err());
    assert_eq!(store.create_job(new_job("second", &[])), Ok(JobId(2)));
    let finish = |id| entered(JobId(id), JobState::Failed, 2_000, None);
    store.commit(vec![finish(1), finish(2)]).unwrap();
}

fn a_job_goes_through_its_life(open: Open<'_>) {
    let store = open();
    let asked = new_job("demo", &["b", "a", "c"]);
    let id = store.create_job(asked.clone()).unwrap();
    let job = store.job(id).unwrap().unwrap();
    assert_eq!((job.state, job.node_count, job.node_states[&NodeState::Ready]), (JobState::Ready, 3, 3));
    assert_eq!(job.spec, asked.spec);
    store
        .commit(vec![
            entered(id, JobState::Running, 2_000, None),
            started(key(id, 0), 2_000),
            started(key(id, 1), 2_001),
            Change::NodeAcknowledged(key(id, 0)),
            Change::NodeResent(key(id, 1)),
            Change::NodeNoted { node: key(id, 0), message: "noted".into() },
            ended(key(id, 2), NodeState::Errored, 2_002),
        ])
        .unwrap();
    drop(store);

    let store = open();
    let noted = &store.nodes(id, &all_nodes()).unwrap().unwrap().items[1];
    assert_eq!((noted.name.as_str(), &noted.details["message"]), ("b", &json!("noted")));
    let unfinished = store.unfinished().unwrap();
    let [recovered] = unfinished.as_slice() else { panic!("one job has not ended: {unfinished:?}") };
    assert_eq!((recovered.id, recovered.state, &recovered.payload), (id, JobState::Running, &asked.payload));
    assert_eq!((&recovered.spec, recovered.is_forced), (&asked.spec, false));
    assert_eq!((recovered.succeeded, recovered.unsuccessful, recovered.nodes.len()), (0, 1, 2));
    let [b, a] = recovered.nodes.as_slice() else { panic!("two nodes have not ended") };
    assert_eq!((b.position, b.name.as_str(), b.transaction), (0, "b", asked.nodes[0].transaction));
    assert_eq!((b.start, b.acknowledged, b.resent), (Some(at(2_000)), true, false));
    assert_eq!((a.acknowledged, a.resent), (false, true));
    let last = Some(event(EventType::JobFinished, "done"));
    store
        .commit(vec![
            ended(key(id, 0), NodeState::Finished, 3_000),
            ended(key(id, 1), NodeState::Failed, 3_001),
            entered(id, JobState::Failed, 3_002, last),
        ])
        .unwrap();
    assert_eq!(store.unfinished().unwrap(), []);

    let job = store.job(id).unwrap().unwrap();
    assert_eq!((job.created, job.started, job.finished), (at(1_000), Some(at(2_000)), Some(at(3_002))));
    let status: Vec<_> = job.status.iter().map(|status| (status.state, status.enter, status.exit)).collect();
    assert_eq!(
        status,
        [
            (JobState::New, at(1_000), Some(at(1_000))),
            (JobState::Ready, at(1_000), Some(at(2_000))),
            (JobState::Running, at(2_000), Some(at(3_002))),
            (JobState::Failed, at(3_002), None),
        ]
    );
    let events = store.events(id, 0).unwrap().unwrap();
    assert!(events.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(events.last().unwrap().kind, EventType::JobFinished);
    assert_eq!(store.events(id, events[4].id).unwrap().unwrap(), events[4..]);
    let nodes = store.nodes(id, &all_nodes()).unwrap().unwrap();
    let c = &nodes.items[2];
    assert_eq!((c.name.as_str(), c.start, c.finish, c.latest_event_id), ("c", None, Some(at(2_002)), events[2].id));
    assert_eq!((c.result.as_ref(), &c.details["message"]), (Some(&json!({"x": 1})), &json!("m")));
    for nothing in [JobId(0), JobId(99)] {
        assert_eq!(store.job(nothing).unwrap(), None);
        assert_eq!(store.events(nothing, 0).unwrap(), None);
        assert_eq!(store.nodes(nothing, &all_nodes()).unwrap(), None);
    }
}

fn lists_are_sliced_sorted_and_filtered(open: Open<'_>) {
    let store = open();
    let before = store.jobs(&all_jobs()).unwrap().total;
    for (task, login) in [("list::x", "zoe"), ("list::y", "bob"), ("other", "eve")] {
        let mut job = new_job(task, &["a", "b"]);
        job.spec.owner = owner(login);
        let id = store.create_job(job).unwrap();
        store.commit(vec![entered(id, JobState::Finished, 5_000 + id.0, None)]).unwrap();
    }
    let ids = |query: &JobQuery| {
        let page = store.jobs(query).unwrap();
        (page.items.iter().map(|job| u64::try_from(job.id.0).unwrap() - before).collect::<Vec<_>>(), page.total)
    };
    let list = JobQuery { task: Some("list::".into()), ..all_jobs() };
    assert_eq!(ids(&list), (vec![1, 2], 2));
    assert_eq!(ids(&JobQuery { order_by: JobOrder::Owner, ..list.clone() }), (vec![2, 1], 2));
    assert_eq!(ids(&JobQuery { descending: true, limit: 1, ..list.clone() }), (vec![2], 2));
    assert_eq!(ids(&JobQuery { offset: 1, ..list }), (vec![2], 2));
    let last = at(5_000 + i64::try_from(before).unwrap() + 3);
    assert_eq!(ids(&JobQuery { min_finish: Some(last), ..all_jobs() }), (vec![3], 1));
    assert_eq!(store.jobs(&JobQuery { max_finish: Some(at(1)), ..all_jobs() }).unwrap().total, 0);
    let mut run = new_job("", &["a"]);
    let options = DeployOptions { no_noop: true, tags: Some("ssh".into()), filetimeout: Some(3), ..Default::default() };
    run.spec.work = Work::Deploy(options);
    let id = store.create_job(run.clone()).unwrap();
    assert_eq!(store.unfinished().unwrap().pop().unwrap().spec, run.spec);
    store.commit(vec![entered(id, JobState::Finished, 9_000, None)]).unwrap();
    let deploys = JobQuery { kind: Some(JobKind::Deploy), ..all_jobs() };
    assert_eq!((ids(&deploys), store.job(id).unwrap().unwrap().spec), ((vec![4], 1), run.spec));
    let id = JobId(i64::try_from(before).unwrap() + 1);
    store.commit(vec![started(key(id, 1), 10), ended(key(id, 1), NodeState::Finished, 20)]).unwrap();
    let names = |query: &NodeQuery| {
        let page = store.nodes(id, query).unwrap().unwrap();
        (page.items.into_iter().map(|node| node.name).collect::<Vec<_>>(), page.total)
    };
    for order_by in NodeOrder::ALL {
        assert_eq!(names(&NodeQuery { order_by: *order_by, ..all_nodes() }).1, 2);
    }
    assert_eq!(names(&NodeQuery { state: Some(NodeState::Finished), ..all_nodes() }), (vec!["b".into()], 1));
    assert_eq!(names(&NodeQuery { limit: Some(1), descending: true, ..all_nodes() }), (vec!["b".into()], 2));
}

fn a_stop_is_kept(open: Open<'_>) {
    let store = open();
    let id = store.create_job(new_job("long", &["a"])).unwrap();
    let stopping = event(EventType::JobStopping, "stopping");
    store.commit(vec![entered(id, JobState::Stopping, 2_000, Some(stopping)), Change::JobForced(id)]).unwrap();
    drop(store);
    let store = open();
    let recovered = store.unfinished().unwrap().pop().unwrap();
    assert_eq!((recovered.id, recovered.state, recovered.is_forced), (id, JobState::Stopping, true));
    store
        .commit(vec![ended(key(id, 0), NodeState::Skipped, 3_000), entered(id, JobState::Stopped, 3_000, None)])
        .unwrap();
    let job = store.job(id).unwrap().unwrap();
    assert_eq!((job.state, job.started, job.node_states[&NodeState::Skipped]), (JobState::Stopped, None, 1));
}

fn a_failed_commit_changes_nothing(open: Open<'_>) {
    let store = open();
    let id = store.create_job(new_job("whole", &["a"])).unwrap();
    let changes = vec![started(key(id, 0), 7), started(key(JobId(9_999), 0), 7)];
    assert!(store.commit(changes).is_err());
    assert_eq!(store.events(id, 0).unwrap().unwrap(), []);
    assert_eq!(store.nodes(id, &all_nodes()).unwrap().unwrap().items[0].state, NodeState::Ready);
    store.commit(vec![entered(id, JobState::Failed, 8, None)]).unwrap();
}

fn names(open: Open<'_>) {
    let store = open();
    store.commit(vec![Change::NodesSeen(vec!["b".into(), "a".into()]), Change::NodesSeen(vec!["b".into()])]).unwrap();
    drop(store);
    assert_eq!(open().known_nodes().unwrap(), ["a", "b"]);
}

fn many_threads_write_at_once(open: Open<'_>) {
    let store = open();
    let ids: Vec<i64> = std::thread::scope(|scope| {
        let create = || (0..10).map(|_| store.create_job(new_job("crowd", &["a"])).unwrap().0).collect::<Vec<_>>();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (min, max) = (*ids.iter().min().unwrap(), *ids.iter().max().unwrap());
    assert_eq!((ids.len(), max - min), (80, 79), "each number once, without gaps");
}

fn a_closed_store_refuses(open: Open<'_>) {
    let store = open();
    store.close();
    assert_eq!(store.create_job(new_job("late", &["a"])), Err(super::StoreError::Closed));
    assert!(store.jobs(&all_jobs()).is_ok(), "what is stored can still be read");
}
