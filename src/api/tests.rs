//! Golden bodies: every shape of the API and every way to be refused, through the gate and the routes; and what needs
//! real TLS against a started server.

mod answers;
mod classifier;
mod plans;
mod refusals;
mod schedules;
mod schema;
mod streams;
mod webhooks;
mod wire;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;

use super::fake::{Fake, TOKEN, setup};
use super::gate::{Peer, handle};
use super::routes::router;
use super::shared::Shared;
use crate::tls::testing::Pki;

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    content_type: String,
    allow: String,
    pub(super) location: String,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        assert!(self.content_type.starts_with("application/json"), "{} {}", self.content_type, self.text);
        serde_json::from_str(&self.text).unwrap()
    }
}

/// The API without sockets.
pub(super) struct Api {
    pub(super) fake: Arc<Fake>,
    pub(super) shared: Arc<Shared>,
    runtime: tokio::runtime::Runtime,
    pub(super) certificate: Option<Arc<str>>,
}

impl Api {
    pub(super) fn new() -> Self {
        let fake = Fake::new();
        let shared = Arc::new(Shared::new(&setup(fake.clone(), &Pki::new("ca"))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { fake, shared, runtime, certificate: None }
    }

    pub(super) fn send(&self, request: Request<Body>) -> Answer {
        let peer = Peer { remote: "192.0.2.7:4711".parse().unwrap(), certificate: self.certificate.clone() };
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        self.runtime.block_on(async {
            let (head, body) = request.into_parts();
            let asked = body.collect().await.unwrap().to_bytes();
            let request = Request::from_parts(head, Body::from(asked.clone()));
            let response = handle(self.shared.clone(), router(self.shared.clone()), peer, request).await;
            let (head, body) = response.into_parts();
            let header = |name| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
            let (content_type, allow, location) = (header("content-type"), header("allow"), header("location"));
            let text = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
            schema::check_answer(&method, &path, head.status.as_u16(), &content_type, &text);
            schema::check_question(&method, &path, head.status.as_u16(), &asked);
            Answer { status: head.status, content_type, allow, location, text }
        })
    }

    /// Status and the path that an answer leads to.
    fn location(&self, request: Request<Body>) -> (u16, String) {
        let peer = Peer { remote: "192.0.2.7:4711".parse().unwrap(), certificate: None };
        self.runtime.block_on(async {
            let response = handle(self.shared.clone(), router(self.shared.clone()), peer, request).await;
            let location = response.headers().get("location").map_or("", |value| value.to_str().unwrap());
            (response.status().as_u16(), location.to_owned())
        })
    }

    /// With a good token.
    pub(super) fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).header("X-Authentication", TOKEN).body(Body::empty()).unwrap())
    }

    /// With a good token.
    pub(super) fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Request::post(path).header("X-Authentication", TOKEN).body(body.into()).unwrap())
    }

    /// With a good token.
    pub(super) fn put(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Request::put(path).header("X-Authentication", TOKEN).body(body.into()).unwrap())
    }

    /// Without a token.
    pub(super) fn get_bare(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
    }

    /// A good answer's JSON.
    pub(super) fn ok(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }
}
