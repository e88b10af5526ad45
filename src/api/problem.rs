//! Refusals on their way out: `{"kind", "msg", "details"?}` with the status that goes with the kind. Clients dispatch on
//! `kind` and print `msg`; an answer that is not JSON makes them fall over, so nothing else leaves this server.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use crate::orchestrator::model::{Refusal, RefusalKind};
use crate::orchestrator::rbac::{AccessError, AuthError};

/// A request that is not answered as asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    status: StatusCode,
    kind: Cow<'static, str>,
    message: Cow<'static, str>,
    details: Map<String, Value>,
}

impl Problem {
    /// A problem of any kind.
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, kind: Cow::Borrowed(kind), message: message.into(), details: Map::new() }
    }

    /// A problem of one of the orchestrator's kinds.
    pub(super) fn of_kind(status: StatusCode, kind: RefusalKind, message: String) -> Self {
        let kind = Cow::Owned(format!("puppetlabs.orchestrator/{}", kind.word()));
        Self { status, kind, message: message.into(), details: Map::new() }
    }

    /// A request of the wrong shape.
    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "puppetlabs.orchestrator/validation-error", message)
    }

    /// Work that ended in a panic, which has been reported by its own hook.
    pub(super) fn failed() -> Self {
        Self::internal("The server failed to do this; its log says why.")
    }

    /// Our own fault.
    pub(super) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "puppetlabs.orchestrator/unknown-error", message)
    }

    /// No token, and one is needed.
    pub(super) fn no_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "puppetlabs.rbac/user-unauthenticated",
            "This route needs a token. Get one from POST /rbac-api/v1/auth/token and send it in the X-Authentication \
             header.",
        )
    }

    /// Not permitted, in the words of the RBAC API.
    pub(super) fn denied(refusal: Refusal) -> Self {
        let kind = match refusal.kind {
            RefusalKind::NotPermitted => Cow::Borrowed("puppetlabs.rbac/permission-denied"),
            _ => Cow::Borrowed("puppetlabs.rbac/server-error"),
        };
        Self { kind, ..refusal.into() }
    }

    /// The same problem with another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same problem of another of the orchestrator's kinds.
    pub(super) fn with_kind(self, kind: RefusalKind) -> Self {
        Self { kind: Cow::Owned(format!("puppetlabs.orchestrator/{}", kind.word())), ..self }
    }

    /// The same problem with one more detail.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// The HTTP status.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// For people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal.kind {
            RefusalKind::UnknownError => {
                tracing::error!(message = %refusal.message, "the orchestrator could not answer the API");
            }
            RefusalKind::PuppetdbError | RefusalKind::PuppetserverError | RefusalKind::ClassifierError => {
                tracing::warn!(message = %refusal.message, "a service that the API needs could not be asked");
            }
            _ => {}
        }
        Self {
            status: StatusCode::from_u16(refusal.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            kind: Cow::Owned(format!("puppetlabs.orchestrator/{}", refusal.kind.word())),
            message: Cow::Owned(refusal.message),
            details: refusal.details,
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        Self {
            status: StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            kind: Cow::Owned(format!("puppetlabs.rbac/{}", error.kind.word())),
            message: Cow::Owned(error.message),
            details: Map::new(),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let unauthorized = |kind, message| Self::new(StatusCode::UNAUTHORIZED, kind, message);
        match error {
            // Whoever guesses must not learn which users there are.
            AuthError::WrongCredentials | AuthError::Locked => {
                unauthorized("puppetlabs.rbac/user-unauthenticated", "The provided login and password do not match.")
            }
            AuthError::UserRevoked => {
                unauthorized("puppetlabs.rbac/user-revoked", "The user has been revoked and may not log in.")
            }
            AuthError::InvalidToken => {
                unauthorized("puppetlabs.rbac/invalid-token", "The provided token is not known to this server.")
            }
            AuthError::TokenExpired => unauthorized("puppetlabs.rbac/token-expired", "The provided token has expired."),
            AuthError::TokenTimedOut => {
                unauthorized("puppetlabs.rbac/token-timed-out", "The provided token has not been used for too long.")
            }
            AuthError::NotIssued(why) => Self::new(StatusCode::CONFLICT, "puppetlabs.rbac/conflict", why),
            AuthError::TokenRevoked => {
                unauthorized("puppetlabs.rbac/token-revoked", "Authentication token has been revoked.")
            }
            AuthError::Unavailable => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "puppetlabs.rbac/server-error",
                "The store of users and tokens does not answer; see the server's log.",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut body = json!({"kind": self.kind, "msg": self.message});
        if !self.details.is_empty() {
            body["details"] = Value::Object(self.details);
        }
        let mut response = respond_json(self.status, &body);
        response.extensions_mut().insert(RefusedAs(self.kind));
        response
    }
}

/// The kind of a problem, on its answer for the audit log.
#[derive(Debug, Clone)]
pub(super) struct RefusedAs(pub(super) Cow<'static, str>);

/// An answer in JSON.
pub(super) fn respond_json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

/// An answer in plain text, where the reference has one.
pub(super) fn respond_text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
