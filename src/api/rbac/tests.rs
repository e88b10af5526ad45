//! Golden bodies of `/rbac-api`, who is let through the gate, and what the audit log says of it.

use axum::body::Body;
use axum::extract::Request;
use serde_json::{Value, json};

use crate::api::fake::{LOGIN, TOKEN};
use crate::api::tests::{Answer, Api};
use crate::limits::LOGIN_FAILURES_MAX;
use crate::orchestrator::model::Subject;
use crate::orchestrator::rbac::permission::{Action, EVERY, Grant};
use crate::orchestrator::rbac::roles::Role;
use crate::orchestrator::rbac::users::{RoleFields, UserFields};
use crate::orchestrator::rbac::{Rbac, TokenRequest};

const ADA: &str = "2f6c1a52-7f6d-4d5c-8b43-0d0f8f0b1a11";

/// Somebody with a token.
struct Who {
    token: String,
    id: String,
}

fn rbac(api: &Api) -> &Rbac {
    use crate::api::Backend;
    api.fake.rbac()
}

fn root(api: &Api) -> Subject {
    let admin = rbac(api).user_by_login("admin").unwrap().unwrap();
    crate::orchestrator::rbac::subject(admin)
}

fn admin(api: &Api) -> Who {
    let root = root(api);
    Who { token: rbac(api).issue_token(&root, &TokenRequest::default()).unwrap(), id: root.id }
}

/// A new user with exactly these permissions.
fn user(api: &Api, login: &str, permissions: Vec<Grant>) -> Who {
    let root = root(api);
    let role = RoleFields { display_name: format!("role of {login}"), permissions, ..RoleFields::default() };
    let Role { id, .. } = rbac(api).add_role(&root, role).unwrap();
    let fields =
        UserFields { login: login.into(), display_name: login.into(), email: String::new(), role_ids: vec![id] };
    let user = rbac(api).add_user(&root, fields, Some("correct horse")).unwrap();
    let token = rbac(api).login(login, "correct horse", &TokenRequest::default()).unwrap();
    Who { token, id: user.id }
}

fn send(api: &Api, who: &Who, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).header("X-Authentication", &who.token);
    api.send(request.body(body).unwrap())
}

fn kind(answer: &Answer) -> (u16, String) {
    let kind = answer.json()["kind"].as_str().unwrap().strip_prefix("puppetlabs.").unwrap().to_owned();
    (answer.status.as_u16(), kind)
}

fn audited(api: &Api) -> Vec<Value> {
    let text = std::fs::read_to_string(api.fake.audit_log()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_not_permitted_is_refused_before_it_is_read() {
    let api = Api::new();
    let (nobody, viewer) =
        (user(&api, "nobody", vec![]), user(&api, "viewer", vec![Grant::new(Action::OrchestratorView, EVERY)]));
    let task = json!({"task": "facter", "params": {}, "scope": {"nodes": ["a"]}});
    for (who, method, path, body, expected) in [
        (&nobody, "GET", "/orchestrator/v1/jobs", Value::Null, 403),
        (&nobody, "GET", "/orchestrator/v1/jobs/82/nodes", Value::Null, 403),
        (&nobody, "HEAD", "/orchestrator/v1/inventory", Value::Null, 403),
        (&nobody, "GET", "/orchestrator/v1/tasks", Value::Null, 200),
        (&nobody, "GET", "/rbac-api/v1/users/current", Value::Null, 200),
        (&viewer, "GET", "/orchestrator/v1/jobs", Value::Null, 200),
        (&viewer, "POST", "/orchestrator/v1/command/task", task.clone(), 403),
        (&viewer, "POST", "/orchestrator/v1/command/task", json!("no object"), 403),
        (&viewer, "POST", "/rbac-api/v1/users", json!({}), 403),
    ] {
        assert_eq!(send(&api, who, method, path, body).status, expected, "{method} {path}");
    }
    let refused = send(&api, &viewer, "POST", "/orchestrator/v1/command/task", task);
    assert_eq!(
        refused.json(),
        json!({
            "kind": "puppetlabs.orchestrator/not-permitted",
            "msg": "You are not permitted to do this: it needs the permission tasks:run:*, which none of your roles gives.",
            "details": {"permission": {"object_type": "tasks", "action": "run", "instance": "*"}},
        })
    );
    assert_eq!(api.fake.commands().len(), 0);
    let permitted = |who: &Who| {
        send(&api, who, "GET", "/orchestrator/v1/tasks", Value::Null).json()["items"][0]["permitted"].clone()
    };
    let runner = user(&api, "runner", vec![Grant::new(Action::TasksRun, "facter")]);
    assert_eq!((permitted(&viewer), permitted(&runner)), (json!(false), json!(true)));
    let refused = send(&api, &viewer, "POST", "/rbac-api/v1/roles", json!({}));
    assert_eq!(kind(&refused), (403, "rbac/permission-denied".into()));
}

#[test]
fn a_listed_certificate_needs_no_token_and_a_token_says_more() {
    let mut api = Api::new();
    api.certificate = Some("console.example.com".into());
    assert_eq!(api.get_bare("/orchestrator/v1/jobs").status, 401);
    std::fs::write(api.fake.allowlist(), "console.example.com\n").unwrap();
    rbac(&api).allowlist().reload();
    assert_eq!(api.get_bare("/orchestrator/v1/jobs").status, 200);
    let current = api.get_bare("/rbac-api/v1/users/current").json();
    assert_eq!((&current["login"], &current["is_superuser"]), (&json!("api_user"), &json!(true)));
    assert_eq!(api.ok("/rbac-api/v1/users/current")["login"], LOGIN.0);
    let request = Request::get("/orchestrator/v1/jobs").header("X-Authentication", "revoked");
    assert_eq!(api.send(request.body(Body::empty()).unwrap()).status, 401, "a bad token is not made good");
    let refused = api.send(Request::post("/rbac-api/v1/tokens").body(Body::empty()).unwrap());
    assert_eq!(kind(&refused), (409, "rbac/conflict".into()));
    api.certificate = Some("console.example.com.evil".into());
    assert_eq!(api.get_bare("/orchestrator/v1/jobs").status, 401);
}

#[test]
fn tokens_are_shown_whole() {
    let api = Api::new();
    let ask = |body: Value| {
        let request = Request::post("/rbac-api/v2/auth/token/authenticate").body(Body::from(body.to_string())).unwrap();
        api.send(request)
    };
    // Before one is issued, which removes what is long out of use.
    for (token, status, word) in
        [("nonsense", 400, "invalid-token"), ("expired", 403, "token-expired"), ("revoked", 403, "token-revoked")]
    {
        assert_eq!(kind(&ask(json!({"token": token}))), (status, format!("rbac/{word}")));
    }
    let issued = api.post("/rbac-api/v1/tokens", json!({"label": "ci", "client": "curl", "timeout": "5m"}).to_string());
    let token = issued.json()["token"].as_str().unwrap().to_owned();
    let mut shown = ask(json!({"token": token, "update_last_activity?": true})).json();
    for time in ["creation", "expiration", "last_active"] {
        let at = shown[time].take();
        assert!(at.as_str().unwrap().ends_with('Z'), "{time} {at}");
    }
    assert_eq!(
        shown,
        json!({
            "id": ADA, "user_id": ADA, "login": "ada", "display_name": "Ada", "email": "ada@example.com",
            "is_superuser": false, "is_remote": false, "is_revoked": false, "is_group": false, "role_ids": [2],
            "last_login": "2026-03-01T09:00:00.000Z", "creation": null, "expiration": null, "last_active": null,
            "timeout": 300, "client": "curl", "label": "ci", "description": "",
        })
    );
    assert_eq!(kind(&ask(json!({}))), (400, "rbac/schema-violation".into()));
    let again = api.post("/rbac-api/v1/tokens", json!({"label": "ci"}).to_string());
    assert_eq!(kind(&again), (409, "rbac/conflict".into()));
}

#[test]
fn tokens_are_revoked_by_whoever_may() {
    let api = Api::new();
    let (ada, bob) = (Who { token: TOKEN.into(), id: ADA.into() }, user(&api, "bob", vec![]));
    let path = "/rbac-api/v2/tokens";
    let answer = send(&api, &bob, "DELETE", path, json!({"revoke_tokens_by_usernames": ["ada", "zoe"], "x": 1}));
    assert_eq!(
        (answer.status.as_u16(), answer.json()["details"].clone()),
        (
            403,
            json!({
                "permission_denied_usernames": ["ada"], "nonexistent_usernames": ["zoe"],
                "unrecognized_parameters": ["x"], "other_tokens_revoked": false,
            })
        )
    );
    assert_eq!(kind(&send(&api, &bob, "DELETE", path, Value::Null)), (400, "rbac/schema-violation".into()));
    let labelled = send(&api, &bob, "POST", "/rbac-api/v1/tokens", json!({"label": "ci"})).json();
    let labelled = Who { token: labelled["token"].as_str().unwrap().into(), id: bob.id.clone() };
    assert_eq!(
        send(&api, &bob, "DELETE", &format!("{path}?revoke_tokens_by_labels=ci,other"), Value::Null).status,
        204
    );
    assert_eq!(kind(&send(&api, &labelled, "GET", "/rbac-api/v1/users", Value::Null)).1, "rbac/token-revoked");
    // Whoever has the text of a token may revoke it, and once more.
    for _ in 0..2 {
        assert_eq!(send(&api, &ada, "DELETE", path, json!({"revoke_tokens": [bob.token]})).status, 204);
    }
    assert_eq!(send(&api, &bob, "GET", "/rbac-api/v1/users", Value::Null).status, 401);
    let own = send(&api, &ada, "DELETE", &format!("{path}/{}", bob.token), Value::Null);
    assert_eq!(kind(&own), (403, "rbac/permission-denied".into()));
    let admin = admin(&api);
    assert_eq!(send(&api, &admin, "DELETE", &format!("{path}?revoke_tokens_by_ids={ADA}"), Value::Null).status, 204);
    assert_eq!(api.get("/orchestrator/v1/jobs").status, 401);
    assert_eq!(send(&api, &admin, "DELETE", &format!("{path}/{}", admin.token), Value::Null).status, 204);
    assert_eq!(send(&api, &admin, "GET", "/rbac-api/v1/users", Value::Null).status, 401);
}

#[test]
fn users_come_change_and_go() {
    let api = Api::new();
    let admin = admin(&api);
    let new =
        json!({"login": "bob", "display_name": "Bob", "email": "b@x", "role_ids": [3], "password": "correct horse"});
    let made = send(&api, &admin, "POST", "/rbac-api/v1/users", new.clone());
    let mut bob = made.json();
    let id = bob["id"].as_str().unwrap().to_owned();
    assert_eq!((made.status.as_u16(), made.location.as_str()), (201, format!("/rbac-api/v1/users/{id}").as_str()));
    let expected = json!({
        "id": id, "login": "bob", "display_name": "Bob", "email": "b@x", "role_ids": [3], "inherited_role_ids": [],
        "group_ids": [], "is_group": false, "is_remote": false, "is_superuser": false, "is_revoked": false,
        "is_locked": false, "last_login": null,
    });
    assert_eq!(bob, expected);
    assert_eq!(kind(&send(&api, &admin, "POST", "/rbac-api/v1/users", new)), (409, "rbac/conflict".into()));
    let path = format!("/rbac-api/v1/users/{id}");
    bob["is_revoked"] = json!(true);
    bob["role_ids"] = json!([2, 3]);
    let edited = send(&api, &admin, "PUT", &path, bob.clone());
    assert_eq!((edited.status.as_u16(), edited.json()), (200, bob.clone()));
    assert_eq!(send(&api, &admin, "GET", &path, Value::Null).json(), bob);
    bob["id"] = json!(ADA);
    assert_eq!(kind(&send(&api, &admin, "PUT", &path, bob)), (400, "rbac/inconsistent-id".into()));
    let listed = send(&api, &admin, "GET", &format!("/rbac-api/v1/users?id={id},{ADA}"), Value::Null).json();
    let logins: Vec<&str> = listed.as_array().unwrap().iter().map(|user| user["login"].as_str().unwrap()).collect();
    assert_eq!(logins, ["ada", "bob"]);
    assert_eq!(send(&api, &admin, "DELETE", &path, Value::Null).status, 204);
    assert_eq!(kind(&send(&api, &admin, "DELETE", &path, Value::Null)), (404, "rbac/not-found".into()));
    assert_eq!(
        kind(&send(&api, &admin, "GET", "/rbac-api/v1/users/x", Value::Null)),
        (400, "rbac/invalid-uuid".into())
    );
    let first = format!("/rbac-api/v1/users/{}", admin.id);
    assert_eq!(kind(&send(&api, &admin, "DELETE", &first, Value::Null)), (403, "rbac/admin-user-immutable".into()));
}

#[test]
fn roles_come_change_and_go() {
    let api = Api::new();
    let admin = admin(&api);
    let permissions =
        json!([{"object_type": "tasks", "action": "run", "instance": "package", "scope": {"node_group": "g"}}]);
    let mut role =
        json!({"display_name": "Packagers", "description": "", "permissions": permissions, "user_ids": [ADA]});
    let made = send(&api, &admin, "POST", "/rbac-api/v1/roles", role.clone());
    assert_eq!((made.status.as_u16(), made.location.as_str()), (201, "/rbac-api/v1/roles/6"), "{}", made.text);
    role["id"] = json!(6);
    role["group_ids"] = json!([]);
    assert_eq!(made.json(), role);
    assert_eq!(send(&api, &admin, "GET", "/rbac-api/v1/users/current", Value::Null).status, 200);
    role["user_ids"] = json!([]);
    role["description"] = json!("d");
    assert_eq!(send(&api, &admin, "PUT", "/rbac-api/v1/roles/6", role.clone()).json(), role);
    let ids =
        |answer: Value| answer.as_array().unwrap().iter().map(|role| role["id"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(send(&api, &admin, "GET", "/rbac-api/v1/roles", Value::Null).json()), [1, 2, 3, 4, 5, 6]);
    role["permissions"] = json!([{"object_type": "tasks", "action": "fly", "instance": "*"}]);
    let refused = send(&api, &admin, "PUT", "/rbac-api/v1/roles/6", role);
    assert_eq!(kind(&refused), (400, "rbac/schema-violation".into()));
    assert_eq!(send(&api, &admin, "DELETE", "/rbac-api/v1/roles/6", Value::Null).status, 204);
    assert_eq!(kind(&send(&api, &admin, "GET", "/rbac-api/v1/roles/6", Value::Null)).0, 404);
    assert_eq!(kind(&send(&api, &admin, "GET", "/rbac-api/v1/roles/x", Value::Null)).0, 400);
}

#[test]
fn a_lock_out_is_ended_by_whoever_may() {
    let api = Api::new();
    let (admin, bob) = (admin(&api), user(&api, "bob", vec![]));
    let wanted = TokenRequest::default();
    let lock = || (0..10).for_each(|_| assert!(rbac(&api).login("bob", "guess", &wanted).is_err()));
    let path = format!("/rbac-api/v1/users/{}", bob.id);
    let get = || send(&api, &admin, "GET", &path, Value::Null).json();
    lock();
    let mut shown = get();
    assert_eq!(shown["is_locked"], json!(true));
    assert_eq!(send(&api, &admin, "PUT", &path, shown.clone()).json()["is_locked"], json!(true), "as it was");
    shown["is_locked"] = json!(false);
    assert_eq!(kind(&send(&api, &bob, "PUT", &path, shown.clone())).0, 403, "nobody lets himself in");
    assert_eq!(send(&api, &admin, "PUT", &path, shown.clone()).json()["is_locked"], json!(false));
    assert!(rbac(&api).login("bob", "correct horse", &wanted).is_ok());
    lock();
    shown.as_object_mut().unwrap().remove("is_locked");
    assert_eq!(send(&api, &admin, "PUT", &path, shown).json()["is_locked"], json!(false));
    lock();
    let request = Request::post("/rbac-api/v1/auth/token");
    let body = json!({"login": "bob", "password": "correct horse"}).to_string();
    let answer = api.send(request.body(Body::from(body)).unwrap());
    let expected = json!({
        "kind": "puppetlabs.rbac/user-unauthenticated", "msg": "The provided login and password do not match.",
    });
    assert_eq!((answer.status.as_u16(), answer.json()), (401, expected));
    assert_eq!(audited(&api).last().unwrap()["details"], json!({"login": "bob", "locked": true}));
}

#[test]
fn what_is_permitted_can_be_asked() {
    let api = Api::new();
    let permission =
        |kind: &str, action: &str, instance: &str| json!({"object_type": kind, "action": action, "instance": instance});
    let asked =
        [permission("puppet_agent", "run", "*"), permission("users", "create", "*"), permission("no", "such", "*")];
    let answer = api.post("/rbac-api/v1/permitted", json!({"token": ADA, "permissions": asked}).to_string());
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!([true, false, false])));
    assert_eq!(api.ok("/rbac-api/v1/permitted/tasks/run"), json!(["*"]));
    assert_eq!(api.ok(&format!("/rbac-api/v1/permitted/users/create/{ADA}")), json!([]));
    assert_eq!(kind(&api.get("/rbac-api/v1/permitted/no/such")), (404, "rbac/not-found".into()));
    assert_eq!(api.get("/rbac-api/v1/permitted/tasks/run/00000000-0000-4000-8000-000000000000").status, 404);
    let types = api.ok("/rbac-api/v1/types");
    let tasks = types.as_array().unwrap().iter().find(|kind| kind["object_type"] == "tasks").unwrap();
    let expected =
        json!([{"name": "run", "display_name": "Run tasks", "description": "Run tasks", "has_instances": true}]);
    assert_eq!(tasks["actions"], expected);
}

#[test]
fn passwords_are_changed_and_reset() {
    let api = Api::new();
    let (admin, bob) = (admin(&api), user(&api, "bob", vec![]));
    let change = |current: &str, new: &str| {
        let body = json!({"current_password": current, "password": new});
        send(&api, &bob, "PUT", "/rbac-api/v1/users/current/password", body)
    };
    assert_eq!(kind(&change("wrong", "another horse")), (401, "rbac/user-unauthenticated".into()));
    assert_eq!(kind(&change("correct horse", "short")), (400, "rbac/schema-violation".into()));
    assert_eq!(change("correct horse", "another horse").status, 204);
    let reset = format!("/rbac-api/v1/users/{}/password/reset", bob.id);
    assert_eq!(send(&api, &bob, "POST", &reset, Value::Null).status, 403);
    let offered = send(&api, &admin, "POST", &reset, Value::Null);
    assert_eq!((offered.status.as_u16(), offered.text.len()), (201, 64));
    let take = |token: &str| {
        let body = json!({"token": token, "password": "third horse"}).to_string();
        api.send(Request::post("/rbac-api/v1/auth/reset").body(Body::from(body)).unwrap()).status.as_u16()
    };
    assert_eq!((take("guess"), take(&offered.text), take(&offered.text)), (403, 200, 403));
    for _ in 0..LOGIN_FAILURES_MAX {
        api.shared.logins.failed("192.0.2.7".parse().unwrap(), api.shared.clock.now());
    }
    assert_eq!(take("guess"), 429, "it is guessing like any other");
    assert!(rbac(&api).login("bob", "third horse", &TokenRequest::default()).is_ok());
}

#[test]
fn an_offer_of_a_password_ends_with_what_the_user_was() {
    let api = Api::new();
    let admin = admin(&api);
    for (login, key, value) in [("revoked", "is_revoked", json!(true)), ("promoted", "role_ids", json!([1]))] {
        let somebody = user(&api, login, vec![]);
        let path = format!("/rbac-api/v1/users/{}", somebody.id);
        let offered = send(&api, &admin, "POST", &format!("{path}/password/reset"), Value::Null);
        assert_eq!(offered.status, 201);
        let mut whole = send(&api, &admin, "GET", &path, Value::Null).json();
        whole[key] = value;
        let changed = send(&api, &admin, "PUT", &path, whole);
        assert_eq!(changed.status, 200, "{}", changed.text);
        let body = json!({"token": offered.text, "password": "third horse"}).to_string();
        let taken = api.send(Request::post("/rbac-api/v1/auth/reset").body(Body::from(body)).unwrap());
        assert_eq!(taken.status, 403, "{login}");
    }
    assert!(rbac(&api).login("revoked", "third horse", &TokenRequest::default()).is_err());
}

#[test]
fn the_audit_log_says_who_asked_for_what_and_keeps_secrets() {
    let api = Api::new();
    let command = json!({"task": "facter", "params": {"password": "hush-hush"}, "scope": {"nodes": ["a", "b"]}});
    assert_eq!(api.post("/orchestrator/v1/command/task", command.to_string()).status, 202);
    assert_eq!(api.get("/orchestrator/v1/jobs").status, 200);
    for (login, password) in [LOGIN, (LOGIN.0, "guess-work"), ("pass-word", "guess-work")] {
        let body = json!({"login": login, "password": password}).to_string();
        api.send(Request::post("/rbac-api/v1/auth/token").body(Body::from(body)).unwrap());
    }
    api.send(Request::post("/orchestrator/v1/command/task").body(Body::empty()).unwrap());
    api.post("/rbac-api/v1/users", json!({"login": "x", "password": "hush-hush"}).to_string());
    let admin = admin(&api);
    assert_eq!(send(&api, &admin, "DELETE", &format!("/rbac-api/v2/tokens/{TOKEN}"), Value::Null).status, 204);
    let lines = audited(&api);
    let shown: Vec<Value> = lines
        .iter()
        .map(|line| json!([line["subject"], line["request"], line["outcome"], line["kind"], line["details"]]))
        .collect();
    let command = "POST /orchestrator/v1/command/task";
    let login = "POST /rbac-api/v1/auth/token";
    let about =
        json!({"job": "83", "task": "facter", "environment": "production", "scope": {"nodes": ["a", "b"], "count": 2}});
    assert_eq!(
        shown,
        [
            json!(["ada", command, "accepted", null, about]),
            json!([null, login, "accepted", null, {"login": "ada"}]),
            json!([null, login, "refused", "puppetlabs.rbac/user-unauthenticated", {"login": "ada"}]),
            json!([null, login, "refused", "puppetlabs.rbac/user-unauthenticated", {"login": null}]),
            json!(["ada", "POST /rbac-api/v1/users", "refused", "puppetlabs.rbac/permission-denied", null]),
            json!(["admin", "DELETE /rbac-api/v2/tokens/{token}", "accepted", null, {"revoked": ["a token of ada"]}]),
        ]
    );
    assert_eq!(lines[0]["remote"], "192.0.2.7:4711");
    let text = std::fs::read_to_string(api.fake.audit_log()).unwrap();
    for secret in [TOKEN, &admin.token, LOGIN.1, "hush-hush", "guess-work", "pass-word"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}
