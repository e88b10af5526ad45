//! What all requests share: the backend, the address this server goes by, the limits, and the way to blocking threads
//! and back.

use std::ops::Deref;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Setup;
use super::backend::Backend;
use super::broker_link::BrokerLinks;
use super::problem::{Problem, respond_json};
use super::rbac::login::Logins;
use super::render::Urls;
use super::streams::Streams;
use super::turns::Turns;
use crate::clock::Clock;
use crate::limits::{API_BODIES_BYTES_MAX, API_BODY_TIMEOUT, STREAM_CHECK_INTERVAL};
use crate::observe::audit_log::AuditLog;
use crate::observe::status::Service;

/// Granularity of the budget for bodies, in bytes.
const BODY_UNIT: usize = 1024;

/// State of the API.
pub(super) struct Shared {
    /// Answers.
    pub(super) backend: Arc<dyn Backend>,
    /// Absolute URLs.
    pub(super) urls: Urls,
    /// For the status endpoints.
    pub(super) services: Vec<Service>,
    /// Renders OpenMetrics text.
    pub(super) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Brokers on compile nodes.
    pub(super) links: BrokerLinks,
    /// Who has tried passwords lately.
    pub(super) logins: Logins,
    /// At Puppet Server and PuppetDB.
    pub(super) turns: Turns,
    /// Of events.
    pub(super) streams: Streams,
    /// What was asked to be changed.
    pub(super) audit: Arc<AuditLog>,
    /// For deadlines.
    pub(super) clock: Clock,
    bodies: Arc<Semaphore>,
}

impl Shared {
    /// The state from the server's setup.
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            backend: setup.backend.clone(),
            urls: Urls::new(&setup.public_url),
            services: setup.services.clone(),
            metrics: setup.metrics.clone(),
            links: BrokerLinks::new(setup.brokers.clone(), setup.counts.clone()),
            logins: Logins::new(),
            turns: Turns::new(),
            streams: Streams::new(STREAM_CHECK_INTERVAL),
            audit: setup.audit.clone(),
            clock: Clock::start(),
            bodies: Arc::new(Semaphore::new(API_BODIES_BYTES_MAX / BODY_UNIT)),
        }
    }

    /// Reads a whole body of at most `bytes_max` bytes, within the budget for all bodies and the time for one.
    pub(super) async fn read_body(
        &self,
        headers: &HeaderMap,
        body: Body,
        bytes_max: usize,
    ) -> Result<HeldBody, Problem> {
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let units = announced.unwrap_or(bytes_max).div_ceil(BODY_UNIT);
        let read = async {
            let units = u32::try_from(units).unwrap_or(u32::MAX);
            let budget = self.bodies.clone().acquire_many_owned(units).await.expect("the semaphore is never closed");
            let bytes = Limited::new(body, bytes_max).collect().await?.to_bytes();
            Ok::<_, axum::BoxError>(HeldBody { bytes, _budget: budget })
        };
        match tokio::time::timeout(API_BODY_TIMEOUT, read).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(bytes_max)),
            Ok(Err(error)) => Err(Problem::invalid(format!("The request's body could not be read: {error}."))),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "puppetlabs.orchestrator/request-timeout",
                format!("The request's body did not arrive within {} s.", API_BODY_TIMEOUT.as_secs()),
            )),
        }
    }
}

/// A body and its share of the budget for all of them.
pub(super) struct HeldBody {
    bytes: Bytes,
    _budget: OwnedSemaphorePermit,
}

impl Deref for HeldBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Does blocking work on a thread that may block; a panic there is an internal error here.
pub(super) async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> T + Send + 'static,
) -> Result<T, Problem> {
    let shared = shared.clone();
    tokio::task::spawn_blocking(move || work(&shared)).await.map_err(|error| {
        tracing::error!(%error, "an API request's work panicked");
        Problem::failed()
    })
}

/// Does blocking work and answers with the JSON that comes of it. Rendering is part of the work: a job of 50,000 nodes
/// is megabytes.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    status: StatusCode,
    work: impl FnOnce(&Shared) -> Result<Value, Problem> + Send + 'static,
) -> Response<Body> {
    let work = move |shared: &Shared| work(shared).map(|value| respond_json(status, &value));
    match blocking(shared, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) | Err(problem) => problem.into_response(),
    }
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "puppetlabs.orchestrator/request-too-large",
        format!("The request's body is larger than the {bytes_max} bytes that this server takes."),
    )
    .with("bytes_max", bytes_max)
}
