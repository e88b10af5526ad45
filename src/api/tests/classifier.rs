//! The classifier's endpoints and task targets, compared whole.

use axum::body::Body;
use axum::extract::Request;
use serde_json::{Value, json};

use super::{Answer, Api};
use crate::api::fake::TOKEN;

const ROOT: &str = "00000000-0000-4000-8000-000000000000";
const GROUPS: &str = "/classifier-api/v1/groups";
const ID: &str = "58463036-0efa-4365-b367-b5401c0711d3";

fn put(api: &Api, path: &str, body: &Value) -> Answer {
    api.send(Request::put(path).header("X-Authentication", TOKEN).body(Body::from(body.to_string())).unwrap())
}

fn delete(api: &Api, path: &str) -> Answer {
    api.send(Request::delete(path).header("X-Authentication", TOKEN).body(Body::empty()).unwrap())
}

/// Without the time, after a look at it.
fn timeless(mut group: Value) -> Value {
    let edited = group.as_object_mut().unwrap().remove("last_edited").unwrap();
    assert!(edited.as_str().unwrap().ends_with('Z'), "{edited}");
    group
}

#[test]
fn a_group_lives() {
    let api = Api::new();
    let root = json!({
        "id": ROOT, "name": "All Nodes", "environment": "production", "environment_trumps": false, "parent": ROOT,
        "rule": ["and", ["~", "name", ".*"]], "classes": {}, "config_data": {}, "variables": {}, "last_edited": "",
        "serial_number": 0,
    });
    assert_eq!(api.ok(GROUPS), json!([root]));
    let body = json!({
        "name": "Webservers", "parent": ROOT, "rule": ["=", ["fact", "kernel"], "Linux"], "description": "d",
        "classes": {"apache": {"port": 80}}, "variables": {"x": [1]},
    });
    let path = format!("{GROUPS}/{ID}");
    let made = put(&api, &path, &body);
    assert_eq!(made.status, 201, "{}", made.text);
    let mut expected = json!({
        "id": ID, "name": "Webservers", "description": "d", "environment": "production", "environment_trumps": false,
        "parent": ROOT, "rule": ["=", ["fact", "kernel"], "Linux"], "classes": {"apache": {"port": 80}},
        "config_data": {}, "variables": {"x": [1]}, "serial_number": 1,
    });
    assert_eq!(timeless(made.json()), expected);
    assert_eq!(put(&api, &path, &body).status, 200);
    let changed = api.post(&path, json!({"environment": "dev", "variables": {"x": null}}).to_string());
    (expected["environment"], expected["variables"], expected["serial_number"]) = (json!("dev"), json!({}), json!(2));
    assert_eq!((changed.status.as_u16(), timeless(changed.json())), (200, expected.clone()));
    assert_eq!(timeless(api.ok(&path)), expected);
    let rules = json!({
        "rule": ["=", ["fact", "kernel"], "Linux"],
        "rule_with_inherited": ["and", ["=", ["fact", "kernel"], "Linux"], ["and", ["~", "name", ".*"]]],
        "translated": {
            "nodes_query_format": ["and", ["=", ["fact", "kernel"], "Linux"], ["and", ["~", "certname", ".*"]]],
            "inventory_query_format": ["and", ["=", "facts.kernel", "Linux"], ["and", ["~", "certname", ".*"]]],
        },
    });
    assert_eq!(api.ok(&format!("{path}/rules")), rules);
    let environments = json!([{"name": "dev", "sync_succeeded": true}, {"name": "production", "sync_succeeded": true}]);
    assert_eq!(api.ok("/classifier-api/v1/environments"), environments);
    assert_eq!(api.ok("/classifier-api/v1/environments/dev"), environments[0]);
    let gone = delete(&api, &path);
    assert_eq!((gone.status.as_u16(), gone.text.as_str()), (204, ""));
    assert_eq!(
        (api.get(&path).status.as_u16(), api.get(&path).json()),
        (404, json!({"kind": "not-found", "msg": "The resource could not be found", "details": path}))
    );
}

#[test]
fn a_created_group_is_found_elsewhere_and_inherits() {
    let api = Api::new();
    api.post(&format!("{GROUPS}/{ROOT}"), json!({"classes": {"base": {}}}).to_string());
    let body = json!({"name": "a", "parent": ROOT, "classes": {}});
    let request = Request::post(GROUPS).header("X-Authentication", TOKEN).body(Body::from(body.to_string())).unwrap();
    let (status, location) = api.location(request);
    assert_eq!(status, 303);
    let group = api.ok(&location);
    assert_eq!((&group["name"], &group["classes"], &group["rule"]), (&json!("a"), &json!({}), &Value::Null));
    let inherited = api.ok(&format!("{GROUPS}?inherited=1"));
    assert!(inherited.as_array().unwrap().iter().all(|group| group["classes"] == json!({"base": {}})));
    assert_eq!(api.ok(&format!("{GROUPS}?inherited=0"))[1]["classes"], json!({}));
}

#[test]
fn nodes_are_classified() {
    let api = Api::new();
    put(
        &api,
        &format!("{GROUPS}/{ID}"),
        &json!({"name": "a", "parent": ROOT, "environment": "dev", "rule": ["=", ["fact", "os", "family"], "RedHat"],
                "classes": {"apache": {"port": 80}}, "variables": {"x": 1}}),
    );
    let path = "/classifier-api/v1/classified/nodes/web1.example.com";
    let answer = api.post(path, json!({"fact": {"os": {"family": "RedHat"}}}).to_string());
    let expected = json!({
        "name": "web1.example.com", "groups": [ROOT, ID], "environment": "dev", "classes": {"apache": {"port": 80}},
        "parameters": {"x": 1},
    });
    assert_eq!((answer.status.as_u16(), answer.json()), (200, expected));
    assert_eq!(api.post(path, "").json()["groups"], json!([ROOT]));
    let translated = api.post("/classifier-api/v1/rules/translate?format=inventory", r#"["~", "name", "^a"]"#);
    assert_eq!((translated.status.as_u16(), translated.json()), (200, json!(["~", "certname", "^a"])));
}

#[test]
fn the_classifier_refuses_in_its_own_shape() {
    let api = Api::new();
    let refused = |answer: Answer| (answer.status.as_u16(), answer.json());
    assert_eq!(api.get_bare(GROUPS).status, 401);
    assert_eq!(
        refused(api.get(&format!("{GROUPS}/web"))),
        (400, json!({"kind": "malformed-uuid", "msg": "\"web\" is not a UUID.", "details": "web"}))
    );
    let (status, body) = refused(api.post(GROUPS, "{\"name\""));
    assert_eq!(
        (status, &body["kind"], &body["details"]["body"]),
        (400, &json!("malformed-request"), &json!("{\"name\""))
    );
    let (status, body) = refused(api.post(GROUPS, r#"{"name": "a", "parent": 1, "classes": {}}"#));
    assert_eq!((status, &body["kind"]), (400, &json!("schema-violation")));
    assert_eq!(body["details"]["error"], "the key parent must be a UUID");
    assert_eq!(body["details"]["submitted"], json!({"name": "a", "parent": 1, "classes": {}}));
    assert_eq!(body["details"]["schema"]["parent"], "a UUID");
    let (status, body) =
        refused(api.post(GROUPS, json!({"name": "All Nodes", "parent": ROOT, "classes": {}}).to_string()));
    assert_eq!((status, &body["kind"]), (422, &json!("uniqueness-violation")));
    let rule = json!(["=", ["trusted", "certname"], "a"]);
    let (status, body) = refused(api.post("/classifier-api/v1/rules/translate", rule.to_string()));
    assert_eq!((status, &body["kind"], &body["details"]), (422, &json!("untranslatable-rule"), &rule));
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(refused(api.post("/classifier-api/v1/rules/translate", deep)).1["kind"], "malformed-request");
    assert_eq!(refused(api.get("/classifier-api/v1/environments/nosuch")).0, 404);
    assert_eq!(api.get("/classifier-api/v1/classes").status, 404);
}

#[test]
fn task_targets() {
    let api = Api::new();
    let at = |id: u8| format!("https://orch.example.com:8143/orchestrator/v1/scopes/task_targets/{id}");
    let create = |body: Value| api.post("/orchestrator/v1/command/task_target", body.to_string());
    let query = "nodes[certname] { certname ~ \"^web\" }";
    let answer = create(json!({
        "display_name": "web restart", "tasks": ["service"], "nodes": [], "node_groups": [ID], "pql_query": query,
    }));
    let expected = json!({"task_target": {"id": at(1), "name": "1"}});
    assert_eq!((answer.status.as_u16(), answer.json()), (200, expected));
    let all = json!({"display_name": "all", "tasks": ["x"], "all_tasks": true, "nodes": ["a"], "node_groups": []});
    assert_eq!(create(all).json()["task_target"]["name"], "2");
    let first = json!({
        "id": at(1), "name": "1", "display_name": "web restart", "tasks": ["service"], "all_tasks": false, "nodes": [],
        "node_groups": [ID], "pql_query": query,
    });
    let second =
        json!({"id": at(2), "name": "2", "display_name": "all", "all_tasks": true, "nodes": ["a"], "node_groups": []});
    assert_eq!(api.ok("/orchestrator/v1/scopes/task_targets"), json!({"items": [first, second]}));
    assert_eq!(api.ok("/orchestrator/v1/scopes/task_targets/1"), first);
    let unknown = json!({
        "kind": "puppetlabs.orchestrator/unknown-task-target", "msg": "Unknown task target 3", "details": {"task_target": "3"},
    });
    let answer = api.get("/orchestrator/v1/scopes/task_targets/3");
    assert_eq!((answer.status.as_u16(), answer.json()), (404, unknown));
    assert_eq!(api.get("/orchestrator/v1/scopes/task_targets/x").status, 400);
    for (body, message) in [
        (json!({}), "The required key display_name is missing."),
        (json!({"display_name": " "}), "display_name must not be empty."),
        (json!({"display_name": "a"}), "Either tasks must name tasks, or all_tasks must be true."),
        (json!({"display_name": "a", "all_tasks": 1}), "all_tasks must be a boolean, not a number."),
        (json!({"display_name": "a", "tasks": "x"}), "tasks must be an array of strings, not a string."),
        (json!({"display_name": "a", "tasks": []}), "The required key nodes is missing."),
        (json!({"display_name": "a", "tasks": [], "nodes": []}), "The required key node_groups is missing."),
        (
            json!({"display_name": "a", "tasks": [], "nodes": [], "node_groups": [], "pql_query": []}),
            "pql_query must be a string, not an array.",
        ),
    ] {
        let answer = create(body);
        assert_eq!((answer.status.as_u16(), &answer.json()["msg"]), (400, &json!(message)));
    }
}

#[test]
fn whoever_asks_here_for_groups_that_are_elsewhere_learns_where() {
    let api = Api::new();
    api.fake.classifier_url.set("https://c:4433/classifier-api".into()).unwrap();
    for answer in [api.get(GROUPS), put(&api, &format!("{GROUPS}/{ID}"), &json!({"name": "a"}))] {
        let said = answer.json();
        assert_eq!((answer.status.as_u16(), &said["kind"]), (404, &json!("not-found")));
        assert_eq!(said["msg"], "Node groups are not kept here but at https://c:4433/classifier-api: ask there.");
    }
}
