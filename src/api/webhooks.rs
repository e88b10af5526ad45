//! `/podium/v1/webhooks`: who is told of events. Puppet Enterprise has nothing of the kind, and no path of its begins so.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::audit;
use super::command::{missing, object, strings, take, take_string};
use super::problem::Problem;
use super::shared::{Shared, answer};
use crate::clock::WallTime;
use crate::limits::API_BODY_BYTES_MAX;
use crate::orchestrator::model::{EventType, Subject};
use crate::orchestrator::webhooks::{HookState, Webhook, WebhookCommand};

/// `GET /podium/v1/webhooks`.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response<Body> {
    answer(&shared, StatusCode::OK, |shared| {
        let hooks = shared.backend.webhooks().all()?;
        Ok(json!({"items": hooks.iter().map(item).collect::<Vec<_>>()}))
    })
    .await
}

/// `GET /podium/v1/webhooks/:id`.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| Ok(item(&shared.backend.webhooks().one(&id)?))).await
}

/// `POST /podium/v1/webhooks`.
pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let command = match parse(&body) {
        Ok(command) => command,
        Err(problem) => return problem.into_response(),
    };
    let host = host(&command.url);
    let response = answer(&shared, StatusCode::CREATED, move |shared| {
        let (hook, secret) = shared.backend.webhooks().add(&subject, command)?;
        let mut added = json!({"webhook": item(&hook)});
        if let Some(secret) = secret {
            added["secret"] = json!(secret);
        }
        Ok(added)
    })
    .await;
    audit::with(response, "host", host)
}

/// `DELETE /podium/v1/webhooks/:id`.
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(id): Path<String>,
) -> Response<Body> {
    let webhook = id.clone();
    let mut response = answer(&shared, StatusCode::OK, move |shared| {
        shared.backend.webhooks().remove(&subject, &id)?;
        Ok(Value::Null)
    })
    .await;
    if response.status() == StatusCode::OK {
        response = StatusCode::NO_CONTENT.into_response();
    }
    audit::with(response, "webhook", webhook)
}

/// `POST /podium/v1/webhooks/:id/test`.
pub(super) async fn test(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response<Body> {
    let webhook = id.clone();
    let response = answer(&shared, StatusCode::OK, move |shared| {
        let tested = shared.backend.webhooks().test(&id)?;
        Ok(json!({"delivered": tested.delivered, "message": tested.message}))
    })
    .await;
    audit::with(response, "webhook", webhook)
}

/// `POST /podium/v1/webhooks/:id/resume`.
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(id): Path<String>,
) -> Response<Body> {
    let webhook = id.clone();
    let response =
        answer(&shared, StatusCode::OK, move |shared| Ok(item(&shared.backend.webhooks().resume(&subject, &id)?)));
    audit::with(response.await, "webhook", webhook)
}

fn parse(body: &[u8]) -> Result<WebhookCommand, Problem> {
    let mut object = object(body)?;
    let url = take_string(&mut object, "url")?.ok_or_else(|| missing("url"))?;
    let words = take(&mut object, "events").map(|events| strings("events", events)).transpose()?.unwrap_or_default();
    let kind = |word: &String| {
        EventType::from_word(word).ok_or_else(|| {
            let all: Vec<&str> = EventType::ALL.iter().map(|kind| kind.word()).collect();
            let text = format!("{word:?} is not a type of event; events may have {}.", all.join(", "));
            Problem::invalid(text).with("key", "events")
        })
    };
    Ok(WebhookCommand {
        url,
        kinds: words.iter().map(kind).collect::<Result<_, _>>()?,
        description: take_string(&mut object, "description")?.unwrap_or_default(),
        secret: take_string(&mut object, "secret")?,
    })
}

/// What may be noted of a URL, good or bad: user, password and path may be secrets.
fn host(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else { return String::new() };
    // A word alone is taken for a host.
    let host = uri.scheme().and(uri.host()).unwrap_or_default();
    match uri.port_u16() {
        // A password with a slash makes what is before it look like a port.
        Some(port) if !host.is_empty() && !url.contains('@') => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}

/// A webhook without its secret.
fn item(hook: &Webhook) -> Value {
    let standing = &hook.standing;
    let state = match standing.state {
        HookState::Active if standing.failures > 0 => "failing",
        state => state.word(),
    };
    json!({
        "id": hook.id,
        "url": hook.url,
        "events": hook.kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>(),
        "description": hook.description,
        "owner": hook.owner,
        "created_timestamp": hook.created.to_seconds_string(),
        "state": state,
        "next_event": standing.next_event.to_string(),
        "delivered_timestamp": standing.delivered.map(WallTime::to_seconds_string),
        "failures": standing.failures,
        "failing_since": standing.failing_since.map(WallTime::to_seconds_string),
        "last_error": standing.last_error,
    })
}
