//! What every request passes: is the path readable and in the table, who asks, may they; the line in the access log, and
//! the one in the audit log. Neither query nor headers nor bodies reach a log: tokens and passwords are in them.

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

use super::access::{self, Kind, Listed, Need};
use super::audit;
use super::parameters::Parameters;
use super::problem::Problem;
use super::shared::{Shared, blocking};
use super::{files, routes};
use crate::limits::API_TOKEN_BYTES_MAX;
use crate::orchestrator::model::Subject;
use crate::orchestrator::rbac::AuthError;
use crate::orchestrator::rbac::permission::EVERY;
use crate::percent;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Its address.
    pub(super) remote: SocketAddr,
    /// Common name of its verified certificate.
    pub(super) certificate: Option<Arc<str>>,
}

/// Answers a request.
pub(super) async fn handle(shared: Arc<Shared>, router: Router, peer: Peer, request: Request) -> Response<Body> {
    let start = shared.clock.now();
    let (mut head, body) = request.into_parts();
    let method = head.method.clone();
    let path = head.uri.path().to_owned();
    let listed = access::look_up(method.as_str(), &path);
    let (subject, response) = match identify(&shared, &peer, &head, &listed).await {
        Err(response) => (None, *response),
        Ok(subject) => {
            let response = match admit(&shared, &listed, subject.as_ref(), &method, &path).await {
                Err(response) => *response,
                Ok(()) => {
                    subject.clone().and_then(|subject| head.extensions.insert(subject));
                    head.extensions.insert(peer.clone());
                    let Ok(response) = TowerToHyperService::new(router).call(Request::from_parts(head, body)).await;
                    response
                }
            };
            (subject, response)
        }
    };
    let line = Line {
        method: &method,
        // A token in a path is a token all the same.
        path: match listed {
            Listed::As { path: listed, .. } if listed.contains("{token}") => listed,
            // Also if the method or the version is wrong.
            _ if path.starts_with("/rbac-api/") && path.contains("/tokens/") => "/rbac-api/.../tokens/{token}",
            _ => &path,
        },
        status: response.status(),
        millis: shared.clock.now().since(start).as_millis() as u64,
        subject: subject.as_ref().map(|subject| subject.login.as_str()).or(peer.certificate.as_deref()).unwrap_or("-"),
        remote: peer.remote,
    };
    // Whoever reaches the port could fill the disk with the others.
    line.write(subject.is_some());
    let noted = match listed {
        Listed::As { path, kind: Kind::Change, .. } => audit::line(&peer, subject.as_ref(), &method, path, &response),
        _ => None,
    };
    if let Some(entry) = noted {
        audit::write(&shared, entry).await;
    }
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

/// Who asks, if the path needs to know; the refusal if nobody does who is known.
async fn identify(
    shared: &Arc<Shared>,
    peer: &Peer,
    head: &Parts,
    listed: &Listed,
) -> Result<Option<Subject>, Box<Response<Body>>> {
    let path = head.uri.path();
    let refuse = |problem: Problem| Box::new(problem.into_response());
    if percent::decode(path).is_none() {
        return Err(refuse(Problem::invalid("The request's path is not percent-encoded UTF-8.")));
    }
    let need = match listed {
        Listed::As { need, .. } | Listed::Nowhere { need } => *need,
        // What could be asked instead is told to those who may ask.
        Listed::OtherMethods(_) => access::need_of(path),
    };
    match need {
        Need::Nothing => Ok(None),
        Need::Certificate if peer.certificate.is_some() => Ok(None),
        Need::Certificate => Err(Box::new(files::forbidden(head.method.as_str(), path))),
        Need::SomebodyOrCertificate if peer.certificate.is_some() => Ok(None),
        Need::Somebody | Need::SomebodyOrCertificate | Need::Permission(_) | Need::SomePermission(_) => {
            authenticate(shared, peer, &head.headers, &head.uri).await.map(Some).map_err(refuse)
        }
    }
}

/// A token counts before a certificate: it says more.
pub(super) async fn authenticate(
    shared: &Arc<Shared>,
    peer: &Peer,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Subject, Problem> {
    let token = match headers.get("x-authentication") {
        Some(value) => value.to_str().map_err(|_| Problem::from(AuthError::InvalidToken))?.trim().to_owned(),
        None => Parameters::of(uri)?.text("token").map(str::to_owned).unwrap_or_default(),
    };
    if token.is_empty() {
        let listed = peer.certificate.as_deref().and_then(|name| shared.backend.rbac().allowlist().subject(name));
        return listed.ok_or_else(Problem::no_token);
    }
    if token.len() > API_TOKEN_BYTES_MAX {
        return Err(AuthError::InvalidToken.into());
    }
    Ok(blocking(shared, move |shared| shared.backend.rbac().authenticate(&token)).await??)
}

/// Whether the request gets to its handler; the answer if not.
async fn admit(
    shared: &Arc<Shared>,
    listed: &Listed,
    subject: Option<&Subject>,
    method: &Method,
    path: &str,
) -> Result<(), Box<Response<Body>>> {
    let need = match listed {
        Listed::As { need, .. } => *need,
        Listed::OtherMethods(methods) => return Err(Box::new(routes::method_not_allowed(method, path, methods))),
        Listed::Nowhere { .. } => return Err(Box::new(routes::nothing_there(method, path))),
    };
    let (Need::Permission(_) | Need::SomePermission(_)) = need else { return Ok(()) };
    let refuse = |problem: Problem| Box::new(problem.into_response());
    let Some(subject) = subject.cloned() else { return Err(refuse(Problem::no_token())) };
    let permitted = blocking(shared, move |shared| match need {
        Need::Permission(action) => shared.backend.rbac().permit(&subject, action, EVERY),
        Need::SomePermission(action) => shared.backend.rbac().permit_any(&subject, action),
        _ => Ok(()),
    });
    match permitted.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refusal)) if path.starts_with("/rbac-api/") => Err(refuse(Problem::denied(refusal))),
        Ok(Err(refusal)) => Err(refuse(refusal.into())),
        Err(problem) => Err(refuse(problem)),
    }
}
