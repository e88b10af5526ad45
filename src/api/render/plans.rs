//! The JSON of plan jobs and their events.

use serde_json::{Map, Value, json};

use super::{Urls, seconds_between, status, subject};
use crate::clock::WallTime;
use crate::orchestrator::model::{PlanDetail, PlanEvent, PlanJob, PlanJobId, PlanListing, PlanShown};

/// An item of `GET /plans`.
pub(in crate::api) fn listing(urls: &Urls, plan: &PlanListing, permitted: bool) -> Value {
    let mut shown = json!({
        "id": urls.plan(&plan.name),
        "name": plan.name,
        "permitted": permitted,
        "private": plan.private,
        "description": plan.description,
    });
    if let Some(problem) = &plan.problem {
        shown["problem"] = json!(problem);
    }
    shown
}

/// `GET /plans/:module/:plan`.
pub(in crate::api) fn plan(urls: &Urls, environment: &str, plan: &PlanShown, permitted: bool) -> Value {
    json!({
        "id": urls.plan(&plan.name),
        "name": plan.name,
        "environment": {"name": environment, "code_id": null},
        "metadata": plan.metadata,
        "permitted": permitted,
        "problems": plan.problems,
    })
}

/// The answer to `plan_start`.
pub(in crate::api) fn started(id: PlanJobId) -> Value {
    json!({"name": id.to_string()})
}

/// An item of `GET /plan_jobs`. Without results the key is absent.
pub(in crate::api) fn item(urls: &Urls, plan: &PlanJob, with_results: bool) -> Value {
    let url = url(urls, plan.id);
    let asked = &plan.asked;
    let mut shown = json!({
        "id": url,
        "name": plan.id.to_string(),
        "state": plan.state.word(),
        "options": {
            "description": asked.description,
            "plan_name": asked.plan,
            "parameters": asked.params,
            "environment": asked.environment,
            "sensitive": asked.sensitive,
            "scheduled_job_id": null,
        },
        "owner": subject(&plan.owner),
        "created_timestamp": plan.created.to_seconds_string(),
        "finished_timestamp": plan.finished.map(WallTime::to_seconds_string),
        "duration": plan.finished.map(|finished| seconds_between(plan.created, finished)),
        "events": {"id": format!("{url}/events")},
        "userdata": asked.userdata,
    });
    if with_results {
        shown["result"] = plan.result.clone().unwrap_or_default();
    }
    shown
}

/// `GET /plan_jobs/:id`: an item, with the history of each job that the plan has made.
pub(in crate::api) fn detail(urls: &Urls, detail: &PlanDetail) -> Value {
    let PlanDetail { plan, jobs } = detail;
    let mut shown = item(urls, plan, true);
    shown["timestamp"] = json!(plan.finished.unwrap_or(plan.created).to_seconds_string());
    let history: Map<String, Value> =
        jobs.iter().map(|(job, stretches)| (job.to_string(), stretches.iter().map(status).collect())).collect();
    shown["status"] = Value::Object(history);
    shown
}

/// `GET /plan_jobs/:id/events`.
pub(in crate::api) fn events(urls: &Urls, id: PlanJobId, events: &[PlanEvent], next: i64) -> Value {
    json!({
        "next-events": {"id": format!("{}/events?start={next}", url(urls, id)), "event": next.to_string()},
        "items": events.iter().map(event).collect::<Vec<_>>(),
    })
}

/// `GET /plan_jobs/:id/event/:event-id`.
pub(in crate::api) fn event(event: &PlanEvent) -> Value {
    json!({
        "id": event.id.to_string(),
        "type": event.kind.word(),
        "timestamp": event.timestamp.to_seconds_string(),
        "details": event.details,
    })
}

fn url(urls: &Urls, id: PlanJobId) -> String {
    urls.at(&format!("plan_jobs/{id}"))
}
