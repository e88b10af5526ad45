//! The classifier over a real store: what groups may be, and that they stay.

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::orchestrator::store::sqlite::SqliteStore;

struct Site {
    dir: TempDir,
    classifier: Option<Classifier>,
}

impl Site {
    fn new() -> Self {
        let mut site = Self { dir: tempfile::tempdir().unwrap(), classifier: None };
        site.restart();
        site
    }

    fn restart(&mut self) {
        self.classifier = None;
        let store = SqliteStore::open(self.dir.path()).unwrap();
        self.classifier = Some(Classifier::new(Arc::new(store)));
    }
}

impl std::ops::Deref for Site {
    type Target = Classifier;

    fn deref(&self) -> &Classifier {
        self.classifier.as_ref().unwrap()
    }
}

fn body(name: &str, parent: &str) -> Value {
    json!({"name": name, "parent": parent, "rule": ["~", "name", "^web"], "classes": {}})
}

#[test]
fn groups_stay() {
    let mut site = Site::new();
    assert_eq!(site.group(ROOT).unwrap(), Group::root());
    let made = site.create(&body("web", ROOT)).unwrap();
    assert_eq!((made.serial_number, made.environment.as_str()), (1, "production"));
    let changed = site.update(&made.id, &json!({"description": "d", "variables": {"x": 1}})).unwrap();
    assert_eq!((changed.serial_number, changed.description.as_deref()), (2, Some("d")));
    assert_eq!(site.update(&made.id.to_uppercase(), &json!({"description": "d"})).unwrap(), changed, "nothing changes");
    site.update(ROOT, &json!({"variables": {"everywhere": true}})).unwrap();
    site.restart();
    assert_eq!(site.group(&made.id).unwrap(), changed);
    assert_eq!(site.forest().unwrap().groups().count(), 2);
    assert_eq!(site.classify("web1", &json!({})).unwrap().variables.len(), 2);
    site.delete(&made.id).unwrap();
    site.restart();
    assert_eq!(site.group(&made.id).unwrap_err().kind(), "not-found");
}

#[test]
fn a_group_that_is_put_twice_is_left_alone() {
    let site = Site::new();
    let id = "58463036-0EFA-4365-b367-b5401c0711d3";
    let Put::Created(made) = site.put(id, &body("a", ROOT)).unwrap() else { panic!("it is new") };
    assert_eq!(made.id, id.to_lowercase());
    assert_eq!(site.put(id, &body("a", ROOT)).unwrap(), Put::Unchanged(made.clone()));
    let Put::Created(replaced) = site.put(id, &body("b", ROOT)).unwrap() else { panic!("it is another") };
    assert_eq!((replaced.serial_number, replaced.name.as_str()), (2, "b"));
    let error = site.put(id, &json!({"id": ROOT, "name": "a", "parent": ROOT, "classes": {}})).unwrap_err();
    assert_eq!(error.kind(), "conflicting-ids");
}

#[test]
fn says_why_a_group_cannot_be() {
    let site = Site::new();
    let top = site.create(&body("top", ROOT)).unwrap();
    let middle = site.create(&body("middle", &top.id)).unwrap();
    let low = site.create(&body("low", &middle.id)).unwrap();
    let refused = |result: Result<Group, GroupError>| {
        let error = result.unwrap_err();
        (error.kind(), error.status(), error.details())
    };
    let (kind, status, details) = refused(site.create(&body("top", ROOT)));
    assert_eq!((kind, status), ("uniqueness-violation", 422));
    assert_eq!(details["conflict"], json!({"name": "top", "environment": "production"}));
    let mut elsewhere = body("top", ROOT);
    elsewhere["environment"] = json!("dev");
    assert!(site.create(&elsewhere).is_ok(), "a name is unique within its environment");
    let nobody = "58463036-0efa-4365-b367-b5401c0711d3";
    assert_eq!(refused(site.create(&body("x", nobody))).0, "missing-parent");
    let (kind, _, details) = refused(site.update(&top.id, &json!({"parent": low.id})));
    let names: Vec<&Value> = details.as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert_eq!((kind, names), ("inheritance-cycle", vec![&json!("top"), &json!("low"), &json!("middle")]));
    assert_eq!(refused(site.update(&low.id, &json!({"parent": low.id}))).0, "inheritance-cycle");
    assert_eq!(refused(site.update(ROOT, &json!({"rule": null}))).0, "root-group-edit");
    assert_eq!(refused(site.update(ROOT, &json!({"parent": top.id}))).0, "root-group-edit");
    assert_eq!(refused(site.group("x")), ("malformed-uuid", 400, json!("x")));
    assert_eq!(refused(site.update(nobody, &json!({}))).0, "not-found");
    let error = site.delete(&middle.id).unwrap_err();
    assert_eq!((error.kind(), error.details()["children"][0]["name"].clone()), ("children-present", json!("low")));
    assert_eq!(site.delete(ROOT).unwrap_err().kind(), "root-group-edit");
}

#[test]
fn levels_are_bounded() {
    let site = Site::new();
    let mut parent = ROOT.to_owned();
    for level in 0..GROUP_LEVELS_MAX {
        parent = site.create(&body(&format!("level {level}"), &parent)).unwrap().id;
    }
    assert_eq!(site.create(&body("too deep", &parent)).unwrap_err().kind(), "too-many-groups");
}

#[test]
fn regular_expressions_are_bounded() {
    let site = Site::new();
    let rule =
        |patterns| std::iter::once(json!("or")).chain(vec![json!(["~", "name", "a"]); patterns]).collect::<Value>();
    let mut many = body("many", ROOT);
    // The group of all nodes has one.
    many["rule"] = rule(RULES_PATTERNS_MAX - 1);
    let many = site.create(&many).unwrap();
    assert_eq!(site.create(&body("one more", ROOT)).unwrap_err().kind(), "too-many-groups");
    site.update(&many.id, &json!({"rule": rule(2)})).unwrap();
    site.create(&body("one more", ROOT)).unwrap();
}

#[test]
fn a_change_based_on_groups_that_have_changed_is_refused() {
    let site = Site::new();
    let group = |name: &str| Group::created(&Uuid::new_v4().to_string(), &body(name, ROOT)).unwrap();
    let change = |seen, group| vec![Change::Groups(GroupsChange { seen, set: Some(group), removed: None })];
    site.store.commit(change(0, group("a"))).unwrap();
    assert!(site.store.commit(change(0, group("b"))).unwrap_err().to_string().contains("try again"));
    assert!(site.store.commit(change(1, group("a"))).is_err(), "the name is taken, and nothing is changed");
    site.store.commit(change(1, group("c"))).unwrap();
    assert_eq!(site.store.groups().unwrap().1, 2);
}

#[test]
fn nodes_are_classified_by_what_is_said_of_them() {
    let site = Site::new();
    let mut by_fact = body("linux", ROOT);
    by_fact["rule"] =
        json!(["and", ["=", ["fact", "kernel"], "Linux"], ["=", ["trusted", "extensions", "pp_role"], "web"]]);
    let linux = site.create(&by_fact).unwrap();
    let groups = |body: Value| site.classify("n", &body).unwrap().groups;
    let whole = json!({"fact": {"kernel": "Linux"}, "trusted": {"extensions": {"pp_role": "web"}}});
    assert_eq!(groups(whole), [ROOT.to_owned(), linux.id]);
    assert_eq!(groups(json!({"fact": {"kernel": "Linux"}})), [ROOT]);
    assert_eq!(groups(json!({})), [ROOT]);
    assert_eq!(site.classify("n", &json!({"fact": []})).unwrap_err().kind(), "schema-violation");
}
