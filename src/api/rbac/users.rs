//! `/rbac-api/v1/users` and `/v1/auth/reset`: users, and their passwords.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::login::slowly;
use super::{Changed, body_of, boolean, change, change_with_body, list as array, object, required, schema, string};
use crate::api::audit;
use crate::api::gate::Peer;
use crate::api::parameters::Parameters;
use crate::api::problem::{Problem, respond_text};
use crate::api::render;
use crate::api::shared::{Shared, answer, blocking};
use crate::limits::API_LOGIN_BODY_BYTES_MAX;
use crate::orchestrator::model::Subject;
use crate::orchestrator::rbac::users::{UserFields, UserStanding};
use crate::orchestrator::rbac::{AccessError, AccessKind, AuthError, LoginRefused, Rbac, subject as as_subject};
use crate::orchestrator::store::access::User;

/// `GET /v1/users/current`.
pub(in crate::api) async fn current(Extension(subject): Extension<Subject>) -> Response<Body> {
    crate::api::problem::respond_json(StatusCode::OK, &render::subject(&subject))
}

/// `GET /v1/users`, all or those named in `id`.
pub(in crate::api) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let parameters = Parameters::of(&uri)?;
        let wanted: Option<Vec<&str>> = parameters.text("id").map(|ids| ids.split(',').collect());
        let is_wanted = |user: &User| wanted.as_ref().is_none_or(|ids| ids.contains(&user.id.as_str()));
        let rbac = shared.backend.rbac();
        let users = rbac.users()?;
        Ok(users.into_iter().filter(is_wanted).map(|user| shown(rbac, user)).collect())
    })
    .await
}

/// `GET /v1/users/:id`.
pub(in crate::api) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let rbac = shared.backend.rbac();
        Ok(shown(rbac, rbac.user(&id)?))
    })
    .await
}

/// `POST /v1/users`.
pub(in crate::api) async fn add(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    request: Request,
) -> Response<Body> {
    change_with_body(&shared, request, Vec::new(), move |shared, body| {
        let mut body = object(body)?;
        let password = string(&mut body, "password")?;
        let rbac = shared.backend.rbac();
        let user = rbac.add_user(&subject, fields(&mut body)?, password.as_deref())?;
        let about = (user.login.clone(), user.role_ids.clone());
        let made = Changed::made(format!("/rbac-api/v1/users/{}", user.id), shown(rbac, user));
        Ok(made.about("login", about.0).about("role_ids", about.1))
    })
    .await
}

/// `PUT /v1/users/:id`: the whole user; `is_locked` false, or `is_revoked` false without it, ends a lock-out.
pub(in crate::api) async fn edit(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(id): Path<String>,
    request: Request,
) -> Response<Body> {
    change_with_body(&shared, request, vec![("user_id", id.clone().into())], move |shared, body| {
        let mut body = object(body)?;
        check_id(&mut body, &json!(id))?;
        let is_revoked = boolean(&mut body, "is_revoked")?;
        // Whoever knows of no lock-outs ends one as a revocation is ended.
        let unlock = boolean(&mut body, "is_locked")?.map_or(is_revoked == Some(false), |is_locked| !is_locked);
        let rbac = shared.backend.rbac();
        let user = rbac.edit_user(&subject, &id, fields(&mut body)?, UserStanding { is_revoked, unlock })?;
        let (login, revoked, roles) = (user.login.clone(), user.is_revoked, user.role_ids.clone());
        let now = Changed::is_now(shown(rbac, user));
        Ok(now.about("login", login).about("is_revoked", revoked).about("role_ids", roles))
    })
    .await
}

/// `DELETE /v1/users/:id`.
pub(in crate::api) async fn remove(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(id): Path<String>,
) -> Response<Body> {
    change(&shared, vec![("user_id", id.clone().into())], move |shared| {
        let user = shared.backend.rbac().remove_user(&subject, &id)?;
        Ok(Changed::done().about("login", user.login))
    })
    .await
}

/// `PUT /v1/users/current/password`.
pub(in crate::api) async fn change_password(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response<Body> {
    let body = match body_of(&shared, request).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let parsed = object(&body)
        .and_then(|mut body| Ok((required(&mut body, "current_password")?, required(&mut body, "password")?)));
    let (current, new) = match parsed {
        Ok(parsed) => parsed,
        Err(problem) => return problem.into_response(),
    };
    // Whoever has found a token must not find the password by it.
    let changed = slowly(&shared, peer.remote.ip(), move |shared| {
        match shared.backend.rbac().change_password(&subject, &current, &new) {
            Err(AccessError { kind: AccessKind::WrongPassword, .. }) => {
                Err(LoginRefused { error: AuthError::WrongCredentials, login: Some(subject.login) })
            }
            outcome => Ok(outcome),
        }
    });
    match changed.await {
        Err(refused) => {
            let message = "The current password is not right.";
            refused.said_as(StatusCode::UNAUTHORIZED, "puppetlabs.rbac/user-unauthenticated", message).into_response()
        }
        Ok(Err(error)) => Problem::from(error).into_response(),
        Ok(Ok(())) => no_content(),
    }
}

/// `POST /v1/users/:id/password/reset`: what lets the user choose a new password, as plain text.
pub(in crate::api) async fn offer_reset(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(id): Path<String>,
) -> Response<Body> {
    let about = id.clone();
    let offered = blocking(&shared, move |shared| shared.backend.rbac().offer_reset(&subject, &id)).await;
    let response = match offered {
        Ok(Ok(secret)) => respond_text(StatusCode::CREATED, "text/plain; charset=utf-8", secret),
        Ok(Err(error)) => Problem::from(error).into_response(),
        Err(problem) => problem.into_response(),
    };
    audit::with(response, "user_id", about)
}

/// `POST /v1/auth/reset`.
pub(in crate::api) async fn take_reset(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let parsed = async {
        let body = shared.read_body(&head.headers, body, API_LOGIN_BODY_BYTES_MAX).await?;
        let mut body = object(&body)?;
        Ok::<_, Problem>((required(&mut body, "token")?, required(&mut body, "password")?))
    };
    let (secret, new) = match parsed.await {
        Ok(parsed) => parsed,
        Err(problem) => return problem.into_response(),
    };
    let taken =
        slowly(&shared, peer.remote.ip(), move |shared| match shared.backend.rbac().take_reset(&secret, &new) {
            Err(AccessError { kind: AccessKind::PermissionDenied, .. }) => {
                Err(LoginRefused { error: AuthError::WrongCredentials, login: None })
            }
            outcome => Ok(outcome),
        });
    match taken.await {
        Err(refused) => {
            let message = "The reset token is not known, was used, or has expired; ask for another one.";
            refused.said_as(StatusCode::FORBIDDEN, "puppetlabs.rbac/permission-denied", message).into_response()
        }
        Ok(Err(error)) => Problem::from(error).into_response(),
        Ok(Ok(user)) => audit::with(Response::new(Body::empty()), "login", user.login),
    }
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn shown(rbac: &Rbac, user: User) -> Value {
    let is_locked = rbac.is_locked(&user);
    let mut shown = render::subject(&as_subject(user));
    shown["inherited_role_ids"] = json!([]);
    shown["group_ids"] = json!([]);
    shown["is_locked"] = json!(is_locked);
    shown
}

fn fields(body: &mut Map<String, Value>) -> Result<UserFields, Problem> {
    let login = required(body, "login")?;
    let display_name = string(body, "display_name")?.unwrap_or_else(|| login.clone());
    let email = string(body, "email")?.unwrap_or_default();
    let role_ids = array(body, "role_ids", "numbers of roles", |value| value.as_i64())?;
    let role_ids = role_ids.ok_or_else(|| schema("The required key role_ids is missing; it may be an empty array"))?;
    Ok(UserFields { login, display_name, email, role_ids })
}

/// What is changed must be what the path says.
pub(super) fn check_id(body: &mut Map<String, Value>, id: &Value) -> Result<(), Problem> {
    match crate::api::command::take(body, "id") {
        Some(given) if given != *id => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "puppetlabs.rbac/inconsistent-id",
            "The id in the body is not the one in the path.",
        )
        .with("id", given)),
        _ => Ok(()),
    }
}
