//! `/status/v1` and `/metrics` on the API's port; what is answered is in [`crate::observe::status`].

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;

use super::problem::{Problem, respond_text};
use super::shared::{Shared, blocking};
use crate::observe::pages::Page;
use crate::observe::status::{OPEN_METRICS, answer};

/// `GET` of anything below `/status/v1/`.
pub(super) async fn page(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    at(&shared, uri.path(), &uri)
}

/// `GET /orchestrator/v1/status`, where old clients look for the services.
pub(super) async fn services(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    at(&shared, "/status/v1/services", &uri)
}

fn at(shared: &Shared, path: &str, uri: &Uri) -> Response<Body> {
    match answer(&shared.services, path, uri.query().unwrap_or_default()) {
        Some(Page { status, content_type, body }) => {
            respond_text(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), content_type, body)
        }
        None => {
            let message = format!("There is nothing at {path}.");
            Problem::new(StatusCode::NOT_FOUND, "puppetlabs.orchestrator/not-found", message).into_response()
        }
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response<Body> {
    match blocking(&shared, |shared| (shared.metrics)()).await {
        Ok(text) => respond_text(StatusCode::OK, OPEN_METRICS, text),
        Err(problem) => problem.into_response(),
    }
}
