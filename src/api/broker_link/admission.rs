//! Who may link: only a certificate whose name is configured, compared whole, and only by a proper upgrade request
//! (RFC 6455, section 4.2). Everybody else is refused before the 101, logged and counted.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use axum::response::IntoResponse;

use super::{Admitted, BrokerLinks};
use crate::api::gate::Peer;
use crate::api::problem::Problem;
use crate::api::shared::Shared;
use crate::observe::metrics::count;
use crate::websocket::upgrade::{RequestError, accept_value, check_request};

/// Where a request leaves what the connection is to become.
#[derive(Clone, Default)]
pub(in crate::api) struct Handover(Arc<Mutex<Option<Admitted>>>);

impl Handover {
    /// The link that this connection is from now on.
    pub(in crate::api) fn take(&self) -> Option<Admitted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, admitted: Admitted) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(admitted);
    }
}

/// Why nobody is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    NoCertificate,
    NotNamed,
    NoUpgrade(RequestError),
    TooOften,
    TooMany,
}

impl Refused {
    const fn label(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-client-certificate",
            Self::NotNamed => "not-named",
            Self::NoUpgrade(error) => error.label(),
            Self::TooOften => "superseded-too-often",
            Self::TooMany => "too-many-links",
        }
    }

    fn answer(self) -> Response<Body> {
        let problem = |status, kind, message| Problem::new(status, kind, message).into_response();
        let forbidden = |message| problem(StatusCode::FORBIDDEN, "puppetlabs.orchestrator/not-permitted", message);
        match self {
            Self::NoCertificate => forbidden("Only brokers may link here, and they must show their certificate."),
            Self::NotNamed => {
                forbidden("This certificate's name is not in orchestrator.brokers of the server's configuration.")
            }
            Self::TooOften => problem(
                StatusCode::TOO_MANY_REQUESTS,
                "puppetlabs.orchestrator/too-many-links",
                "Links with this certificate supersede each other all the time: two brokers seem to have the same one.",
            ),
            Self::TooMany => problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "puppetlabs.orchestrator/too-many-links",
                "Too many brokers are linked, or have just been; another attempt may work.",
            ),
            Self::NoUpgrade(error) => {
                let (status, message) = error.answer();
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
                let mut response = problem(status, "puppetlabs.orchestrator/upgrade-required", message);
                let fields = response.headers_mut();
                if status == StatusCode::UPGRADE_REQUIRED {
                    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                    fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                } else if status == StatusCode::METHOD_NOT_ALLOWED {
                    fields.insert(header::ALLOW, HeaderValue::from_static("GET"));
                }
                response
            }
        }
    }
}

/// Any request to `/server` and below.
pub(in crate::api) async fn accept(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response<Body> {
    match admit(&shared.links, &peer, request) {
        Ok(response) => response,
        Err(refused) => {
            count(&shared.links.metrics.broker_links_refused, refused.label());
            let now = shared.links.clock.now();
            if shared.links.state().pace.allows(now, refused.label()) {
                let (remote, name) = (peer.remote, peer.certificate.as_deref().unwrap_or("-").escape_debug());
                tracing::warn!(%remote, %name, reason = refused.label(), "a link was refused");
            }
            refused.answer()
        }
    }
}

fn admit(links: &BrokerLinks, peer: &Peer, request: Request) -> Result<Response<Body>, Refused> {
    let broker = peer.certificate.clone().ok_or(Refused::NoCertificate)?;
    if !links.is_named(&broker) {
        return Err(Refused::NotNamed);
    }
    let key = key_of(&request).map_err(Refused::NoUpgrade)?;
    let handover = request.extensions().get::<Handover>().cloned();
    let handover = handover.ok_or(Refused::NoUpgrade(RequestError::NotUpgrade))?;
    if links.is_contended(&broker) {
        return Err(Refused::TooOften);
    }
    let place = links.places.clone().try_acquire_owned().map_err(|_| Refused::TooMany)?;
    handover.put(Admitted { upgrade: hyper::upgrade::on(request), broker, remote: peer.remote, place });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    Ok(response)
}

fn key_of(request: &Request) -> Result<HeaderValue, RequestError> {
    if request.version() != Version::HTTP_11 {
        return Err(RequestError::Malformed);
    }
    let fields = fields(request.headers());
    let key = check_request(request.method().as_str(), &fields)?;
    HeaderValue::from_str(&accept_value(key)).map_err(|_| RequestError::Key)
}

fn fields(headers: &HeaderMap) -> Vec<httparse::Header<'_>> {
    headers.iter().map(|(name, value)| httparse::Header { name: name.as_str(), value: value.as_bytes() }).collect()
}
