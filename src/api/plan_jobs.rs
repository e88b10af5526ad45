//! `/plan_jobs`: what has become of plans.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode, Uri};
use serde_json::json;

use super::parameters::{Parameters, event_id, plan_job_id};
use super::problem::Problem;
use super::render::plans;
use super::shared::{Shared, answer};
use crate::limits::API_PAGE_MAX;
use crate::orchestrator::model::{JobOrder, PlanQuery};

/// `limit` of `GET /plan_jobs` if the request has none.
const LIMIT_DEFAULT: u32 = 20;

/// `GET /plan_jobs`.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let query = query(&Parameters::of(&uri)?)?;
        let page = shared.backend.plan_jobs(&query)?;
        let items: Vec<_> = page.items.iter().map(|plan| plans::item(&shared.urls, plan, query.with_results)).collect();
        let pagination = json!({
            "total": page.total,
            "limit": query.limit,
            "offset": query.offset,
            "order_by": query.order_by.word(),
            "order": if query.descending { "desc" } else { "asc" },
        });
        Ok(json!({"items": items, "pagination": pagination}))
    })
    .await
}

/// `GET /plan_jobs/:id`.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let detail = shared.backend.plan_job(plan_job_id(&id)?)?;
        Ok(plans::detail(&shared.urls, &detail))
    })
    .await
}

/// `GET /plan_jobs/:id/events`.
pub(super) async fn events(State(shared): State<Arc<Shared>>, Path(id): Path<String>, uri: Uri) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let id = plan_job_id(&id)?;
        let start = Parameters::of(&uri)?.start()?;
        let (events, next) = shared.backend.plan_events(id, start)?;
        Ok(plans::events(&shared.urls, id, &events, next))
    })
    .await
}

/// `GET /plan_jobs/:id/event/:event-id`.
pub(super) async fn event(
    State(shared): State<Arc<Shared>>,
    Path((id, event)): Path<(String, String)>,
) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let found = shared.backend.plan_event(plan_job_id(&id)?, event_id(&event)?)?;
        Ok(plans::event(&found))
    })
    .await
}

fn query(parameters: &Parameters) -> Result<PlanQuery, Problem> {
    let orders = JobOrder::ALL.iter().map(|order| order.word());
    let with_results = |text: &str| match text {
        "include" => Some(true),
        "exclude" => Some(false),
        _ => None,
    };
    Ok(PlanQuery {
        limit: parameters.number("limit", API_PAGE_MAX)?.unwrap_or(LIMIT_DEFAULT),
        offset: parameters.number("offset", u32::MAX)?.unwrap_or(0),
        order_by: parameters.word("order_by", JobOrder::from_word, orders)?.unwrap_or(JobOrder::Timestamp),
        descending: parameters.descending()?,
        with_results: parameters.word("results", with_results, ["include", "exclude"].into_iter())?.unwrap_or(true),
        min_finish: parameters.time("min_finish_timestamp")?,
        max_finish: parameters.time("max_finish_timestamp")?,
    })
}
