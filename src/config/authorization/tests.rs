//! Authorization rules as files say them: what is read, and each refusal with its text.

use super::*;
use crate::config::load_broker;

const CERTIFICATES: &str =
    "global.certs { ssl-cert: c.pem, ssl-key: c.pem, ssl-ca-cert: c.pem, ssl-crl-path: c.pem }\n";

/// The access that a configuration asks for, with its warnings, or what is wrong with it.
fn load(text: &str) -> Result<(ClientAccess, Vec<String>), Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.pem"), "").unwrap();
    std::fs::write(dir.path().join("broker.conf"), CERTIFICATES).unwrap();
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    std::fs::write(dir.path().join("conf.d/auth.conf"), text).unwrap();
    let prefix = format!("{}/conf.d/", dir.path().display());
    match load_broker(dir.path()) {
        Ok(loaded) => {
            let warnings = loaded.warnings.iter().map(|warning| warning.to_string().replace(&prefix, "")).collect();
            Ok((loaded.settings.broker.access, warnings))
        }
        Err(problems) => Err(problems.0.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()),
    }
}

fn rules(text: &str) -> (AuthorizationRules, Vec<String>) {
    match load(text) {
        Ok((ClientAccess::Rules(rules), warnings)) => (rules, warnings),
        other => panic!("{other:?}"),
    }
}

/// A section with one rule that has these lines besides its name, order and path.
fn rule(lines: &str) -> String {
    section(&format!("{{ name: r, sort-order: 1, match-request: {{ path: /, type: path }}, {lines} }}"))
}

/// The same with this section `match-request`.
fn request(lines: &str) -> String {
    section(&format!("{{ name: r, sort-order: 1, match-request: {{ {lines} }}, allow: \"*\" }}"))
}

fn section(rules: &str) -> String {
    format!("authorization {{ version: 1, rules: [ {rules} ] }}")
}

/// The lists of the only rule.
fn lists(text: &str) -> (Vec<Ace>, Vec<Ace>, Vec<String>) {
    let (mut rules, warnings) = rules(text);
    assert_eq!(rules.rules.len(), 1, "{text}");
    match rules.rules.remove(0).access {
        Access::Listed { deny, allow } => (deny, allow, warnings),
        Access::Anyone => panic!("{text}"),
    }
}

#[test]
fn without_a_section_the_built_in_policy_holds() {
    let privileged =
        |names: &[&str]| ClientAccess::BuiltIn { privileged: names.iter().map(ToString::to_string).collect() };
    assert_eq!(load("").unwrap().0, privileged(&[]));
    assert_eq!(load("pcp-broker.privileged-clients: [ctl]").unwrap().0, privileged(&["ctl"]));
}

/// The policy that pcp-broker's container image is shipped with, in our words.
#[test]
fn the_shipped_policy() {
    let (read, warnings) = rules(
        r#"authorization: { version: 1, rules: [
          { allow: [], name: "multi-cast with destination_report", sort-order: 399, match-request: { type: path
            path: "/pcp-broker/send", query-params: { destination_report: "true", targets: ["pcp://*/agent", "pcp://*/*"] } } }
          { allow: [${global.certs.ssl-cert}], name: "pxp commands", sort-order: 400, match-request: { type: path
            path: "/pcp-broker/send", query-params: { message_type: ["a", "b"] } } }
          { allow: [${global.certs.ssl-cert}], name: "inventory request", sort-order: 400, match-request: { type: path
            path: "/pcp-broker/send", query-params: { message_type: "i" } } }
          { allow: "*", name: "pcp-broker message", sort-order: 420, match-request: { type: path
            path: "/pcp-broker/send", query-params: { message_type: ["c"] } } }
          { allow: "*", name: "status", sort-order: 1, match-request: { type: path, path: "/status", method: get } }
        ] }"#,
    );
    let names: Vec<&str> = read.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["inventory request", "pxp commands", "pcp-broker message"], "by order, then by name");
    assert_eq!(read.elsewhere, ["status"]);
    let never = "auth.conf: authorization.rules.\"multi-cast with destination_report\".match-request.query-params";
    let text = "messages have message_type, target and sender only: none meets this rule; it is left out";
    let expected = [format!("{never}.destination_report: {text}"), format!("{never}.targets: {text}")];
    assert_eq!(warnings, expected);
    let Access::Listed { allow, .. } = &read.rules[0].access else { panic!("{read:?}") };
    assert_eq!(*allow, [Ace::Name("c.pem".to_owned())], "what stands for the orchestrator comes from another file");
}

#[test]
fn entries() {
    let name = |text: &str| Ace::Name(text.to_owned());
    let domain = |text: &str| Ace::Domain(text.to_owned());
    let extension = |oid: &str, values: &[&str]| Attribute::Extension {
        oid: oid.to_owned(),
        values: values.iter().map(ToString::to_string).collect(),
    };
    for (entry, expected) in [
        ("\"*\"", Ace::Everyone),
        ("www.x.org", name("www.x.org")),
        ("WWW.X.org", name("www.x.org")),
        ("{ certname: www.x.org }", name("www.x.org")),
        ("\"*.X.org\"", domain("x.org")),
        ("\"*.org\"", domain("org")),
        ("ctl_1", name("ctl_1")),
        ("\"a@b\"", name("a@b")),
        ("\"/^web\\\\d+$/\"", Ace::Matching(Pattern::new(r"^web\d+$").unwrap())),
        ("\"//\"", Ace::Matching(Pattern::new("").unwrap())),
        ("{ extensions: {} }", Ace::Everyone),
        (
            "{ extensions: { pp_role: [a, b], \"1.3.6.1.4.1.34380.1.2.9\": c } }",
            Ace::Certificate(vec![
                extension("1.3.6.1.4.1.34380.1.1.13", &["a", "b"]),
                extension("1.3.6.1.4.1.34380.1.2.9", &["c"]),
            ]),
        ),
        (
            "{ extensions: { subject-alt-name: { dns-name: a.b, ip: [\"2001:db8:0::1\"] } } }",
            Ace::Certificate(vec![Attribute::AlternativeName {
                dns_names: vec!["a.b".to_owned()],
                ip_addresses: vec!["2001:db8::1".to_owned()],
            }]),
        ),
    ] {
        let (deny, allow, _) = lists(&rule(&format!("allow: {entry}, deny: [{entry}, {entry}]")));
        assert_eq!((deny, allow), (vec![expected.clone(), expected.clone()], vec![expected]), "{entry}");
    }
}

#[test]
fn back_references_are_to_the_path_of_messages() {
    let with = |path: &str, entry: &str| {
        section(&format!(
            "{{ name: r, sort-order: 1, match-request: {{ path: \"{path}\", type: regex }}, allow: \"{entry}\" }}"
        ))
    };
    let (_, allow, _) = lists(&with("^/(p)cp-(broker)/", "$2.$1-x.Org"));
    assert_eq!(allow, [Ace::Name("broker.p-x.org".to_owned())]);
    let (_, allow, _) = lists(&with("/(send)$", "*.$1"));
    assert_eq!(allow, [Ace::Domain("send".to_owned())]);
    let (_, allow, _) = lists(&with("/(send)$", "/^$1/"));
    assert_eq!(allow, [Ace::Matching(Pattern::new("^send").unwrap())]);
    assert_eq!(rules(&with("^/other/([^/]+)$", "$1")).0.elsewhere, ["r"]);
    for (path, entry, text) in [
        ("/(a)?send", "$1", "'$1': $1 refers to a capture group that is not part of the path of messages"),
        ("/(send)", "$2", "'$2': $2 refers to a capture group that the path, with 1, does not have"),
        ("/(send)", "$0", "'$0': $0 refers to a capture group that the path, with 1, does not have"),
        ("^(/pcp-broker)", "$1", "'$1' stands for '/pcp-broker': invalid domain value: /pcp-broker;"),
    ] {
        let problems = load(&with(path, entry)).unwrap_err();
        let expected = format!("auth.conf: authorization.rules.\"r\".allow: {text}");
        assert!(problems.len() == 1 && problems[0].starts_with(&expected), "{problems:?}");
    }
    let problems = load(&rule("allow: \"$1\"")).unwrap_err();
    assert!(problems[0].ends_with("$1 refers to a capture group that the path, with 0, does not have"), "{problems:?}");
}

#[test]
fn entries_that_match_nobody_are_left_out_of_allow_and_refused_in_deny() {
    for (entry, key, text) in [
        ("\"web1.example.com.\"", "", "'web1.example.com.' equals no name: no certificate's name ends in a dot"),
        ("Foo", "", "'Foo' equals no name: a name of one label is compared in lower case"),
        ("\"a@b.c\"", "", "'a@b.c' equals no name: a name of one label is compared in lower case"),
        (
            "{ extensions: { pp_rol: x } }",
            ".extensions.pp_rol",
            "is not an extension that this version knows; did you mean pp_role?",
        ),
        (
            "{ extensions: { \"2.5.29.17\": x } }",
            ".extensions.2.5.29.17",
            "is not an extension that this version knows; give an OID below 1.3.6.1.4.1.34380. or a name such as pp_role",
        ),
        (
            "{ extensions: { subject-alt-name: { uri: x } } }",
            ".extensions.subject-alt-name.uri",
            "is not looked at in this version; dns-name and ip are",
        ),
        (
            "{ extensions: { subject-alt-name: { ip: x } } }",
            ".extensions.subject-alt-name.ip",
            "'x' is not an IP address",
        ),
    ] {
        let (_, _, warnings) = lists(&rule(&format!("allow: {entry}")));
        let at = "auth.conf: authorization.rules.\"r\"";
        assert_eq!(warnings, [format!("{at}.allow{key}: {text}: it matches no certificate")]);
        let problems = load(&rule(&format!("deny: {entry}"))).unwrap_err();
        assert_eq!(problems, [format!("{at}.deny{key}: {text}: it would deny nobody")]);
    }
    let (_, allow, warnings) = lists(&rule("allow: { rbac: { permission: \"a:b:*\" } }"));
    assert!(allow.is_empty() && warnings[0].ends_with("not from users: the entry matches nobody"), "{warnings:?}");
}

/// One problem, at a key of the rule `r`.
fn expect_refusal(text: &str, key: &str, message: &str) {
    let problems = load(text).unwrap_err();
    let expected = format!("auth.conf: authorization.rules.\"r\"{key}: {message}");
    assert!(problems.len() == 1 && problems[0].starts_with(&expected), "{text}\n{expected}\n{problems:?}");
}

#[test]
fn refusals_of_entries() {
    for (text, key, message) in [
        (rule("allow: 5"), ".allow", "must be a string, a map or a list of these, found \"5\"; quote names"),
        (rule("allow: null"), ".allow", "must be a string, a map or a list of these, found \"null\"; quote names"),
        (rule("allow: [[a]]"), ".allow", "must be a string, a map or a list of these, found an array; quote names"),
        (rule("allow: \"*.*\""), ".allow", "invalid domain value: *.*; give a name, *.domain, *, /regex/"),
        (rule("deny: \"a b\""), ".deny", "invalid domain value: a b; give"),
        (rule("deny: \"\""), ".deny", "invalid domain value: ; give"),
        (rule("allow: \"/a(?=b)/\""), ".allow", "the regular expression /a(?=b)/ has a look-ahead"),
        (rule("allow: {}"), ".allow", "must contain exactly one of 'certname' or 'extensions' or 'rbac'"),
        (rule("allow: { certname: a, extensions: { pp_role: b } }"), ".allow", "must contain exactly one of"),
        (rule("allow: { certname: a, certnam: b }"), ".allow.certnam", "unknown key; did you mean certname?"),
        (rule("allow: { certname: [a] }"), ".allow.certname", "must be a string, found an array"),
        (rule("allow: { extensions: a }"), ".allow.extensions", "must map extensions to a value or a list of values"),
        (rule("allow: { extensions: { pp_role: 5 } }"), ".allow.extensions.pp_role", "must be a string or a list of"),
        (
            rule("allow: { extensions: { subject-alt-name: a } }"),
            ".allow.extensions.subject-alt-name",
            "must be a section { dns-name, ip }, found \"a\"",
        ),
        (
            rule("allow: { extensions: { subject-alt-name: { dns: a } } }"),
            ".allow.extensions.subject-alt-name.dns",
            "unknown key; known are dns-name, ip",
        ),
        (rule("allow: { rbac: { permission: a } }"), ".allow.rbac", "must be { permission:"),
        (
            rule("deny: { rbac: { permission: \"a:b:c\" } }"),
            ".deny.rbac",
            "RBAC permissions cannot be used to deny access. Permission: 'a:b:c'",
        ),
        (rule("alow: a, deny: b"), ".alow", "unknown key; did you mean allow?"),
        (rule(""), "", "must contain either a 'deny' or 'allow' rule, or allow-unauthenticated: true"),
        (rule("allow-unauthenticated: false"), "", "must contain either a 'deny' or 'allow' rule"),
        (
            rule("allow-unauthenticated: true, deny: a"),
            ".allow-unauthenticated",
            "cannot be true in a rule that has allow or deny; remove one of them",
        ),
        (rule("allow-unauthenticated: \"true\""), ".allow-unauthenticated", "must be true or false"),
    ] {
        expect_refusal(&text, key, message);
    }
}

#[test]
fn refusals_of_rules() {
    for (text, key, message) in [
        (request("type: path"), ".match-request.path", "must be given; messages have the path /pcp-broker/send"),
        (request("path: 5, type: path"), ".match-request.path", "must be a string, found \"5\""),
        (request("path: /"), ".match-request.type", "must be given: path (the path starts with it) or regex"),
        (
            request("path: /, type: Regex"),
            ".match-request.type",
            "must be path or regex, in lower case, found \"Regex\"",
        ),
        (request("path: \"(\", type: regex"), ".match-request.path", "the regular expression /(/ is not valid: "),
        (
            request("path: /, type: path, method: [post, any]"),
            ".match-request.method",
            "must be one or a list of get, post, put, delete, head, found \"post\", \"any\"; leave the key out",
        ),
        (request("path: /, type: path, metod: get"), ".match-request.metod", "unknown key; did you mean method?"),
        (request("path: /, type: path, query-params: a"), ".match-request.query-params", "must be a section {"),
        (
            request("path: /, type: path, query-params: { sender: [a, 5] }"),
            ".match-request.query-params.sender",
            "must be a string or a list of strings, found an array",
        ),
        (section("{ name: r, sort-order: 1, allow: a }"), ".match-request", "must be given, a section { path, type }"),
        (section("{ name: r, sort-order: 1, match-request: [], allow: a }"), ".match-request", "must be a section {"),
    ] {
        expect_refusal(&text, key, message);
    }
    let orders = ["0", "1000", "\"400\"", "4.5", "-1", "[]"];
    for order in orders {
        let text =
            section(&format!("{{ name: r, sort-order: {order}, match-request {{ path: /, type: path }}, allow: a }}"));
        let problems = load(&text).unwrap_err();
        let expected = "auth.conf: authorization.rules.\"r\".sort-order: must be a number from 1 to 999, found ";
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
    }
}

/// What is wrong with the section as a whole, and with rules that have no name to be called by.
#[test]
fn refusals_of_the_section() {
    let unnamed = "{ match-request { path: /, type: path }, allow: a }";
    let many: String = (0..=AUTHORIZATION_RULES_MAX)
        .map(|n| format!("{{ name: r{n}, sort-order: 1, match-request {{ path: /, type: path }}, allow: a }}\n"))
        .collect();
    let twice = "{ name: r, sort-order: 1, match-request { path: /, type: path }, allow: a }\n".repeat(2);
    let version =
        "authorization.version: Unsupported or missing version in configuration file. Supported versions are: 1";
    let no_rules = "authorization.rules: must be given, a list of rules:";
    for (text, expected) in [
        ("authorization { rules: [] }".to_owned(), vec![version]),
        ("authorization { version: 2, rules: [] }".to_owned(), vec![version]),
        ("authorization { version: \"1\", rules: [] }".to_owned(), vec![version]),
        (
            "authorization { version: 1, rules { a: b } }".to_owned(),
            vec![no_rules, "authorization.rules.a: unknown key;"],
        ),
        ("authorization {}".to_owned(), vec![version, no_rules]),
        (
            "authorization: yes".to_owned(),
            vec!["authorization: must be a section { version, rules }", version, no_rules],
        ),
        (
            "authorization { version: 1, rule: [] }".to_owned(),
            vec![no_rules, "authorization.rule: unknown key; did you mean authorization.rules?"],
        ),
        (
            "authorization { version: 1, rules: [], allow-header-cert-info: \"yes\" }".to_owned(),
            vec!["authorization.allow-header-cert-info: must be true or false, found \"yes\""],
        ),
        (
            format!("pcp-broker.privileged-clients: []\n{}", section("")),
            vec!["pcp-broker.privileged-clients: has no place beside the section authorization"],
        ),
        (section("a"), vec!["authorization.rules.(rule 1): An authorization rule should be specified as a map; found"]),
        (
            section(&format!("{unnamed}, {unnamed}")),
            vec![
                "authorization.rules.(rule 1).name: must be given, a name of its own;",
                "authorization.rules.(rule 1).sort-order: must be given, a number from 1 to 999;",
                "authorization.rules.(rule 2).name: must be given",
                "authorization.rules.(rule 2).sort-order: must be given",
            ],
        ),
        (
            section(&twice),
            vec!["authorization.rules.\"r\".name: Duplicate rules named 'r'. Rules must be uniquely named."],
        ),
        (
            section(&many),
            vec!["authorization.rules: 129 rules are about /pcp-broker/send; at most 128 can be, join some"],
        ),
    ] {
        let problems = load(&text).unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(&expected) {
            assert!(problem.starts_with(&format!("auth.conf: {expected}")), "{expected}\n{problem}");
        }
    }
}

/// What the reference takes without a word.
#[test]
fn what_is_accepted() {
    for lines in [
        "path: /, type: path, method: POST",
        "path: /, type: path, method: [Get, Post]",
        "path: \"/pcp-broker/send\", type: path, query-params: {}",
        "path: \"\", type: path",
        "path: broker, type: regex",
    ] {
        let (read, warnings) = rules(&request(lines));
        assert_eq!((read.rules.len(), warnings), (1, vec![]), "{lines}");
    }
    for lines in
        ["path: broker, type: path", "path: \"/pcp-broker/send/x\", type: path", "path: /, type: path, method: []"]
    {
        assert_eq!(rules(&request(lines)).0.elsewhere, ["r"], "{lines}");
    }
    let (read, _) = rules(&rule("allow-unauthenticated: true"));
    assert_eq!(read.rules[0].access, Access::Anyone);
    let (deny, allow, _) = lists(&rule("allow-unauthenticated: false, deny: []"));
    assert!(deny.is_empty() && allow.is_empty());
    let (read, warnings) = rules(&format!("{}\nauthorization.allow-header-cert-info: true", rule("allow: a")));
    assert_eq!(read.identification, Identification::Headers);
    assert!(warnings[0].contains("messages have no headers: no client has a name"), "{warnings:?}");
    let (_, warnings) = rules(&section(""));
    assert!(warnings[0].ends_with("no rule is about POST /pcp-broker/send: no client may do anything"), "{warnings:?}");
}
