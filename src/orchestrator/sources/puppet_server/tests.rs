//! Puppet Server's answers, as a real one (7.9) gives them, and everything that can come in their place.

use serde_json::json;

use super::super::fake_service::{Case, Fake, closed_port, identity, settings};
use super::super::{RunnableTask, Source};
use super::*;
use crate::https::testing::Reply;
use crate::tls::testing::Pki;

const DETAIL: &str = "/puppet/v3/tasks/demo/hello?environment=production";

/// What Puppet Server answers to requests for this path; for any other it says so.
fn answering(path: &'static str, reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Fake, PuppetServer) {
    let fake = Fake::new(move |received| match (received.method.as_str(), received.path.as_str()) {
        ("GET", asked) if asked == path => reply(),
        (method, asked) => Reply::of(500, format!("{method} {asked} was not expected")),
    });
    let server = PuppetServer::new(fake.settings(), fake.identity());
    (fake, server)
}

fn detail(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Result<(TaskDetail, TaskMetadata), Refusal> {
    let (_fake, server) = answering(DETAIL, reply);
    server.task("production", "demo", "hello")
}

fn hello(metadata: Value) -> Value {
    json!({
        "metadata": metadata, "name": "demo::hello",
        "files": [{"filename": "hello.sh", "sha256": "ab".repeat(32), "size_bytes": 74, "uri": {
            "path": "/puppet/v3/static_file_content/modules/demo/tasks/hello.sh",
            "params": {"environment": "production", "code_id": "urn:code-id:1:deadbeef_production"}}}],
    })
}

#[test]
fn environments_have_their_settings() {
    let body = r#"{"search_paths":["file:///etc/puppet/code/environments"],"environments":{
        "staging":{"settings":{"manifest":"/s"}},"production":{"settings":{"modulepath":["/m"],"environment_timeout":0}}}}"#;
    let (_fake, server) = answering("/puppet/v3/environments", move || Reply::ok(body));
    let source = Source::PuppetServer(server);
    let names: Vec<String> = source.environments().unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["production", "staging"]);
    assert_eq!(source.environment("staging").unwrap().settings, *json!({"manifest": "/s"}).as_object().unwrap());
    assert_eq!(source.environment("nosuch").unwrap_err().kind, RefusalKind::UnknownEnvironment);
    assert_eq!(source.environment("no-such").unwrap_err().kind, RefusalKind::ValidationError);
}

#[test]
fn tasks_are_sorted() {
    let body = r#"[{"name":"demo::hidden","private":true,"description":"internal","environment":[]},
                   {"name":"demo","private":false,"description":"","environment":[{"name":"production","code_id":null}]}]"#;
    let (_fake, server) = answering("/puppet/v3/tasks?environment=production", move || Reply::ok(body));
    let tasks = server.tasks("production").unwrap();
    assert_eq!(
        tasks.iter().map(|task| (task.name.as_str(), task.private)).collect::<Vec<_>>(),
        [("demo", false), ("demo::hidden", true)]
    );
    let illegal = server.tasks("production&x").unwrap_err();
    assert_eq!(illegal.message, "The environment must be purely alphanumeric, not 'production&x'");
}

#[test]
fn of_plans_there_are_names() {
    let body = r#"[{"name":"demo::greet","environment":[{"name":"production","code_id":null}]},{"name":"demo"}]"#;
    let (_fake, server) = answering("/puppet/v3/plans?environment=production", move || Reply::ok(body));
    let names: Vec<String> = server.plans("production").unwrap().into_iter().map(|plan| plan.name).collect();
    assert_eq!(names, ["demo", "demo::greet"]);
    let shown = server.plan("production", "demo", "greet").unwrap();
    assert_eq!((shown.name.as_str(), shown.metadata, shown.problems), ("demo::greet", Map::new(), vec![]));
    assert_eq!(server.plan("production", "demo", "init").unwrap().name, "demo");
    assert_eq!(server.plan("production", "demo", "nosuch").unwrap_err().kind, RefusalKind::UnknownPlan);
    let forbidden = || Reply::of(403, "Forbidden request: /puppet/v3/plans (method :get).");
    let (_fake, server) = answering("/puppet/v3/plans?environment=production", forbidden);
    assert!(server.plans("production").unwrap_err().message.contains("(environments|tasks|plans)"));
    let unknown = || Reply::of(404, "Could not find environment 'production'");
    let (_fake, server) = answering("/puppet/v3/plans?environment=production", unknown);
    assert_eq!(server.plans("production").unwrap_err().kind, RefusalKind::UnknownEnvironment);
}

#[test]
fn a_task_s_files_are_where_puppet_server_says() {
    let metadata = json!({"parameters": {"name": {"type": "String[1]"}}, "supports_noop": true});
    let (detail, read) = detail(move || Reply::ok(hello(metadata.clone()).to_string())).unwrap();
    assert_eq!(detail.name, "demo::hello");
    assert!(read.supports_noop);
    assert_eq!(detail.files[0].uri.path, "/puppet/v3/static_file_content/modules/demo/tasks/hello.sh");
    assert_eq!(detail.files[0].uri.params["code_id"], "urn:code-id:1:deadbeef_production");
}

#[test]
fn an_alias_may_be_anything_and_is_kept_secret() {
    let metadata = json!({"parameters": {"port": {"type": "Stdlib::Port"}, "name": {"type": "String[1]"}}});
    let (_fake, server) = answering(DETAIL, move || Reply::ok(hello(metadata.clone()).to_string()));
    let source = Source::PuppetServer(server);
    let task: RunnableTask<'_> = source.task("production", "demo", "hello").unwrap();
    let given = json!({"port": "anything", "name": "x"});
    let checked = task.check(given.as_object().unwrap()).unwrap();
    assert_eq!((json!(checked.input), json!(checked.shown)), (given, json!({"name": "x"})));
    assert_eq!(checked.sensitive, ["port"]);
    assert!(task.check(json!({"port": 1}).as_object().unwrap()).is_err(), "the other types count");
}

#[test]
fn what_is_not_there_and_what_is_broken_are_told_apart() {
    let refusal = |status, body: &'static str| detail(move || Reply::of(status, body)).unwrap_err();
    let unknown = refusal(404, "Could not find environment 'production'");
    assert_eq!(unknown.kind, RefusalKind::UnknownEnvironment);
    let unknown = refusal(404, "Could not find module 'demo'");
    assert_eq!((unknown.kind, unknown.details["task"].as_str()), (RefusalKind::UnknownTask, Some("demo::hello")));
    assert_eq!(unknown.message, "Could not find module 'demo' in environment production");
    assert_eq!(refusal(404, "Could not find task 'hello'").kind, RefusalKind::UnknownTask);
    let broken = refusal(500, r#"{"kind":"puppet.tasks/unparseable-metadata","msg":"unexpected token","details":{}}"#);
    assert_eq!(broken.kind, RefusalKind::ValidationError);
    assert_eq!(broken.message, "Task demo::hello is broken: unexpected token");
    assert_eq!(broken.details["kind"], "puppet.tasks/unparseable-metadata");
    let wrong = detail(|| Reply::ok(hello(json!({"supports_noop": "maybe"})).to_string())).unwrap_err();
    assert_eq!(wrong.details["kind"], "puppet.tasks/unparseable-metadata");
    let mut deep = json!(1);
    for _ in 0..JSON_DEPTH_MAX {
        deep = json!([deep]);
    }
    assert_eq!(detail(move || Reply::ok(hello(json!({"x": deep})).to_string())).unwrap_err().kind, wrong.kind);
}

#[test]
fn no_name_leads_to_another_path() {
    let (fake, server) = answering(DETAIL, || Reply::ok("{}"));
    let before = fake.server.connections();
    for (module, name) in [("..", "environments"), ("demo", "a/b"), ("demo", "x?environment=other"), ("", "")] {
        assert_eq!(server.task("production", module, name).unwrap_err().kind, RefusalKind::UnknownTask);
    }
    assert_eq!(server.task("a b", "demo", "hello").unwrap_err().kind, RefusalKind::ValidationError);
    // One connection may be the look at the status page.
    assert!(fake.server.connections() <= before.max(1));
}

#[test]
fn every_other_failure_has_its_cause_and_advice() {
    let no_hash = || {
        let mut task = hello(json!({}));
        task["files"][0]["sha256"] = json!("ab");
        Reply::ok(task.to_string())
    };
    let cases: [Case; 14] = [
        ("403", Box::new(|| Reply::of(403, "Forbidden request: /x")), "forbidden", "allow: [\"orch.example\"]"),
        ("redirect", Box::new(|| Reply::of(302, "")), "unusable-answer", "leads elsewhere (status 302)"),
        ("page", Box::new(|| Reply::of(404, "<html>no</html>")), "unusable-answer", "(a page of HTML)"),
        (
            "500",
            Box::new(|| Reply::of(500, "Internal Server Error: x")),
            "failed",
            "status 500: Internal Server Error: x",
        ),
        ("503", Box::new(|| Reply::of(503, "")), "failed", "status 503: (no text)"),
        ("no JSON", Box::new(|| Reply::ok("hello")), "unusable-answer", "not the JSON that Puppet Server gives"),
        ("other JSON", Box::new(|| Reply::ok("[]")), "unusable-answer", "not the JSON that Puppet Server gives"),
        ("half JSON", Box::new(|| Reply::ok("{\"files\": [")), "unusable-answer", "not the JSON"),
        ("no files", Box::new(|| Reply::ok("{\"files\": []}")), "unusable-answer", "the task has 0 files"),
        ("no hash", Box::new(no_hash), "unusable-answer", "\"hello.sh\" has no SHA-256"),
        (
            "too large",
            Box::new(|| Reply::ok(vec![b' '; PUPPET_SERVER_ANSWER_BYTES_MAX + 1])),
            "too-large",
            "larger than",
        ),
        ("no HTTP", Box::new(|| Reply::bytes("SSH-2.0-x\r\n\r\n")), "unusable-answer", "no valid HTTP answer"),
        ("nothing", Box::new(|| Reply::bytes("")), "unusable-answer", "connection closed before"),
        (
            "a part",
            Box::new(|| Reply::bytes("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{")),
            "unusable-answer",
            "connection",
        ),
    ];
    for (name, reply, cause, text) in cases {
        let refusal = detail(reply).unwrap_err();
        assert_eq!(
            (refusal.kind, &refusal.details["cause"]),
            (RefusalKind::PuppetserverError, &json!(cause)),
            "{name}"
        );
        assert!(refusal.message.contains(text), "{name}: {}", refusal.message);
        assert!(refusal.message.contains("Puppet Server"), "{name}: {}", refusal.message);
    }
}

#[test]
fn whoever_is_out_of_reach_is_told_with_the_reason() {
    let pki = Pki::new("ca");
    let (fake, _server) = answering(DETAIL, || Reply::ok(""));
    let away = |settings: ServiceSettings, pki: &Pki| {
        let refusal = PuppetServer::new(settings, identity(pki)).environments().unwrap_err();
        assert_eq!(refusal.details["cause"], "unreachable", "{refusal}");
        refusal.message
    };
    assert!(away(settings(closed_port()), &pki).contains("refused the connection"));
    let nowhere = ServiceSettings { host: "nosuch.invalid".into(), ..settings(1) };
    assert!(away(nowhere, &pki).contains("the name `nosuch.invalid` has no address"));
    assert!(away(fake.settings(), &pki).contains("not from a CA we trust"));
    let by_address = ServiceSettings { host: "127.0.0.1".into(), ..fake.settings() };
    assert!(away(by_address, &fake.pki).contains("for another name"));
}
