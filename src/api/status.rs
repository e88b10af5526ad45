//! `/status/v1` (Trapperkeeper's status API, which load balancers and peadm poll without a token) and `/metrics`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::parameters::Parameters;
use super::problem::{Problem, respond_json, respond_text};
use super::service::{Service, ServiceHealth, ServiceState};
use super::shared::{Shared, blocking};

/// Name of the service that answers here; it is well if it answers at all.
const OWN_SERVICE: &str = "status-service";

const TEXT: &str = "text/plain; charset=utf-8";

/// `GET /status/v1/services`.
pub(super) async fn services(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    let level = match Level::parse(&uri) {
        Ok(level) => level,
        Err(problem) => return problem.into_response(),
    };
    let all = all(&shared);
    let code = code(overall(all.iter().map(|(_, health)| health.state)));
    let body = all.into_iter().map(|(name, health)| (name.to_owned(), level.render(health)));
    respond_json(code, &Value::Object(body.collect::<Map<_, _>>()))
}

/// `GET /status/v1/services/:name`.
pub(super) async fn service(State(shared): State<Arc<Shared>>, Path(name): Path<String>, uri: Uri) -> Response<Body> {
    let level = match Level::parse(&uri) {
        Ok(level) => level,
        Err(problem) => return problem.into_response(),
    };
    match find(&shared, &name) {
        Some(health) => respond_json(code(health.state), &level.render(health)),
        None => Problem::new(
            StatusCode::NOT_FOUND,
            "service-not-found",
            format!("No status information found for service {name}"),
        )
        .into_response(),
    }
}

/// `GET /status/v1/simple`.
pub(super) async fn simple(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let state = overall(all(&shared).iter().map(|(_, health)| health.state));
    respond_text(code(state), TEXT, simple_word(state).to_owned())
}

/// `GET /status/v1/simple/:name`.
pub(super) async fn simple_service(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response<Body> {
    match find(&shared, &name) {
        Some(health) => respond_text(code(health.state), TEXT, simple_word(health.state).to_owned()),
        None => respond_text(StatusCode::NOT_FOUND, TEXT, format!("not found: {name}")),
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response<Body> {
    match blocking(&shared, |shared| (shared.metrics)()).await {
        Ok(text) => respond_text(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        Err(problem) => problem.into_response(),
    }
}

/// How much to tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Critical,
    Info,
    Debug,
}

impl Level {
    fn parse(uri: &Uri) -> Result<Self, Problem> {
        let parameters = Parameters::of(uri)?;
        parameters.number("timeout", u32::MAX)?;
        let parse = |text: &str| match text {
            "critical" => Some(Self::Critical),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            _ => None,
        };
        let level = parameters.word("level", parse, ["critical", "info", "debug"].into_iter())?;
        Ok(level.unwrap_or(Self::Info))
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    fn render(self, health: ServiceHealth) -> Value {
        let details = if self == Self::Critical { Map::new() } else { health.details };
        json!({
            "service_version": env!("CARGO_PKG_VERSION"),
            "service_status_version": 1,
            "detail_level": self.word(),
            "state": health.state.word(),
            "status": details,
            "active_alerts": [],
        })
    }
}

fn own_health() -> ServiceHealth {
    ServiceHealth { state: ServiceState::Running, details: Map::new() }
}

fn all(shared: &Shared) -> Vec<(&'static str, ServiceHealth)> {
    let probed = shared.services.iter().map(|Service { name, probe }| (*name, probe()));
    probed.chain([(OWN_SERVICE, own_health())]).collect()
}

fn find(shared: &Shared, name: &str) -> Option<ServiceHealth> {
    match shared.services.iter().find(|service| service.name == name) {
        Some(service) => Some((service.probe)()),
        None => (name == OWN_SERVICE).then(own_health),
    }
}

/// The worst state; there is always our own.
fn overall(states: impl Iterator<Item = ServiceState>) -> ServiceState {
    states.max_by_key(|state| severity(*state)).unwrap_or(ServiceState::Unknown)
}

const fn severity(state: ServiceState) -> u8 {
    match state {
        ServiceState::Running => 0,
        ServiceState::Starting | ServiceState::Stopping => 1,
        ServiceState::Unknown => 2,
        ServiceState::Error => 3,
    }
}

/// The simple endpoints know three words only.
const fn simple_word(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Running => "running",
        ServiceState::Error => "error",
        ServiceState::Starting | ServiceState::Stopping | ServiceState::Unknown => "unknown",
    }
}

fn code(state: ServiceState) -> StatusCode {
    if state == ServiceState::Running { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
