//! `/rbac-api/v1/roles`: what the members of a role may do, and who they are.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::users::check_id;
use super::{Changed, change, change_with_body, list as array, object, required, schema, string};
use crate::api::command::take;
use crate::api::problem::Problem;
use crate::api::shared::{Shared, answer};
use crate::orchestrator::model::Subject;
use crate::orchestrator::rbac::permission::Grant;
use crate::orchestrator::rbac::roles::Role;
use crate::orchestrator::rbac::users::RoleFields;
use crate::orchestrator::store::access::User;

/// `GET /v1/roles`.
pub(in crate::api) async fn list(State(shared): State<Arc<Shared>>) -> Response<Body> {
    answer(&shared, StatusCode::OK, |shared| {
        let (roles, users) = (shared.backend.rbac().roles()?, shared.backend.rbac().users()?);
        Ok(roles.iter().map(|role| shown(role, &users)).collect())
    })
    .await
}

/// `GET /v1/roles/:id`.
pub(in crate::api) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let role = shared.backend.rbac().role(number(&id)?)?;
        Ok(shown(&role, &shared.backend.rbac().users()?))
    })
    .await
}

/// `POST /v1/roles`.
pub(in crate::api) async fn add(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    request: Request,
) -> Response<Body> {
    change_with_body(&shared, request, Vec::new(), move |shared, body| {
        let rbac = shared.backend.rbac();
        let role = rbac.add_role(&subject, fields(&mut object(body)?)?)?;
        let made = Changed::made(format!("/rbac-api/v1/roles/{}", role.id), shown(&role, &rbac.users()?));
        Ok(noted(made, &role))
    })
    .await
}

/// `PUT /v1/roles/:id`: the whole role.
pub(in crate::api) async fn edit(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(id): Path<String>,
    request: Request,
) -> Response<Body> {
    change_with_body(&shared, request, vec![("role_id", id.clone().into())], move |shared, body| {
        let id = number(&id)?;
        let mut body = object(body)?;
        check_id(&mut body, &json!(id))?;
        let rbac = shared.backend.rbac();
        let role = rbac.edit_role(&subject, id, fields(&mut body)?)?;
        let now = shown(&role, &rbac.users()?);
        let members = now["user_ids"].clone();
        Ok(noted(Changed::is_now(now), &role).about("user_ids", members))
    })
    .await
}

/// `DELETE /v1/roles/:id`.
pub(in crate::api) async fn remove(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(id): Path<String>,
) -> Response<Body> {
    change(&shared, vec![("role_id", id.clone().into())], move |shared| {
        let role = shared.backend.rbac().remove_role(&subject, number(&id)?)?;
        Ok(Changed::done().about("display_name", role.display_name))
    })
    .await
}

fn noted(changed: Changed, role: &Role) -> Changed {
    changed.about("display_name", role.display_name.clone()).about("permissions", json!(role.permissions))
}

fn shown(role: &Role, users: &[User]) -> Value {
    let members = users.iter().filter(|user| user.role_ids.contains(&role.id)).map(|user| user.id.as_str());
    json!({
        "id": role.id,
        "display_name": role.display_name,
        "description": role.description,
        "permissions": role.permissions,
        "user_ids": members.collect::<Vec<_>>(),
        "group_ids": [],
    })
}

fn fields(body: &mut Map<String, Value>) -> Result<RoleFields, Problem> {
    let permissions = match take(body, "permissions") {
        Some(Value::Array(permissions)) => permissions.into_iter().map(grant).collect::<Result<_, _>>()?,
        Some(_) => return Err(schema("permissions must be an array of objects")),
        None => return Err(schema("The required key permissions is missing; it may be an empty array")),
    };
    Ok(RoleFields {
        display_name: required(body, "display_name")?,
        description: string(body, "description")?.unwrap_or_default(),
        permissions,
        members: array(body, "user_ids", "UUIDs of users", |value| value.as_str().map(str::to_owned))?,
    })
}

fn grant(written: Value) -> Result<Grant, Problem> {
    serde_json::from_value(written).map_err(|error| schema(&format!("a permission is not right: {error}")))
}

fn number(id: &str) -> Result<i64, Problem> {
    id.parse().map_err(|_| {
        let message = format!("{id:?} is not the number of a role.");
        Problem::new(StatusCode::BAD_REQUEST, "puppetlabs.rbac/invalid-id-filter", message)
    })
}
