//! `/environments`: the environments that tasks are found in. Applications were removed from Puppet; their lists are there
//! for old clients; what is in them is the graph that says which nodes run after which others.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use super::render::Urls;
use super::shared::Shared;
use super::turns::answer_in_turn;
use crate::orchestrator::graph::{Component, Instance};
use crate::orchestrator::sources::EnvironmentListing;
use crate::percent;

/// `GET /environments`.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, |shared| {
        let environments = shared.backend.environments()?;
        Ok(json!({"items": environments.iter().map(|one| render(&shared.urls, one)).collect::<Vec<_>>()}))
    })
    .await
}

/// `GET /environments/:environment`.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, move |shared| {
        Ok(render(&shared.urls, &shared.backend.environment(&name)?))
    })
    .await
}

/// `GET /environments/:environment/applications`.
pub(super) async fn applications(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, move |shared| {
        let graph = shared.backend.graph(&name)?;
        let kinds: BTreeSet<&str> = graph.instances.iter().map(|instance| instance.kind.as_str()).collect();
        let application = |kind: &str| json!({"name": kind, "kind": "application", "parameters": {}});
        let items: Vec<Value> = kinds.into_iter().map(application).collect();
        Ok(json!({"items": items, "instances": {"id": format!("{}/instances", url(&shared.urls, &name))}}))
    })
    .await
}

/// `GET /environments/:environment/instances`.
pub(super) async fn instances(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response<Body> {
    answer_in_turn(&shared, None, StatusCode::OK, move |shared| {
        let graph = shared.backend.graph(&name)?;
        Ok(json!({"items": graph.instances.iter().map(instance).collect::<Vec<_>>()}))
    })
    .await
}

fn instance(instance: &Instance) -> Value {
    let components: Vec<Value> = instance.components.iter().map(component).collect();
    json!({"type": instance.kind, "title": instance.title, "components": components})
}

fn component(component: &Component) -> Value {
    let Component { kind, title, node, produces, consumes } = component;
    json!({"type": kind, "title": title, "node": node, "produces": produces, "consumes": consumes})
}

fn render(urls: &Urls, environment: &EnvironmentListing) -> Value {
    let url = url(urls, &environment.name);
    json!({
        "id": url,
        "name": environment.name,
        "applications": {"id": format!("{url}/applications")},
        "instances": {"id": format!("{url}/instances")},
        "settings": environment.settings,
    })
}

fn url(urls: &Urls, name: &str) -> String {
    urls.at(&format!("environments/{}", percent::encode(name)))
}
