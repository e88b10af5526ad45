//! Scopes over a real store and inventory, and over a PuppetDB that remembers what it was asked.

use std::sync::Mutex;
use std::time::Instant;

use serde_json::Map;
use tempfile::TempDir;

use super::*;
use crate::clock::WallTime;
use crate::orchestrator::model::TaskTarget;
use crate::orchestrator::permitted::Sets;
use crate::orchestrator::rbac::nodes::NodeSets;
use crate::orchestrator::store::sqlite::SqliteStore;
use crate::orchestrator::store::{Change, FactsChange};

struct Site {
    targets: Targets,
    classifier: Arc<Classifier>,
    store: Arc<dyn Store>,
    _dir: TempDir,
}

/// Connected are `names`.
fn site_of(names: &[String], puppetdb: Option<Arc<dyn NodeQuery>>) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir.path()).unwrap());
    let mut inventory = Inventory::new(vec!["away".into()]);
    inventory.link(0, &"pcp://b/server".into(), WallTime::from_millis(0));
    let uris: Vec<String> = names.iter().map(|name| format!("pcp://{name}/agent")).collect();
    inventory.replace(0, uris.iter().map(String::as_str), WallTime::from_millis(0));
    let classifier = Arc::new(Classifier::new(store.clone()));
    let groups = NodeGroups::Embedded(classifier.clone());
    let targets = Targets::new(Arc::new(RwLock::new(inventory)), store.clone(), groups, puppetdb);
    Site { targets, classifier, store, _dir: dir }
}

fn site() -> Site {
    site_of(&["db1", "web1", "web2"].map(str::to_owned), None)
}

impl Site {
    fn learn(&self, node: &str, facts: Value) {
        let facts = facts.as_object().cloned().unwrap();
        let at = WallTime::from_millis(1);
        self.store.commit(vec![Change::Facts(FactsChange::Facts { node: node.into(), facts, at })]).unwrap();
    }

    fn resolve(&self, scope: Scope) -> Result<Vec<String>, Refusal> {
        self.targets.resolve(&scope, "production")
    }

    fn query(&self, query: &str) -> Vec<String> {
        self.resolve(Scope::Query(query.into())).unwrap()
    }

    fn group(&self, rule: Value) -> String {
        let body = json!({"name": "g", "parent": crate::orchestrator::classifier::ROOT, "rule": rule, "classes": {}});
        self.classifier.create(&body).unwrap().id
    }
}

#[test]
fn queries_are_answered_from_the_inventory_and_from_facts() {
    let site = site();
    assert_eq!(site.query("nodes[certname] { }"), ["away", "db1", "web1", "web2"]);
    assert_eq!(site.query("nodes { connected = true and certname ~ '^web' }"), ["web1", "web2"]);
    let redhat = "inventory[certname] { facts.os.family = 'RedHat' }";
    let refusal = site.resolve(Scope::Query(redhat.into())).unwrap_err();
    assert_eq!((refusal.kind, &refusal.details["target"]), (RefusalKind::EmptyTarget, &"query".into()));
    site.learn("web2", json!({"os": {"family": "RedHat"}}));
    site.learn("nobody", json!({"os": {"family": "RedHat"}}));
    assert_eq!(site.query(redhat), ["web2"], "what is learnt counts at once");
    site.learn("web2", json!({"os": {"family": "Debian"}}));
    site.learn("web1", json!({"os": {"family": "RedHat"}}));
    assert_eq!(site.query(redhat), ["web1"]);
    let extensions = Map::from_iter([("pp_role".to_owned(), json!("db"))]);
    site.store.commit(vec![Change::Facts(FactsChange::Certificate { node: "db1".into(), extensions })]).unwrap();
    assert_eq!(site.query("inventory { trusted.extensions.pp_role = 'db' }"), ["db1"]);
    let refusal = site.resolve(Scope::Query("nodes {".into())).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::QueryError);
    assert!(refusal.message.contains("line 1, column 8"), "{}", refusal.message);
}

#[test]
fn groups_have_the_nodes_that_pass_their_rules() {
    let site = site();
    let web = site.group(json!(["~", "name", "^web"]));
    assert_eq!(site.resolve(Scope::NodeGroup(web.clone())).unwrap(), ["web1", "web2"]);
    let without = json!({"name": "no rule", "parent": web, "classes": {}});
    let without = site.classifier.create(&without).unwrap().id;
    for (id, expected) in [
        (without, "has no rules of its own"),
        ("58463036-0efa-4365-b367-b5401c0711d3".to_owned(), "There is no node group"),
        ("web".to_owned(), "There is no node group"),
    ] {
        let refusal = site.resolve(Scope::NodeGroup(id)).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::ValidationError);
        assert!(refusal.message.contains(expected), "{}", refusal.message);
    }
    let classified = site.targets.classified(&["web1".into(), "unknown".into()]).unwrap().unwrap();
    let groups: Vec<usize> = classified.into_iter().map(|of_node| of_node.unwrap().groups.len()).collect();
    assert_eq!(groups, [2, 1]);
}

#[test]
fn a_task_target_has_all_its_pools() {
    let site = site();
    let db = site.group(json!(["=", "name", "db1"]));
    let target = TaskTarget {
        id: 1,
        display_name: "d".into(),
        tasks: None,
        nodes: vec!["given".into()],
        node_groups: vec![db],
        pql_query: "nodes[certname] { certname ~ '2$' }".into(),
    };
    site.store.commit(vec![Change::TaskTargetCreated(target)]).unwrap();
    let sets = Sets::new(&site.targets, &*site.store, "production");
    assert_eq!(sets.task_target(1, "any").unwrap().unwrap(), ["given", "db1", "web2"]);
}

/// Answers with one name.
struct Remembering(Arc<Mutex<Vec<Value>>>);

impl NodeQuery for Remembering {
    fn certnames(&self, query: &Value) -> Result<Vec<String>, Refusal> {
        self.0.lock().unwrap().push(query.clone());
        Ok(vec!["from-puppetdb".into()])
    }
}

#[test]
fn puppetdb_is_asked_if_there_is_one() {
    let asked = Arc::new(Mutex::new(vec![]));
    let site = site_of(&[], Some(Arc::new(Remembering(asked.clone()))));
    assert_eq!(site.query("reports[certname] { status = 'failed' }"), ["from-puppetdb"]);
    let group = site.group(json!(["=", ["fact", "os", "family"], "RedHat"]));
    assert_eq!(site.resolve(Scope::NodeGroup(group)).unwrap(), ["from-puppetdb"]);
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0], json!("reports[certname] { status = 'failed' }"));
    let filter = json!(["and", ["=", "facts.os.family", "RedHat"], ["and", ["~", "certname", ".*"]]]);
    assert_eq!(asked[1], json!(["from", "inventory", ["extract", ["certname"], filter]]));
}

/// Elsewhere there is one group, which asks for a name.
struct Elsewhere;

impl ExternalGroups for Elsewhere {
    fn rules(&self, id: &str) -> Result<Option<GroupRules>, Refusal> {
        let own = Some(json!(["=", "name", "web1"]));
        Ok((id == "g").then(|| GroupRules { own: own.clone(), whole: own }))
    }
}

#[test]
fn groups_may_be_elsewhere() {
    let mut site = site();
    site.targets.groups = NodeGroups::External(Arc::new(Elsewhere));
    assert_eq!(site.resolve(Scope::NodeGroup("g".into())).unwrap(), ["web1"]);
    assert!(site.resolve(Scope::NodeGroup("x".into())).is_err());
    assert_eq!(site.targets.classified(&[]).unwrap(), None);
}

/// Facts of a usual size: 300 values, 8 KB.
fn usual_facts(number: usize) -> Value {
    let interfaces: Map<String, Value> = (0..8)
        .map(|index| {
            let addresses: Vec<Value> =
                (0..6).map(|last| json!({"address": format!("10.{number}.{index}.{last}"), "mask": 24})).collect();
            (
                format!("eth{index}"),
                json!({"mac": format!("00:16:3e:{number:06x}"), "mtu": 1500, "bindings": addresses}),
            )
        })
        .collect();
    let family = if number.is_multiple_of(3) { "RedHat" } else { "Debian" };
    let legacy: Map<String, Value> =
        (0..100).map(|index| (format!("legacy_{index}"), json!(format!("value {index}")))).collect();
    let mut facts = json!({"os": {"family": family, "release": {"major": "9"}}, "processors": {"count": number % 64},
                           "networking": {"interfaces": interfaces}, "memory": {"system": {"total_bytes": 1_u64 << 34}}});
    facts.as_object_mut().unwrap().extend(legacy);
    facts
}

/// Not an assertion about time, which depends on the machine: run it by name, in release, to see the figures.
#[test]
#[ignore = "prints how long queries over 10,000 nodes take"]
fn ten_thousand_nodes() {
    let names: Vec<String> = (0..10_000).map(|number| format!("node{number:05}.example.com")).collect();
    let site = site_of(&names, None);
    for (number, chunk) in names.chunks(250).enumerate() {
        let facts = chunk.iter().enumerate().map(|(index, name)| {
            let facts = usual_facts(number * 250 + index).as_object().cloned().unwrap();
            Change::Facts(FactsChange::Facts { node: name.clone(), facts, at: WallTime::from_millis(1) })
        });
        site.store.commit(facts.collect()).unwrap();
    }
    let pinned: Vec<Value> = names.iter().step_by(10).map(|name| json!(["=", "name", name])).collect();
    let group = site.group(std::iter::once(json!("or")).chain(pinned).collect());
    let timed = |what: &str, resolve: &dyn Fn() -> usize| {
        let start = Instant::now();
        let nodes = resolve();
        println!("{:>8.1} ms {nodes:>6} nodes: {what}", start.elapsed().as_secs_f64() * 1000.0);
    };
    for query in [
        "nodes[certname] { } # the first reads all facts",
        "nodes[certname] { }",
        "nodes[certname] { certname ~ '^node0.*7' }",
        "inventory[certname] { facts.os.family = 'RedHat' and facts.processors.count > 8 }",
        "inventory[certname] { facts.networking.interfaces.match(\"^eth[0-3]$\").mac ~ 'ff' }",
        "facts[certname] { name = 'legacy_99' and value = 'value 99' }",
        "nodes[certname] { facts { name ~ '_42$' } order by certname desc limit 5000 }",
    ] {
        let text = query.split(" #").next().unwrap();
        timed(query, &|| site.query(text).len());
    }
    timed("a group that pins 1,000 names", &|| site.resolve(Scope::NodeGroup(group.clone())).unwrap().len());
    timed("classification of all", &|| site.targets.classified(&names).unwrap().unwrap().len());
}
