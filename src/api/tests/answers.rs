//! Answers when all is well, compared whole.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use serde_json::{Value, json};

use super::Api;
use crate::api::fake::{LOGIN, TOKEN};
use crate::orchestrator::model::Scope;

const JOB: &str = "https://orch.example.com:8143/orchestrator/v1/jobs/82";

fn owner() -> Value {
    json!({
        "id": "2f6c1a52-7f6d-4d5c-8b43-0d0f8f0b1a11", "login": "ada", "display_name": "Ada", "email": "ada@example.com",
        "is_superuser": false, "is_remote": false, "is_revoked": false, "is_group": false,
        "last_login": "2026-03-01T09:00:00.000Z", "role_ids": [2],
    })
}

fn job_item() -> Value {
    json!({
        "id": JOB, "name": "82", "state": "finished", "command": "task", "type": "task",
        "options": {
            "description": "check ssl", "transport": "pxp", "noop": false, "task": "package",
            "params": {"action": "status", "name": "openssl"}, "sensitive": ["password"], "scheduled-job-id": null,
            "scope": {"nodes": ["web01.example.com"]}, "environment": "production",
        },
        "owner": owner(),
        "description": "check ssl", "environment": {"name": "production"},
        "timestamp": "2026-03-01T10:15:33Z", "created_timestamp": "2026-03-01T10:15:30Z",
        "started_timestamp": "2026-03-01T10:15:30Z", "finished_timestamp": "2026-03-01T10:15:33Z",
        "duration": "3.2", "node_count": 1, "node_states": {"finished": 1}, "userdata": {},
        "nodes": {"id": format!("{JOB}/nodes")},
        "report": {"id": format!("{JOB}/report")},
        "events": {"id": format!("{JOB}/events")},
    })
}

#[test]
fn root() {
    let api = Api::new();
    let at = |path: &str| format!("https://orch.example.com:8143/orchestrator/v1/{path}");
    let root = api.ok("/orchestrator");
    assert_eq!(root["info"]["title"], "Application Management API (EXPERIMENTAL)");
    assert_eq!(root["info"]["version"], "0.1");
    assert_eq!(root["status"], json!({"name": "status", "id": at("status")}));
    assert_eq!(root["collections"][0], json!({"name": "environments", "id": at("environments")}));
    assert_eq!(root["collections"][2], json!({"name": "jobs", "id": at("jobs")}));
    let command = |name: &str| json!({"name": name, "id": at(&format!("command/{name}"))});
    assert_eq!(root["commands"], json!([command("deploy"), command("stop"), command("task")]));
    assert_eq!(api.ok("/orchestrator/v1"), root);
    assert_eq!(api.ok("/orchestrator/v1/"), root);
    assert_eq!(api.ok(&format!("/orchestrator/v1?token={TOKEN}")), root);
}

#[test]
fn command_task() {
    let api = Api::new();
    let body = json!({"task": "facter", "params": {"fact": "osfamily"}, "scope": {"nodes": ["web01.example.com"]}});
    let answer = api.post("/orchestrator/v1/command/task", body.to_string());
    assert_eq!(answer.status, 202);
    assert_eq!(
        answer.json(),
        json!({"job": {"id": "https://orch.example.com:8143/orchestrator/v1/jobs/83", "name": "83"}})
    );
    assert_eq!(api.fake.commands()[0].terms.scope, Scope::Nodes(vec!["web01.example.com".into()]));
}

#[test]
fn command_deploy() {
    let api = Api::new();
    let body = json!({"environment": "production", "scope": {"nodes": ["web01.example.com"]}, "tags": "ssh", "concurrency": 5});
    let answer = api.post("/orchestrator/v1/command/deploy", body.to_string());
    assert_eq!(answer.status, 202);
    assert_eq!(
        answer.json(),
        json!({"job": {"id": "https://orch.example.com:8143/orchestrator/v1/jobs/83", "name": "83"}})
    );
    let shown = api.ok("/orchestrator/v1/jobs?type=deploy");
    let job = &shown["items"][0];
    assert_eq!(
        (&shown["pagination"]["total"], &job["type"], &job["command"]),
        (&json!(1), &json!("deploy"), &json!("deploy"))
    );
    assert_eq!(
        job["options"],
        json!({"description": "", "environment": "production", "noop": false, "no_noop": false, "debug": false,
               "trace": false, "evaltrace": false, "enforce_environment": true, "tags": "ssh", "concurrency": 5,
               "target": null, "scope": {"nodes": ["web01.example.com"]}})
    );
}

#[test]
fn command_stop() {
    let api = Api::new();
    let expected = json!({"job": {
        "id": "https://orch.example.com:8143/orchestrator/v1/jobs/82", "name": "82",
        "nodes": {"new": 0, "ready": 0, "running": 0, "finished": 1, "failed": 0, "errored": 0, "skipped": 0, "stopped": 0}
    }});
    for body in [json!({"job": "82"}), json!({"job": "82", "force": true})] {
        let answer = api.post("/orchestrator/v1/command/stop", body.to_string());
        assert_eq!((answer.status.as_u16(), answer.json()), (202, expected.clone()));
    }
    assert_eq!(api.post("/orchestrator/v1/command/stop", r#"{"job": "99"}"#).status, 404);
    assert_eq!(api.post("/orchestrator/v1/command/stop", r#"{"job": "x"}"#).status, 400);
}

#[test]
fn jobs() {
    let api = Api::new();
    let shown = api.ok("/orchestrator/v1/jobs?limit=1&order_by=name&order=desc");
    let pagination = json!({"total": 1, "limit": 1, "offset": 0, "order_by": "name", "order": "desc", "type": ""});
    assert_eq!(shown, json!({"items": [job_item()], "pagination": pagination}));
    let shown = api.ok("/orchestrator/v1/jobs?type=task&task=pack&min_finish_timestamp=2026-03-01T10:15:30Z");
    let pagination =
        json!({"total": 1, "limit": 20, "offset": 0, "order_by": "timestamp", "order": "asc", "type": "task"});
    assert_eq!(shown["pagination"], pagination);
    let shown = api.ok("/orchestrator/v1/jobs?type=deploy");
    let pagination =
        json!({"total": 0, "limit": 20, "offset": 0, "order_by": "timestamp", "order": "asc", "type": "deploy"});
    assert_eq!(shown, json!({"items": [], "pagination": pagination}));
}

#[test]
fn one_job() {
    let mut expected = job_item();
    expected["status"] = json!([
        {"state": "new", "enter_time": "2026-03-01T10:15:30Z", "exit_time": "2026-03-01T10:15:30Z"},
        {"state": "ready", "enter_time": "2026-03-01T10:15:30Z", "exit_time": "2026-03-01T10:15:30Z"},
        {"state": "running", "enter_time": "2026-03-01T10:15:30Z", "exit_time": "2026-03-01T10:15:33Z"},
        {"state": "finished", "enter_time": "2026-03-01T10:15:33Z", "exit_time": null},
    ]);
    assert_eq!(Api::new().ok("/orchestrator/v1/jobs/82"), expected);
}

#[test]
fn nodes() {
    let api = Api::new();
    let item = json!({
        "name": "web01.example.com", "state": "finished", "transport": "pcp",
        "start_timestamp": "2026-03-01T10:15:30Z", "finish_timestamp": "2026-03-01T10:15:33Z",
        "timestamp": "2026-03-01T10:15:33Z", "duration": 3.1, "transaction_uuid": null, "latest-event-id": 12,
        "details": {}, "result": {"status": "up to date", "version": "3.0.7-27.el9"},
    });
    let next = json!({"id": format!("{JOB}/events?start=13"), "event": "13"});
    assert_eq!(api.ok("/orchestrator/v1/jobs/82/nodes"), json!({"next-events": next, "items": [item]}));
    let none = api.ok("/orchestrator/v1/jobs/82/nodes?state=failed&order_by=duration&limit=5");
    let next = json!({"id": format!("{JOB}/events?start=1"), "event": "1"});
    assert_eq!(none, json!({"next-events": next, "items": []}));
}

#[test]
fn nodes_that_have_not_started() {
    let api = Api::new();
    let body = json!({"task": "facter", "params": {}, "scope": {"nodes": ["web01.example.com"]}});
    api.post("/orchestrator/v1/command/task", body.to_string());
    let item = json!({
        "name": "web01.example.com", "state": "ready", "transport": "pcp", "start_timestamp": null,
        "finish_timestamp": null, "timestamp": "2026-03-01T10:15:30Z", "duration": null, "transaction_uuid": null,
        "latest-event-id": 0, "details": {},
    });
    assert_eq!(api.ok("/orchestrator/v1/jobs/83/nodes")["items"], json!([item]));
    let job = api.ok("/orchestrator/v1/jobs/83");
    assert_eq!((&job["duration"], &job["started_timestamp"]), (&Value::Null, &Value::Null));
    assert_eq!(job["node_states"], json!({"ready": 1}));
}

#[test]
fn report() {
    let row = json!({
        "node": "web01.example.com", "state": "finished", "timestamp": "2026-03-01T10:15:33Z",
        "start_timestamp": "2026-03-01T10:15:30Z", "finish_timestamp": "2026-03-01T10:15:33Z", "events": [],
    });
    assert_eq!(Api::new().ok("/orchestrator/v1/jobs/82/report"), json!({"items": [row], "report": [row]}));
}

#[test]
fn events() {
    let api = Api::new();
    let item = json!({
        "id": "12", "type": "node_finished", "timestamp": "2026-03-01T10:15:30Z",
        "details": {"node": "web01.example.com", "detail": {"noop": false}},
        "message": "Finished on node web01.example.com",
    });
    let shown = api.ok("/orchestrator/v1/jobs/82/events?start=12");
    assert_eq!(shown["items"][0], item);
    assert_eq!(shown["next-events"], json!({"id": format!("{JOB}/events?start=14"), "event": "14"}));
    assert_eq!(api.ok("/orchestrator/v1/jobs/82/events")["items"].as_array().unwrap().len(), 3);
    let next = json!({"id": format!("{JOB}/events?start=14"), "event": "14"});
    assert_eq!(api.ok("/orchestrator/v1/jobs/82/events?start=14"), json!({"next-events": next, "items": []}));
}

#[test]
fn tasks() {
    let api = Api::new();
    let environment = json!({"name": "production", "code_id": null});
    let at = "https://orch.example.com:8143/orchestrator/v1/tasks/facter";
    let items = json!([
        {"id": format!("{at}/init"), "name": "facter", "permitted": true, "private": false,
         "description": "Shows a fact"},
        {"id": format!("{at}/internal"), "name": "facter::internal", "permitted": true, "private": true,
         "description": "For other tasks"},
    ]);
    assert_eq!(api.ok("/orchestrator/v1/tasks"), json!({"environment": environment, "items": items}));
    let shown = api.ok("/orchestrator/v1/tasks/facter/init?environment=production");
    assert_eq!(shown["id"], json!(format!("{at}/init")));
    assert_eq!(shown["environment"], environment);
    assert_eq!(shown["metadata"]["parameters"]["external"], json!({"type": "Optional[Boolean]"}));
    let uri = json!({"path": "/puppet/v3/file_content/tasks/facter/init.rb", "params": {"environment": "production"}});
    let file = json!({"filename": "init.rb", "uri": uri, "sha256": "ab".repeat(32), "size_bytes": 4711});
    assert_eq!(shown["files"], json!([file]));
}

#[test]
fn environments() {
    let api = Api::new();
    let at = "https://orch.example.com:8143/orchestrator/v1/environments/production";
    let production = json!({
        "id": at, "name": "production",
        "applications": {"id": format!("{at}/applications")}, "instances": {"id": format!("{at}/instances")},
        "settings": {"modulepath": ["/code/modules"], "manifest": "/code/manifests", "environment_timeout": 0,
                     "config_version": ""},
    });
    assert_eq!(api.ok("/orchestrator/v1/environments"), json!({"items": [production]}));
    assert_eq!(api.ok("/orchestrator/v1/environments/production"), production);
    assert_eq!(
        api.ok("/orchestrator/v1/environments/production/applications"),
        json!({"items": [], "instances": {"id": format!("{at}/instances")}})
    );
    assert_eq!(api.ok("/orchestrator/v1/environments/production/instances"), json!({"items": []}));
}

#[test]
fn inventory() {
    let api = Api::new();
    let web01 = json!({
        "name": "web01.example.com", "connected": true, "broker": "pcp://broker.example.com/server",
        "timestamp": "2026-03-01T10:15:30.120Z",
    });
    let web02 = json!({"name": "web02.example.com", "connected": false});
    assert_eq!(api.ok("/orchestrator/v1/inventory"), json!({"items": [web01, web02]}));
    assert_eq!(api.ok("/orchestrator/v1/inventory/web01.example.com"), web01);
    assert_eq!(api.ok("/orchestrator/v1/inventory/web02.example.com"), web02);
    let answer = api.post("/orchestrator/v1/inventory", r#"{"nodes": ["web02.example.com", "web01.example.com"]}"#);
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"items": [web02, web01]})));
}

#[test]
fn login_and_current_user() {
    let api = Api::new();
    assert_eq!(api.ok("/rbac-api/v1/users/current"), owner());
    let (login, password) = LOGIN;
    let body = json!({"login": login, "password": password, "lifetime": "4h", "label": " mine ", "client": null});
    let answer = api.post("/rbac-api/v1/auth/token", body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    assert_eq!(answer.as_object().unwrap().len(), 1);
    let request =
        Request::get("/rbac-api/v1/users/current").header("X-Authentication", answer["token"].as_str().unwrap());
    assert_eq!(api.send(request.body(Body::empty()).unwrap()).json()["login"], login);
}

#[test]
fn status() {
    let api = Api::new();
    let service = |state: &str, level: &str, status: Value| {
        json!({
            "service_version": env!("CARGO_PKG_VERSION"), "service_status_version": 1, "detail_level": level,
            "state": state, "status": status, "active_alerts": [],
        })
    };
    let all = api.get_bare("/status/v1/services?level=debug&timeout=30");
    assert_eq!(all.status, 503);
    let expected = json!({
        "orchestrator-service": service("running", "debug", json!({"db_up": true})),
        "broker-service": service("starting", "debug", json!({})),
        "status-service": service("running", "debug", json!({})),
    });
    assert_eq!(all.json(), expected);
    let one = api.get_bare("/status/v1/services/orchestrator-service?level=critical");
    let mut expected = service("running", "critical", json!({}));
    expected["service_name"] = json!("orchestrator-service");
    assert_eq!((one.status.as_u16(), one.json()), (200, expected));
    let simple = |path: &str| {
        let answer = api.get_bare(path);
        assert!(answer.content_type.starts_with("text/plain"));
        (answer.status.as_u16(), answer.text)
    };
    assert_eq!(simple("/status/v1/simple/orchestrator-service"), (200, "running".into()));
    assert_eq!(simple("/status/v1/simple/broker-service"), (503, "unknown".into()));
    assert_eq!(simple("/status/v1/simple"), (503, "unknown".into()));
    assert_eq!(simple("/status/v1/simple/x"), (404, "not found: x".into()));
}

#[test]
fn metrics_for_tokens_and_certificates() {
    let mut api = Api::new();
    assert_eq!(api.get("/metrics").text, "# EOF\n");
    assert_eq!(api.get_bare("/metrics").status, 401);
    api.certificate = Some(Arc::from("agent01.example.com"));
    let answer = api.get_bare("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.content_type.starts_with("application/openmetrics-text"));
}
