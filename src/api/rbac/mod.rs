//! `/rbac-api`: logins, tokens, users, roles and permissions, as Puppet Enterprise's RBAC service has them.

pub(super) mod login;
pub(super) mod permitted;
pub(super) mod roles;
pub(super) mod tokens;
pub(super) mod users;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value};

use super::audit;
use super::command::{self, take};
use super::problem::{Problem, respond_json};
use super::shared::{HeldBody, Shared, blocking};
use crate::limits::API_BODY_BYTES_MAX;

/// A body that cannot be read.
fn malformed(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "puppetlabs.rbac/malformed-request", message.to_owned())
}

/// A body of the wrong shape.
fn schema(message: &str) -> Problem {
    let message = format!("{}.", message.trim_end_matches('.'));
    Problem::new(StatusCode::BAD_REQUEST, "puppetlabs.rbac/schema-violation", message)
}

/// Reads the body of a request that has a token.
async fn body_of(shared: &Arc<Shared>, request: axum::extract::Request) -> Result<HeldBody, Problem> {
    let (head, body) = request.into_parts();
    shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await
}

/// Reads a JSON object.
fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    command::object(body).map_err(|problem| malformed(problem.message()))
}

/// A string, if it is there.
fn string(object: &mut Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    command::take_string(object, key).map_err(|problem| schema(problem.message()))
}

/// A string that must be there.
fn required(object: &mut Map<String, Value>, key: &str) -> Result<String, Problem> {
    string(object, key)?.ok_or_else(|| schema(&format!("The required key {key} is missing")))
}

/// True or false, if it is there.
fn boolean(object: &mut Map<String, Value>, key: &str) -> Result<Option<bool>, Problem> {
    match take(object, key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(_) => Err(schema(&format!("{key} must be true or false"))),
    }
}

/// A list, if it is there, each of whose items is read by `item`.
fn list<T>(
    object: &mut Map<String, Value>,
    key: &str,
    what: &str,
    item: impl Fn(Value) -> Option<T>,
) -> Result<Option<Vec<T>>, Problem> {
    let wrong = || schema(&format!("{key} must be an array of {what}"));
    match take(object, key) {
        None => Ok(None),
        Some(Value::Array(items)) => items.into_iter().map(item).collect::<Option<_>>().map(Some).ok_or_else(wrong),
        Some(_) => Err(wrong()),
    }
}

/// [`change`] by a request that says in its body what is to be changed.
async fn change_with_body(
    shared: &Arc<Shared>,
    request: axum::extract::Request,
    about: Vec<(&'static str, Value)>,
    work: impl FnOnce(&Shared, &[u8]) -> Result<Changed, Problem> + Send + 'static,
) -> Response<Body> {
    match body_of(shared, request).await {
        Ok(body) => change(shared, about, move |shared| work(shared, &body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Does blocking work, answers what comes of it, and notes what it was about.
async fn change(
    shared: &Arc<Shared>,
    about: Vec<(&'static str, Value)>,
    work: impl FnOnce(&Shared) -> Result<Changed, Problem> + Send + 'static,
) -> Response<Body> {
    let response = match blocking(shared, work).await {
        Ok(Ok(Changed { status, location, body, about })) => {
            let mut response = body.map_or_else(|| Response::new(Body::empty()), |body| respond_json(status, &body));
            *response.status_mut() = status;
            let location = location.and_then(|location| HeaderValue::from_str(&location).ok());
            response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
            about.into_iter().fold(response, |response, (key, value)| audit::with(response, key, value))
        }
        Ok(Err(problem)) | Err(problem) => problem.into_response(),
    };
    about.into_iter().fold(response, |response, (key, value)| audit::with(response, key, value))
}

/// What came of a change.
struct Changed {
    status: StatusCode,
    location: Option<String>,
    body: Option<Value>,
    about: Vec<(&'static str, Value)>,
}

impl Changed {
    /// Something new, which is at this path.
    fn made(location: String, body: Value) -> Self {
        Self { status: StatusCode::CREATED, location: Some(location), body: Some(body), about: Vec::new() }
    }

    /// Something as it is now.
    fn is_now(body: Value) -> Self {
        Self { status: StatusCode::OK, location: None, body: Some(body), about: Vec::new() }
    }

    /// Done, and nothing to show.
    fn done() -> Self {
        Self { status: StatusCode::NO_CONTENT, location: None, body: None, about: Vec::new() }
    }

    /// With a detail for the audit log.
    fn about(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.about.push((key, value.into()));
        self
    }
}
