//! `/command/task` and `/jobs`: starting jobs and following them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::parameters::{Parameters, job_id};
use super::problem::{Problem, respond_json};
use super::shared::{Shared, answer, blocking};
use super::{audit, command, render};
use crate::limits::{API_BODY_BYTES_MAX, API_PAGE_MAX, AUDIT_NODES_MAX};
use crate::orchestrator::model::{JobOrder, JobQuery, NodeOrder, NodeQuery, NodeState, Scope, Subject};

/// `limit` of `GET /jobs` if the request has none.
const LIMIT_DEFAULT: u32 = 20;

/// Types of jobs that clients may ask for. This server makes `task` only; of the others there are none.
const TYPES: [&str; 9] = [
    "deploy",
    "task",
    "plan_task",
    "plan_script",
    "plan_upload",
    "plan_command",
    "plan_wait",
    "plan_apply",
    "plan_apply_prep",
];

/// Every node of a job, by name, without what came of it.
const ALL_NODES: NodeQuery = NodeQuery {
    limit: None,
    offset: 0,
    order_by: NodeOrder::Name,
    descending: false,
    state: None,
    with_results: false,
};

/// `POST /command/task`.
pub(super) async fn run_task(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let command = match blocking(&shared, move |_| command::task(&body)).await {
        Ok(Ok(command)) => command,
        Ok(Err(problem)) | Err(problem) => return problem.into_response(),
    };
    let (task, environment, scope) = (command.task.clone(), command.environment.clone(), noted(&command.scope));
    let made = blocking(&shared, move |shared| shared.backend.run_task(&subject, command)).await;
    let response = match made {
        Ok(Ok(id)) => {
            let response = respond_json(StatusCode::ACCEPTED, &render::accepted(&shared.urls, id));
            audit::with(response, "job", id.to_string())
        }
        Ok(Err(refusal)) => Problem::from(refusal).into_response(),
        Err(problem) => problem.into_response(),
    };
    let response = audit::with(audit::with(response, "task", task), "environment", environment);
    audit::with(response, "scope", scope)
}

/// A scope for the audit log: of many nodes the first, and how many there are.
fn noted(scope: &Scope) -> Value {
    match scope {
        Scope::Nodes(names) => {
            json!({"nodes": names.iter().take(AUDIT_NODES_MAX).collect::<Vec<_>>(), "count": names.len()})
        }
        other => json!(other),
    }
}

/// `GET /jobs`.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let asked = Listing::parse(&Parameters::of(&uri)?)?;
        let (items, total) = if asked.kind.as_deref().is_none_or(|kind| kind == "task") {
            let page = shared.backend.jobs(&asked.query)?;
            (page.items.iter().map(|job| render::job_item(&shared.urls, job)).collect(), page.total)
        } else {
            (Vec::new(), 0)
        };
        Ok(json!({"items": items, "pagination": asked.pagination(total)}))
    })
    .await
}

/// `GET /jobs/:id`.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let job = shared.backend.job(job_id(&id)?)?;
        Ok(render::job_detail(&shared.urls, &job))
    })
    .await
}

/// `GET /jobs/:id/nodes`.
pub(super) async fn nodes(State(shared): State<Arc<Shared>>, Path(id): Path<String>, uri: Uri) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let id = job_id(&id)?;
        let query = node_query(&Parameters::of(&uri)?)?;
        let page = shared.backend.nodes(id, &query)?;
        Ok(render::nodes(&shared.urls, id, &page.items))
    })
    .await
}

/// `GET /jobs/:id/report`.
pub(super) async fn report(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let page = shared.backend.nodes(job_id(&id)?, &ALL_NODES)?;
        Ok(render::report(&page.items))
    })
    .await
}

/// `GET /jobs/:id/events`.
pub(super) async fn events(State(shared): State<Arc<Shared>>, Path(id): Path<String>, uri: Uri) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let id = job_id(&id)?;
        let start = Parameters::of(&uri)?.start()?;
        let (events, next) = shared.backend.events(id, start)?;
        Ok(render::events(&shared.urls, id, &events, next))
    })
    .await
}

/// What `GET /jobs` was asked for.
struct Listing {
    kind: Option<String>,
    query: JobQuery,
}

impl Listing {
    fn parse(parameters: &Parameters) -> Result<Self, Problem> {
        let is_type = |text: &str| TYPES.into_iter().find(|kind| *kind == text);
        let kind = parameters.word("type", is_type, TYPES.into_iter())?;
        let task = parameters.text("task").map(str::to_owned);
        if kind == Some("deploy") && task.is_some() {
            return Err(Problem::invalid("task cannot be used together with type=deploy: such jobs have no task."));
        }
        let orders = JobOrder::ALL.iter().map(|order| order.word());
        let query = JobQuery {
            limit: parameters.number("limit", API_PAGE_MAX)?.unwrap_or(LIMIT_DEFAULT),
            offset: parameters.number("offset", u32::MAX)?.unwrap_or(0),
            order_by: parameters.word("order_by", JobOrder::from_word, orders)?.unwrap_or(JobOrder::Timestamp),
            descending: parameters.descending()?,
            task,
            min_finish: parameters.time("min_finish_timestamp")?,
            max_finish: parameters.time("max_finish_timestamp")?,
        };
        Ok(Self { kind: kind.map(str::to_owned), query })
    }

    fn pagination(&self, total: u64) -> Value {
        json!({
            "total": total,
            "limit": self.query.limit,
            "offset": self.query.offset,
            "order_by": self.query.order_by.word(),
            "order": if self.query.descending { "desc" } else { "asc" },
            "type": self.kind.as_deref().unwrap_or(""),
        })
    }
}

fn node_query(parameters: &Parameters) -> Result<NodeQuery, Problem> {
    let orders = NodeOrder::ALL.iter().map(|order| order.word());
    let states = NodeState::ALL.iter().map(|state| state.word());
    Ok(NodeQuery {
        limit: parameters.number("limit", u32::MAX)?,
        offset: parameters.number("offset", u32::MAX)?.unwrap_or(0),
        order_by: parameters.word("order_by", NodeOrder::from_word, orders)?.unwrap_or(NodeOrder::Name),
        descending: parameters.descending()?,
        state: parameters.word("state", NodeState::from_word, states)?,
        with_results: true,
    })
}
