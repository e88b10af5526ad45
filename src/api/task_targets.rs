//! `/command/task_target` and `/scopes/task_targets`: tasks and nodes under one number, which roles are granted.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::command::{missing, object, strings, take, take_bool, take_string};
use super::problem::Problem;
use super::render::Urls;
use super::shared::{Shared, answer};
use crate::limits::API_BODY_BYTES_MAX;
use crate::orchestrator::model::TaskTarget;

/// `POST /command/task_target`.
pub(super) async fn create(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    answer(&shared, StatusCode::OK, move |shared| {
        let id = shared.backend.task_targets().create(parse(&body)?)?;
        Ok(json!({"task_target": {"id": url(&shared.urls, id), "name": id.to_string()}}))
    })
    .await
}

/// `GET /scopes/task_targets`.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response<Body> {
    answer(&shared, StatusCode::OK, |shared| {
        let targets = shared.backend.task_targets().all()?;
        Ok(json!({"items": targets.iter().map(|target| item(&shared.urls, target)).collect::<Vec<_>>()}))
    })
    .await
}

/// `GET /scopes/task_targets/:id`.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let number = id.parse().map_err(|_| {
            let message = format!("Invalid value {id:?} for id: the id of a task target is an integer.");
            Problem::invalid(message).with("parameter", "id")
        })?;
        Ok(item(&shared.urls, &shared.backend.task_targets().one(number)?))
    })
    .await
}

fn parse(body: &[u8]) -> Result<TaskTarget, Problem> {
    let mut object = object(body)?;
    let display_name = take_string(&mut object, "display_name")?.ok_or_else(|| missing("display_name"))?;
    if display_name.trim().is_empty() {
        return Err(Problem::invalid("display_name must not be empty.").with("key", "display_name"));
    }
    let all_tasks = take_bool(&mut object, "all_tasks")?.unwrap_or(false);
    let tasks = take(&mut object, "tasks").map(|tasks| strings("tasks", tasks)).transpose()?;
    if !all_tasks && tasks.is_none() {
        return Err(Problem::invalid("Either tasks must name tasks, or all_tasks must be true.").with("key", "tasks"));
    }
    let mut required = |key: &str| {
        let value = take(&mut object, key).ok_or_else(|| missing(key))?;
        strings(key, value)
    };
    Ok(TaskTarget {
        id: 0,
        display_name,
        tasks: tasks.filter(|_| !all_tasks),
        nodes: required("nodes")?,
        node_groups: required("node_groups")?,
        pql_query: take_string(&mut object, "pql_query")?.unwrap_or_default(),
    })
}

fn url(urls: &Urls, id: i64) -> String {
    urls.at(&format!("scopes/task_targets/{id}"))
}

/// Without `tasks` if it has all of them, and without an empty query.
fn item(urls: &Urls, target: &TaskTarget) -> Value {
    let mut item = Map::new();
    item.insert("id".into(), url(urls, target.id).into());
    item.insert("name".into(), target.id.to_string().into());
    item.insert("display_name".into(), target.display_name.as_str().into());
    if let Some(tasks) = &target.tasks {
        item.insert("tasks".into(), json!(tasks));
    }
    item.insert("all_tasks".into(), target.tasks.is_none().into());
    item.insert("nodes".into(), json!(target.nodes));
    item.insert("node_groups".into(), json!(target.node_groups));
    if !target.pql_query.is_empty() {
        item.insert("pql_query".into(), target.pql_query.as_str().into());
    }
    item.into()
}
