//! Refusals, compared whole: always JSON with a kind, except where Puppet Server has its own.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use serde_json::{Value, json};

use super::{Answer, Api, Peer, handle, router};
use crate::api::fake::{LOGIN, TOKEN};
use crate::limits::{API_BODY_BYTES_MAX, JSON_DEPTH_MAX, LOGIN_FAILURES_MAX, LOGINS_IN_FLIGHT_MAX};

const COMMAND: &str = "/orchestrator/v1/command/task";

fn assert_refused(answer: &Answer, status: u16, expected: Value) {
    assert_eq!((answer.status.as_u16(), answer.json()), (status, expected));
}

/// Kind without its prefix, and message.
fn kind_and_message(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let kind = body["kind"].as_str().unwrap().strip_prefix("puppetlabs.orchestrator/").unwrap().to_owned();
    (answer.status.as_u16(), kind, body["msg"].as_str().unwrap().to_owned())
}

#[test]
fn tokens() {
    let api = Api::new();
    let with = |token: &str| {
        api.send(Request::get("/orchestrator/v1/jobs").header("X-Authentication", token).body(Body::empty()).unwrap())
    };
    assert_refused(
        &with("expired"),
        401,
        json!({"kind": "puppetlabs.rbac/token-expired", "msg": "The provided token has expired."}),
    );
    assert_refused(
        &with("revoked"),
        401,
        json!({"kind": "puppetlabs.rbac/token-revoked", "msg": "Authentication token has been revoked."}),
    );
    for bad in ["nonsense", &"x".repeat(5000)] {
        assert_refused(
            &with(bad),
            401,
            json!({"kind": "puppetlabs.rbac/invalid-token", "msg": "The provided token is not known to this server."}),
        );
    }
    for path in ["/orchestrator", "/orchestrator/v1/jobs", "/orchestrator/v1/nosuch", "/rbac-api/v1/users/current"] {
        let answer = api.get_bare(path);
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["kind"]),
            (401, &json!("puppetlabs.rbac/user-unauthenticated"))
        );
    }
}

#[test]
fn jobs() {
    let api = Api::new();
    assert_refused(
        &api.get("/orchestrator/v1/jobs/4711"),
        404,
        json!({"kind": "puppetlabs.orchestrator/unknown-job", "msg": "Unknown job 4711", "details": {"job": "4711"}}),
    );
    assert_refused(
        &api.get("/orchestrator/v1/jobs/abc/nodes"),
        400,
        json!({
            "kind": "puppetlabs.orchestrator/validation-error",
            "msg": "Invalid value \"abc\" for id: the id of a job is an integer.",
            "details": {"parameter": "id"},
        }),
    );
    let cases = [
        ("limit=x", "Invalid value \"x\" for limit: it must be an integer from 0 to 10000."),
        ("limit=10001", "Invalid value \"10001\" for limit: it must be an integer from 0 to 10000."),
        ("offset=-1", "Invalid value \"-1\" for offset: it must be an integer from 0 to 4294967295."),
        (
            "order_by=age",
            "Invalid value \"age\" for order_by: it must be one of owner, timestamp, environment, name, state.",
        ),
        ("order=up", "Invalid value \"up\" for order: it must be one of asc, desc."),
        (
            "max_finish_timestamp=now",
            "Invalid value \"now\" for max_finish_timestamp: it must be a time in UTC such as 2026-03-01T10:15:30Z.",
        ),
        ("type=deploy&task=x", "task cannot be used together with type=deploy: such jobs have no task."),
    ];
    for (query, message) in cases {
        let answer = api.get(&format!("/orchestrator/v1/jobs?{query}"));
        assert_eq!(kind_and_message(&answer), (400, "validation-error".into(), message.into()));
    }
    for path in ["jobs?type=x", "jobs/82/nodes?state=x", "jobs/82/nodes?order_by=x", "jobs/82/events?start=x"] {
        assert_eq!(kind_and_message(&api.get(&format!("/orchestrator/v1/{path}"))).1, "validation-error");
    }
}

#[test]
fn commands() {
    let api = Api::new();
    let post = |body: &str| kind_and_message(&api.post(COMMAND, body.to_owned()));
    let bad = |message: &str| (400, "validation-error".to_owned(), message.to_owned());
    assert_eq!(post("{}"), bad("The required key task is missing."));
    assert_eq!(post(""), bad("The request has no body; it must be a JSON object."));
    assert_eq!(
        post(r#"{"task": "facter", "params": {}, "scope": {}}"#),
        bad("scope must have exactly one key, one of nodes, query, node_group.")
    );
    assert!(post("{\"task\": ").2.starts_with("The request's body is not valid JSON: "));
    let answer = api.post(COMMAND, r#"{"task": "facter", "params": {}, "scope": {"nodes": []}}"#);
    assert_refused(
        &answer,
        400,
        json!({
            "kind": "puppetlabs.orchestrator/empty-target", "msg": "The scope has no nodes",
            "details": {"environment": "production", "target": "nodes"},
        }),
    );
    let answer = api.post(COMMAND, r#"{"task": "nosuch", "params": {}, "scope": {"nodes": ["a"]}}"#);
    assert_eq!(kind_and_message(&answer), (404, "unknown-task".into(), "Unknown task nosuch".into()));
    let answer = api.post(COMMAND, r#"{"task": "facter", "params": {}, "scope": {"query": "nodes {}"}}"#);
    let expected = json!({"kind": "puppetlabs.orchestrator/query-error", "msg": "PuppetDB is not configured"});
    assert_refused(&answer, 400, expected);
    let deep = format!("{}1{}", "[".repeat(JSON_DEPTH_MAX), "]".repeat(JSON_DEPTH_MAX));
    let deep =
        format!(r#"{{"task": "facter", "params": {{}}, "userdata": {{"x": {deep}}}, "scope": {{"nodes": ["a"]}}}}"#);
    assert_eq!(post(&deep), bad("The request's body is nested more than 64 levels deep."));
    assert_eq!(kind_and_message(&api.post("/orchestrator/v1/inventory", "")).0, 400);
    assert_eq!(
        kind_and_message(&api.post("/orchestrator/v1/inventory", r#"{"nodes": "a"}"#)),
        bad("nodes must be an array of strings, not a string.")
    );
}

#[test]
fn bodies_that_are_too_large() {
    let api = Api::new();
    let message = format!("The request's body is larger than the {API_BODY_BYTES_MAX} bytes that this server takes.");
    let expected = json!({
        "kind": "puppetlabs.orchestrator/request-too-large", "msg": message,
        "details": {"bytes_max": API_BODY_BYTES_MAX},
    });
    assert_refused(&api.post(COMMAND, vec![b' '; API_BODY_BYTES_MAX + 1]), 413, expected.clone());
    let announced = Request::post(COMMAND).header("X-Authentication", TOKEN).header("Content-Length", "99999999");
    assert_refused(&api.send(announced.body(Body::empty()).unwrap()), 413, expected);
    assert_eq!(api.post("/rbac-api/v1/auth/token", vec![b' '; 20_000]).status, 413);
}

#[test]
fn tasks_and_environments() {
    let api = Api::new();
    assert_refused(
        &api.get("/orchestrator/v1/tasks?environment=qa_typo"),
        404,
        json!({
            "kind": "puppetlabs.orchestrator/unknown-environment", "msg": "Unknown environment qa_typo",
            "details": {"environment": "qa_typo"},
        }),
    );
    for below in ["", "/applications", "/instances"] {
        let refused = api.get(&format!("/orchestrator/v1/environments/qa_typo{below}"));
        assert_eq!(
            (refused.status.as_u16(), kind_and_message(&refused).1.as_str()),
            (404, "unknown-environment"),
            "{below}"
        );
    }
    assert_eq!(kind_and_message(&api.get("/orchestrator/v1/tasks/a/b")).1, "unknown-task");
}

#[test]
fn routes_and_methods() {
    let api = Api::new();
    let answer = api.get("/nosuch");
    let details = json!({"path": "/nosuch"});
    let expected =
        json!({"kind": "puppetlabs.orchestrator/not-found", "msg": "There is nothing at /nosuch.", "details": details});
    assert_refused(&answer, 404, expected);
    assert_eq!(kind_and_message(&api.get("/orchestrator/v1/plansx")).1, "not-found");
    for path in ["command/stop_plan", "command/schedule_plan", "command/plan_run"] {
        assert_eq!(kind_and_message(&api.get(&format!("/orchestrator/v1/{path}"))).1, "not-offered", "{path}");
    }
    let answer = api.post("/orchestrator/v1/command/plan_run", "{}");
    assert_eq!(
        kind_and_message(&answer),
        (404, "not-offered".into(), "This server does not offer POST /orchestrator/v1/command/plan_run yet.".into())
    );
    let answer = api.post("/orchestrator/v1/jobs", "{}");
    assert_eq!((kind_and_message(&answer).0, answer.allow.as_str()), (405, "GET,HEAD"));
    assert_eq!(kind_and_message(&api.get(COMMAND)).1, "method-not-allowed");
    assert_eq!(kind_and_message(&api.get("/status/v1/services?level=x")).0, 400);
    assert_eq!(api.get("/status/v1/services/x").status, 404);
    assert_eq!(kind_and_message(&api.get("/orchestrator/v1/inventory/%ff")).0, 400);
}

#[test]
fn logins() {
    let api = Api::new();
    let post = |body: &str| {
        let answer = api.post("/rbac-api/v1/auth/token", body.to_owned());
        (answer.status.as_u16(), answer.json()["kind"].as_str().unwrap().to_owned())
    };
    assert_eq!(post("{"), (400, "puppetlabs.rbac/malformed-request".into()));
    let broken = [
        "{}",
        r#"{"login": "ada"}"#,
        r#"{"login": 7, "password": "x"}"#,
        r#"{"login": "a", "password": "x", "lifetime": "soon"}"#,
        r#"{"login": "a", "password": "x", "label": "a,b"}"#,
    ];
    for body in broken {
        assert_eq!(post(body), (400, "puppetlabs.rbac/schema-violation".into()), "{body}");
    }
}

#[test]
fn guessing_is_shut_out() {
    let api = Api::new();
    let guess = || api.post("/rbac-api/v1/auth/token", r#"{"login": "ada", "password": "guess"}"#);
    assert_refused(
        &guess(),
        401,
        json!({
            "kind": "puppetlabs.rbac/user-unauthenticated",
            "msg": "The provided login and password do not match.",
        }),
    );
    for _ in 1..LOGIN_FAILURES_MAX {
        api.shared.logins.failed("192.0.2.7".parse().unwrap(), api.shared.clock.now());
    }
    let answer = guess();
    assert_eq!((answer.status.as_u16(), &answer.json()["kind"]), (429, &json!("puppetlabs.rbac/too-many-attempts")));
}

#[test]
fn a_burst_gets_no_more_guesses_than_a_row() {
    let api = Api::new();
    let burst = usize::try_from(LOGIN_FAILURES_MAX).unwrap() * 5;
    let statuses: Vec<u16> = api.runtime.block_on(async {
        let guesses: Vec<_> = (0..burst)
            .map(|_| {
                let peer = Peer { remote: "192.0.2.7:4711".parse().unwrap(), certificate: None };
                let body = Body::from(r#"{"login": "ada", "password": "guess"}"#);
                let request = Request::post("/rbac-api/v1/auth/token").body(body).unwrap();
                tokio::spawn(handle(api.shared.clone(), router(api.shared.clone()), peer, request))
            })
            .collect();
        let mut statuses = Vec::new();
        for guess in guesses {
            statuses.push(guess.await.unwrap().status().as_u16());
        }
        statuses
    });
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    assert!(looked_at < usize::try_from(LOGIN_FAILURES_MAX).unwrap() + LOGINS_IN_FLIGHT_MAX, "{looked_at}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
}

#[test]
fn task_files() {
    let mut api = Api::new();
    let path = "/puppet/v3/file_content/tasks/demo/x.sh?environment=production";
    let answer = api.get(path);
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.text,
        "Forbidden request: /puppet/v3/file_content/tasks/demo/x.sh (method :get). Please see the server logs for \
         details."
    );
    api.certificate = Some(Arc::from("agent01.example.com"));
    assert_refused(
        &api.get_bare(path),
        404,
        json!({
            "message": "Not Found: Could not find file_content tasks/demo/x.sh", "issue_kind": "RESOURCE_NOT_FOUND",
        }),
    );
    assert_refused(
        &api.get_bare("/puppet/v3/file_content/tasks/demo/x.sh?environment=nosuch"),
        404,
        json!({"message": "Not Found: Could not find environment 'nosuch'", "issue_kind": "RUNTIME_ERROR"}),
    );
    let answer = api.get_bare("/puppet/v3/file_content/tasks/demo/x.sh");
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.text,
        "A file_content request must include an `environment` or `versioned_project` query parameter."
    );
    for climbing in ["tasks/../x", "tasks/%2e%2e/x", "tasks/a/.", "%2E%2E/x", "tasks/a%00"] {
        let answer = api.get_bare(&format!("/puppet/v3/file_content/{climbing}?environment=production"));
        assert_eq!(answer.status, 400, "{climbing}");
        assert!(answer.text.starts_with("Invalid relative path (.. or .) in: "), "{}", answer.text);
    }
    let answer = api.get_bare("/puppet/v3/file_content/tasks/%252e%252e/x?environment=production");
    assert_eq!(answer.json()["message"], "Not Found: Could not find file_content tasks/%2e%2e/x");
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_has_the_request_and_no_secrets() {
    let lines = Lines::default();
    let sink = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || sink.clone());
    let api = Api::new();
    let requests = || {
        api.get("/orchestrator/v1/jobs/82");
        api.get_bare(&format!("/orchestrator/v1/jobs/83?token={TOKEN}"));
        api.post("/rbac-api/v1/auth/token", json!({"login": LOGIN.0, "password": LOGIN.1}).to_string());
    };
    let logged = || String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let expected = [
        "path=\"/orchestrator/v1/jobs/82\" status=200",
        "subject=\"ada\" remote=192.0.2.7:4711",
        "path=\"/orchestrator/v1/jobs/83\" status=404",
    ];
    tracing::subscriber::with_default(subscriber.finish(), || {
        // Whether anybody wants a line is remembered for all threads: while another test's subscriber comes or goes, ours
        // may be forgotten for a while.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !expected.iter().all(|line| logged().contains(line)) {
            assert!(std::time::Instant::now() < deadline, "{}", logged());
            tracing::callsite::rebuild_interest_cache();
            requests();
        }
    });
    let text = logged();
    assert!(!text.contains(TOKEN) && !text.contains(LOGIN.1), "{text}");
}
