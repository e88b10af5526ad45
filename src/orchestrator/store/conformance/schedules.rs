//! Scheduled jobs: a firing is a job and the next run, or neither; and figures of use.

use serde_json::{Map, json};

use super::{Open, at, ended, entered, key, new_job, owner, started};
use crate::clock::WallTime;
use crate::orchestrator::model::schedule::{
    Calendar, Day, Repeat, RunOutcome, ScheduleId, ScheduleOrder, ScheduleQuery, ScheduleSpec, ScheduledTask,
    ScheduledWork, Timing,
};
use crate::orchestrator::model::{DeployOptions, JobKind, JobState, NodeState, Scope, Terms, Work};
use crate::orchestrator::store::schedules::{Added, EditedSchedule, Firing, Most, NewSchedule, ScheduleChange};
use crate::orchestrator::store::usage::{UsageChange, UsageDay};
use crate::orchestrator::store::{Change, NewJob, Pruned, Store, StoreError};

const MOST: Most = Most { all: 3, of_owner: 2 };

pub fn new_schedule(login: &str, start: i64) -> NewSchedule {
    let task = ScheduledTask {
        task: "demo".into(),
        params: Map::from_iter([("a".to_owned(), json!({"value": [1, null]}))]),
        sensitive: vec!["pw".into()],
    };
    let terms =
        Terms { description: "d".into(), noop: true, ..Terms::new("production", Scope::Nodes(vec!["a".into()])) };
    let timing = Timing { start: at(start), repeat: Repeat::Every(60) };
    let spec = ScheduleSpec { work: ScheduledWork::Task(task), terms, timing };
    NewSchedule { spec, owner: owner(login), payload: Some(vec![1, 0, 2]), next_run: at(start) }
}

fn all() -> ScheduleQuery {
    ScheduleQuery { limit: 100, offset: 0, order_by: ScheduleOrder::NextRunTime, descending: false, kind: None }
}

fn due(store: &dyn Store, now: i64) -> Vec<i64> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let found = store.due_schedules(at(now), after).unwrap();
        let Some(last) = found.last() else { return ids };
        after = Some((last.schedule.next_run.unwrap(), last.schedule.id));
        ids.extend(found.iter().map(|stored| stored.schedule.id.0));
    }
}

fn firing(id: i64, revision: i64, slot: i64, then: Option<i64>) -> Firing {
    Firing { schedule: ScheduleId(id), revision, slot: at(slot), then: then.map(at) }
}

fn job_of(firing: Firing) -> NewJob {
    let mut job = NewJob { created: at(10_500), firing: Some(firing), ..new_job("demo", &["a"]) };
    job.spec.terms.schedule = Some(firing.schedule);
    job
}

pub fn run(open: Open<'_>) {
    let store = open();
    let asked = new_schedule("zoe", 10_000);
    assert_eq!(store.add_schedule(asked.clone(), MOST), Ok(Added::As(ScheduleId(1))));
    let mut deploy = new_schedule("bob", 5_000);
    deploy.spec.work = ScheduledWork::Deploy(DeployOptions { tags: Some("x".into()), ..Default::default() });
    let days = vec![Day::Monday, Day::Sunday];
    deploy.spec.timing.repeat = Repeat::Calendar(Calendar { zone: "Europe/Zurich".into(), hour: 2, minute: 5, days });
    deploy.payload = None;
    assert_eq!(store.add_schedule(deploy.clone(), MOST), Ok(Added::As(ScheduleId(2))));
    assert_eq!(store.add_schedule(new_schedule("eve", 20_000), MOST), Ok(Added::As(ScheduleId(3))));
    assert_eq!(store.add_schedule(new_schedule("eve", 20_000), MOST), Ok(Added::Full));
    let one = Most { all: 9, of_owner: 1 };
    assert_eq!(store.add_schedule(new_schedule("eve", 20_000), one), Ok(Added::FullOfOwner));
    drop(store);

    let store = open();
    for (id, asked) in [(1, &asked), (2, &deploy)] {
        let stored = store.schedule(ScheduleId(id)).unwrap().unwrap();
        assert_eq!((&stored.schedule.spec, &stored.schedule.owner), (&asked.spec, &asked.owner));
        assert_eq!((stored.payload, stored.revision, stored.last_job), (asked.payload.clone(), 1, None));
        assert_eq!((stored.schedule.next_run, stored.schedule.last_run), (Some(asked.next_run), None));
        assert!(stored.schedule.is_enabled);
    }
    assert_eq!(store.schedule(ScheduleId(9)).unwrap(), None);
    assert_eq!((due(&*store, 4_999), due(&*store, 10_000), due(&*store, 99_000)), (vec![], vec![2, 1], vec![2, 1, 3]));
    assert_eq!(store.next_due(), Ok(Some(at(5_000))));
    lists(&*store);
    fires_once(&*store);
    drop(store);
    ends(&*open());
    usage(open);
}

fn lists(store: &dyn Store) {
    let ids = |query: &ScheduleQuery| {
        let page = store.schedules(query).unwrap();
        (page.items.iter().map(|schedule| schedule.id.0).collect::<Vec<_>>(), page.total)
    };
    let by = |order_by| ScheduleQuery { order_by, ..all() };
    assert_eq!(ids(&all()), (vec![2, 1, 3], 3));
    assert_eq!(ids(&ScheduleQuery { descending: true, limit: 2, ..all() }), (vec![3, 1], 3));
    assert_eq!(ids(&ScheduleQuery { offset: 1, ..by(ScheduleOrder::Name) }), (vec![2, 3], 3));
    assert_eq!(ids(&by(ScheduleOrder::Owner)), (vec![2, 3, 1], 3));
    assert_eq!(ids(&by(ScheduleOrder::Type)), (vec![2, 1, 3], 3));
    assert_eq!(ids(&by(ScheduleOrder::Environment)).1, 3);
    assert_eq!(ids(&ScheduleQuery { kind: Some(JobKind::Task), ..all() }), (vec![1, 3], 2));
}

fn fires_once(store: &dyn Store) {
    let slot = firing(1, 1, 10_000, Some(70_000));
    let id = store.create_job(job_of(slot)).unwrap();
    assert_eq!(store.job(id).unwrap().unwrap().spec.terms.schedule, Some(ScheduleId(1)));
    let shown = store.schedule(ScheduleId(1)).unwrap().unwrap();
    let last = shown.schedule.last_run.unwrap();
    assert_eq!((shown.schedule.next_run, last.time, last.outcome), (Some(at(70_000)), at(10_500), RunOutcome::Job(id)));
    let passed =
        |firing, error| store.commit(vec![Change::Schedule(ScheduleChange::Passed { firing, at: at(70_100), error })]);
    // A second server, or one that was killed before it heard of its success, has the same slot.
    assert!(matches!(store.create_job(job_of(slot)), Err(StoreError::Conflict(_))));
    assert!(matches!(passed(slot, None), Err(StoreError::Conflict(_))));
    let next = store.create_job(new_job("other", &["a"])).unwrap();
    assert_eq!(next.0, id.0 + 1, "what was not made has no number");
    for stale in [firing(1, 2, 70_000, None), firing(1, 1, 70_001, None), firing(9, 1, 70_000, None)] {
        assert!(matches!(store.create_job(job_of(stale)), Err(StoreError::Conflict(_))), "{stale:?}");
    }
    passed(firing(1, 1, 70_000, Some(130_000)), Some(json!({"kind": "x", "msg": "y"}))).unwrap();
    let shown = store.schedule(ScheduleId(1)).unwrap().unwrap();
    let last = shown.schedule.last_run.unwrap();
    assert_eq!((last.time, last.outcome), (at(70_100), RunOutcome::NotSubmitted(json!({"kind": "x", "msg": "y"}))));
    assert_eq!((shown.last_job, shown.schedule.next_run), (Some(id), Some(at(130_000))));
    passed(firing(1, 1, 130_000, Some(190_000)), None).unwrap();
    let kept = store.schedule(ScheduleId(1)).unwrap().unwrap().schedule.last_run.unwrap();
    assert_eq!(kept.time, at(70_100), "what was left out leaves no trace");
    store.commit(vec![ended(key(id, 0), NodeState::Finished, 11_000)]).unwrap();
    for job in [id, next] {
        store.commit(vec![entered(job, JobState::Finished, 11_000, None)]).unwrap();
    }
}

fn ends(store: &dyn Store) {
    let edited = |id: i64, revision, is_enabled, next_run: Option<i64>| {
        let NewSchedule { mut spec, .. } = new_schedule("zoe", 300_000);
        spec.terms.environment = "qa".into();
        let next_run: Option<WallTime> = next_run.map(at);
        let payload = next_run.map(|_| vec![7]);
        let edited = EditedSchedule {
            id: ScheduleId(id),
            revision,
            is_enabled,
            spec,
            payload,
            next_run,
            at: at(80_000),
            most: MOST,
        };
        store.commit(vec![Change::Schedule(ScheduleChange::Edited(Box::new(edited)))])
    };
    edited(1, 1, true, Some(300_000)).unwrap();
    assert!(matches!(edited(1, 1, true, Some(300_000)), Err(StoreError::Conflict(_))));
    let shown = store.schedule(ScheduleId(1)).unwrap().unwrap();
    assert_eq!(
        (shown.revision, shown.payload, shown.schedule.spec.terms.environment.as_str()),
        (2, Some(vec![7]), "qa")
    );
    edited(1, 2, false, None).unwrap();
    assert!(edited(1, 3, true, Some(300_000)).is_err(), "it is over for ever");
    let shown = store.schedule(ScheduleId(1)).unwrap().unwrap();
    assert_eq!((shown.schedule.is_enabled, shown.schedule.next_run, shown.payload), (false, None, None));
    // The last slot ends a schedule, and its secrets.
    store.create_job(job_of(firing(3, 1, 20_000, None))).unwrap();
    let shown = store.schedule(ScheduleId(3)).unwrap().unwrap();
    assert_eq!((shown.schedule.is_enabled, shown.schedule.next_run, shown.payload), (true, None, None));
    assert_eq!(due(store, 1_000_000), [2]);
    assert_eq!(store.schedules(&ScheduleQuery { descending: true, ..all() }).unwrap().items[0].id, ScheduleId(2));
    // 3 ended at 10,500 and 1 at 80,000; its job has not.
    while store.prune(at(80_000), 100).unwrap() != Pruned::Nothing {}
    let is_there = [1, 2, 3].map(|id| store.schedule(ScheduleId(id)).unwrap().is_some());
    assert_eq!(is_there, [true, true, false]);
    assert_eq!(store.add_schedule(new_schedule("eve", 20_000), MOST), Ok(Added::As(ScheduleId(4))));
    no_more_by_editing(store);
}

/// A schedule that is over and begins again is one more.
fn no_more_by_editing(store: &dyn Store) {
    store.create_job(job_of(firing(4, 1, 20_000, None))).unwrap();
    let edited = |next_run: Option<i64>, most| {
        let (NewSchedule { spec, .. }, id) = (new_schedule("eve", 300_000), ScheduleId(4));
        let revision = store.schedule(id).unwrap().unwrap().revision;
        let next_run = next_run.map(at);
        let edited =
            EditedSchedule { id, revision, is_enabled: true, spec, payload: None, next_run, at: at(80_000), most };
        store.commit(vec![Change::Schedule(ScheduleChange::Edited(Box::new(edited)))])
    };
    let (one, mine) = (Most { all: 1, of_owner: 9 }, Most { all: 9, of_owner: 1 });
    assert!(matches!(edited(Some(300_000), one), Err(StoreError::Conflict(_))));
    edited(Some(300_000), mine).unwrap();
    edited(Some(400_000), mine).unwrap();
    assert_eq!(
        store.add_schedule(new_schedule("eve", 20_000), Most { all: 9, of_owner: 2 }),
        Ok(Added::As(ScheduleId(5)))
    );
    edited(None, mine).unwrap();
    assert!(matches!(edited(Some(300_000), mine), Err(StoreError::Conflict(_))));
}

fn usage(open: Open<'_>) {
    const DAY: i64 = 86_400_000;
    let store = open();
    let run = |kind: Option<&str>, names: &[&str], day: i64, metrics: serde_json::Value| {
        let mut job = NewJob { created: at(day * DAY + 1_000), ..new_job("demo", names) };
        if kind.is_none() {
            job.spec.work = Work::Deploy(DeployOptions::default());
        }
        let id = store.create_job(job).unwrap();
        for position in 0..u32::try_from(names.len()).unwrap() {
            let node = key(id, position);
            let mut end = ended(node, NodeState::Finished, day * DAY + 3_000);
            if let Change::NodeEnded { result, .. } = &mut end {
                *result = json!({"metrics": metrics});
            }
            store.commit(vec![started(node, day * DAY + 2_000), end]).unwrap();
        }
        store.commit(vec![entered(id, JobState::Finished, day * DAY + 4_000, None)]).unwrap();
    };
    run(Some("task"), &["a", "b"], 30_000, json!({}));
    run(Some("task"), &["b"], 30_000, json!({}));
    run(None, &["a", "c"], 30_000, json!({"changed": 5, "corrective_change": 2}));
    run(Some("task"), &["c"], 30_001, json!({}));
    let seen = |day, names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        store.commit(vec![Change::Usage(UsageChange::Seen { day, names })]).unwrap();
    };
    seen(30_000, &["a", "b"]);
    seen(30_000, &["b", "c"]);
    seen(30_001, &["c"]);
    store.count_usage(30_001, 29_000).unwrap();
    drop(store);
    let day = UsageDay { day: 30_000, nodes: 3, corrective: 4, intentional: 6, task_nodes: 2, plan_nodes: 0 };
    let next = UsageDay { day: 30_001, nodes: 1, task_nodes: 1, ..UsageDay::default() };
    let store = open();
    assert_eq!(store.usage(0, 40_000), Ok(vec![day, next]));
    // Its names are forgotten, its figures are not until it is their turn.
    store.count_usage(30_001, 30_000).unwrap();
    assert_eq!(store.usage(30_000, 30_000), Ok(vec![day]));
    store.count_usage(30_001, 30_001).unwrap();
    assert_eq!(store.usage(0, 40_000), Ok(vec![next]));
}
