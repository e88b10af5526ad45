//! Scheduled jobs and figures of use, key by key.

use axum::body::Body;
use axum::extract::Request;
use serde_json::{Value, json};

use super::{Answer, Api};
use crate::api::fake::TOKEN;
use crate::orchestrator::model::schedule::ScheduleId;
use crate::orchestrator::model::{JobId, JobSpec, Scope, Subject};
use crate::orchestrator::store::schedules::{Firing, ScheduleChange};
use crate::orchestrator::store::usage::{UsageChange, UsageDay};
use crate::orchestrator::store::{Change, NewJob};

const V1: &str = "/orchestrator/v1";
const JOBS: &str = "/orchestrator/v1/scheduled_jobs/environment_jobs";

fn at(path: &str) -> String {
    format!("https://orch.example.com:8143/orchestrator/v1/{path}")
}

/// The owner, as the server's own store has her.
fn owner() -> Value {
    json!({"id": "2f6c1a52-7f6d-4d5c-8b43-0d0f8f0b1a11", "login": "ada", "display_name": "Ada",
           "email": "ada@example.com", "is_superuser": false, "is_remote": false, "is_revoked": false,
           "is_group": false, "last_login": "2026-03-01T09:00:00.000Z", "role_ids": [2]})
}

fn asked() -> Value {
    json!({
        "type": "task", "environment": "production", "description": "nightly", "userdata": {"ticket": "CHG-1"},
        "input": {"name": "facter", "parameters": {"fact": {"value": "os"}, "token": {"value": "hunter2"}},
                  "scope": {"nodes": ["web01.example.com"]}},
        "schedule": {"start_time": "2126-03-02T02:00:00+01:00", "interval": {"units": "seconds", "value": 86400}},
    })
}

fn accepted(id: u32) -> Value {
    json!({"scheduled_job": {"id": at(&format!("scheduled_jobs/environment_jobs/{id}")), "name": id.to_string()}})
}

fn refusal(answer: &Answer) -> (u16, String) {
    let kind = answer.json()["kind"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), kind.strip_prefix("puppetlabs.orchestrator/").unwrap_or(&kind).to_owned())
}

fn refused(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(refusal(answer), (status, kind.to_owned()), "{}", answer.text);
}

/// A request of which something is different.
type Altered = fn(&mut Value);

/// A server that has one.
fn with_one() -> Api {
    let api = Api::new();
    let answer = api.post(JOBS, asked().to_string());
    assert_eq!((answer.status.as_u16(), answer.json()), (200, accepted(1)));
    api
}

#[test]
fn one_is_shown_as_it_was_asked_for_without_its_secrets() {
    let api = with_one();
    let item = json!({
        "id": at("scheduled_jobs/environment_jobs/1"), "name": "1", "enabled": true, "environment": "production",
        "type": "task", "description": "nightly", "owner": owner(),
        "input": {"name": "facter", "parameters": {"fact": {"value": "os"}}, "sensitive_parameters": ["token"],
                  "targets": [], "transport": "pxp", "scope": {"nodes": ["web01.example.com"]}, "noop": false,
                  "concurrency": null},
        "schedule": {"start_time": "2126-03-02T01:00:00Z", "interval": {"units": "seconds", "value": 86400}},
        "next_run": {"time": "2126-03-02T01:00:00Z"}, "last_run": null, "userdata": {"ticket": "CHG-1"},
    });
    assert_eq!(api.ok(&format!("{JOBS}/1")), item);
    let pagination =
        json!({"total": 1, "limit": 50, "offset": 0, "order_by": "next_run_time", "order": "asc", "type": ""});
    assert_eq!(api.ok(JOBS), json!({"items": [item], "pagination": pagination}));
    let audit = std::fs::read_to_string(api.fake.audit_log()).unwrap();
    assert!(audit.contains("\"scheduled_job\":\"1\"") && audit.contains("facter"), "{audit}");
    assert!(!audit.contains("hunter2") && !api.get(JOBS).text.contains("hunter2"));
}

#[test]
fn lists_are_sliced_and_filtered() {
    let api = with_one();
    let mut deploy = asked();
    deploy["type"] = json!("deploy");
    deploy["input"] = json!({"scope": {"nodes": ["a"]}, "noop": true, "tags": "x"});
    deploy["schedule"] = json!({"start_time": "2126-03-01T00:00:00Z", "interval": null});
    assert_eq!(api.post(JOBS, deploy.to_string()).json(), accepted(2));
    let names = |query: &str| {
        let answer = api.ok(&format!("{JOBS}?{query}"));
        let items = answer["items"].as_array().unwrap().iter();
        let names: Vec<String> = items.map(|item| item["name"].as_str().unwrap().to_owned()).collect();
        (names, answer["pagination"]["total"].as_u64().unwrap())
    };
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(""), (of(&["2", "1"]), 2));
    assert_eq!(names("order_by=name"), (of(&["1", "2"]), 2));
    assert_eq!(names("order_by=type&order=desc&limit=1"), (of(&["1"]), 2));
    assert_eq!(names("type=deploy"), (of(&["2"]), 1));
    assert_eq!(names("type=plan"), (of(&[]), 0));
    assert_eq!(names("offset=2"), (of(&[]), 2));
    let pagination = json!({"total": 1, "limit": 5, "offset": 0, "order_by": "owner", "order": "desc", "type": "task"});
    assert_eq!(api.ok(&format!("{JOBS}?limit=5&order_by=owner&order=desc&type=task"))["pagination"], pagination);
    let shown = api.ok(&format!("{JOBS}/2"));
    assert_eq!((&shown["schedule"]["interval"], &shown["input"]["tags"]), (&Value::Null, &json!("x")));
    assert_eq!((&shown["input"]["noop"], &shown["input"]["enforce_environment"]), (&json!(true), &json!(true)));
    for bad in ["limit=x", "limit=-1", "offset=1.5", "order_by=state", "type=app", "order=up"] {
        refused(&api.get(&format!("{JOBS}?{bad}")), 400, "query-error");
    }
    refused(&api.get(&format!("{JOBS}/x")), 400, "query-error");
    refused(&api.get(&format!("{JOBS}/9")), 404, "unknown-job");
}

#[test]
fn what_cannot_be_scheduled() {
    let api = Api::new();
    let post = |change: Altered| {
        let mut body = asked();
        change(&mut body);
        refusal(&api.post(JOBS, body.to_string()))
    };
    let cases: [(Altered, u16, &str); 8] = [
        (|body| body["schedule"]["start_time"] = json!("2026-03-02T01:00:00Z"), 400, "invalid-time"),
        (|body| body["environment"] = json!("qa_typo"), 404, "unknown-environment"),
        (|body| body["input"]["scope"] = json!({"nodes": []}), 400, "empty-target"),
        (|body| body["input"]["scope"] = json!({"query": "nodes {}"}), 400, "puppetdb-error"),
        (|body| body["type"] = json!("plan"), 404, "not-offered"),
        (|body| body["schedule"]["interval"]["units"] = json!("days"), 400, "validation-error"),
        (
            |body| body["schedule"] = json!({"calendar": {"zone": "Europe/Nowhere", "at": "02:30"}}),
            400,
            "validation-error",
        ),
        (|body| body["input"] = Value::Null, 400, "validation-error"),
    ];
    for (change, status, kind) in cases {
        assert_eq!(post(change), (status, kind.to_owned()));
    }
    assert_eq!(api.ok(JOBS)["pagination"]["total"], 0);
}

#[test]
fn given_keys_replace_the_old_ones_whole() {
    let api = with_one();
    let one = format!("{JOBS}/1");
    let put = |body: Value| api.put(&one, body.to_string());
    let answer = put(json!({"description": "weekly", "schedule": {
        "start_time": "2126-03-03T00:00:00Z", "calendar": {"zone": "UTC", "at": "02:30", "days": ["fri", "mon"]}}}));
    assert_eq!((answer.status.as_u16(), answer.json()), (200, accepted(1)));
    let shown = api.ok(&one);
    let calendar = json!({"zone": "UTC", "at": "02:30", "days": ["mon", "fri"]});
    assert_eq!(
        shown["schedule"],
        json!({"start_time": "2126-03-03T00:00:00Z", "interval": null, "calendar": calendar})
    );
    assert_eq!((&shown["description"], &shown["userdata"]), (&json!("weekly"), &json!({"ticket": "CHG-1"})));
    assert_eq!(shown["next_run"], json!({"time": "2126-03-04T02:30:00Z"}), "a Monday");
    assert_eq!(shown["input"]["sensitive_parameters"], json!(["token"]));
    assert_eq!(put(json!({"input": {"name": "facter", "scope": {"nodes": ["b"]}, "noop": true}})).status, 200);
    let input = &api.ok(&one)["input"];
    assert_eq!(
        (&input["parameters"], &input["sensitive_parameters"], &input["noop"]),
        (&json!({}), &json!([]), &json!(true))
    );
    refused(&put(json!({"environment": "qa_typo"})), 404, "unknown-environment");
    refused(&put(json!({"type": "deploy"})), 400, "validation-error");
    refused(&put(json!({"schedule": {"start_time": "2026-03-02T01:00:00Z"}})), 400, "invalid-time");
    refused(&api.put(&format!("{JOBS}/9"), "{}"), 404, "unknown-job");
    assert_eq!(put(json!({"enabled": false})).json(), accepted(1));
    let shown = api.ok(&one);
    assert_eq!((&shown["enabled"], &shown["next_run"]), (&json!(false), &Value::Null));
    refused(&put(json!({"enabled": true})), 400, "disabled-scheduled-job");
    let audit = std::fs::read_to_string(api.fake.audit_log()).unwrap();
    assert!(audit.contains("\"changed\":[\"enabled\"]"), "{audit}");
}

#[test]
fn what_came_of_the_last_run() {
    let api = with_one();
    let stored = api.fake.store.schedule(ScheduleId(1)).unwrap().unwrap();
    let slot = stored.schedule.next_run.unwrap();
    let firing = Firing { schedule: ScheduleId(1), revision: stored.revision, slot, then: Some(slot) };
    let error = json!({"kind": "puppetlabs.orchestrator/unknown-task", "msg": "Unknown task facter"});
    let passed = ScheduleChange::Passed { firing, at: slot, error: Some(error.clone()) };
    api.fake.store.commit(vec![Change::Schedule(passed)]).unwrap();
    let time = "2126-03-02T01:00:00Z";
    let failed = json!({"time": time, "job": {"name": "1", "submission_error": error}});
    assert_eq!(api.ok(&format!("{JOBS}/1"))["last_run"], failed);
    let spec = JobSpec::of_task("facter", Scope::Nodes(vec![]), Subject::default());
    let job = NewJob { spec, created: slot, payload: vec![], nodes: vec![], order: vec![], firing: Some(firing) };
    assert_eq!(api.fake.store.create_job(job), Ok(JobId(1)));
    let ran = json!({"time": time, "job": {"id": at("jobs/1"), "name": "1"}});
    assert_eq!(api.ok(&format!("{JOBS}/1"))["last_run"], ran);
}

#[test]
fn the_older_commands_and_paths() {
    let api = Api::new();
    let time = "2126-03-02T01:00:00Z";
    let options = json!({"interval": {"units": "seconds", "value": 60}});
    let task = json!({"environment": "production", "task": "facter", "params": {"fact": "os"},
                      "scope": {"nodes": ["a"]}, "scheduled_time": time, "schedule_options": options});
    let answer = api.post(&format!("{V1}/command/schedule_task"), task.to_string());
    let expected = json!({"scheduled_job": {"id": at("scheduled_jobs/1"), "name": "1"}});
    assert_eq!((answer.status.as_u16(), answer.json()), (202, expected));
    let shown = api.ok(&format!("{JOBS}/1"));
    assert_eq!(shown["input"]["parameters"], json!({"fact": {"value": "os"}}));
    assert_eq!(shown["schedule"]["interval"]["value"], 60);
    let deploy =
        json!({"environment": "production", "scope": {"nodes": ["a"]}, "scheduled_time": "2026-03-02T01:00:00Z"});
    let answer = api.post(&format!("{V1}/command/schedule_deploy"), deploy.to_string());
    refused(&answer, 400, "invalid-time");
    refused(&api.post(&format!("{V1}/command/schedule_plan"), "{}"), 404, "not-offered");
    assert_eq!(api.ok(&format!("{V1}/scheduled_jobs"))["items"].as_array().unwrap().len(), 1);
    let delete = |id: &str| {
        let path = format!("{V1}/scheduled_jobs/{id}");
        api.send(Request::delete(path).header("X-Authentication", TOKEN).body(Body::empty()).unwrap())
    };
    let answer = delete("1");
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    assert_eq!(api.ok(&format!("{V1}/scheduled_jobs")), json!({"items": []}));
    refused(&delete("9"), 404, "unknown-job");
    refused(&delete("1"), 400, "disabled-scheduled-job");
}

#[test]
fn use_by_day() {
    let api = Api::new();
    for (day, nodes) in [(20_513, 2), (20_514, 1)] {
        let names = (0..nodes).map(|number| format!("n{number}")).collect();
        let day_of = UsageDay { day, corrective: 1, intentional: 4, task_nodes: 7, ..UsageDay::default() };
        let changes = [UsageChange::Seen { day, names }, UsageChange::Counted(day_of)];
        api.fake.store.commit(changes.into_iter().map(Change::Usage).collect()).unwrap();
    }
    let item = |date: &str, nodes: u32| {
        json!({"date": date, "total_nodes": nodes, "nodes_with_agent": nodes, "nodes_without_agent": 0,
               "corrective_agent_changes": 1, "intentional_agent_changes": 4, "nodes_affected_by_task_runs": 7,
               "nodes_affected_by_plan_runs": 0})
    };
    let usage = |query: &str| api.ok(&format!("{V1}/usage?{query}"));
    let (first, last) = ("2026-03-01", "2026-03-02");
    let pagination = json!({"start_date": first, "end_date": last});
    let both = json!({"items": [item(first, 2), item(last, 1)], "pagination": pagination});
    assert_eq!(usage("start_date=2026-03-01&end_date=2026-03-02"), both);
    assert_eq!(usage("end_date=2026-03-02"), both);
    assert_eq!(usage("start_date=2026-03-02&events=include")["items"], json!([item(last, 1)]));
    let bare = json!({"date": first, "total_nodes": 2, "nodes_with_agent": 2, "nodes_without_agent": 0});
    assert_eq!(usage("end_date=2026-03-01&events=exclude")["items"], json!([bare]));
    let bad = [
        "start_date=2026-3-1",
        "end_date=x",
        "events=some",
        "start_date=2026-03-02&end_date=2026-03-01",
        "start_date=2026-02-30",
    ];
    for bad in bad {
        refused(&api.get(&format!("{V1}/usage?{bad}")), 400, "validation-error");
    }
}
