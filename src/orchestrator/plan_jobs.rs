//! Plan jobs of plans that run elsewhere: they are started, given jobs, and ended by whoever runs them.

use super::Inner;
use super::model::{
    Page, PlanCommand, PlanDetail, PlanEnd, PlanEvent, PlanJob, PlanJobId, PlanQuery, PlanState, Refusal, RefusalKind,
    Subject,
};
use super::store::StoreError;
use super::store::plans::{NewPlanJob, PlanFinish};
use crate::clock::WallTime;
use crate::limits::PLAN_JOB_BYTES_MAX;

pub(super) fn start(inner: &Inner, subject: &Subject, asked: PlanCommand) -> Result<PlanJobId, Refusal> {
    check_size(&asked)?;
    let plan = asked.plan.clone();
    let new = NewPlanJob { asked, owner: subject.clone(), created: WallTime::now() };
    let id = inner.store.start_plan(new).map_err(|error| match error {
        StoreError::Conflict(why) => {
            Refusal::new(RefusalKind::ValidationError, format!("No plan job is started: {why}."))
        }
        error => error.into(),
    })?;
    tracing::info!(plan_job = %id, plan, by = subject.login, "a plan that runs elsewhere has started");
    Ok(id)
}

/// What a plan job keeps is kept for each of many.
fn check_size(asked: &PlanCommand) -> Result<(), Refusal> {
    let length = |object| serde_json::to_string(object).map_or(usize::MAX, |text| text.len());
    let bytes = length(&asked.params).saturating_add(length(&asked.userdata)).saturating_add(asked.description.len());
    if bytes <= PLAN_JOB_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "The plan's parameters, description and userdata have {bytes} bytes; {PLAN_JOB_BYTES_MAX} is the most. Have the \
         plan read what is large from a file."
    );
    Err(Refusal::new(RefusalKind::ValidationError, message))
}

pub(super) fn finish(inner: &Inner, subject: &Subject, end: PlanEnd) -> Result<(), Refusal> {
    let (id, is_success) = (end.plan_job, end.is_success);
    check_owner(subject, &show(inner, id)?.plan)?;
    match inner.store.finish_plan(end, WallTime::now())? {
        PlanFinish::Now => {
            tracing::info!(plan_job = %id, is_success, by = subject.login, "a plan that runs elsewhere has ended");
            Ok(())
        }
        PlanFinish::Before => Err(already_finished(id)),
        PlanFinish::Unknown => Err(unknown(id)),
    }
}

/// Whoever runs the plan says what is done in it and how it ends.
fn check_owner(subject: &Subject, plan: &PlanJob) -> Result<(), Refusal> {
    if plan.owner.id == subject.id || subject.is_superuser {
        return Ok(());
    }
    let message = format!("Plan job {} is somebody else's: only its owner may add to it or end it", plan.id);
    Err(Refusal::new(RefusalKind::NotPermitted, message))
}

/// Whether a job may be made for the plan.
pub(super) fn check_running(inner: &Inner, subject: &Subject, id: PlanJobId) -> Result<(), Refusal> {
    let plan = show(inner, id)?.plan;
    check_owner(subject, &plan)?;
    match plan.state {
        PlanState::Running => Ok(()),
        PlanState::Success | PlanState::Failure => Err(already_finished(id)),
    }
}

pub(super) fn show(inner: &Inner, id: PlanJobId) -> Result<PlanDetail, Refusal> {
    inner.store.plan_job(id)?.ok_or_else(|| unknown(id))
}

pub(super) fn list(inner: &Inner, query: &PlanQuery) -> Result<Page<PlanJob>, Refusal> {
    Ok(inner.store.plan_jobs(query)?)
}

pub(super) fn events(inner: &Inner, id: PlanJobId, start: i64) -> Result<(Vec<PlanEvent>, i64), Refusal> {
    let events = inner.store.plan_events(id, start)?.ok_or_else(|| unknown(id))?;
    let next = events.last().map_or(start, |last| last.id + 1);
    Ok((events, next))
}

/// The one event with this number, if it is the plan's.
pub(super) fn event(inner: &Inner, id: PlanJobId, event: i64) -> Result<PlanEvent, Refusal> {
    let found = inner.store.plan_events(id, event)?.ok_or_else(|| unknown(id))?.into_iter().next();
    found.filter(|found| found.id == event).ok_or_else(|| {
        Refusal::new(RefusalKind::MismatchedJobEventId, format!("Plan job {id} has no event {event}"))
            .with("job", id.to_string())
            .with("event", event.to_string())
    })
}

fn unknown(id: PlanJobId) -> Refusal {
    Refusal::new(RefusalKind::UnknownJob, format!("Unknown plan job {id}")).with("job", id.to_string())
}

fn already_finished(id: PlanJobId) -> Refusal {
    let message = format!("Plan job {id} has already finished; start another one with plan_start");
    Refusal::new(RefusalKind::PlanAlreadyFinished, message).with("plan_job", id.to_string())
}
