//! Tests only: plan job 38, which has ended, and 39, which can be started and ended.

use serde_json::{Map, Value, json};

use super::access::ada;
use super::{OLD_JOB, START, object};
use crate::clock::WallTime;
use crate::orchestrator::model::{
    JobState, JobStatus, PlanCommand, PlanDetail, PlanEnd, PlanEvent, PlanEventType, PlanJob, PlanJobId, PlanListing,
    PlanShown, PlanState, Refusal, RefusalKind,
};

/// The one that has ended.
pub(crate) const OLD_PLAN: PlanJobId = PlanJobId(38);

pub(super) fn job(with_results: bool) -> PlanJob {
    let asked = PlanCommand {
        plan: "facts::info".into(),
        environment: "production".into(),
        params: object(json!({"targets": "web01.example.com"})),
        sensitive: vec!["password".into()],
        description: "facts".into(),
        userdata: Map::new(),
    };
    PlanJob {
        id: OLD_PLAN,
        asked,
        state: PlanState::Success,
        result: with_results.then(|| json!(["web01.example.com: Rocky 9.5 (RedHat)"])),
        owner: ada(),
        created: WallTime::from_millis(START),
        finished: Some(WallTime::from_millis(START + 5100)),
    }
}

pub(super) fn detail(id: PlanJobId) -> Result<PlanDetail, Refusal> {
    known(id)?;
    let status = JobStatus { state: JobState::Finished, enter: WallTime::from_millis(START), exit: None };
    Ok(PlanDetail { plan: job(true), jobs: vec![(OLD_JOB, vec![status])] })
}

pub(super) fn events(id: PlanJobId) -> Result<Vec<PlanEvent>, Refusal> {
    known(id)?;
    let event = |id, kind, details: Value| PlanEvent {
        id,
        kind,
        timestamp: WallTime::from_millis(START),
        details: object(details),
    };
    Ok(vec![
        event(5, PlanEventType::TaskStart, json!({"job-id": OLD_JOB.to_string()})),
        event(6, PlanEventType::PlanFinished, json!({"plan-id": "38", "result": ["x"]})),
    ])
}

pub(super) fn finish(end: &PlanEnd) -> Result<(), Refusal> {
    match end.plan_job {
        OLD_PLAN => Err(Refusal::new(RefusalKind::PlanAlreadyFinished, "Plan job 38 has already finished")),
        PlanJobId(39) => Ok(()),
        other => known(other),
    }
}

pub(super) fn list() -> Vec<PlanListing> {
    let listing = |name: &str, private, problem: Option<&str>| PlanListing {
        name: name.into(),
        private,
        description: if problem.is_some() { String::new() } else { "Rolls out a version".into() },
        problem: problem.map(str::to_owned),
    };
    let problem = "deploy/plans/broken.pp:3:7: expected a value";
    vec![
        listing("deploy", false, None),
        listing("deploy::broken", false, Some(problem)),
        listing("deploy::step::one", true, None),
    ]
}

pub(super) fn show(module: &str, name: &str) -> Result<PlanShown, Refusal> {
    if (module, name) != ("deploy", "init") {
        let full = format!("{module}::{name}");
        return Err(Refusal::new(RefusalKind::UnknownPlan, format!("Unknown plan {full}")).with("plan", full));
    }
    let metadata = json!({
        "description": "Rolls out a version",
        "parameters": {"targets": {"type": "TargetSpec", "description": "Where"},
                       "version": {"type": "String", "default_value": "'latest'"}},
    });
    let problem = json!({"msg": "there is no function `x`", "file": "deploy/plans/init.pp", "line": 3, "column": 7});
    Ok(PlanShown { name: "deploy".into(), metadata: object(metadata), problems: vec![problem] })
}

fn known(id: PlanJobId) -> Result<(), Refusal> {
    let unknown = || Refusal::new(RefusalKind::UnknownJob, format!("Unknown plan job {id}"));
    (id == OLD_PLAN).then_some(()).ok_or_else(unknown)
}
