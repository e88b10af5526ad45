//! `/command/...`: starting jobs and stopping them. Each handler reads the body, has the command parsed, and asks the
//! orchestrator, which answers once the command is on disk.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::Value;

use super::problem::Problem;
use super::shared::{Shared, answer};
use super::{command, render};
use crate::limits::API_BODY_BYTES_MAX;
use crate::orchestrator::model::Subject;

/// `POST /command/task`.
pub(super) async fn run_task(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    carry_out(shared, subject, request, |shared, subject, body| {
        let id = shared.backend.run_task(subject, command::task(body)?)?;
        Ok(render::accepted(&shared.urls, id))
    })
    .await
}

/// `POST /command/deploy`.
pub(super) async fn deploy(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    carry_out(shared, subject, request, |shared, subject, body| {
        let id = shared.backend.run_puppet(subject, command::deploy(body)?)?;
        Ok(render::accepted(&shared.urls, id))
    })
    .await
}

/// `POST /command/stop`.
pub(super) async fn stop(shared: State<Arc<Shared>>, subject: Extension<Subject>, request: Request) -> Response<Body> {
    carry_out(shared, subject, request, |shared, subject, body| {
        let (id, stop) = command::stop(body)?;
        let job = shared.backend.stop_job(subject, id, stop)?;
        Ok(render::stopped(&shared.urls, &job))
    })
    .await
}

/// `POST /command/plan_start`.
pub(super) async fn plan_start(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    carry_out(shared, subject, request, |shared, subject, body| {
        let id = shared.backend.start_plan(subject, command::plan_start(body)?)?;
        Ok(render::plans::started(id))
    })
    .await
}

/// `POST /command/plan_task`.
pub(super) async fn plan_task(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    carry_out(shared, subject, request, |shared, subject, body| {
        let id = shared.backend.run_task(subject, command::plan_task(body)?)?;
        Ok(render::accepted(&shared.urls, id))
    })
    .await
}

/// `POST /command/plan_finish`.
pub(super) async fn plan_finish(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    carry_out(shared, subject, request, |shared, subject, body| {
        let end = command::plan_finish(body)?;
        let id = end.plan_job;
        shared.backend.finish_plan(subject, end)?;
        Ok(render::plans::started(id))
    })
    .await
}

async fn carry_out(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    request: Request,
    command: fn(&Shared, &Subject, &[u8]) -> Result<Value, Problem>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    answer(&shared, StatusCode::ACCEPTED, move |shared| command(shared, &subject, &body)).await
}
