//! A classifier's answers, and everything that can come in their place.

use serde_json::json;

use super::super::fake_service::{Case, Fake};
use super::*;
use crate::https::testing::Reply;

const GROUP: &str = "fc500c43-5065-469b-91fc-37ed0e500e81";

fn rules(id: &str, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Result<Option<GroupRules>, Refusal> {
    let path = format!("{GROUPS}/{}/rules", encode(id));
    let fake = Fake::new(
        move |received| {
            if received.method == "GET" && received.path == path { reply() } else { Reply::of(302, "") }
        },
    );
    ClassifierService::new(fake.settings(), fake.identity()).rules(id)
}

#[test]
fn the_rules_of_a_group() {
    let own = json!(["=", ["fact", "kernel"], "Linux"]);
    let whole = json!(["and", own, ["=", "name", "a"]]);
    let body = json!({"rule": own, "rule_with_inherited": whole, "translated": {"nodes_query_format": ["or"]}});
    let found = rules(GROUP, move || Reply::ok(body.to_string())).unwrap();
    assert_eq!(found, Some(GroupRules { own: Some(own), whole: Some(whole) }));
    let without = rules(GROUP, || Reply::ok(r#"{"rule": null, "rule_with_inherited": null}"#)).unwrap();
    assert_eq!(without, Some(GroupRules { own: None, whole: None }));
}

#[test]
fn groups_that_are_not_there() {
    assert_eq!(rules(GROUP, || Reply::of(404, r#"{"kind": "not-found", "msg": "no"}"#)), Ok(None));
    // What an operator types is one segment of the path, whatever is in it.
    assert_eq!(rules("../tokens?a=b", || Reply::of(400, r#"{"kind": "malformed-uuid", "msg": "no"}"#)), Ok(None));
}

#[test]
fn everything_else_is_told_apart() {
    let cases: [Case; 6] = [
        ("another service", Box::new(|| Reply::of(404, "<html>")), "unusable-answer", "check that it is a classifier"),
        ("no JSON", Box::new(|| Reply::ok("<html>")), "unusable-answer", "not the JSON that a classifier gives"),
        ("a redirect", Box::new(|| Reply::of(302, "")), "unusable-answer", "it leads elsewhere"),
        ("not trusted", Box::new(|| Reply::of(403, "{}")), "forbidden", "Add orch.example to the list"),
        ("starting", Box::new(|| Reply::of(503, "starting")), "failed", "with status 503: starting"),
        ("too large", Box::new(|| Reply::ok(vec![b' '; CLASSIFIER_ANSWER_BYTES_MAX + 1])), "too-large", ""),
    ];
    for (name, reply, cause, text) in cases {
        let refusal = rules(GROUP, reply).unwrap_err();
        assert_eq!((refusal.kind, &refusal.details["cause"]), (RefusalKind::ClassifierError, &json!(cause)), "{name}");
        assert!(refusal.message.contains(text), "{name}: {refusal}");
    }
}
