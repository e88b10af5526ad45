//! `/rbac-api/v1/types` and `/v1/permitted`: what can be permitted, and what is.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::{body_of, list, object, required, schema};
use crate::api::problem::Problem;
use crate::api::shared::{Shared, answer};
use crate::orchestrator::model::Subject;
use crate::orchestrator::rbac::permission::{Action, EVERY, Grant, Instances, permits};
use crate::orchestrator::rbac::subject as as_subject;

/// `GET /v1/types`.
pub(in crate::api) async fn types() -> Response<Body> {
    let mut types: Vec<Value> = Vec::new();
    for action in Action::ALL {
        let shown = json!({
            "name": action.name(),
            "display_name": action.display_name(),
            "description": action.display_name(),
            "has_instances": action.instances() == Instances::Named,
        });
        match types.iter_mut().find(|known| known["object_type"] == action.object_type()) {
            Some(known) => known["actions"].as_array_mut().into_iter().for_each(|actions| actions.push(shown.clone())),
            None => types.push(json!({
                "object_type": action.object_type(),
                "display_name": action.object_type().replace('_', " "),
                "description": "",
                "actions": [shown],
            })),
        }
    }
    crate::api::problem::respond_json(StatusCode::OK, &Value::Array(types))
}

/// `POST /v1/permitted`: for each permission whether the user has it.
pub(in crate::api) async fn ask(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let body = match body_of(&shared, request).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    answer(&shared, StatusCode::OK, move |shared| {
        let mut body = object(&body)?;
        let user = required(&mut body, "token")?;
        let asked = list(&mut body, "permissions", "permissions", Some)?
            .ok_or_else(|| schema("The required key permissions is missing"))?;
        let who = subject_of(shared, &user)?;
        let grants = grants(shared, &who)?;
        let permitted = |asked: Value| {
            // A permission that cannot be is nobody's.
            serde_json::from_value::<Grant>(asked)
                .is_ok_and(|asked| who.is_superuser || permits(&grants, asked.action, &asked.instance))
        };
        Ok(asked.into_iter().map(permitted).collect())
    })
    .await
}

/// `GET /v1/permitted/:type/:action`: on which instances whoever asks may do this.
pub(in crate::api) async fn instances(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path((object_type, action)): Path<(String, String)>,
) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| list_instances(shared, &subject, &object_type, &action)).await
}

/// `GET /v1/permitted/:type/:action/:user`: on which instances this user may do this.
pub(in crate::api) async fn instances_of(
    State(shared): State<Arc<Shared>>,
    Path((object_type, action, user)): Path<(String, String, String)>,
) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        list_instances(shared, &subject_of(shared, &user)?, &object_type, &action)
    })
    .await
}

fn list_instances(shared: &Shared, subject: &Subject, object_type: &str, action: &str) -> Result<Value, Problem> {
    let action = Action::from_names(object_type, action).ok_or_else(|| {
        let message = format!("There is no permission {object_type}:{action}; GET /rbac-api/v1/types names all.");
        Problem::new(StatusCode::NOT_FOUND, "puppetlabs.rbac/not-found", message)
    })?;
    if subject.is_superuser {
        return Ok(json!([EVERY]));
    }
    let grants = grants(shared, subject)?;
    let mut instances: Vec<&str> = Vec::new();
    for grant in grants.iter().filter(|grant| grant.action == action && grant.scope.is_none()) {
        if !instances.contains(&grant.instance.as_str()) {
            instances.push(&grant.instance);
        }
    }
    Ok(json!(instances))
}

fn subject_of(shared: &Shared, user: &str) -> Result<Subject, Problem> {
    Ok(as_subject(shared.backend.rbac().user(user)?))
}

fn grants(shared: &Shared, subject: &Subject) -> Result<Vec<Grant>, Problem> {
    shared.backend.rbac().grants_of(subject).map_err(|error| crate::orchestrator::model::Refusal::from(error).into())
}
