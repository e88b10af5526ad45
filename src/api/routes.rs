//! The paths of the API, and what is answered to all others.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{any, delete, get, post, put};

use super::problem::{Problem, respond_json};
use super::shared::Shared;
use super::{
    broker_link, classifier, commands, deploy_plan, environments, files, jobs, openapi, plan_jobs, rbac, render,
    schedules, sources, status, streams, task_targets, usage, webhooks,
};

/// Parts of the orchestrator API v1 that clients know and this server does not offer.
const NOT_OFFERED: [&str; 4] =
    ["command/stop_plan", "command/plan_run", "command/environment_plan_run", "command/schedule_plan"];

/// All routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/orchestrator", get(root))
        .route("/orchestrator/v1", get(root))
        .route("/orchestrator/v1/", get(root))
        .route("/orchestrator/v1/openapi.json", get(openapi::show))
        .route("/orchestrator/v1/status", get(status::services))
        .route("/orchestrator/v1/command/task", post(commands::run_task))
        .route("/orchestrator/v1/command/task_target", post(task_targets::create))
        .route("/orchestrator/v1/command/deploy", post(commands::deploy))
        .route("/orchestrator/v1/command/deploy_plan", post(deploy_plan::show))
        .route("/orchestrator/v1/command/stop", post(commands::stop))
        .route("/orchestrator/v1/command/plan_start", post(commands::plan_start))
        .route("/orchestrator/v1/command/plan_task", post(commands::plan_task))
        .route("/orchestrator/v1/command/plan_finish", post(commands::plan_finish))
        .route("/orchestrator/v1/plan_jobs", get(plan_jobs::list))
        .route("/orchestrator/v1/plan_jobs/{id}", get(plan_jobs::show))
        .route("/orchestrator/v1/plan_jobs/{id}/events", get(plan_jobs::events))
        .route("/orchestrator/v1/plan_jobs/{id}/event/{event}", get(plan_jobs::event))
        .route("/orchestrator/v1/scopes/task_targets", get(task_targets::list))
        .route("/orchestrator/v1/scopes/task_targets/{id}", get(task_targets::show))
        .merge(classifier_routes())
        .merge(event_routes())
        .merge(schedule_routes())
        .route("/orchestrator/v1/jobs", get(jobs::list))
        .route("/orchestrator/v1/jobs/{id}", get(jobs::show))
        .route("/orchestrator/v1/jobs/{id}/nodes", get(jobs::nodes))
        .route("/orchestrator/v1/jobs/{id}/report", get(jobs::report))
        .route("/orchestrator/v1/jobs/{id}/events", get(jobs::events))
        .route("/orchestrator/v1/environments", get(environments::list))
        .route("/orchestrator/v1/environments/{environment}", get(environments::show))
        .route("/orchestrator/v1/environments/{environment}/applications", get(environments::applications))
        .route("/orchestrator/v1/environments/{environment}/instances", get(environments::instances))
        .route("/orchestrator/v1/tasks", get(sources::tasks))
        .route("/orchestrator/v1/tasks/{module}/{task}", get(sources::task))
        .route("/orchestrator/v1/plans", get(sources::plans))
        .route("/orchestrator/v1/plans/{module}/{plan}", get(sources::plan))
        .route("/orchestrator/v1/inventory", get(sources::inventory).post(sources::inventory_of))
        .route("/orchestrator/v1/inventory/{node}", get(sources::inventory_node))
        .route("/rbac-api/v1/auth/token", post(rbac::login::token))
        .route("/rbac-api/v1/auth/reset", post(rbac::users::take_reset))
        .route("/rbac-api/v2/auth/token/authenticate", post(rbac::tokens::authenticate))
        .route("/rbac-api/v1/tokens", post(rbac::tokens::issue))
        .route("/rbac-api/v2/tokens", delete(rbac::tokens::revoke))
        .route("/rbac-api/v2/tokens/{token}", delete(rbac::tokens::revoke_one))
        .route("/rbac-api/v1/users", get(rbac::users::list).post(rbac::users::add))
        .route("/rbac-api/v1/users/current", get(rbac::users::current))
        .route("/rbac-api/v1/users/current/password", put(rbac::users::change_password))
        .route("/rbac-api/v1/users/{id}", get(rbac::users::show).put(rbac::users::edit).delete(rbac::users::remove))
        .route("/rbac-api/v1/users/{id}/password/reset", post(rbac::users::offer_reset))
        .route("/rbac-api/v1/roles", get(rbac::roles::list).post(rbac::roles::add))
        .route("/rbac-api/v1/roles/{id}", get(rbac::roles::show).put(rbac::roles::edit).delete(rbac::roles::remove))
        .route("/rbac-api/v1/types", get(rbac::permitted::types))
        .route("/rbac-api/v1/permitted", post(rbac::permitted::ask))
        .route("/rbac-api/v1/permitted/{type}/{action}", get(rbac::permitted::instances))
        .route("/rbac-api/v1/permitted/{type}/{action}/{user}", get(rbac::permitted::instances_of))
        .route("/status/v1/services", get(status::page))
        .route("/status/v1/services/{name}", get(status::page))
        .route("/status/v1/simple", get(status::page))
        .route("/status/v1/simple/{name}", get(status::page))
        .route("/metrics", get(status::metrics))
        .route("/server", any(broker_link::accept))
        .route("/server/", any(broker_link::accept))
        // pcp-broker appends its client type to the URI that it is given, which ends in /server already.
        .route("/server/{client_type}", any(broker_link::accept))
        .route("/puppet/v3/file_content/{*mount_path}", get(files::content))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_route)
        .with_state(shared)
}

fn event_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/orchestrator/v1/jobs/{id}/events/stream", get(streams::of_job))
        .route("/orchestrator/v1/events/stream", get(streams::of_all))
        .route("/podium/v1/webhooks", get(webhooks::list).post(webhooks::add))
        .route("/podium/v1/webhooks/{id}", get(webhooks::show).delete(webhooks::remove))
        .route("/podium/v1/webhooks/{id}/test", post(webhooks::test))
        .route("/podium/v1/webhooks/{id}/resume", post(webhooks::resume))
}

fn schedule_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/orchestrator/v1/command/schedule_deploy", post(schedules::schedule_deploy))
        .route("/orchestrator/v1/command/schedule_task", post(schedules::schedule_task))
        .route("/orchestrator/v1/scheduled_jobs", get(schedules::list_before))
        .route("/orchestrator/v1/scheduled_jobs/{id}", delete(schedules::delete_before))
        .route("/orchestrator/v1/scheduled_jobs/environment_jobs", get(schedules::list).post(schedules::create))
        .route("/orchestrator/v1/scheduled_jobs/environment_jobs/{id}", get(schedules::show).put(schedules::edit))
        .route("/orchestrator/v1/usage", get(usage::usage))
}

fn classifier_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/classifier-api/v1/groups", get(classifier::groups).post(classifier::create))
        .route("/classifier-api/v1/groups/{id}", get(classifier::group).put(classifier::put))
        .route("/classifier-api/v1/groups/{id}", post(classifier::update).delete(classifier::delete))
        .route("/classifier-api/v1/groups/{id}/rules", get(classifier::rules))
        .route("/classifier-api/v1/classified/nodes/{name}", post(classifier::classified))
        .route("/classifier-api/v1/environments", get(classifier::environments))
        .route("/classifier-api/v1/environments/{name}", get(classifier::environment))
        .route("/classifier-api/v1/rules/translate", post(classifier::translate))
}

/// `GET /orchestrator`, also at `/orchestrator/v1` where some clients look for it.
async fn root(State(shared): State<Arc<Shared>>) -> Response<Body> {
    respond_json(StatusCode::OK, &render::root(&shared.urls))
}

async fn unknown_route(method: Method, uri: Uri) -> Response<Body> {
    nothing_there(&method, uri.path())
}

/// The answer where nothing is.
pub(super) fn nothing_there(method: &Method, path: &str) -> Response<Body> {
    let (kind, message) = if is_not_offered(path) {
        ("puppetlabs.orchestrator/not-offered", format!("This server does not offer {method} {path} yet."))
    } else {
        ("puppetlabs.orchestrator/not-found", format!("There is nothing at {path}."))
    };
    Problem::new(StatusCode::NOT_FOUND, kind, message).with("path", path).into_response()
}

pub(super) fn is_not_offered(path: &str) -> bool {
    let Some(path) = path.strip_prefix("/orchestrator/v1/") else { return false };
    let begins = |known| path.strip_prefix(known).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with('/'));
    NOT_OFFERED.into_iter().any(begins)
}

/// The answer where something is, but not with this method.
pub(super) fn method_not_allowed(method: &Method, path: &str, methods: &str) -> Response<Body> {
    if is_not_offered(path) {
        return nothing_there(method, path);
    }
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "puppetlabs.orchestrator/method-not-allowed",
        format!("{method} is not allowed at {path}; the Allow header names what is."),
    );
    let mut response = problem.with("method", method.as_str()).into_response();
    response.headers_mut().extend(HeaderValue::from_str(methods).ok().map(|methods| (header::ALLOW, methods)));
    response
}
