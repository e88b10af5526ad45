//! `/classifier-api/v1`: groups of nodes in the shapes of Puppet Enterprise's node classifier, so that its clients work.
//! Its errors have kinds without a prefix and always `details`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::problem::{Problem, respond_json};
use super::shared::{HeldBody, Shared, blocking};
use crate::limits::{API_BODY_BYTES_MAX, JSON_DEPTH_MAX};
use crate::orchestrator::classifier::{Classifier, Format, GroupError, Put, Rule, translated};
use crate::orchestrator::model::is_deeper;

/// Bytes of a body that is no JSON which its refusal shows.
const SHOWN_BODY_BYTES_MAX: usize = 1024;

/// What a request comes to.
enum Done {
    Answer(StatusCode, Value),
    /// A group was made and is found there.
    SeeOther(String),
    NoContent,
}

/// Why not.
enum Refused {
    /// By the classifier.
    Group(GroupError),
    /// Before it was asked.
    Api(Problem),
    /// Groups are at another URL.
    Elsewhere(String),
    /// The body is no JSON.
    Malformed { body: String, error: String },
}

impl From<GroupError> for Refused {
    fn from(error: GroupError) -> Self {
        Self::Group(error)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Api(problem)
    }
}

impl From<crate::orchestrator::store::StoreError> for Refused {
    fn from(error: crate::orchestrator::store::StoreError) -> Self {
        Self::Group(error.into())
    }
}

type Outcome = Result<Done, Refused>;

/// `GET /v1/groups`.
pub(super) async fn groups(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    respond(&shared, &uri.clone(), move |classifier| {
        let inherited = Parameters::of(&uri)?.text("inherited").is_some_and(|value| value != "0" && value != "false");
        let forest = classifier.forest()?;
        let shown = |group| if inherited { json!(forest.with_inherited(group)) } else { json!(group) };
        let groups: Value = forest.groups().map(shown).collect();
        Ok(Done::Answer(StatusCode::OK, groups))
    })
    .await
}

/// `POST /v1/groups`.
pub(super) async fn create(State(shared): State<Arc<Shared>>, uri: Uri, request: Request) -> Response<Body> {
    with_body(&shared, &uri, request, |classifier, body| {
        let group = classifier.create(&body)?;
        Ok(Done::SeeOther(format!("/classifier-api/v1/groups/{}", group.id)))
    })
    .await
}

/// `GET /v1/groups/:id`.
pub(super) async fn group(State(shared): State<Arc<Shared>>, Path(id): Path<String>, uri: Uri) -> Response<Body> {
    respond(&shared, &uri, move |classifier| Ok(Done::Answer(StatusCode::OK, json!(classifier.group(&id)?)))).await
}

/// `PUT /v1/groups/:id`.
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    uri: Uri,
    request: Request,
) -> Response<Body> {
    with_body(&shared, &uri, request, move |classifier, body| {
        Ok(match classifier.put(&id, &body)? {
            Put::Created(group) => Done::Answer(StatusCode::CREATED, json!(group)),
            Put::Unchanged(group) => Done::Answer(StatusCode::OK, json!(group)),
        })
    })
    .await
}

/// `POST /v1/groups/:id`.
pub(super) async fn update(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    uri: Uri,
    request: Request,
) -> Response<Body> {
    with_body(&shared, &uri, request, move |classifier, body| {
        Ok(Done::Answer(StatusCode::OK, json!(classifier.update(&id, &body)?)))
    })
    .await
}

/// `DELETE /v1/groups/:id`.
pub(super) async fn delete(State(shared): State<Arc<Shared>>, Path(id): Path<String>, uri: Uri) -> Response<Body> {
    respond(&shared, &uri, move |classifier| {
        classifier.delete(&id)?;
        Ok(Done::NoContent)
    })
    .await
}

/// `GET /v1/groups/:id/rules`.
pub(super) async fn rules(State(shared): State<Arc<Shared>>, Path(id): Path<String>, uri: Uri) -> Response<Body> {
    respond(&shared, &uri, move |classifier| {
        let rules = classifier.rules(&id)?;
        let whole = rules.whole.as_ref().and_then(|whole| Rule::parse(whole).ok());
        let format = |format| whole.as_ref().and_then(|whole| translated(whole, format).ok());
        let body = json!({
            "rule": rules.own,
            "rule_with_inherited": rules.whole,
            "translated": {
                "nodes_query_format": format(Format::Nodes), "inventory_query_format": format(Format::Inventory),
            },
        });
        Ok(Done::Answer(StatusCode::OK, body))
    })
    .await
}

/// `POST /v1/classified/nodes/:name`. Without a body the name alone counts.
pub(super) async fn classified(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    uri: Uri,
    request: Request,
) -> Response<Body> {
    with_body(&shared, &uri, request, move |classifier, body| {
        let classification = classifier.classify(&name, &body)?;
        let body = json!({
            "name": name,
            "groups": classification.groups,
            "environment": classification.environment,
            "classes": classification.classes,
            "parameters": classification.variables,
        });
        Ok(Done::Answer(StatusCode::OK, body))
    })
    .await
}

/// `GET /v1/environments`: those that groups name.
pub(super) async fn environments(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    respond(&shared, &uri, |classifier| {
        let environments: Value = named_environments(classifier)?.iter().map(|name| environment_object(name)).collect();
        Ok(Done::Answer(StatusCode::OK, environments))
    })
    .await
}

/// `GET /v1/environments/:name`.
pub(super) async fn environment(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    uri: Uri,
) -> Response<Body> {
    respond(&shared, &uri, move |classifier| {
        if !named_environments(classifier)?.contains(&name) {
            return Err(GroupError::NotFound(name).into());
        }
        Ok(Done::Answer(StatusCode::OK, environment_object(&name)))
    })
    .await
}

fn named_environments(classifier: &Classifier) -> Result<std::collections::BTreeSet<String>, GroupError> {
    Ok(classifier.forest()?.groups().map(|group| group.environment.clone()).collect())
}

fn environment_object(name: &str) -> Value {
    json!({"name": name, "sync_succeeded": true})
}

/// `POST /v1/rules/translate`.
pub(super) async fn translate(State(shared): State<Arc<Shared>>, uri: Uri, request: Request) -> Response<Body> {
    let formats = |word: &str| match word {
        "nodes" => Some(Format::Nodes),
        "inventory" => Some(Format::Inventory),
        _ => None,
    };
    with_body(&shared, &uri.clone(), request, move |_, rule| {
        let format = Parameters::of(&uri)?.word("format", formats, ["nodes", "inventory"].into_iter())?;
        let parsed = Rule::parse(&rule).map_err(|error| GroupError::Schema {
            submitted: rule.clone(),
            schema: "a condition such as [\"=\", [\"fact\", \"kernel\"], \"Linux\"]".into(),
            error,
        })?;
        let query = translated(&parsed, format.unwrap_or(Format::Nodes))
            .map_err(|error| GroupError::Untranslatable { rule: rule.clone(), error })?;
        Ok(Done::Answer(StatusCode::OK, query))
    })
    .await
}

/// Reads the body as JSON, which is an empty object if there is none, and does the work.
async fn with_body(
    shared: &Arc<Shared>,
    uri: &Uri,
    request: Request,
    work: impl FnOnce(&Classifier, Value) -> Outcome + Send + 'static,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    match shared.read_body(&head.headers, body, API_BODY_BYTES_MAX).await {
        Ok(body) => respond(shared, uri, move |classifier| work(classifier, parsed(&body)?)).await,
        Err(problem) => problem.into_response(),
    }
}

fn parsed(body: &HeldBody) -> Result<Value, Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    let malformed = |error: String| {
        let shown = &body[..body.len().min(SHOWN_BODY_BYTES_MAX)];
        Refused::Malformed { body: String::from_utf8_lossy(shown).into_owned(), error }
    };
    let value: Value = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    if is_deeper(&value, JSON_DEPTH_MAX) {
        return Err(malformed(format!("it is nested more than {JSON_DEPTH_MAX} levels deep")));
    }
    Ok(value)
}

async fn respond(
    shared: &Arc<Shared>,
    uri: &Uri,
    work: impl FnOnce(&Classifier) -> Outcome + Send + 'static,
) -> Response<Body> {
    let path = uri.path().to_owned();
    let work = move |shared: &Shared| {
        let done = shared.backend.classifier().map_err(Refused::Elsewhere).and_then(work);
        done.map_err(|refused| refusal(refused, &path))
    };
    match blocking(shared, work).await {
        Ok(Ok(Done::Answer(status, body))) => respond_json(status, &body),
        Ok(Ok(Done::SeeOther(path))) => {
            let mut response = StatusCode::SEE_OTHER.into_response();
            if let Ok(location) = HeaderValue::from_str(&path) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Ok(Ok(Done::NoContent)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(response)) => *response,
        Err(problem) => problem.into_response(),
    }
}

fn refusal(refused: Refused, path: &str) -> Box<Response<Body>> {
    let (status, kind, message, details) = match refused {
        Refused::Api(problem) => return Box::new(problem.into_response()),
        Refused::Elsewhere(url) => {
            let message = format!("Node groups are not kept here but at {url}: ask there.");
            (404, "not-found", message, json!({"url": url}))
        }
        Refused::Malformed { body, error } => {
            let message = format!("The request's body is not JSON: {error}.");
            (400, "malformed-request", message, json!({"body": body, "error": error}))
        }
        // There is nothing to say of what is not there, except where it was looked for.
        Refused::Group(error @ GroupError::NotFound(_)) => (error.status(), error.kind(), error.message(), path.into()),
        Refused::Group(error) => {
            if let GroupError::Store(cause) = &error {
                tracing::error!(%cause, "the classifier could not answer the API");
            }
            (error.status(), error.kind(), error.message(), error.details())
        }
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Box::new(respond_json(status, &json!({"kind": kind, "msg": message, "details": details})))
}
