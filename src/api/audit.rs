//! What the audit log says of a request: who, from where, what, and what was answered. A handler may add details, which
//! never are what a caller has sent as a secret.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response};
use serde_json::{Map, Value, json};

use super::gate::Peer;
use super::problem::RefusedAs;
use super::shared::{Shared, blocking};
use crate::clock::WallTime;
use crate::orchestrator::model::Subject;

/// What a handler wants to be noted, on its answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Details(Map<String, Value>);

/// The same answer, with a detail for the log.
pub(super) fn with(mut response: Response<Body>, key: &str, value: impl Into<Value>) -> Response<Body> {
    let details = response.extensions_mut().get_or_insert_default::<Details>();
    details.0.insert(key.to_owned(), value.into());
    response
}

/// What is to be written. Whoever has no name is noted only where it is about getting one: everybody reaches the port.
pub(super) fn line(
    peer: &Peer,
    subject: Option<&Subject>,
    method: &Method,
    path: &'static str,
    response: &Response<Body>,
) -> Option<Map<String, Value>> {
    let details = response.extensions().get::<Details>();
    if subject.is_none() && details.is_none() {
        return None;
    }
    let mut entry = Map::new();
    let mut add = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    add("subject", subject.map_or(Value::Null, |subject| json!(subject.login)));
    if let Some(subject) = subject {
        add("subject_id", json!(subject.id));
    }
    if let Some(certificate) = &peer.certificate {
        add("certificate", json!(**certificate));
    }
    add("remote", json!(peer.remote.to_string()));
    add("request", json!(format!("{method} {path}")));
    let status = response.status();
    add("status", json!(status.as_u16()));
    let outcome = match status.as_u16() {
        0..400 => "accepted",
        400..500 => "refused",
        _ => "failed",
    };
    add("outcome", json!(outcome));
    if let Some(RefusedAs(kind)) = response.extensions().get() {
        add("kind", json!(kind));
    }
    if let Some(Details(details)) = details {
        add("details", Value::Object(details.clone()));
    }
    Some(entry)
}

/// Writes a line, before the answer leaves.
pub(super) async fn write(shared: &Arc<Shared>, entry: Map<String, Value>) {
    // Only a panic makes it fail, and that has been reported.
    let _ = blocking(shared, move |shared| shared.audit.record(WallTime::now(), entry)).await;
}
