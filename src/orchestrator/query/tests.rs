//! Queries in both forms over a small fleet, errors with their places, and limits.

mod random;

use serde_json::{Value, json};

use super::*;
use crate::clock::WallTime;
use crate::limits::{QUERY_BYTES_MAX, QUERY_CONDITIONS_MAX, QUERY_DEPTH_MAX, QUERY_PATTERNS_MAX, QUERY_SUBQUERIES_MAX};
use crate::orchestrator::facts::{Fact, Names, NodeFacts, Structure};
use crate::orchestrator::model::NodeConnection;

/// db1 and web1 have facts, db1, web1 and web2 certificates that were seen; new has nothing.
struct Fleet {
    facts: Vec<(&'static str, Option<NodeFacts>, Option<Fact>)>,
    connection: NodeConnection,
}

impl Fleet {
    fn new() -> Self {
        let mut names = Names::default();
        let mut node = |name, facts: Value, extensions: Value| {
            let facts = facts.as_object().map(|facts| NodeFacts {
                facts: Structure::new(facts, &mut names),
                stored: "2026-03-01T10:15:30Z"
                    .parse::<jiff::Timestamp>()
                    .map_or(WallTime::from_millis(0), |time| WallTime::from_millis(time.as_millisecond())),
            });
            (name, facts, Some(extensions).filter(Value::is_object).map(|found| Fact::new(&found, &mut names)))
        };
        let web1 = json!({
            "kernel": "Linux", "os": {"family": "RedHat", "release": {"major": "9"}}, "processors": {"count": 4},
            "models": ["Xeon", "Atom"], "is_virtual": true, "load": 0.5,
            "mountpoints": {"/srv/a": {"size": 10}, "/srv/b": {"size": 500}, "/": {"size": 20}},
        });
        let db1 =
            json!({"kernel": "Linux", "os": {"family": "Debian"}, "processors": {"count": 16}, "is_virtual": false});
        let facts = vec![
            node("db1.example.com", db1, json!({"pp_role": "db", "1.3.6.1.4.1.34380.1.2.1": "x"})),
            node("new", Value::Null, Value::Null),
            node("web1.example.com", web1, json!({"pp_role": "web"})),
            node("web2.example.com", Value::Null, json!({})),
        ];
        let connection = NodeConnection { broker: "pcp://b/server".into(), since: WallTime::from_millis(0) };
        Self { facts, connection }
    }

    fn ask(&self, query: &Value) -> Result<Vec<String>, QueryError> {
        let nodes: Vec<NodeView<'_>> = self
            .facts
            .iter()
            .map(|(name, facts, extensions)| NodeView {
                certname: name,
                connection: name.starts_with("web").then_some(&self.connection),
                extensions: extensions.as_ref(),
                facts: facts.as_ref(),
            })
            .collect();
        let names = Query::parse(query)?.certnames(&nodes)?;
        Ok(names.into_iter().map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect())
    }
}

fn chosen(query: impl Into<Value>) -> String {
    let query = query.into();
    Fleet::new().ask(&query).map_or_else(|error| format!("{query}: {error}"), |names| names.join(" "))
}

#[test]
fn nodes_by_name_and_connection() {
    for (query, expected) in [
        ("nodes[certname]{ }", "db1 new web1 web2"),
        ("nodes { certname = \"new\" }", "new"),
        ("nodes { certname = 'web1.example.com' or certname ~ '^db' }", "db1 web1"),
        ("nodes { certname != 'new' and certname !~ '^db' }", "web1 web2"),
        ("nodes { !(certname ~ 'example') }", "new"),
        ("nodes { certname in ['new', 'db1.example.com', 'x', 1] }", "db1 new"),
        ("nodes { certname in [] }", ""),
        ("nodes { connected = true }", "web1 web2"),
        ("nodes { broker = \"pcp://b/server\" and ! certname ~ \"1\" }", "web2"),
        ("nodes { broker is null }", "db1 new"),
        ("nodes { deactivated is null and expired is null }", "db1 new web1 web2"),
        ("nodes { facts_timestamp is not null }", "db1 web1"),
        ("nodes { facts_timestamp > '2026-03-01T11:15:29+01:00' }", "db1 web1"),
        ("nodes { facts_timestamp > \"2026-03-01T10:15:30Z\" }", ""),
        ("nodes[certname] { order by certname desc limit 2 }", "web2 web1"),
        ("nodes[certname] { limit 1 offset 2 }", "web1"),
        ("nodes { certname ~ 'web' or certname = 'new' and certname = 'x' }", "web1 web2"),
    ] {
        assert_eq!(chosen(query), expected, "{query}");
    }
}

#[test]
fn inventory_by_facts_and_certificates() {
    for (query, expected) in [
        ("inventory[certname] { facts.os.family = 'RedHat' }", "web1"),
        ("inventory[certname, facts.os.family] { facts.kernel = 'Linux' }", "db1 web1"),
        ("inventory { facts.processors.count > 4 }", "db1"),
        ("inventory { facts.processors.count >= 4.0 and facts.load < 1 }", "web1"),
        ("inventory { facts.processors.count = 4 }", "web1"),
        ("inventory { facts.processors.count = '4' }", ""),
        ("inventory { facts.processors.count ~ '^1' }", "db1"),
        ("inventory { facts.models = 'Atom' }", "web1"),
        ("inventory { facts.models[1] = 'Atom' and facts.models[0] ~ 'X' }", "web1"),
        ("inventory { facts.models[2] is null }", "db1 web1"),
        ("inventory { facts.is_virtual = false }", "db1"),
        ("inventory { facts.mountpoints.match('x') = 1 or facts.mountpoints.match(\"^/srv\").size > 100 }", "web1"),
        ("inventory { facts.mountpoints.\"/srv/b\".size = 500 }", "web1"),
        ("inventory { facts.os.release.major is not null }", "web1"),
        ("inventory { facts.os.release.major is null }", "db1"),
        ("inventory { facts.os.family in ['Debian', 'RedHat'] }", "db1 web1"),
        ("inventory { facts.processors.count in [16, 'x'] }", "db1"),
        ("inventory { trusted.extensions.pp_role = 'web' }", "web1"),
        ("inventory { trusted.extensions.\"1.3.6.1.4.1.34380.1.2.1\" = 'x' }", "db1"),
        ("inventory { trusted.extensions.pp_role is null }", "web2"),
        ("inventory { trusted.hostname = 'web2' and trusted.domain = 'example.com' }", "web2"),
        ("inventory { trusted.domain is null and trusted.authenticated = 'remote' }", "new"),
        ("inventory { trusted.certname ~ '^web' order by facts.processors.count, certname desc }", "web1 web2"),
        ("inventory { timestamp >= '2026-03-01T10:15:30Z' }", "db1 web1"),
    ] {
        let query = query.replace("match('x')", "match(\"x\")");
        assert_eq!(chosen(query.as_str()), expected, "{query}");
    }
}

#[test]
fn nothing_is_said_of_nodes_of_which_nothing_is_known() {
    for (query, expected) in [
        ("inventory { facts.os.family != 'RedHat' }", "db1"),
        ("inventory { !(facts.os.family = 'RedHat' or facts.absent = 1) }", "db1"),
        ("inventory { facts.os.family != 'RedHat' or certname = 'new' }", "db1 new"),
        ("inventory { !(facts.os.family = 'RedHat' and certname ~ 'x') }", "db1 new"),
        ("inventory { trusted.extensions.pp_role != 'db' }", "web1 web2"),
        ("nodes { !inventory { facts.os.family = 'RedHat' } }", "db1 new web2"),
    ] {
        assert_eq!(chosen(query), expected, "{query}");
    }
}

#[test]
fn facts_and_subqueries() {
    for (query, expected) in [
        ("facts[certname] { name = 'kernel' and value = 'Linux' }", "db1 web1"),
        ("facts { name = 'load' and value < 0.6 }", "web1"),
        ("facts[certname] { order by value desc, certname limit 3 }", "db1 web1"),
        ("nodes { facts { name = 'kernel' and value = 'Linux' } and certname ~ '^web' }", "web1"),
        ("nodes { certname in facts[certname] { name = 'is_virtual' and value = true } }", "web1"),
        ("nodes { ! certname in nodes[certname] { certname ~ '1' } }", "new web2"),
        ("nodes { certname in inventory[trusted.certname] { facts.kernel = 'Linux' limit 1 } }", "db1"),
        (
            "facts[certname] { [certname, value] in facts[certname, value] { name = 'is_virtual' and value = true } }",
            "web1",
        ),
        ("nodes { inventory[certname] { facts.os.family = 'Debian' } or certname = 'new' }", "db1 new"),
    ] {
        assert_eq!(chosen(query), expected, "{query}");
    }
}

#[test]
fn the_ast_form() {
    for (query, expected) in [
        (json!(["from", "nodes"]), "db1 new web1 web2"),
        (json!(["from", "nodes", ["extract", "certname", ["~", "certname", "^web"]]]), "web1 web2"),
        (
            json!(["from", "nodes", ["extract", ["certname"]], ["order_by", [["certname", "desc"]]], ["limit", 1]]),
            "web2",
        ),
        (json!(["from", "nodes", ["order_by", ["certname"]], ["offset", 3]]), "web2"),
        (json!(["from", "nodes", ["=", ["node", "active"], true]]), "db1 new web1 web2"),
        (json!(["from", "nodes", ["=", ["fact", "kernel"], "Linux"]]), "db1 web1"),
        (json!(["from", "inventory", ["=", "facts.os.family", "RedHat"]]), "web1"),
        (json!(["from", "inventory", ["null?", "facts.os.release", true]]), "db1"),
        (json!(["from", "nodes", ["in", "certname", ["array", ["new", "x"]]]]), "new"),
        (json!(["from", "nodes", ["in", ["fact", "kernel"], ["array", ["Linux"]]]]), "db1 web1"),
        (
            json!([
                "from",
                "nodes",
                [
                    "in",
                    "certname",
                    [
                        "extract",
                        "certname",
                        ["select_facts", ["and", ["=", "name", "is_virtual"], ["=", "value", true]]]
                    ]
                ]
            ]),
            "web1",
        ),
        (
            json!([
                "from",
                "nodes",
                ["in", ["certname"], ["from", "facts", ["extract", ["certname"], ["=", "value", false]]]]
            ]),
            "db1",
        ),
        (json!(["from", "nodes", ["subquery", "facts", ["=", "name", "load"]]]), "web1"),
        (json!(["from", "nodes", ["not", ["subquery", "facts"]]]), "new web2"),
    ] {
        assert_eq!(chosen(query.clone()), expected, "{query}");
    }
}

#[test]
fn says_where_pql_is_wrong() {
    for (query, expected) in [
        ("", "line 1, column 1: a query begins with nodes, inventory or facts, as in `nodes[certname] { }`"),
        ("nodes", "line 1, column 6: expected `{`, found the end"),
        (
            "reports { status = 'failed' }",
            "line 1, column 1: `reports` needs PuppetDB, which this server has not been \
                                           given; without it there are nodes, inventory and facts",
        ),
        ("hosts {}", "line 1, column 1: there is no entity `hosts`; it must be nodes, inventory or facts"),
        ("nodes[count()] {}", "line 1, column 7: functions need PuppetDB; name columns, such as certname"),
        ("nodes {\n  certname == 'a' }", "line 2, column 12: `==` is written `=` in PQL"),
        ("nodes { certname = a }", "line 1, column 20: expected a value; put the text a into quotes: \"a\""),
        (
            "nodes { certname 'a' }",
            "line 1, column 18: expected an operator (=, !=, <, <=, >, >=, ~, !~, in, is null), \
                                    found the text \"a\"",
        ),
        ("nodes { certname = 'a' && certname = 'b' }", "line 1, column 24: `&&` is written `and` in PQL"),
        ("nodes { not certname = 'a' }", "line 1, column 9: `not` is written `!` in PQL"),
        (
            "nodes { certname = 'a' certname = 'b' }",
            "line 1, column 24: expected `and`, `or`, `limit`, `offset`, \
                                                     `order by` or `}`, found `certname`",
        ),
        (
            "nodes { certname > 'a' }",
            "line 1, column 20: `>` compares numbers: write one without quotes, or use `=` or \
                                      `~` for texts",
        ),
        (
            "nodes { facts_timestamp > 3 }",
            "line 1, column 27: `>` compares this field with a time such as \
                                           \"2026-03-01T10:15:30Z\"",
        ),
        ("nodes { certname ~ '(' }", "line 1, column 20: the regular expression \"(\" cannot be used: unclosed group"),
        ("nodes { certname is 'a' }", "line 1, column 21: `is` must be followed by `null` or `not null`"),
        ("nodes { certname = null }", "line 1, column 20: null is found with `is null`"),
        (
            "nodes { group by certname }",
            "line 1, column 9: `group by` needs PuppetDB; nodes are named once in any case",
        ),
        ("nodes { limit -1 }", "line 1, column 15: `limit` must be followed by a whole number, not by `-1`"),
        ("nodes { limit 1 limit 2 }", "line 1, column 17: `limit` may be given once"),
        (
            "nodes { certname in nodes {} }",
            "line 1, column 21: the query after `in` has 0 columns and must have 1: name \
                                            them as in `nodes[certname] { ... }`",
        ),
        (
            "nodes { report_timestamp is null }",
            "line 1, column 9: the field `report_timestamp` needs PuppetDB, which \
                                                this server has not been given",
        ),
        ("nodes {} {}", "line 1, column 10: nothing may follow the query's last `}`, and there is `{`"),
        ("nodes { certname = 'é", "line 1, column 20: the string has no end; add a `'`"),
    ] {
        let error = Fleet::new().ask(&query.into()).unwrap_err().to_string();
        assert_eq!(error, format!("The query is not understood at {expected}."), "{query}");
    }
    let error = Fleet::new().ask(&"inventory[facts] {}".into()).unwrap_err().to_string();
    let expected = "the rows have no certname, so they name no nodes: write `inventory[certname] { ... }`";
    assert_eq!(error, format!("The query cannot be answered: {expected}."));
}

#[test]
fn says_where_a_tree_is_wrong() {
    for (query, expected) in [
        (json!([]), ": an array that begins with an operator is expected, such as [\"=\", \"certname\", \"a\"]"),
        (
            json!(["=", "certname", "a"]),
            ": a query begins with `from`, as in [\"from\", \"nodes\", [\"=\", \"certname\", \
                                         \"a\"]], not with `=`",
        ),
        (
            json!(["from", "events"]),
            "[1]: `events` needs PuppetDB, which this server has not been given; without it there \
                                     are nodes, inventory and facts",
        ),
        (
            json!(["from", "nodes", ["and", ["=", "certname", "a"], ["!=", "certname", "b"]]]),
            "[2][2]: there is no such operator in this form; put the other one into `not`",
        ),
        (
            json!(["from", "nodes", ["extract", [["function", "count"]]]]),
            "[2][1][0]: functions need PuppetDB; name \
                                                                          columns, such as certname",
        ),
        (
            json!(["from", "nodes", ["=", "hostname", "a"]]),
            "[2][1]: nodes have no field `hostname`; there are certname, \
                                                            connected, broker, facts_timestamp, deactivated and expired",
        ),
        (json!(["from", "nodes", ["=", "certname", null]]), "[2][2]: null is found with [\"null?\", field, true]"),
        (
            json!(["from", "nodes", ["in", "certname", ["array", ["a", {}]]]]),
            "[2][2][1][1]: a value must be a string, a \
                                                                              number or a boolean",
        ),
        (json!(["from", "nodes", ["limit", "1"]]), "[2]: `limit` must be followed by a whole number"),
        (
            json!(["from", "nodes", ["limit", 1], ["=", "certname", "a"]]),
            "[3]: only limit, offset and order_by may follow \
                                                                          the filter, not `=`; join conditions with `and`",
        ),
        (
            json!(["from", "nodes", ["xor", ["=", "certname", "a"]]]),
            "[2]: `xor` has 1 arguments; a condition has the form \
                                                                     [operator, field, value]",
        ),
    ] {
        let error = Fleet::new().ask(&query).unwrap_err().to_string();
        assert_eq!(error, format!("The query is not understood at query{expected}."), "{query}");
    }
    assert!(Fleet::new().ask(&json!({})).is_err());
}

#[test]
fn queries_are_bounded() {
    let repeat = |part: &str, times: usize, between: &str| vec![part; times].join(between);
    let refused = |query: String| Fleet::new().ask(&query.into()).unwrap_err().to_string();
    let name = "certname = 'a'";
    assert_eq!(chosen(format!("nodes {{ {} }}", repeat(name, QUERY_CONDITIONS_MAX, " or "))), "");
    assert!(
        refused(format!("nodes {{ {} }}", repeat(name, QUERY_CONDITIONS_MAX + 1, " or "))).contains("1000 conditions")
    );
    let deep = |levels| format!("nodes {{ {}{name}{} }}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(chosen(deep(QUERY_DEPTH_MAX - 1)), "");
    assert!(refused(deep(QUERY_DEPTH_MAX)).contains("32 levels"));
    assert!(refused(format!("nodes {{ {} }}", "!".repeat(100_000))).contains("32 levels"));
    let patterns = repeat("certname ~ 'a'", QUERY_PATTERNS_MAX + 1, " or ");
    assert!(refused(format!("nodes {{ {patterns} }}")).contains("64 regular expressions"));
    let subqueries = repeat("facts {}", QUERY_SUBQUERIES_MAX + 1, " or ");
    assert!(refused(format!("nodes {{ {subqueries} }}")).contains("16 subqueries"));
    assert!(refused(" ".repeat(QUERY_BYTES_MAX + 1)).contains("bytes and may have"));
    let mut tree = json!(["=", "certname", "a"]);
    for _ in 0..QUERY_DEPTH_MAX {
        tree = json!(["not", tree]);
    }
    assert!(Fleet::new().ask(&json!(["from", "nodes", tree])).unwrap_err().to_string().contains("32 levels"));
    // Names in a list are looked up.
    let names = repeat("'web1.example.com'", 5000, ",");
    assert_eq!(chosen(format!("nodes {{ certname in [{names}] }}")), "web1");
}

#[test]
fn an_answer_that_costs_too_much_is_refused() {
    let fleet = Fleet::new();
    let (_, facts, _) = &fleet.facts[2];
    let node = NodeView { certname: "a", connection: None, extensions: None, facts: facts.as_ref() };
    let nodes = vec![node; 100];
    let parsed = |query: &str| Query::parse(&query.into()).unwrap();
    for (query, steps) in [
        ("nodes { certname = 'a' }", 200),
        ("nodes { certname = 'a' order by certname }", 200),
        ("nodes { certname in nodes[certname] {} }", 300),
        ("facts { name = 'x' }", 1400),
        ("nodes { certname in [1, 2, 3] }", 500),
    ] {
        let query = parsed(query);
        assert!(query.certnames_within(&nodes, steps + 1).is_ok(), "{query:?}");
        let error = query.certnames_within(&nodes, steps - 1).unwrap_err();
        assert!(error.to_string().contains("too many comparisons"), "{error}");
    }
}
