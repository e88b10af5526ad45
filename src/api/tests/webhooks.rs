//! Webhooks: shapes and refusals. What becomes of deliveries is the orchestrator's.

use axum::body::Body;
use axum::extract::Request;
use serde_json::{Value, json};

use super::Api;
use crate::api::fake::TOKEN;

const PATH: &str = "/podium/v1/webhooks";

#[test]
fn one_is_added_shown_tried_and_removed() {
    let api = Api::new();
    assert_eq!(api.ok(PATH), json!({"items": []}));
    // Nobody listens there.
    let body =
        json!({"url": "https://localhost:1/a", "events": ["node_failed", "job_finished"], "description": "chat"});
    let answer = api.post(PATH, body.to_string());
    assert_eq!(answer.status, 201, "{}", answer.text);
    let added = answer.json();
    assert_eq!(added["secret"].as_str().unwrap().len(), 64);
    let id = added["webhook"]["id"].as_str().unwrap();
    let expected = json!({
        "id": id, "url": "https://localhost:1/a", "events": ["node_failed", "job_finished"], "description": "chat",
        "owner": "ada", "created_timestamp": added["webhook"]["created_timestamp"], "state": "active",
        "next_event": "1", "delivered_timestamp": null, "failures": 0, "failing_since": null, "last_error": null,
    });
    assert_eq!(added["webhook"], expected);
    assert_eq!(api.ok(&format!("{PATH}/{id}")), expected);
    assert_eq!(api.ok(PATH), json!({"items": [expected]}));
    let tried = api.post(&format!("{PATH}/{id}/test"), "").json();
    assert_eq!(tried["delivered"], false);
    assert!(tried["message"].as_str().unwrap().contains("localhost"), "{tried}");
    assert_eq!(api.post(&format!("{PATH}/{id}/resume"), "").json()["id"], id);
    let remove = || {
        let request = Request::delete(format!("{PATH}/{id}")).header("X-Authentication", TOKEN);
        api.send(request.body(Body::empty()).unwrap()).status.as_u16()
    };
    assert_eq!((remove(), remove()), (204, 404));
    let log = std::fs::read_to_string(api.fake.audit_log()).unwrap();
    let noted: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(noted[0]["details"], json!({"host": "localhost:1"}));
    assert_eq!(noted[3]["details"], json!({"webhook": id}));
    assert!(!log.contains(added["secret"].as_str().unwrap()), "secrets are in no log");
}

#[test]
fn bad_ones_are_refused() {
    let api = Api::new();
    let cases = [
        (json!({}), "url"),
        (json!({"url": 1}), "url"),
        (json!({"url": "http://a.example"}), "does not begin with https://"),
        (json!({"url": "https://a.example", "events": "job_finished"}), "events"),
        (json!({"url": "https://a.example", "events": ["job_done"]}), "\"job_done\" is not a type of event"),
        (json!({"url": "https://a.example", "secret": "short"}), "secret must have 16 to 64 bytes"),
        (json!({"url": "https://a.example", "description": "x".repeat(1025)}), "description"),
    ];
    for (body, text) in cases {
        let answer = api.post(PATH, body.to_string());
        let shown = answer.json();
        assert_eq!((answer.status.as_u16(), &shown["kind"]), (400, &json!("puppetlabs.orchestrator/validation-error")));
        assert!(shown["msg"].as_str().unwrap().contains(text), "{shown}");
    }
    for path in [format!("{PATH}/x"), format!("{PATH}/x/y")] {
        assert_eq!(api.get(&path).status, 404);
    }
    assert_eq!(api.get_bare(PATH).status, 401);
}

#[test]
fn secrets_of_a_refused_url_are_in_no_log() {
    let api = Api::new();
    let urls = [
        "https://user:hunter2@a.example/x",
        "https://user:hunter2@a.example:8443",
        "https://a.example?key=hunter2",
        "https://a@b:hunter2@a.example/x",
        "https://user:hunter2/x@a.example/",
        "a.example/x/hunter2",
        "hunter2",
        "https:///hunter2/x",
    ];
    for url in urls {
        api.post(PATH, json!({"url": url, "secret": "short"}).to_string());
    }
    let log = std::fs::read_to_string(api.fake.audit_log()).unwrap();
    assert_eq!(log.lines().count(), urls.len(), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(first["details"], json!({"host": "a.example"}));
}
