//! What every request passes: is the path readable, who asks, may they, and the line in the access log. Neither query
//! nor headers nor bodies reach the log: tokens and passwords are in them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::files;
use super::parameters::Parameters;
use super::problem::Problem;
use super::shared::{Shared, blocking};
use crate::limits::API_TOKEN_BYTES_MAX;
use crate::orchestrator::model::Subject;
use crate::orchestrator::rbac::AuthError;
use crate::percent;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Its address.
    pub(super) remote: SocketAddr,
    /// Common name of its verified certificate.
    pub(super) certificate: Option<Arc<str>>,
}

/// What a path asks of its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Nothing.
    Open,
    /// A token.
    Token,
    /// A certificate of our CA.
    Certificate,
    /// Either of them.
    TokenOrCertificate,
}

impl Access {
    fn to(path: &str) -> Self {
        let below =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if below("/orchestrator") || below("/rbac-api/v1/users") || below("/classifier-api") {
            Self::Token
        } else if below("/puppet") {
            Self::Certificate
        } else if below("/metrics") {
            Self::TokenOrCertificate
        } else {
            Self::Open
        }
    }
}

/// Answers a request.
pub(super) async fn handle(shared: Arc<Shared>, router: Router, peer: Peer, request: Request) -> Response<Body> {
    let start = shared.clock.now();
    let (mut head, body) = request.into_parts();
    let method = head.method.clone();
    let path = head.uri.path().to_owned();
    let (subject, response) = match admit(&shared, &peer, &head).await {
        Ok(subject) => {
            let login = subject.as_ref().map(|subject| subject.login.clone());
            if let Some(subject) = subject {
                head.extensions.insert(subject);
            }
            head.extensions.insert(peer.clone());
            let Ok(response) = TowerToHyperService::new(router).call(Request::from_parts(head, body)).await;
            (login, response)
        }
        Err(response) => (None, *response),
    };
    let line = Line {
        method: &method,
        path: &path,
        status: response.status(),
        millis: shared.clock.now().since(start).as_millis() as u64,
        subject: subject.as_deref().or(peer.certificate.as_deref()).unwrap_or("-"),
        remote: peer.remote,
    };
    // Whoever reaches the port could fill the disk with the others.
    line.write(subject.is_some());
    response
}

/// A line of the access log.
struct Line<'a> {
    method: &'a Method,
    path: &'a str,
    status: StatusCode,
    millis: u64,
    subject: &'a str,
    remote: SocketAddr,
}

impl Line<'_> {
    fn write(&self, is_user: bool) {
        let Self { method, path, status, millis, subject, remote } = self;
        let status = status.as_u16();
        if is_user {
            tracing::info!(target: "podium::api::access", %method, path, status, millis, subject, %remote, "request");
        } else {
            tracing::debug!(target: "podium::api::access", %method, path, status, millis, subject, %remote, "request");
        }
    }
}

/// Who asks, if the path needs to know; the refusal if they may not.
async fn admit(shared: &Arc<Shared>, peer: &Peer, head: &Parts) -> Result<Option<Subject>, Box<Response<Body>>> {
    let path = head.uri.path();
    let refuse = |problem: Problem| Box::new(problem.into_response());
    if percent::decode(path).is_none() {
        let problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "puppetlabs.orchestrator/validation-error",
            "The request's path is not percent-encoded UTF-8.",
        );
        return Err(refuse(problem));
    }
    match Access::to(path) {
        Access::Open => Ok(None),
        Access::Certificate if peer.certificate.is_some() => Ok(None),
        Access::Certificate => Err(Box::new(files::forbidden(head.method.as_str(), path))),
        Access::TokenOrCertificate if peer.certificate.is_some() => Ok(None),
        Access::Token | Access::TokenOrCertificate => {
            authenticate(shared, &head.headers, &head.uri).await.map(Some).map_err(refuse)
        }
    }
}

async fn authenticate(shared: &Arc<Shared>, headers: &HeaderMap, uri: &Uri) -> Result<Subject, Problem> {
    let token = match headers.get("x-authentication") {
        Some(value) => value.to_str().map_err(|_| Problem::from(AuthError::InvalidToken))?.trim().to_owned(),
        None => Parameters::of(uri)?.text("token").map(str::to_owned).unwrap_or_default(),
    };
    if token.is_empty() {
        return Err(Problem::no_token());
    }
    if token.len() > API_TOKEN_BYTES_MAX {
        return Err(AuthError::InvalidToken.into());
    }
    Ok(blocking(shared, move |shared| shared.backend.authenticate(&token)).await??)
}
