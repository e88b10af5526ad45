//! `/scheduled_jobs`: what is done later, and again. Who may make one is asked by the orchestrator, because it depends on what
//! it does; and asked again whenever its time has come.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::commands::noted;
use super::parameters::Parameters;
use super::problem::Problem;
use super::render::{Urls, schedules as render};
use super::shared::{HeldBody, Shared, answer, blocking};
use super::turns::answer_in_turn;
use super::{audit, command};
use crate::limits::{API_BODY_BYTES_MAX, API_PAGE_MAX};
use crate::orchestrator::model::schedule::{
    ScheduleEdit, ScheduleId, ScheduleOrder, ScheduleQuery, ScheduleSpec, ScheduledWork,
};
use crate::orchestrator::model::{JobKind, RefusalKind, Scope, Subject};

/// `limit` of a list if the request has none.
const LIMIT_DEFAULT: u32 = 50;

/// Types that clients may ask for. Of plans there are none.
const TYPES: [&str; 3] = ["deploy", "task", "plan"];

/// `GET /scheduled_jobs/environment_jobs`.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let asked = Parameters::of(&uri).and_then(|parameters| Listing::parse(&parameters));
        let asked = asked.map_err(query_error)?;
        let (items, total) = if asked.kind == Some("plan") {
            (Vec::new(), 0)
        } else {
            let page = shared.backend.schedules().list(&asked.query)?;
            (page.items.iter().map(|schedule| render::item(&shared.urls, schedule)).collect(), page.total)
        };
        Ok(json!({"items": items, "pagination": asked.pagination(total)}))
    })
    .await
}

/// `GET /scheduled_jobs/environment_jobs/:id`.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        let schedule = shared.backend.schedules().get(schedule_id(&id)?)?;
        Ok(render::item(&shared.urls, &schedule))
    })
    .await
}

/// `POST /scheduled_jobs/environment_jobs`.
pub(super) async fn create(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    add(shared, subject, request, command::environment_job, StatusCode::OK, render::accepted).await
}

/// `POST /command/schedule_deploy`.
pub(super) async fn schedule_deploy(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    add(shared, subject, request, command::schedule_deploy, StatusCode::ACCEPTED, render::accepted_before).await
}

/// `POST /command/schedule_task`.
pub(super) async fn schedule_task(
    shared: State<Arc<Shared>>,
    subject: Extension<Subject>,
    request: Request,
) -> Response<Body> {
    add(shared, subject, request, command::schedule_task, StatusCode::ACCEPTED, render::accepted_before).await
}

async fn add(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    request: Request,
    parse: fn(&[u8]) -> Result<ScheduleSpec, Problem>,
    status: StatusCode,
    shown: fn(&Urls, ScheduleId) -> Value,
) -> Response<Body> {
    let read = read(&shared, request, move |_, body| parse(body)).await;
    let (spec, body) = match read {
        Ok(read) => read,
        Err(problem) => return problem.into_response(),
    };
    let asked = command::asked(&spec.work, &spec.terms).clone();
    let details = json!({
        "type": spec.work.kind().word(), "task": task(&spec.work), "environment": spec.terms.environment,
        "scope": noted(&spec.terms.scope),
    });
    let made = Arc::new(OnceLock::new());
    let making = made.clone();
    let response = answer_in_turn(&shared, Some(&asked), status, move |shared| {
        let _body = body;
        let id = shared.backend.schedules().add(&subject, spec)?;
        Ok(shown(&shared.urls, *making.get_or_init(|| id)))
    })
    .await;
    let response = audit::with(response, "schedule", details);
    match made.get() {
        Some(id) => audit::with(response, "scheduled_job", id.to_string()),
        None => response,
    }
}

/// `PUT /scheduled_jobs/environment_jobs/:id`.
pub(super) async fn edit(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(id): Path<String>,
    request: Request,
) -> Response<Body> {
    let number = id.clone();
    let read = read(&shared, request, move |shared, body| {
        let id = schedule_id(&number)?;
        let now = shared.backend.schedules().get(id)?;
        let edit = command::edit_schedule(body, &now)?;
        let asked = asked(&edit, &now.spec).cloned();
        Ok((id, edit, asked))
    })
    .await;
    let ((number, edit, asked), body) = match read {
        Ok(read) => read,
        Err(problem) => return audit::with(problem.into_response(), "scheduled_job", id),
    };
    let details = changes(&edit);
    let work = move |shared: &Shared| {
        let _body = body;
        shared.backend.schedules().edit(&subject, number, edit)?;
        Ok(render::accepted(&shared.urls, number))
    };
    let response = match asked {
        Some(scope) => answer_in_turn(&shared, Some(&scope), StatusCode::OK, work).await,
        None => answer(&shared, StatusCode::OK, work).await,
    };
    audit::with(audit::with(response, "scheduled_job", id), "schedule", details)
}

/// The scope that has to be looked at again, if what is done changes.
fn asked<'a>(edit: &'a ScheduleEdit, now: &'a ScheduleSpec) -> Option<&'a Scope> {
    match &edit.input {
        Some((work, terms)) => Some(command::asked(work, terms)),
        None => edit.environment.as_ref().map(|_| command::asked(&now.work, &now.terms)),
    }
}

/// What the audit log has of a change: which keys, and what matters of them.
fn changes(edit: &ScheduleEdit) -> Value {
    let ScheduleEdit { input, environment, timing, description, userdata, enabled } = edit;
    let keys = [
        ("input", input.is_some()),
        ("environment", environment.is_some()),
        ("schedule", timing.is_some()),
        ("description", description.is_some()),
        ("userdata", userdata.is_some()),
        ("enabled", enabled.is_some()),
    ];
    let keys: Vec<&str> = keys.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)).collect();
    let (task, scope) = match input {
        Some((work, terms)) => (task(work), noted(&terms.scope)),
        None => (None, Value::Null),
    };
    json!({"changed": keys, "enabled": enabled, "environment": environment, "task": task, "scope": scope})
}

fn task(work: &ScheduledWork) -> Option<&str> {
    match work {
        ScheduledWork::Task(task) => Some(&task.task),
        ScheduledWork::Deploy(_) => None,
    }
}

/// Reads a body and what it says, on a thread that may block. The body keeps its share of the budget.
async fn read<T: Send + 'static>(
    shared: &Arc<Shared>,
    request: Request,
    parse: impl FnOnce(&Shared, &[u8]) -> Result<T, Problem> + Send + 'static,
) -> Result<(T, HeldBody), Problem> {
    let (head, body) = request.into_parts();
    let body = shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await?;
    let (parsed, body) = blocking(shared, move |shared| (parse(shared, &body), body)).await?;
    Ok((parsed?, body))
}

/// `GET /scheduled_jobs`, of earlier versions: those that have a next run.
pub(super) async fn list_before(State(shared): State<Arc<Shared>>) -> Response<Body> {
    answer(&shared, StatusCode::OK, move |shared| {
        check_before(shared)?;
        let order_by = ScheduleOrder::NextRunTime;
        let query = ScheduleQuery { limit: API_PAGE_MAX, offset: 0, order_by, descending: false, kind: None };
        let page = shared.backend.schedules().list(&query)?;
        let live = page.items.iter().filter(|schedule| schedule.next_run.is_some());
        let items: Vec<Value> = live.map(|schedule| render::item(&shared.urls, schedule)).collect();
        Ok(json!({"items": items}))
    })
    .await
}

/// `DELETE /scheduled_jobs/:id`, of earlier versions.
pub(super) async fn delete_before(
    State(shared): State<Arc<Shared>>,
    Extension(subject): Extension<Subject>,
    Path(id): Path<String>,
) -> Response<Body> {
    let number = id.clone();
    let work = move |shared: &Shared| {
        check_before(shared)?;
        let edit = ScheduleEdit { enabled: Some(false), ..ScheduleEdit::default() };
        shared.backend.schedules().edit(&subject, schedule_id(&number)?, edit)?;
        Ok::<(), Problem>(())
    };
    let response = match blocking(&shared, work).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(problem)) | Err(problem) => problem.into_response(),
    };
    audit::with(response, "scheduled_job", id)
}

fn check_before(shared: &Shared) -> Result<(), Problem> {
    if shared.backend.schedules().has_v1_api() {
        return Ok(());
    }
    let message = "This path is not there: orchestrator.scheduled-jobs-v1-api is not true. See \
                   scheduled_jobs/environment_jobs.";
    Err(Problem::new(StatusCode::NOT_FOUND, "puppetlabs.orchestrator/not-found", message))
}

/// What a list was asked for.
struct Listing {
    kind: Option<&'static str>,
    query: ScheduleQuery,
}

impl Listing {
    fn parse(parameters: &Parameters) -> Result<Self, Problem> {
        let is_type = |text: &str| TYPES.into_iter().find(|kind| *kind == text);
        let kind = parameters.word("type", is_type, TYPES.into_iter())?;
        let orders = ScheduleOrder::ALL.iter().map(|order| order.word());
        let order_by = parameters.word("order_by", ScheduleOrder::from_word, orders)?;
        let query = ScheduleQuery {
            limit: parameters.number("limit", API_PAGE_MAX)?.unwrap_or(LIMIT_DEFAULT),
            offset: parameters.number("offset", u32::MAX)?.unwrap_or(0),
            order_by: order_by.unwrap_or(ScheduleOrder::NextRunTime),
            descending: parameters.descending()?,
            kind: kind.and_then(JobKind::from_word),
        };
        Ok(Self { kind, query })
    }

    fn pagination(&self, total: u64) -> Value {
        json!({
            "total": total,
            "limit": self.query.limit,
            "offset": self.query.offset,
            "order_by": self.query.order_by.word(),
            "order": if self.query.descending { "desc" } else { "asc" },
            "type": self.kind.unwrap_or(""),
        })
    }
}

fn schedule_id(text: &str) -> Result<ScheduleId, Problem> {
    text.parse().map(ScheduleId).map_err(|_| {
        query_error(Problem::invalid(format!(
            "Invalid value {text:?} for id: the id of a scheduled job is an integer."
        )))
    })
}

/// The documented kind for wrong parameters here, unlike elsewhere.
fn query_error(problem: Problem) -> Problem {
    problem.with_kind(RefusalKind::QueryError)
}
