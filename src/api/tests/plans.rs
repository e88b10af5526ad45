//! Plan jobs, key by key.

use serde_json::{Value, json};

use super::Api;

const V1: &str = "/orchestrator/v1";

fn at(path: &str) -> String {
    format!("https://orch.example.com:8143/orchestrator/v1/{path}")
}

fn item() -> Value {
    json!({
        "id": at("plan_jobs/38"), "name": "38", "state": "success",
        "options": {"description": "facts", "plan_name": "facts::info", "parameters": {"targets": "web01.example.com"},
                    "environment": "production", "sensitive": ["password"], "scheduled_job_id": null},
        "result": ["web01.example.com: Rocky 9.5 (RedHat)"],
        "owner": {"id": "2f6c1a52-7f6d-4d5c-8b43-0d0f8f0b1a11", "login": "ada", "display_name": "Ada",
                  "email": "ada@example.com", "is_superuser": false, "is_remote": false, "is_revoked": false,
                  "is_group": false, "last_login": "2026-03-01T09:00:00.000Z", "role_ids": [2]},
        "created_timestamp": "2026-03-01T10:15:30Z", "finished_timestamp": "2026-03-01T10:15:35Z", "duration": 5.1,
        "events": {"id": at("plan_jobs/38/events")}, "userdata": {}
    })
}

#[test]
fn lists_and_single_ones() {
    let api = Api::new();
    let pagination = |limit| json!({"total": 1, "limit": limit, "offset": 0, "order_by": "name", "order": "desc"});
    let list = api.ok(&format!("{V1}/plan_jobs?limit=1&order_by=name&order=desc"));
    assert_eq!(list, json!({"items": [item()], "pagination": pagination(1)}));
    let mut bare = item();
    bare.as_object_mut().unwrap().remove("result");
    assert_eq!(api.ok(&format!("{V1}/plan_jobs?results=exclude"))["items"], json!([bare]));
    let mut detail = item();
    detail["timestamp"] = json!("2026-03-01T10:15:35Z");
    detail["status"] = json!({"82": [{"state": "finished", "enter_time": "2026-03-01T10:15:30Z", "exit_time": null}]});
    assert_eq!(api.ok(&format!("{V1}/plan_jobs/38")), detail);
    for (path, status) in [("plan_jobs/x", 400), ("plan_jobs/99", 404), ("plan_jobs?results=some", 400)] {
        assert_eq!(api.get(&format!("{V1}/{path}")).status, status, "{path}");
    }
}

#[test]
fn events_and_single_ones() {
    let api = Api::new();
    let (first, last) = (
        json!({"id": "5", "type": "task_start", "timestamp": "2026-03-01T10:15:30Z", "details": {"job-id": "82"}}),
        json!({"id": "6", "type": "plan_finished", "timestamp": "2026-03-01T10:15:30Z",
               "details": {"plan-id": "38", "result": ["x"]}}),
    );
    let next = json!({"id": at("plan_jobs/38/events?start=7"), "event": "7"});
    assert_eq!(api.ok(&format!("{V1}/plan_jobs/38/events")), json!({"next-events": next, "items": [first, last]}));
    assert_eq!(api.ok(&format!("{V1}/plan_jobs/38/event/6")), last);
    let answer = api.get(&format!("{V1}/plan_jobs/38/event/7"));
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["kind"]),
        (404, &json!("puppetlabs.orchestrator/mismatched-job-event-id"))
    );
}

#[test]
fn commands_of_bolt() {
    let api = Api::new();
    let post = |command: &str, body: Value| {
        let answer = api.post(&format!("{V1}/command/{command}"), body.to_string());
        (answer.status.as_u16(), answer.json())
    };
    let start = json!({"plan_name": "a::b", "description": "", "params": {}, "sensitive": []});
    assert_eq!(post("plan_start", start), (202, json!({"name": "39"})));
    let task = json!({"task": "facter", "params": {}, "scope": {"nodes": ["a"]}, "noop": null, "plan_job": "39"});
    assert_eq!(post("plan_task", task), (202, json!({"job": {"id": at("jobs/83"), "name": "83"}})));
    let job = api.ok(&format!("{V1}/jobs/83"));
    let shown = (&job["type"], &job["command"], &job["options"]["plan_job"]);
    assert_eq!(shown, (&json!("plan_task"), &json!("plan_task"), &json!(39)));
    assert_eq!(
        post("plan_finish", json!({"plan_job": "39", "result": "", "status": "success"})),
        (202, json!({"name": "39"}))
    );
    let (status, refused) = post("plan_finish", json!({"plan_job": "38", "status": "failure"}));
    assert_eq!((status, &refused["kind"]), (500, &json!("puppetlabs.orchestrator/plan-already-finished")));
    assert_eq!(post("plan_finish", json!({"plan_job": "7", "status": "failure"})).0, 404);
}

#[test]
fn plans_of_an_environment() {
    let api = Api::new();
    let environment = json!({"name": "production", "code_id": null});
    let item = |name: &str, path: &str, private: bool, description: &str| {
        json!({"id": at(&format!("plans/{path}")), "name": name, "permitted": true, "private": private,
               "description": description})
    };
    let mut broken = item("deploy::broken", "deploy/broken", false, "");
    broken["problem"] = json!("deploy/plans/broken.pp:3:7: expected a value");
    let items = json!([
        item("deploy", "deploy/init", false, "Rolls out a version"),
        broken,
        item("deploy::step::one", "deploy/step::one", true, "Rolls out a version"),
    ]);
    assert_eq!(api.ok(&format!("{V1}/plans")), json!({"environment": environment, "items": items}));
    let shown = api.ok(&format!("{V1}/plans/deploy/init?environment=production"));
    let metadata = json!({
        "description": "Rolls out a version",
        "parameters": {"targets": {"type": "TargetSpec", "description": "Where"},
                       "version": {"type": "String", "default_value": "'latest'"}},
    });
    let problem = json!({"msg": "there is no function `x`", "file": "deploy/plans/init.pp", "line": 3, "column": 7});
    let expected = json!({"id": at("plans/deploy/init"), "name": "deploy", "environment": environment,
                          "metadata": metadata, "permitted": true, "problems": [problem]});
    assert_eq!(shown, expected);
    let unknown = api.get(&format!("{V1}/plans/deploy/nosuch"));
    assert_eq!(
        (unknown.status.as_u16(), &unknown.json()["kind"]),
        (404, &json!("puppetlabs.orchestrator/unknown-plan"))
    );
    assert_eq!(api.get(&format!("{V1}/plans?environment=nosuch")).status, 404);
}
