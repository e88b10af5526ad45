//! Documents and catalogs, good and bad, and the orders that come of them.

use serde_json::{Value, json};

use super::*;
use crate::orchestrator::store::order::Precedence;

fn document(nodes: &Value) -> Result<Graph, String> {
    document::parse("production", json!({"nodes": nodes}).to_string().as_bytes())
}

fn names(list: &str) -> Vec<String> {
    list.split(' ').map(str::to_owned).collect()
}

/// `web>db` for each dependency.
fn order(graph: &Graph, list: &str) -> Vec<String> {
    let names = names(list);
    let shown = |one: &Precedence| format!("{}>{}", names[one.node as usize], names[one.after as usize]);
    graph.order(&names).unwrap().iter().map(shown).collect()
}

#[test]
fn a_document_says_who_waits_for_whom() {
    let graph = document(
        &json!({"db": {}, "web1": {"depends_on": ["db"]}, "web2": {"depends_on": ["db"]}, "lb": {"depends_on": ["web1", "web2"]}}),
    )
    .unwrap();
    assert_eq!(order(&graph, "lb web1 db other"), ["lb>web1", "lb>db", "web1>db"]);
    assert_eq!(order(&graph, "other"), [""; 0]);
    // A node that is not in the job stands for those before it.
    assert_eq!(order(&graph, "lb db"), ["lb>db"]);
    let all = names("lb web1 web2 db other");
    let levels = levels(&all, &graph.order(&all).unwrap());
    assert_eq!(levels, [vec!["db", "other"], vec!["web1", "web2"], vec!["lb"]]);
    let whole = &graph.instances[0];
    assert_eq!((whole.kind.as_str(), whole.title.as_str()), ("Environment", "production"));
    let lb = whole.components.iter().find(|component| component.node == "lb").unwrap();
    assert_eq!((lb.produces.len(), &lb.consumes), (0, &names("Node[web1] Node[web2]")));
    assert_eq!(document(&json!({})).unwrap(), Graph::default());
}

#[test]
fn a_catalog_says_it_by_what_is_produced_and_consumed() {
    let catalog = json!({"environment": "production", "applications": {"Webapp[pao]": {
        "Db[pao]": {"produces": ["Sql[pao]"], "consumes": [], "node": "agent1"},
        "Web[w1]": {"produces": ["Http[w1]"], "consumes": ["Sql[pao]"], "node": "agent2"},
        "Web[w2]": {"produces": ["Http[w2]"], "consumes": ["Sql[pao]", "Http[w1]"], "node": "agent2"},
        "Lb[pao]": {"produces": [], "consumes": ["Http[w1]", "Http[w2]", "Gone[x]"], "node": "agent3"}}}});
    let graph = catalog::read(catalog.to_string().as_bytes()).unwrap();
    assert_eq!(order(&graph, "agent1 agent2 agent3"), ["agent2>agent1", "agent3>agent2"]);
    assert_eq!((graph.instances[0].kind.as_str(), graph.instances[0].components.len()), ("Webapp", 4));
    assert_eq!(catalog::read(b"{}").unwrap(), Graph::default());
    for (bad, expected) in [("<html>", "is not understood"), (r#"{"applications": {"X": {}}}"#, "Type[title]")] {
        assert!(catalog::read(bad.as_bytes()).unwrap_err().contains(expected), "{bad}");
    }
}

#[test]
fn a_cycle_is_named() {
    let graph =
        document(&json!({"a": {"depends_on": ["b"]}, "b": {"depends_on": ["c", "z"]}, "c": {"depends_on": ["b"]},
                                 "z": {}}))
        .unwrap();
    let refusal = graph.order(&names("z")).unwrap_err();
    assert_eq!((refusal.kind, &refusal.details["cycle"]), (RefusalKind::DependencyCycle, &json!(["b", "c"])));
    assert!(refusal.message.contains("b -> c -> b. "), "{refusal}");
    let own = document(&json!({"a": {"depends_on": ["a"]}})).unwrap().order(&[]).unwrap_err();
    assert!(own.message.contains(": a -> a. "), "{own}");
    let ring: serde_json::Map<String, Value> =
        (0..100).map(|n| (format!("n{n}"), json!({"depends_on": [format!("n{}", (n + 1) % 100)]}))).collect();
    let long = document(&ring.into()).unwrap().order(&[]).unwrap_err();
    assert!(long.message.contains("(80 more)") && long.message.len() < 500, "{long}");
}

#[test]
fn what_is_wrong_with_a_document_is_said_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let graphs = Graphs::new(Some(dir.path().to_owned()));
    let source = Source::Directory(crate::orchestrator::sources::code_dir::CodeDir::new(dir.path()));
    assert_eq!(graphs.graph(&source, "production").unwrap(), Graph::default(), "there is none");
    let cases = [
        (r#"{"nodes": {"a": {"depends_on": ["b"]}}}"#, "lets a depend on \"b\", which is not among its nodes"),
        (r#"{"nodes": {"a": {"needs": []}}}"#, "unknown field `needs`"),
        (r#"{"nodes": {"a/b": {}}}"#, "`a/b` is not a certificate name"),
        ("nodes:", "is no graph (expected ident at line 1 column 2)"),
        ("{}", "missing field `nodes`"),
    ];
    for (text, expected) in cases {
        std::fs::write(dir.path().join("production.json"), text).unwrap();
        let refusal = graphs.graph(&source, "production").unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::ValidationError);
        assert!(refusal.message.contains(expected) && refusal.message.contains("production.json"), "{refusal}");
    }
    std::fs::write(
        dir.path().join("production.json"),
        vec![b' '; usize::try_from(crate::limits::GRAPH_BYTES_MAX).unwrap() + 1],
    )
    .unwrap();
    assert!(graphs.graph(&source, "production").unwrap_err().message.contains("has more than"));
}

#[test]
fn dependencies_of_a_job_are_bounded() {
    let hub = 700;
    let mut nodes = serde_json::Map::new();
    nodes.insert("hub".into(), json!({"depends_on": (0..hub).map(|n| format!("a{n}")).collect::<Vec<_>>()}));
    for n in 0..hub {
        nodes.insert(format!("a{n}"), json!({}));
        nodes.insert(format!("z{n}"), json!({"depends_on": ["hub"]}));
    }
    let graph = document(&nodes.clone().into()).unwrap();
    let mut all: Vec<String> = nodes.keys().cloned().collect();
    assert_eq!(graph.order(&all).unwrap().len(), 2 * hub);
    all.retain(|name| name != "hub");
    assert!(graph.order(&all).unwrap_err().message.contains("split the job"), "each of them would wait for all");
}
