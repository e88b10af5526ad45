//! `POST /command/deploy_plan`: in which order a Puppet run would go through its nodes. It takes the body of
//! `command/deploy` and runs nothing. Clients of Puppet Enterprise do not know it; `podium job plan` asks it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::json;

use super::command;
use super::shared::{Shared, blocking};
use super::turns::answer_in_turn;
use crate::limits::API_BODY_BYTES_MAX;
use crate::orchestrator::model::Subject;

/// Answers it.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let (command, body) = match blocking(&shared, move |_| (command::deploy(&body), body)).await {
        Ok((Ok(command), body)) => (command, body),
        Ok((Err(problem), _)) | Err(problem) => return problem.into_response(),
    };
    let scope = command.terms.scope.clone();
    answer_in_turn(&shared, Some(&scope), StatusCode::OK, move |shared| {
        let _body = body;
        let levels = shared.backend.plan_puppet(&subject, &command)?;
        let node_count: usize = levels.iter().map(Vec::len).sum();
        let terms = &command.terms;
        Ok(json!({
            "environment": {"name": terms.environment}, "scope": terms.scope, "concurrency": terms.concurrency,
            "node_count": node_count, "levels": levels,
        }))
    })
    .await
}
