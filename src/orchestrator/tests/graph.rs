//! Puppet runs in the order of an environment's graph, with threads, store and files.

use serde_json::json;

use super::*;
use crate::https::testing::Reply;
use crate::orchestrator::model::DeployOptions;
use crate::orchestrator::sources::fake_service::Fake;

fn deploy(names: &[&str]) -> DeployCommand {
    let scope = Scope::Nodes(names.iter().map(|name| (*name).to_owned()).collect());
    DeployCommand { options: DeployOptions::default(), terms: Terms::new("production", scope) }
}

fn with_graph(dir: &TempDir, graph: &str) -> OrchestratorSettings {
    fs::create_dir_all(dir.path().join("graphs")).unwrap();
    fs::write(dir.path().join("graphs/production.json"), graph).unwrap();
    OrchestratorSettings { graph_dir: Some(dir.path().join("graphs")), ..settings(dir.path()) }
}

const B_AFTER_A: &str = r#"{"nodes": {"a": {}, "b": {"depends_on": ["a"]}}}"#;

#[test]
fn the_order_of_a_job_outlives_a_killed_server() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, seen) = start_with(&with_graph(&dir, B_AFTER_A), &identity(), false);
    until("the connection of a", || orchestrator.inventory_of(&["a".into()])[0].connection.is_some());
    let subject = admin(&orchestrator, &dir);
    let id = orchestrator.run_puppet(&subject, deploy(&["b", "a"])).unwrap();
    until("the request", || seen.lock().unwrap().iter().any(|data| data["module"] == "pxp-module-puppet"));
    // What a killed process leaves. The graph is gone too: the job has its own order.
    let copy = tempfile::tempdir().unwrap();
    code(&copy);
    fs::create_dir(copy.path().join("keys")).unwrap();
    for file in ["podium.db", "podium.db-wal", "keys/job-parameters"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    orchestrator.stop();
    // What the agent has left of the run is no result of one.
    let (orchestrator, _) = start(&copy, true);
    until("the end of the job", || orchestrator.job(id).unwrap().state.is_final());
    let query = NodeQuery {
        limit: None,
        offset: 0,
        order_by: NodeOrder::Name,
        descending: false,
        state: None,
        with_results: true,
    };
    let nodes = orchestrator.nodes(id, &query).unwrap().items;
    assert_eq!((nodes[0].state, nodes[1].state), (NodeState::Errored, NodeState::Skipped));
    assert_eq!(nodes[1].details["message"], "Skipped b: it runs after a, which could not be run");
    assert_eq!(nodes[1].result.as_ref().unwrap()["_error"]["kind"], "puppetlabs.tasks/skipped-node");
    orchestrator.stop();
}

#[test]
fn an_order_is_shown_before_it_is_run_and_a_cycle_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    code(&dir);
    let (orchestrator, _) = start_with(&with_graph(&dir, B_AFTER_A), &identity(), true);
    let subject = admin(&orchestrator, &dir);
    let levels = orchestrator.plan_puppet(&subject, &deploy(&["b", "c", "a"])).unwrap();
    assert_eq!(levels, [vec!["a", "c"], vec!["b"]]);
    assert_eq!(orchestrator.graph("production").unwrap().instances[0].components.len(), 2);
    assert_eq!(orchestrator.graph("nosuch").unwrap_err().kind, RefusalKind::UnknownEnvironment);
    // Documents are read anew for every job.
    with_graph(&dir, r#"{"nodes": {"a": {"depends_on": ["b"]}, "b": {"depends_on": ["a"]}}}"#);
    let refusal = orchestrator.run_puppet(&subject, deploy(&["a"])).unwrap_err();
    assert_eq!((refusal.kind.word(), &refusal.details["cycle"]), ("dependency-cycle", &json!(["a", "b"])));
    assert_eq!(orchestrator.job(JobId(1)).unwrap_err().kind, RefusalKind::UnknownJob);
    orchestrator.stop();
}

#[test]
fn an_old_puppet_server_has_the_graph_and_a_new_one_has_none() {
    let catalog = json!({"environment": "production", "applications": {"Lamp[x]": {
        "Db[x]": {"node": "a", "produces": ["Sql[x]"], "consumes": []},
        "Web[x]": {"node": "b", "produces": [], "consumes": ["Sql[x]"]}}}});
    let answers = [
        (200, catalog.to_string(), Some(vec![vec!["a"], vec!["b"]])),
        (404, "<html>".into(), Some(vec![vec!["a", "b"]])),
        (403, "Forbidden".into(), Some(vec![vec!["a", "b"]])),
        (500, "oops".into(), None),
        (200, "<html>".into(), None),
    ];
    for (status, body, expected) in answers {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::new(move |received| match received.path.as_str() {
            "/puppet/v3/environments" => Reply::ok(r#"{"environments": {"production": {"settings": {}}}}"#),
            "/puppet/v3/environment/production" => Reply::of(status, body.clone()),
            _ => Reply::of(404, "Could not find environment"),
        });
        let code_source = CodeSource::PuppetServer(fake.settings());
        let settings = OrchestratorSettings { code_source, ..settings(dir.path()) };
        let (orchestrator, _) = start_with(&settings, &fake.identity(), true);
        let subject = admin(&orchestrator, &dir);
        let levels = orchestrator.plan_puppet(&subject, &deploy(&["b", "a"]));
        match expected {
            Some(expected) => assert_eq!(levels.unwrap(), expected, "{status}"),
            None => drop(levels.unwrap_err()),
        }
        orchestrator.stop();
    }
}
