//! `/tasks` and `/inventory`: what can be run and on which nodes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;

use super::parameters::Parameters;
use super::problem::Problem;
use super::shared::{Shared, answer};
use super::turns::answer_in_turn;
use super::{command, render};
use crate::limits::API_BODY_BYTES_MAX;

/// `GET /tasks`.
pub(super) async fn tasks(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, move |shared| {
        let environment = Parameters::of(&uri)?.environment();
        let tasks = shared.backend.tasks(&environment)?;
        Ok(render::tasks(&shared.urls, &environment, &tasks))
    })
    .await
}

/// `GET /tasks/:module/:task`.
pub(super) async fn task(
    State(shared): State<Arc<Shared>>,
    Path((module, name)): Path<(String, String)>,
    uri: Uri,
) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, move |shared| {
        let environment = Parameters::of(&uri)?.environment();
        let task = shared.backend.task(&environment, &module, &name)?;
        Ok(render::task(&shared.urls, &environment, &task))
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
