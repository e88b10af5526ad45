//! Plan jobs: their own numbers, their jobs, their end.

use serde_json::{Map, json};

use super::{Open, at, entered, new_job, owner};
use crate::limits::PLAN_JOBS_RUNNING_MAX;
use crate::orchestrator::model::{
    JobOrder, JobState, PlanCommand, PlanEnd, PlanEventType, PlanJobId, PlanQuery, PlanState, Work,
};
use crate::orchestrator::store::plans::{NewPlanJob, PlanFinish};
use crate::orchestrator::store::{Pruned, StoreError};

pub fn new_plan(plan: &str, created: i64) -> NewPlanJob {
    let asked = PlanCommand {
        plan: plan.into(),
        environment: "production".into(),
        params: Map::from_iter([("a".to_owned(), json!([1]))]),
        sensitive: vec!["pw".into()],
        description: "d".into(),
        userdata: Map::new(),
    };
    NewPlanJob { asked, owner: owner("ada"), created: at(created) }
}

fn all_plans() -> PlanQuery {
    PlanQuery {
        limit: 100,
        offset: 0,
        order_by: JobOrder::Name,
        descending: false,
        with_results: true,
        min_finish: None,
        max_finish: None,
    }
}

pub fn run(open: Open<'_>) {
    let store = open();
    let asked = new_plan("a::b", 1_000);
    assert_eq!(store.start_plan(asked.clone()), Ok(PlanJobId(1)));
    let mut job = new_job("step", &["a"]);
    if let Work::Task(task) = &mut job.spec.work {
        task.plan_job = Some(PlanJobId(1));
    }
    let id = store.create_job(job.clone()).unwrap();
    assert_eq!(store.job(id).unwrap().unwrap().spec, job.spec);
    store.commit(vec![entered(id, JobState::Finished, 1_500, None)]).unwrap();
    drop(store);

    let store = open();
    let detail = store.plan_job(PlanJobId(1)).unwrap().unwrap();
    assert_eq!((&detail.plan.asked, &detail.plan.owner), (&asked.asked, &asked.owner));
    assert_eq!((detail.plan.state, detail.plan.finished, detail.plan.result), (PlanState::Running, None, None));
    let states: Vec<_> = detail.jobs[0].1.iter().map(|status| status.state).collect();
    assert_eq!((detail.jobs.len(), detail.jobs[0].0), (1, id));
    assert_eq!(states, [JobState::New, JobState::Ready, JobState::Finished]);
    let end = |plan, is_success| PlanEnd { plan_job: PlanJobId(plan), is_success, result: json!({"r": [null]}) };
    assert_eq!(store.finish_plan(end(1, true), at(2_000)), Ok(PlanFinish::Now));
    assert_eq!(store.finish_plan(end(1, false), at(3_000)), Ok(PlanFinish::Before));
    assert_eq!(store.finish_plan(end(99, true), at(3_000)), Ok(PlanFinish::Unknown));
    assert_eq!(store.create_job(job.clone()), Err(StoreError::PlanEnded(PlanJobId(1))), "in one transaction");
    assert_eq!(store.running_plans().unwrap(), []);
    let plan = store.plan_job(PlanJobId(1)).unwrap().unwrap().plan;
    assert_eq!(
        (plan.state, plan.finished, plan.result),
        (PlanState::Success, Some(at(2_000)), Some(json!({"r": [null]})))
    );
    let events = store.plan_events(PlanJobId(1), 0).unwrap().unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [PlanEventType::TaskStart, PlanEventType::PlanFinished]);
    assert_eq!(events[0].details["job-id"], json!(id.to_string()));
    assert_eq!(json!(events[1].details), json!({"plan-id": "1", "result": {"r": [null]}}));
    assert_eq!(store.plan_events(PlanJobId(1), events[1].id).unwrap().unwrap(), events[1..]);
    assert_eq!(store.plan_events(PlanJobId(99), 0).unwrap(), None);

    assert_eq!(store.start_plan(new_plan("c", 5_000)), Ok(PlanJobId(2)));
    assert_eq!(store.finish_plan(end(2, false), at(6_000)), Ok(PlanFinish::Now));
    let ids = |query: &PlanQuery| {
        let page = store.plan_jobs(query).unwrap();
        (page.items.iter().map(|plan| plan.id.0).collect::<Vec<_>>(), page.total)
    };
    for order_by in JobOrder::ALL {
        assert_eq!(ids(&PlanQuery { order_by: *order_by, ..all_plans() }).1, 2);
    }
    assert_eq!(ids(&PlanQuery { descending: true, limit: 1, ..all_plans() }), (vec![2], 2));
    assert_eq!(ids(&PlanQuery { offset: 1, ..all_plans() }), (vec![2], 2));
    assert_eq!(ids(&PlanQuery { min_finish: Some(at(6_000)), ..all_plans() }), (vec![2], 1));
    assert_eq!(ids(&PlanQuery { max_finish: Some(at(2_000)), ..all_plans() }), (vec![1], 1));
    let bare = store.plan_jobs(&PlanQuery { with_results: false, ..all_plans() }).unwrap();
    assert!(bare.items.iter().all(|plan| plan.result.is_none()));

    // A plan goes after its last job, which ended at 1,500.
    assert_eq!(store.prune(at(1_500), 1), Ok(Pruned::Nothing));
    let steps = std::iter::from_fn(|| match store.prune(at(2_500), 1).unwrap() {
        Pruned::Some { jobs } => Some(jobs),
        Pruned::Nothing => None,
    });
    assert!(steps.sum::<usize>() >= 2, "the job and its plan, and perhaps others from before");
    assert_eq!((store.job(id).unwrap(), ids(&all_plans())), (None, (vec![2], 1)));
    assert_eq!(store.plan_events(PlanJobId(1), 0).unwrap(), None);
    assert_eq!(store.start_plan(new_plan("d", 7_000)), Ok(PlanJobId(3)), "numbers are not used again");
}

pub fn running_plans_of_one_user_are_limited(open: Open<'_>) {
    let store = open();
    let before = store.running_plans().unwrap().len() as u64;
    let start = || store.start_plan(NewPlanJob { owner: owner("many"), ..new_plan("a", 1_000) });
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| (0..PLAN_JOBS_RUNNING_MAX / 10).for_each(|_| assert!(start().is_ok()))))
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let refused = start().unwrap_err();
    assert!(matches!(&refused, StoreError::Conflict(why) if why.contains("with plan_finish")), "{refused}");
    store.start_plan(NewPlanJob { owner: owner("another"), ..new_plan("a", 1_000) }).unwrap();
    let running = store.running_plans().unwrap();
    assert_eq!(running.len() as u64, before + PLAN_JOBS_RUNNING_MAX + 1);
    let end = PlanEnd { plan_job: running[usize::try_from(before).unwrap()], is_success: false, result: json!(1) };
    store.finish_plan(end, at(2_000)).unwrap();
    start().unwrap();
}
