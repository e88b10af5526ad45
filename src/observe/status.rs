//! `/status/v1` (Trapperkeeper's status API, which load balancers and peadm poll without a token) and `/metrics`: what is
//! answered, for whichever port asks.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::pages::{Page, Pages, Visitor};
use crate::percent;

/// Name of the service that answers; it is well if it answers at all.
const OWN_SERVICE: &str = "status-service";

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

/// `Content-Type` of OpenMetrics text.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// Does its work.
    Running,
    /// Not ready yet.
    Starting,
    /// On its way out.
    Stopping,
    /// Cannot do its work.
    Error,
    /// Nobody knows.
    Unknown,
}

impl ServiceState {
    /// The word in the answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }

    const fn severity(self) -> u8 {
        match self {
            Self::Running => 0,
            Self::Starting | Self::Stopping => 1,
            Self::Unknown => 2,
            Self::Error => 3,
        }
    }

    const fn code(self) -> u16 {
        match self {
            Self::Running => 200,
            _ => 503,
        }
    }
}

/// How much to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The state alone.
    Critical,
    /// What the service is doing.
    Info,
    /// What it costs, too.
    Debug,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// State of a service and what belongs to it.
#[derive(Debug, Clone)]
pub struct ServiceHealth {
    /// How it is.
    pub state: ServiceState,
    /// `status` of the answer; left out at [`Level::Critical`].
    pub details: Map<String, Value>,
    /// What somebody should do something about.
    pub alerts: Vec<Alert>,
}

/// What somebody should do something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `warning`, `critical`.
    pub severity: &'static str,
    /// What, and what to do.
    pub message: String,
}

/// A service that the status endpoints know.
#[derive(Clone)]
pub struct Service {
    /// `orchestrator-service`, `broker-service`.
    pub name: &'static str,
    /// Tells its health. It must not block.
    pub probe: Arc<dyn Fn(Level) -> ServiceHealth + Send + Sync>,
}

/// The answer to `GET` for a path below `/status/v1/`, undecoded; `None` if there is nothing of the kind.
pub fn answer(services: &[Service], path: &str, query: &str) -> Option<Page> {
    let path = path.strip_prefix("/status/v1/")?;
    let (what, name) = match path.split_once('/') {
        Some((what, name)) => (what, Some(percent::decode(name)?)),
        None => (path, None),
    };
    match (what, name) {
        ("services", None) => Some(with_level(query, |level| all_services(services, level))),
        ("services", Some(name)) => Some(with_level(query, |level| one_service(services, &name, level))),
        ("simple", None) => Some(simple(overall(services))),
        ("simple", Some(name)) => Some(match find(services, &name, Level::Critical) {
            Some(health) => simple(health.state),
            None => Page { status: 404, content_type: TEXT, body: format!("not found: {name}") },
        }),
        _ => None,
    }
}

fn with_level(query: &str, render: impl FnOnce(Level) -> Page) -> Page {
    match level(query) {
        Ok(level) => render(level),
        Err(message) => refusal(400, "puppetlabs.orchestrator/validation-error", &message),
    }
}

/// `level` of the query, of a repeated one the last; `timeout` must be a number, and is not needed here.
fn level(query: &str) -> Result<Level, String> {
    let mut level = Level::Info;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| {
            percent::decode(text)
                .ok_or_else(|| "The query string cannot be read: it is not percent-encoded.".to_owned())
        };
        let (name, value) = (decoded(name)?, decoded(value)?);
        level = match (&*name, &*value) {
            ("level" | "timeout", "") => level,
            ("level", "critical") => Level::Critical,
            ("level", "info") => Level::Info,
            ("level", "debug") => Level::Debug,
            ("level", other) => {
                return Err(format!("Invalid value {other:?} for level: it must be one of critical, info, debug."));
            }
            ("timeout", number) if number.parse::<u32>().is_err() => {
                return Err(format!(
                    "Invalid value {number:?} for timeout: it must be an integer from 0 to {}.",
                    u32::MAX
                ));
            }
            _ => level,
        };
    }
    Ok(level)
}

fn all_services(services: &[Service], level: Level) -> Page {
    let probed = services.iter().map(|Service { name, probe }| (*name, probe(level)));
    let all: Vec<_> = probed.chain([(OWN_SERVICE, own_health())]).collect();
    let state = worst(all.iter().map(|(_, health)| health.state));
    let body: Map<_, _> = all.into_iter().map(|(name, health)| (name.to_owned(), render(level, health))).collect();
    Page { status: state.code(), content_type: JSON, body: Value::Object(body).to_string() }
}

fn one_service(services: &[Service], name: &str, level: Level) -> Page {
    match find(services, name, level) {
        Some(health) => {
            let status = health.state.code();
            let mut body = render(level, health);
            body["service_name"] = json!(name);
            Page { status, content_type: JSON, body: body.to_string() }
        }
        None => refusal(404, "service-not-found", &format!("No status information found for service {name}")),
    }
}

fn render(level: Level, health: ServiceHealth) -> Value {
    let details = if level == Level::Critical { Map::new() } else { health.details };
    let alert = |alert: &Alert| json!({"severity": alert.severity, "message": alert.message});
    json!({
        "service_version": env!("CARGO_PKG_VERSION"),
        "service_status_version": 1,
        "detail_level": level.word(),
        "state": health.state.word(),
        "status": details,
        "active_alerts": health.alerts.iter().map(alert).collect::<Vec<_>>(),
    })
}

fn refusal(status: u16, kind: &str, message: &str) -> Page {
    Page { status, content_type: JSON, body: json!({"kind": kind, "msg": message}).to_string() }
}

/// The simple endpoints know three words only.
fn simple(state: ServiceState) -> Page {
    let word = match state {
        ServiceState::Running => "running",
        ServiceState::Error => "error",
        ServiceState::Starting | ServiceState::Stopping | ServiceState::Unknown => "unknown",
    };
    Page { status: state.code(), content_type: TEXT, body: word.to_owned() }
}

fn own_health() -> ServiceHealth {
    ServiceHealth { state: ServiceState::Running, details: Map::new(), alerts: Vec::new() }
}

fn find(services: &[Service], name: &str, level: Level) -> Option<ServiceHealth> {
    match services.iter().find(|service| service.name == name) {
        Some(service) => Some((service.probe)(level)),
        None => (name == OWN_SERVICE).then(own_health),
    }
}

fn overall(services: &[Service]) -> ServiceState {
    worst(services.iter().map(|service| (service.probe)(Level::Critical).state))
}

/// Of no services at all, that of the one which answers.
fn worst(states: impl Iterator<Item = ServiceState>) -> ServiceState {
    states.max_by_key(|state| state.severity()).unwrap_or(ServiceState::Running)
}

/// The pages of a broker: `v1` of the status path for everybody, the metrics path for whoever has a certificate.
pub struct StatusPages {
    /// Below which path the status service is, without a slash at the end.
    pub status_path: String,
    /// The path of the metrics.
    pub metrics_path: String,
    /// Whose state is told.
    pub services: Vec<Service>,
    /// Renders all metrics as OpenMetrics text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Pages for StatusPages {
    fn page(&self, visitor: Visitor, path: &str, query: &str) -> Option<Page> {
        if path == self.metrics_path {
            return Some(match visitor {
                Visitor::Known => Page { status: 200, content_type: OPEN_METRICS, body: (self.metrics)() },
                Visitor::Unknown => {
                    let body = "Metrics need a client certificate.".to_owned();
                    Page { status: 403, content_type: TEXT, body }
                }
            });
        }
        let below = path.strip_prefix(&self.status_path).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        let nothing = || refusal(404, "not-found", &format!("There is nothing at {path}."));
        Some(answer(&self.services, &format!("/status{below}"), query).unwrap_or_else(nothing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(state: ServiceState) -> Vec<Service> {
        let probe = move |level| {
            let details = Map::from_iter([("level".to_owned(), json!(format!("{level:?}")))]);
            let alerts = match state {
                ServiceState::Error => vec![Alert { severity: "critical", message: "m".to_owned() }],
                _ => Vec::new(),
            };
            ServiceHealth { state, details, alerts }
        };
        vec![Service { name: "broker-service", probe: Arc::new(probe) }]
    }

    fn get(state: ServiceState, path: &str, query: &str) -> (u16, String) {
        let page = answer(&services(state), path, query).unwrap();
        (page.status, page.body)
    }

    #[test]
    fn states_have_words_and_codes() {
        let simple = |state| get(state, "/status/v1/simple", "");
        assert_eq!(simple(ServiceState::Running), (200, "running".to_owned()));
        assert_eq!(simple(ServiceState::Error), (503, "error".to_owned()));
        assert_eq!(simple(ServiceState::Stopping), (503, "unknown".to_owned()));
        let named = |name: &str| get(ServiceState::Error, &format!("/status/v1/simple/{name}"), "");
        assert_eq!(named("broker-service"), (503, "error".to_owned()));
        assert_eq!(named("status-service"), (200, "running".to_owned()));
        assert_eq!(named("x%20y"), (404, "not found: x y".to_owned()));
    }

    #[test]
    fn levels_tell_more_and_more() {
        let status = |query: &str| -> Value {
            let (code, body) = get(ServiceState::Running, "/status/v1/services/broker-service", query);
            assert_eq!(code, 200);
            serde_json::from_str(&body).unwrap()
        };
        assert_eq!(status("level=critical")["status"], json!({}));
        assert_eq!(status("level=&timeout=30")["status"], json!({"level": "Info"}));
        assert_eq!(status("level=info&level=debug")["detail_level"], "debug");
        assert_eq!(status("level=%64ebug")["status"], json!({"level": "Debug"}));
    }

    #[test]
    fn wrong_requests_are_told_why() {
        let get = |query: &str| get(ServiceState::Running, "/status/v1/services", query);
        assert_eq!(get("level=x").0, 400);
        assert!(get("level=x").1.contains("it must be one of critical, info, debug"), "{}", get("level=x").1);
        assert_eq!(get("timeout=soon").0, 400);
        assert_eq!(get("level=%zz").0, 400);
        assert_eq!(answer(&[], "/status/v1/other", ""), None);
        assert_eq!(answer(&[], "/status/v2/simple", ""), None);
    }

    #[test]
    fn metrics_are_for_those_with_a_certificate() {
        let mut pages = StatusPages {
            status_path: "/status".to_owned(),
            metrics_path: "/metrics".to_owned(),
            services: Vec::new(),
            metrics: Arc::new(|| "# EOF\n".to_owned()),
        };
        let status = |visitor, path| pages.page(visitor, path, "").map(|page| page.status);
        assert_eq!(status(Visitor::Known, "/metrics"), Some(200));
        assert_eq!(status(Visitor::Unknown, "/metrics"), Some(403));
        assert_eq!(status(Visitor::Unknown, "/status/v1/simple"), Some(200));
        assert_eq!(status(Visitor::Known, "/status"), Some(404));
        assert_eq!(status(Visitor::Known, "/pcp2/agent"), None);
        pages.status_path = "/is/it/well".to_owned();
        let status = |path| pages.page(Visitor::Known, path, "").map(|page| page.status);
        assert_eq!(
            [status("/is/it/well/v1/simple"), status("/is/it/wellness"), status("/status/v1/simple")],
            [Some(200), None, None]
        );
    }
}
