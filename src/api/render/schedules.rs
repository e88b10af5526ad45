//! The JSON of scheduled jobs and of figures of use.

use serde_json::{Value, json};

use super::{Urls, subject};
use crate::clock::WallTime;
use crate::orchestrator::model::schedule::{
    LastRun, RunOutcome, Schedule, ScheduleId, ScheduledTask, ScheduledWork, Timing,
};
use crate::orchestrator::store::usage::UsageDay;

/// The answer to whatever makes or changes one.
pub(in crate::api) fn accepted(urls: &Urls, id: ScheduleId) -> Value {
    json!({"scheduled_job": {"id": url(urls, id), "name": id.to_string()}})
}

/// The same for the older commands, whose schedules are elsewhere.
pub(in crate::api) fn accepted_before(urls: &Urls, id: ScheduleId) -> Value {
    json!({"scheduled_job": {"id": urls.at(&format!("scheduled_jobs/{id}")), "name": id.to_string()}})
}

/// One of them.
pub(in crate::api) fn item(urls: &Urls, schedule: &Schedule) -> Value {
    let spec = &schedule.spec;
    json!({
        "id": url(urls, schedule.id),
        "name": schedule.id.to_string(),
        "enabled": schedule.is_enabled,
        "environment": spec.terms.environment,
        "type": spec.work.kind().word(),
        "description": spec.terms.description,
        "owner": subject(&schedule.owner),
        "input": input(schedule),
        "schedule": timing(&spec.timing),
        "next_run": schedule.next_run.map(|time| json!({"time": time.to_seconds_string()})),
        "last_run": schedule.last_run.as_ref().map(|last| last_run(urls, schedule.id, last)),
        "userdata": spec.terms.userdata,
    })
}

fn input(schedule: &Schedule) -> Value {
    let terms = &schedule.spec.terms;
    let mut input = match &schedule.spec.work {
        ScheduledWork::Deploy(options) => json!(options),
        ScheduledWork::Task(ScheduledTask { task, params, sensitive }) => json!({
            "name": task, "parameters": params, "sensitive_parameters": sensitive, "targets": [], "transport": "pxp",
        }),
    };
    input["scope"] = json!(terms.scope);
    input["noop"] = json!(terms.noop);
    input["concurrency"] = json!(terms.concurrency);
    if let Some(timeout) = terms.timeout {
        input["timeout"] = json!(timeout);
    }
    input
}

fn timing(timing: &Timing) -> Value {
    let mut shown = timing.repeat.keys();
    shown.insert("start_time".to_owned(), timing.start.to_seconds_string().into());
    Value::Object(shown)
}

fn last_run(urls: &Urls, id: ScheduleId, last: &LastRun) -> Value {
    let job = match &last.outcome {
        RunOutcome::Job(job) => json!({"id": urls.job(*job), "name": job.to_string()}),
        RunOutcome::NotSubmitted(error) => json!({"name": id.to_string(), "submission_error": error}),
    };
    json!({"time": last.time.to_seconds_string(), "job": job})
}

/// An item of `GET /usage`. Nodes without an agent are none of ours.
pub(in crate::api) fn usage(day: &UsageDay, with_events: bool) -> Value {
    let mut shown = json!({
        "date": date(day.day),
        "total_nodes": day.nodes,
        "nodes_with_agent": day.nodes,
        "nodes_without_agent": 0,
    });
    if with_events {
        shown["corrective_agent_changes"] = json!(day.corrective);
        shown["intentional_agent_changes"] = json!(day.intentional);
        shown["nodes_affected_by_task_runs"] = json!(day.task_nodes);
        shown["nodes_affected_by_plan_runs"] = json!(day.plan_nodes);
    }
    shown
}

/// `2026-03-01` of a day counted from 1970-01-01.
pub(in crate::api) fn date(day: i64) -> String {
    WallTime::from_millis(day.saturating_mul(86_400_000)).to_seconds_string()[..10].to_owned()
}

fn url(urls: &Urls, id: ScheduleId) -> String {
    urls.at(&format!("scheduled_jobs/environment_jobs/{id}"))
}
