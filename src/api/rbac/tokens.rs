//! `/rbac-api/v1/tokens`, `/v2/tokens` and `/v2/auth/token/authenticate`: tokens against tokens, what is known of a token, and
//! the ends of tokens.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Changed, boolean, change, change_with_body, list, login, object, required, schema};
use crate::api::parameters::Parameters;
use crate::api::problem::Problem;
use crate::api::render;
use crate::api::shared::{Shared, answer};
use crate::limits::{API_LOGIN_BODY_BYTES_MAX, API_TOKEN_BYTES_MAX};
use crate::orchestrator::model::Subject;
use crate::orchestrator::rbac::permission::Action;
use crate::orchestrator::rbac::{AuthError, Use};
use crate::orchestrator::store::access::{Token, User};

/// `POST /v1/tokens`: whoever has a token gets another one.
pub(in crate::api) async fn issue(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    request: Request,
) -> Response<Body> {
    change_with_body(&shared, request, Vec::new(), move |shared, body| {
        let wanted = if body.iter().all(u8::is_ascii_whitespace) { Map::new() } else { object(body)? };
        let wanted = login::token_request(&mut { wanted })?;
        let token = shared.backend.rbac().issue_token(&subject, &wanted)?;
        Ok(Changed::is_now(json!({"token": token})).about("label", wanted.label))
    })
    .await
}

/// `POST /v2/auth/token/authenticate`: whose token it is, and all that is known of it.
pub(in crate::api) async fn authenticate(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match shared.read_body(&head.headers, body, API_LOGIN_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    answer(&shared, StatusCode::OK, move |shared| {
        let mut body = object(&body)?;
        let token = required(&mut body, "token")?;
        let usage = if boolean(&mut body, "update_last_activity?")?.unwrap_or(false) { Use::Counts } else { Use::Peek };
        let known = if token.len() > API_TOKEN_BYTES_MAX {
            Err(AuthError::InvalidToken)
        } else {
            shared.backend.rbac().look_up(token.trim(), usage)
        };
        known.map(|(subject, token)| shown(&subject, &token)).map_err(|error| {
            let status = match error {
                AuthError::InvalidToken => StatusCode::BAD_REQUEST,
                AuthError::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::FORBIDDEN,
            };
            Problem::from(error).with_status(status)
        })
    })
    .await
}

fn shown(subject: &Subject, token: &Token) -> Value {
    let mut shown = render::subject(subject);
    shown["user_id"] = json!(subject.id);
    shown["creation"] = json!(token.created.to_millis_string());
    shown["expiration"] = json!(token.expires.to_millis_string());
    shown["last_active"] = json!(token.last_active.to_millis_string());
    shown["timeout"] = json!(token.timeout.map(|timeout| timeout.as_secs()));
    shown["client"] = json!(token.client);
    shown["label"] = json!(token.label);
    shown["description"] = json!(token.description);
    shown
}

/// `DELETE /v2/tokens/:token`, for administrators; everybody else has `DELETE /v2/tokens`.
pub(in crate::api) async fn revoke_one(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(token): Path<String>,
) -> Response<Body> {
    change(&shared, Vec::new(), move |shared| {
        if !subject.is_superuser {
            let message = "Only administrators may revoke a token here; DELETE /rbac-api/v2/tokens is for everybody.";
            return Err(denied(message));
        }
        let mut revoker = Revoker { shared, subject: &subject, revoked: Vec::new(), problems: Map::new() };
        revoker.token(&token)?;
        revoker.finish()
    })
    .await
}

/// `DELETE /v2/tokens`: by the token itself, by users, by the user's own labels. Whatever can be revoked is, even if
/// something else is wrong.
pub(in crate::api) async fn revoke(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    uri: Uri,
    request: Request,
) -> Response<Body> {
    change_with_body(&shared, request, Vec::new(), move |shared, body| {
        let mut asked = Asked::parse(&uri, body)?;
        let mut revoker = Revoker { shared, subject: &subject, revoked: Vec::new(), problems: Map::new() };
        if !asked.unrecognized.is_empty() {
            revoker.problems.insert("unrecognized_parameters".into(), std::mem::take(&mut asked.unrecognized).into());
        }
        asked.tokens.iter().try_for_each(|token| revoker.token(token))?;
        asked.users.iter().try_for_each(|login| revoker.user(login))?;
        asked.ids.iter().try_for_each(|id| revoker.id(id))?;
        asked.labels.iter().try_for_each(|label| revoker.label(label))?;
        revoker.finish()
    })
    .await
}

/// What is to be revoked, from the query and the body together.
#[derive(Default)]
struct Asked {
    tokens: Vec<String>,
    users: Vec<String>,
    labels: Vec<String>,
    ids: Vec<String>,
    unrecognized: Vec<String>,
}

impl Asked {
    fn parse(uri: &Uri, body: &[u8]) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (key, value) in Parameters::of(uri)?.pairs() {
            let values = value.split(',').filter(|value| !value.is_empty()).map(str::to_owned);
            match asked.list(key) {
                Some(list) => list.extend(values),
                // The caller's own, which the gate has read.
                None if key == "token" => {}
                None => asked.unrecognized.push(key.to_owned()),
            }
        }
        if !body.iter().all(u8::is_ascii_whitespace) {
            let mut body = object(body)?;
            for key in body.keys().cloned().collect::<Vec<_>>() {
                let string = |value: Value| value.as_str().map(str::to_owned);
                match asked.list(&key) {
                    Some(known) => known.extend(list(&mut body, &key, "strings", string)?.unwrap_or_default()),
                    None => asked.unrecognized.push(key),
                }
            }
        }
        let Self { tokens, users, labels, ids, unrecognized } = &asked;
        if [tokens, users, labels, ids, unrecognized].into_iter().all(Vec::is_empty) {
            return Err(schema(
                "Give revoke_tokens, revoke_tokens_by_usernames, revoke_tokens_by_labels or revoke_tokens_by_ids",
            ));
        }
        Ok(asked)
    }

    fn list(&mut self, key: &str) -> Option<&mut Vec<String>> {
        match key {
            "revoke_tokens" => Some(&mut self.tokens),
            "revoke_tokens_by_usernames" => Some(&mut self.users),
            "revoke_tokens_by_labels" => Some(&mut self.labels),
            "revoke_tokens_by_ids" => Some(&mut self.ids),
            _ => None,
        }
    }
}

/// Revokes one after the other, and remembers what was wrong.
struct Revoker<'a> {
    shared: &'a Shared,
    subject: &'a Subject,
    /// What was revoked, for the audit log.
    revoked: Vec<String>,
    problems: Map<String, Value>,
}

impl Revoker<'_> {
    /// Whoever has the text of a token may revoke it.
    fn token(&mut self, token: &str) -> Result<(), Problem> {
        let rbac = self.shared.backend.rbac();
        let owner = rbac.owner_of(token).map_err(|_| Problem::from(AuthError::Unavailable))?;
        match owner {
            Some(owner) => {
                rbac.revoke(token)?;
                self.revoked.push(format!("a token of {}", owner.login));
            }
            // Long out of life, or never there: it is not good, as was asked for.
            None if token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) => {}
            None => self.note("malformed_tokens", token),
        }
        Ok(())
    }

    fn user(&mut self, login: &str) -> Result<(), Problem> {
        match self.shared.backend.rbac().user_by_login(login)? {
            Some(user) => self.all_of(&user, "permission_denied_usernames", login),
            None => {
                self.note("nonexistent_usernames", login);
                Ok(())
            }
        }
    }

    fn id(&mut self, id: &str) -> Result<(), Problem> {
        if Uuid::parse_str(id).is_err() {
            self.note("malformed_ids", id);
            return Ok(());
        }
        match self.shared.backend.rbac().user(id) {
            Ok(user) => self.all_of(&user, "permission_denied_ids", id),
            Err(_) => {
                self.note("nonexistent_ids", id);
                Ok(())
            }
        }
    }

    fn all_of(&mut self, user: &User, denied: &str, name: &str) -> Result<(), Problem> {
        let rbac = self.shared.backend.rbac();
        let is_own = user.id == self.subject.id;
        if !is_own && rbac.permit(self.subject, Action::UsersDisable, &user.id).is_err() {
            self.note(denied, name);
            return Ok(());
        }
        rbac.revoke_of(&user.id, None)?;
        self.revoked.push(format!("all tokens of {}", user.login));
        Ok(())
    }

    fn label(&mut self, label: &str) -> Result<(), Problem> {
        let label = label.trim();
        if label.is_empty() || label.contains(',') {
            self.note("malformed_labels", label);
            return Ok(());
        }
        self.shared.backend.rbac().revoke_of(&self.subject.id, Some(label))?;
        self.revoked.push(format!("the token {label:?} of {}", self.subject.login));
        Ok(())
    }

    fn note(&mut self, key: &str, value: &str) {
        let list = self.problems.entry(key).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(value.into());
        }
    }

    fn finish(self) -> Result<Changed, Problem> {
        let Self { revoked, mut problems, .. } = self;
        if problems.is_empty() {
            return Ok(Changed::done().about("revoked", revoked));
        }
        let is_denied = problems.keys().any(|key| key.starts_with("permission_denied"));
        let mut problem = if is_denied {
            denied("Some tokens were not revoked: you are not permitted to; the details say which.")
        } else {
            schema("Some of what was asked for cannot be; the details say what")
        };
        problems.insert("other_tokens_revoked".to_owned(), (!revoked.is_empty()).into());
        for (key, value) in problems {
            problem = problem.with(&key, value);
        }
        Err(problem)
    }
}

fn denied(message: &'static str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "puppetlabs.rbac/permission-denied", message)
}
