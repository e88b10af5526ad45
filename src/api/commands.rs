//! `/command/...`: starting jobs and stopping them. Each handler reads the body, has the command parsed, and asks the
//! orchestrator, which answers once the command is on disk.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::problem::Problem;
use super::shared::{Shared, answer, blocking};
use super::turns::answer_once_served;
use super::{audit, command, render};
use crate::limits::{API_BODY_BYTES_MAX, AUDIT_NODES_MAX};
use crate::orchestrator::model::{JobId, Refusal, Scope, Subject, TaskCommand, Terms};

/// `POST /command/task`.
pub(super) async fn run_task(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    let run = |shared: &Shared, subject: &Subject, command| shared.backend.run_task(subject, command);
    start(shared, subject, request, command::task, of_task, run).await
}

/// `POST /command/deploy`.
pub(super) async fn deploy(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    let run = |shared: &Shared, subject: &Subject, command| shared.backend.run_puppet(subject, command);
    start(shared, subject, request, command::deploy, |command| (&command.terms, None), run).await
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
    let run = |shared: &Shared, subject: &Subject, command| shared.backend.run_task(subject, command);
    start(shared, subject, request, command::plan_task, of_task, run).await
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

/// Starts a job. The command is read first: its scope, and whose it is, say whose turn it has to wait for.
async fn start<C: Send + 'static>(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    request: Request,
    parse: fn(&[u8]) -> Result<C, Problem>,
    parts: fn(&C) -> (&Terms, Option<&str>),
    run: fn(&Shared, &Subject, C) -> Result<JobId, Refusal>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    // The body keeps its share of the budget as long as the command waits.
    let asking = subject.clone();
    let read = move |shared: &Shared| {
        let command = parse(&body)?;
        let (terms, task) = parts(&command);
        let needed = shared.backend.needs_of(&asking, task, &terms.scope)?;
        Ok((command, body, needed))
    };
    let (command, body, needed) = match blocking(&shared, read).await {
        Ok(Ok(read)) => read,
        Ok(Err(problem)) | Err(problem) => return problem.into_response(),
    };
    let (terms, task) = parts(&command);
    let (scope, environment) = (terms.scope.clone(), terms.environment.clone());
    let task = task.map(str::to_owned);
    let made = Arc::new(OnceLock::new());
    let making = made.clone();
    let mut response = answer_once_served(&shared, &needed, StatusCode::ACCEPTED, move |shared| {
        let _body = body;
        let id = run(shared, &subject, command)?;
        Ok(render::accepted(&shared.urls, *making.get_or_init(|| id)))
    })
    .await;
    if let Some(id) = made.get() {
        response = audit::with(response, "job", id.to_string());
    }
    if let Some(task) = task {
        response = audit::with(response, "task", task);
    }
    audit::with(audit::with(response, "environment", environment), "scope", noted(&scope))
}

fn of_task(command: &TaskCommand) -> (&Terms, Option<&str>) {
    (&command.terms, Some(&command.task))
}

/// A scope for the audit log: of many nodes the first, and how many there are.
pub(super) fn noted(scope: &Scope) -> Value {
    match scope {
        Scope::Nodes(names) => {
            json!({"nodes": names.iter().take(AUDIT_NODES_MAX).collect::<Vec<_>>(), "count": names.len()})
        }
        other => json!(other),
    }
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
