//! Streams of events.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt;
use serde_json::json;

use super::{Api, setup};
use crate::api::fake::{Fake, LOGIN, OLD_JOB, TOKEN};
use crate::api::gate::{Peer, handle};
use crate::api::routes::router;
use crate::api::shared::Shared;
use crate::api::streams::Streams;
use crate::limits::STREAMS_PER_USER_MAX;
use crate::tls::testing::Pki;

const JOB: &str = "/orchestrator/v1/jobs/82/events/stream";
const ALL: &str = "/orchestrator/v1/events/stream";

fn request(path: &str, token: &str, last: Option<&str>) -> Request<Body> {
    let request = Request::get(path).header("X-Authentication", token);
    let request = last.into_iter().fold(request, |request, last| request.header("Last-Event-ID", last));
    request.body(Body::empty()).unwrap()
}

/// Numbers of the events in a text.
fn ids(text: &str) -> Vec<&str> {
    text.split("\n\n")
        .filter(|block| block.contains("data: "))
        .map(|block| &block[4..block.find('\n').unwrap()])
        .collect()
}

impl Api {
    /// Reads a stream until its text has this in it, and leaves.
    fn read_until(&self, request: Request<Body>, end: &str) -> String {
        let peer = Peer { remote: "192.0.2.7:4711".parse().unwrap(), certificate: None };
        self.runtime.block_on(async {
            let mut body = handle(self.shared.clone(), router(self.shared.clone()), peer, request).await.into_body();
            let mut text = String::new();
            while !text.contains(end) {
                let frame = body.frame().await.expect("the stream does not end").unwrap();
                text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
            }
            text
        })
    }

    fn with_streams(streams: Streams) -> Self {
        let fake = Fake::new();
        let mut shared = Shared::new(&setup(fake.clone(), &Pki::new("ca")));
        shared.streams = streams;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { fake, shared: Arc::new(shared), runtime, certificate: None }
    }
}

#[test]
fn the_events_of_a_job_that_has_ended_are_all_there() {
    let api = Api::new();
    let answer = api.get(JOB);
    assert_eq!((answer.status.as_u16(), answer.content_type.as_str()), (200, "text/event-stream; charset=utf-8"));
    let blocks: Vec<&str> = answer.text.split_terminator("\n\n").collect();
    assert_eq!(blocks[0], "retry: 2000\nid: -1");
    assert_eq!(ids(&answer.text), ["11", "12", "13"]);
    let data = blocks[2].strip_prefix("id: 12\nevent: node_finished\ndata: ").unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(data).unwrap(),
        json!({"id": "12", "type": "node_finished", "timestamp": "2026-03-01T10:15:30Z", "job": "82",
               "details": {"node": "web01.example.com", "detail": {"noop": false}},
               "message": "Finished on node web01.example.com"})
    );
}

#[test]
fn whoever_comes_back_gets_what_follows_once() {
    let api = Api::new();
    assert_eq!(ids(&api.get(&format!("{JOB}?start=12")).text), ["12", "13"]);
    // The address is that of the first time.
    let again = api.send(request(&format!("{JOB}?start=1"), TOKEN, Some("12")));
    assert_eq!(ids(&again.text), ["13"]);
    let done = api.send(request(JOB, TOKEN, Some("13")));
    assert_eq!((done.status.as_u16(), done.text.as_str()), (204, ""));
}

#[test]
fn a_job_that_runs_is_followed_to_its_end() {
    let api = Api::new();
    let body = json!({"task": "facter", "params": {}, "scope": {"nodes": ["a", "b"]}});
    api.post("/orchestrator/v1/command/task", body.to_string());
    let text = api.get("/orchestrator/v1/jobs/83/events/stream").text;
    assert_eq!(ids(&text), ["14", "15", "16", "17", "18"]);
    assert!(text.contains("event: job_finished"), "{text}");
}

#[test]
fn all_jobs_are_followed_from_now_on_or_from_a_number_on() {
    let api = Api::new();
    let before = api.read_until(request(&format!("{ALL}?start=12"), TOKEN, None), "id: 13");
    assert_eq!(ids(&before), ["12", "13"]);
    let restored = api.read_until(request(ALL, TOKEN, Some("4711")), "\n\n");
    assert_eq!(restored, "retry: 2000\nid: 13\n\n", "from before a restore of the database");
    let body = json!({"task": "facter", "params": {}, "scope": {"nodes": ["a"]}});
    api.post("/orchestrator/v1/command/task", body.to_string());
    let now = api.read_until(request(ALL, TOKEN, None), "event: job_finished");
    assert!(now.starts_with("retry: 2000\nid: 13\n\n"), "{now}");
    assert_eq!(ids(&now), ["14", "15", "16"]);
}

#[test]
fn bad_requests_are_refused() {
    let api = Api::new();
    let status = |path: &str, last| api.send(request(path, TOKEN, last)).status.as_u16();
    assert_eq!(status("/orchestrator/v1/jobs/99/events/stream", None), 404);
    assert_eq!(status("/orchestrator/v1/jobs/x/events/stream", None), 400);
    assert_eq!(status(&format!("{ALL}?start=x"), None), 400);
    assert_eq!(status(ALL, Some("x")), 400);
    assert_eq!(status(ALL, Some("9223372036854775807")), 400);
    assert_eq!(api.get_bare(ALL).status, 401);
}

#[test]
fn a_user_has_so_many_streams_and_gets_their_places_back() {
    let api = Api::new();
    let peer = || Peer { remote: "192.0.2.7:4711".parse().unwrap(), certificate: None };
    let open =
        || async { handle(api.shared.clone(), router(api.shared.clone()), peer(), request(ALL, TOKEN, None)).await };
    api.runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..STREAMS_PER_USER_MAX {
            streams.push(open().await);
            assert_eq!(streams.last().unwrap().status(), 200);
        }
        assert_eq!(open().await.status(), 429);
        drop(streams);
        let limit = tokio::time::timeout(Duration::from_secs(20), async {
            while open().await.status() != 200 {
                tokio::task::yield_now().await;
            }
        });
        limit.await.expect("a place becomes free");
    });
}

#[test]
fn streams_end_when_all_are_closed_and_when_their_reader_may_read_no_more() {
    let api = Api::with_streams(Streams::new(Duration::ZERO));
    let (login, password) = LOGIN;
    let body = json!({"login": login, "password": password});
    let token = api.post("/rbac-api/v1/auth/token", body.to_string()).json()["token"].as_str().unwrap().to_owned();
    let peer = || Peer { remote: "192.0.2.7:4711".parse().unwrap(), certificate: None };
    let open = |token: String| {
        let (shared, peer) = (api.shared.clone(), peer());
        async move { handle(shared.clone(), router(shared), peer, request(ALL, &token, None)).await.into_body() }
    };
    api.runtime.block_on(async {
        let mut stream = open(token.clone()).await;
        assert!(stream.frame().await.is_some());
        let revoke =
            Request::delete(format!("/rbac-api/v2/tokens?revoke_tokens={token}")).header("X-Authentication", &token);
        let revoke = revoke.body(Body::empty()).unwrap();
        let revoked = handle(api.shared.clone(), router(api.shared.clone()), peer(), revoke).await;
        assert!(revoked.status().is_success(), "{}", revoked.status());
        assert!(stream.frame().await.is_none(), "the token is revoked");
        let mut stream = open(TOKEN.to_owned()).await;
        assert!(stream.frame().await.is_some());
        api.shared.streams.close_all();
        assert!(stream.frame().await.is_none(), "all streams end");
    });
    assert_eq!(OLD_JOB.0, 82);
}
