//! `/tasks`, `/plans` and `/inventory`: what can be run and on which nodes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::json;

use super::parameters::Parameters;
use super::problem::Problem;
use super::shared::{Shared, answer};
use super::turns::answer_in_turn;
use super::{command, render};
use crate::limits::API_BODY_BYTES_MAX;
use crate::orchestrator::model::{Refusal, Subject};

/// `GET /tasks`.
pub(super) async fn tasks(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    uri: Uri,
) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, move |shared| {
        let environment = Parameters::of(&uri)?.environment();
        let tasks = shared.backend.tasks(&environment)?;
        let runnable = shared.backend.rbac().runnable(&subject).map_err(Refusal::from)?;
        let mut shown = render::tasks(&shared.urls, &environment, &tasks);
        for (item, task) in shown["items"].as_array_mut().into_iter().flatten().zip(&tasks) {
            item["permitted"] = runnable.has(&task.name).into();
        }
        Ok(shown)
    })
    .await
}

/// `GET /tasks/:module/:task`.
pub(super) async fn task(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path((module, name)): Path<(String, String)>,
    uri: Uri,
) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, move |shared| {
        let environment = Parameters::of(&uri)?.environment();
        let task = shared.backend.task(&environment, &module, &name)?;
        let runnable = shared.backend.rbac().runnable(&subject).map_err(Refusal::from)?;
        let mut shown = render::task(&shared.urls, &environment, &task);
        shown["permitted"] = runnable.has(&task.name).into();
        Ok(shown)
    })
    .await
}

/// `GET /plans`.
pub(super) async fn plans(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    uri: Uri,
) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, move |shared| {
        let environment = Parameters::of(&uri)?.environment();
        let plans = shared.backend.plans(&environment)?;
        let runnable = shared.backend.rbac().runnable(&subject).map_err(Refusal::from)?;
        let items = plans.iter().map(|plan| render::plans::listing(&shared.urls, plan, runnable.has_plan(&plan.name)));
        Ok(json!({
            "environment": {"name": environment, "code_id": null},
            "items": items.collect::<Vec<_>>(),
        }))
    })
    .await
}

/// `GET /plans/:module/:plan`.
pub(super) async fn plan(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path((module, name)): Path<(String, String)>,
    uri: Uri,
) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, move |shared| {
        let environment = Parameters::of(&uri)?.environment();
        let plan = shared.backend.plan(&environment, &module, &name)?;
        let runnable = shared.backend.rbac().runnable(&subject).map_err(Refusal::from)?;
        Ok(render::plans::plan(&shared.urls, &environment, &plan, runnable.has_plan(&plan.name)))
    })
    .await
}

/// `GET /inventory`.
pub(super) async fn inventory(State(shared): State<Arc<Shared>>) -> Response<Body> {
    answer(&shared, StatusCode::OK, |shared| Ok(render::inventory(&shared.backend.inventory()))).await
}

/// `GET /inventory/:node`.
pub(super) async fn inventory_node(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let entries = shared.backend.inventory_of(&[name]);
        let entry = entries.first().ok_or_else(|| Problem::internal("The inventory gave no answer."))?;
        Ok(render::inventory_entry(entry))
    })
    .await
}

/// `POST /inventory`.
pub(super) async fn inventory_of(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    answer(&shared, StatusCode::OK, move |shared| {
        let names = command::node_names(&body)?;
        Ok(render::inventory(&shared.backend.inventory_of(&names)))
    })
    .await
}
