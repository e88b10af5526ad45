//! PuppetDB's answers, as a real one (7.12) gives them, and everything that can come in their place.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::super::fake_service::{Case, Fake};
use super::*;
use crate::https::testing::{Received, Reply};
use crate::orchestrator::scope;

fn puppetdb(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> (Fake, PuppetDb) {
    let fake = Fake::new(move |received| match (received.method.as_str(), received.path.as_str()) {
        ("POST", "/pdb/query/v4") => handler(received),
        _ => Reply::of(302, ""),
    });
    let puppetdb = PuppetDb::new(fake.settings(), fake.identity());
    (fake, puppetdb)
}

fn names(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Result<Vec<String>, Refusal> {
    let (_fake, puppetdb) = puppetdb(move |_| reply());
    puppetdb.certnames(&json!("nodes {}"))
}

#[test]
fn a_query_is_sent_as_it_is_and_its_names_are_the_nodes() {
    let (sender, asked) = channel();
    let sender = Mutex::new(sender);
    let (fake, puppetdb) = puppetdb(move |received| {
        sender.lock().unwrap().send(received.body.clone()).unwrap();
        Reply::ok(r#"[{"certname":"b"},{"certname":"a","deactivated":null},{"certname":"b"}]"#)
    });
    for query in [json!("nodes[certname]{ facts.x = \"ä\" }"), json!(["from", "nodes", ["=", "certname", "a"]])] {
        let names = scope::checked(&puppetdb.certnames(&query).unwrap(), "query", "production").unwrap();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(serde_json::from_str::<Value>(&asked.recv().unwrap()).unwrap(), json!({"query": query}));
    }
    // The second look may be the one at the status page.
    assert!(fake.server.connections() <= 2, "the connection is used again");
}

#[test]
fn a_query_without_nodes_is_an_empty_target() {
    let (_fake, puppetdb) = puppetdb(|_| Reply::ok("[]"));
    let refusal = scope::checked(&puppetdb.certnames(&json!("nodes {}")).unwrap(), "query", "production").unwrap_err();
    assert_eq!((refusal.kind, &refusal.details["target"]), (RefusalKind::EmptyTarget, &json!("query")));
}

#[test]
fn a_wrong_query_is_explained_in_puppetdb_s_words() {
    let said = "PQL parse error at line 1, column 8:\n\nnodes {\n       ^\n\nExpected one of:\n\n}\n";
    let refusal = names(move || Reply::of(400, said)).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::QueryError);
    assert_eq!(refusal.message, format!("PuppetDB query failed: {}", said.trim()));
    assert!(refusal.details.is_empty());
    let refusal = names(|| Reply::ok(r#"[{"certname":"a"},{"count":3}]"#)).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::QueryError);
    assert!(refusal.message.contains("its rows have no certname"), "{refusal}");
    let long = names(|| Reply::of(400, "x".repeat(1_000_000))).unwrap_err();
    assert!(long.message.len() < 2 * crate::limits::SERVICE_WORDS_MAX);
}

#[test]
fn every_other_failure_has_its_cause_and_advice() {
    let cases: [Case; 7] = [
        ("403", Box::new(|| Reply::of(403, "Permission denied")), "forbidden", "Add orch.example to the file"),
        ("401", Box::new(|| Reply::of(401, "")), "forbidden", "certificate-allowlist"),
        ("302", Box::new(|| Reply::of(302, "")), "unusable-answer", "leads elsewhere"),
        ("404", Box::new(|| Reply::of(404, "<html>")), "unusable-answer", "check that this is a PuppetDB"),
        ("500", Box::new(|| Reply::of(500, "class cast\u{7}")), "failed", "status 500: class cast"),
        ("no rows", Box::new(|| Reply::ok("{}")), "unusable-answer", "not the JSON that PuppetDB gives"),
        ("cut", Box::new(|| Reply::ok(r#"[{"certname":"a"},"#)), "unusable-answer", "not the JSON"),
    ];
    for (name, reply, cause, text) in cases {
        let refusal = names(reply).unwrap_err();
        assert_eq!((refusal.kind, &refusal.details["cause"]), (RefusalKind::PuppetdbError, &json!(cause)), "{name}");
        assert!(refusal.message.contains(text) && !refusal.message.contains('\u{7}'), "{name}: {}", refusal.message);
    }
}

#[test]
fn a_report_is_found_with_its_numbers() {
    let (sender, asked) = channel();
    let sender = Mutex::new(sender);
    let (_fake, puppetdb) = puppetdb(move |received| {
        sender.lock().unwrap().send(received.body.clone()).unwrap();
        Reply::ok(
            json!([{
                "certname": "a", "hash": "9b39", "status": "changed", "transaction_uuid": "5573", "job_id": "42",
                "environment": "production", "noop": false, "noop_pending": null, "start_time": "2026-11-22T17:38:45.950Z",
                "end_time": "2026-11-22T17:39:21.601Z", "metrics": {"href": "/x", "data": [
                    {"name": "changed", "value": 1, "category": "resources"},
                    {"name": "total", "value": 35.65, "category": "time"}]}
            }])
            .to_string(),
        )
    });
    let reports = puppetdb.reports(ReportKey::Transaction("5573")).unwrap();
    assert_eq!((reports[0].hash.as_str(), reports[0].status.as_deref()), ("9b39", Some("changed")));
    assert_eq!(reports[0].metric("resources", "changed"), Some(1.0));
    assert_eq!(reports[0].metric("time", "total"), Some(35.65));
    assert_eq!(reports[0].metric("resources", "nosuch"), None);
    assert!(asked.recv().unwrap().contains(r#"["=","transaction_uuid","5573"]"#));
    puppetdb.reports(ReportKey::Job("42")).unwrap();
    assert!(asked.recv().unwrap().contains(r#"["=","job_id","42"]"#));
}

#[test]
fn versions_are_asked_for_in_parts() {
    let (_fake, puppetdb) = puppetdb(|received| {
        let query: Value = serde_json::from_str(&received.body).unwrap();
        let names = query["query"][2][2][2][2][1].as_array().unwrap();
        assert!(names.len() <= PUPPETDB_NODES_PER_QUERY);
        let rows = names.iter().map(|name| json!({"certname": name, "value": "7.23.0"}));
        Reply::ok(rows.chain([json!({"certname": "odd", "value": null})]).collect::<Value>().to_string())
    });
    let names: Vec<String> = (0..PUPPETDB_NODES_PER_QUERY + 1).map(|number| format!("n{number}")).collect();
    let versions = puppetdb.agent_versions(&names).unwrap();
    assert_eq!((versions.len(), versions["n0"].as_str()), (names.len(), "7.23.0"));
}
