//! What rules, as a file says them, make of names, certificates and messages.

use super::*;
use crate::config::load_broker;
use crate::pxp::message_type as pxp;

/// The access that a section with these rules asks for.
fn policy(section: &str) -> Policy {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.pem"), "").unwrap();
    let certificates = "global.certs { ssl-cert: c.pem, ssl-key: c.pem, ssl-ca-cert: c.pem, ssl-crl-path: c.pem }";
    let text = format!("{certificates}\nauthorization {{ version: 1, {section} }}");
    std::fs::write(dir.path().join("auth.conf"), text).unwrap();
    match load_broker(dir.path()) {
        Ok(loaded) => Policy::from_access(&loaded.settings.broker.access),
        Err(problems) => panic!("{problems}"),
    }
}

fn rule(name: &str, order: u16, query: &str, who: &str) -> String {
    format!(
        "{{ name: \"{name}\", sort-order: {order}, {who}
           match-request {{ path: \"/pcp-broker/send\", type: path, query-params {{ {query} }} }} }}\n"
    )
}

fn judge<'p>(policy: &'p Policy, name: &str, message_type: &str, target: &str) -> Result<(), Denial<'p>> {
    let sender = format!("pcp://{name}/agent");
    let judged = Judged { common_name: name, sender: &sender, message_type, target };
    policy.judge(&policy.rights(name, None), &judged, &Controllers::default())
}

fn attributes(dns_names: &[&str], ip_addresses: &[&str], extensions: &[(&str, &str)]) -> CertificateAttributes {
    let texts = |texts: &[&str]| texts.iter().map(|text| Box::from(*text)).collect();
    CertificateAttributes {
        dns_names: texts(dns_names),
        ip_addresses: texts(ip_addresses),
        extensions: extensions.iter().map(|(oid, value)| (Box::from(*oid), Box::from(*value))).collect(),
    }
}

/// Whether an entry in `allow` lets a certificate pass, and whether the same in `deny` stops it.
fn allowed_and_denied(entry: &str, name: &str, attributes: Option<&CertificateAttributes>) -> (bool, bool) {
    let passes = |who: String| {
        let policy = policy(&format!("rules: [ {} ]", rule("r", 1, "", &who)));
        policy.may_associate(&policy.rights(name, attributes), "pcp://x/agent").is_ok()
    };
    (passes(format!("allow: [{entry}]")), !passes(format!("allow: \"*\", deny: [{entry}]")))
}

#[test]
fn names_are_compared_whole() {
    for (entry, names, matches) in [
        ("www.x.org", &["www.x.org", "WWW.X.ORG"][..], true),
        ("WWW.x.ORG", &["www.x.org", "WWW.X.ORG"], true),
        (
            "www.x.org",
            &["a.www.x.org", "x.org", "org", "zzz.x.org", "www.x.org.evil", "wwwxx.org", ".www.x.org"],
            false,
        ),
        ("\"*.x.org\"", &["a.x.org", "a.b.x.org", "x.org", "A.X.Org"], true),
        ("\"*.x.org\"", &["org", "ax.org", "x.org.evil", "x-org"], false),
        ("foo", &["foo", "FOO"], true),
        ("foo", &["a.b.foo", "foo.b", "foobar"], false),
        ("\"a@b\"", &["a@b"], true),
        ("\"*\"", &["a", "a.b", "\u{e9}", "*.x"], true),
        ("\"/^web\\\\d+$/\"", &["web1", "web22"], true),
        ("\"/^web\\\\d+$/\"", &["web", "WEB1", "a.web1"], false),
        ("\"/domain/\"", &["www.domain.org", "domain"], true),
        ("{ certname: www.x.org }", &["www.x.org"], true),
    ] {
        for name in names {
            assert_eq!(allowed_and_denied(entry, name, None), (matches, matches), "{entry} {name}");
        }
    }
}

/// Names that could pass for another: no way in by them, and no way around a denial.
#[test]
fn in_doubt_against_the_client() {
    for (entry, name) in [
        ("www.x.org", "www.x.org."),
        ("www.x.org", "WWW.x.org.."),
        ("\"*.x.org\"", "a.x.org."),
        ("foo", "foo."),
        ("kelvin.x.org", "\u{212a}elvin.x.org"),
    ] {
        assert_eq!(allowed_and_denied(entry, name, None), (false, true), "{entry} {name}");
    }
}

#[test]
fn any_alternative_name_will_do() {
    let certificate = attributes(&["pool.x.org", "Other"], &["192.0.2.7"], &[]);
    for (entry, matches) in [
        ("node.x.org", true),
        ("pool.x.org", true),
        ("other", true),
        ("\"/^Oth/\"", true),
        ("\"*.pool.x.org\"", true),
        ("y.org", false),
        ("\"192.0.2.7\"", false),
        ("{ extensions { subject-alt-name { dns-name: [a, pool.x.org] } } }", true),
        ("{ extensions { subject-alt-name { dns-name: node.x.org } } }", true),
        ("{ extensions { subject-alt-name { dns-name: POOL.x.org } } }", false),
        ("{ extensions { subject-alt-name { dns-name: a, ip: \"192.0.2.7\" } } }", true),
        ("{ extensions { subject-alt-name { ip: \"192.0.2.8\" } } }", false),
        ("{ extensions { subject-alt-name {} } }", false),
    ] {
        assert_eq!(allowed_and_denied(entry, "node.x.org", Some(&certificate)), (matches, matches), "{entry}");
    }
}

#[test]
fn extensions_are_all_needed_and_one_value_each() {
    let certificate = attributes(&[], &[], &[("1.3.6.1.4.1.34380.1.1.13", "web"), ("1.3.6.1.4.1.34380.1.2.9", "x")]);
    for (entry, matches) in [
        ("pp_role: web", true),
        ("pp_role: [db, web]", true),
        ("pp_role: Web", false),
        ("pp_role: []", false),
        ("\"1.3.6.1.4.1.34380.1.1.13\": web", true),
        ("pp_role: web, \"1.3.6.1.4.1.34380.1.2.9\": x", true),
        ("pp_role: web, pp_zone: a", false),
        ("pp_role: web, subject-alt-name { dns-name: a }", true),
        ("pp_role: web, subject-alt-name { dns-name: b }", false),
        ("", true),
    ] {
        let entry = format!("{{ extensions {{ {entry} }} }}");
        assert_eq!(allowed_and_denied(&entry, "a", Some(&certificate)), (matches, matches), "{entry}");
    }
    assert_eq!(allowed_and_denied("{ extensions { pp_role: web } }", "a", None), (false, false));
}

#[test]
fn the_first_rule_that_a_message_meets_decides() {
    let policy = policy(&format!(
        "rules: [ {} {} {} {} {} {} ]",
        rule("z", 100, "message_type: t", "allow: a"),
        rule("b", 100, "message_type: [t, u], sender: \"pcp://b/agent\"", "allow: b"),
        rule("m", 50, "message_type: t, target: [\"pcp://x/y\", \"pcp://x/z\"]", "deny: \"*\""),
        rule("last", 999, "", "deny: \"*\""),
        rule("any", 500, "target: \"pcp:///server\"", "allow: a, deny: b"),
        rule("unheard", 501, "target: \"pcp:///server\"", "allow: \"*\""),
    ));
    for (name, message_type, target, expected) in [
        ("a", "t", "pcp://x/y", Err(Denial::Rule("m"))),
        ("a", "t", "pcp://x/a", Ok(())),
        ("c", "t", "pcp://x/a", Err(Denial::Rule("z"))),
        ("b", "t", "pcp://x/a", Ok(())),
        ("b", "u", "pcp://x/a", Ok(())),
        ("a", "u", "pcp://x/a", Err(Denial::Rule("last"))),
        ("a", "w", "pcp:///server", Ok(())),
        ("b", "w", "pcp:///server", Err(Denial::Rule("any"))),
        ("c", "w", "pcp:///server", Err(Denial::Rule("any"))),
        ("a", "w x", "pcp:///server", Err(Denial::Malformed)),
        ("a", "w", "pcp://x/*", Err(Denial::Rule("last"))),
        ("a", "w", "pcp://x/?", Err(Denial::Malformed)),
    ] {
        assert_eq!(judge(&policy, name, message_type, target), expected, "{name} {message_type} {target}");
    }
    assert_eq!(Denial::Rule("a\nb").to_string(), "denied by rule 'a\\nb'");
}

#[test]
fn what_no_rule_is_about_is_denied() {
    let none = policy("rules: []");
    assert_eq!(judge(&none, "a", "t", "x"), Err(Denial::NoRule));
    let elsewhere =
        "rules: [ { name: r, sort-order: 1, match-request { path: \"/status\", type: path }, allow: \"*\" } ]";
    assert_eq!(judge(&policy(elsewhere), "a", "t", "x"), Err(Denial::NoRule));
    let typed = policy(&format!("rules: [ {} ]", rule("r", 1, "message_type: t", "allow: \"*\"")));
    assert_eq!(judge(&typed, "a", "t", "x"), Ok(()));
    assert_eq!(judge(&typed, "a", "u", "x"), Err(Denial::NoRule));
}

#[test]
fn names_from_headers_are_nobodys() {
    let rules = [rule("r", 1, "message_type: t", "allow: \"*\""), rule("s", 2, "", "allow-unauthenticated: true")];
    let policy = policy(&format!("allow-header-cert-info: true, rules: [ {} ]", rules.concat()));
    assert_eq!(judge(&policy, "a", "t", "x"), Err(Denial::Rule("r")));
    assert_eq!(judge(&policy, "a", "u", "x"), Ok(()));
}

/// More rules than a machine word has bits.
#[test]
fn every_rule_has_its_own_bit() {
    let count = crate::limits::AUTHORIZATION_RULES_MAX;
    let rules: String = (0..count)
        .map(|n| rule(&format!("r{n:03}"), 1, &format!("message_type: t{n}"), &format!("allow: n{n}")))
        .collect();
    let policy = policy(&format!("rules: [ {rules} ]"));
    for n in 0..count {
        let message_type = format!("t{n}");
        assert_eq!(judge(&policy, &format!("n{n}"), &message_type, "x"), Ok(()));
        let other = judge(&policy, &format!("n{}", (n + 64) % count), &message_type, "x");
        assert_eq!(other, Err(Denial::Rule(&format!("r{n:03}"))));
    }
}

/// The policy that pcp-broker's container image is shipped with.
#[test]
fn the_shipped_policy() {
    let puppet = "http://puppetlabs.com/";
    let types = |names: &[&str]| {
        let types: Vec<String> = names.iter().map(|name| format!("\"{puppet}{name}\"")).collect();
        format!("message_type: [{}]", types.join(", "))
    };
    let answers = ["associate_request", "rpc_provisional_response", "rpc_blocking_response"];
    let answers = [&answers[..], &["rpc_non_blocking_response", "rpc_error_message"]].concat();
    let report = "destination_report: \"true\", targets: [\"pcp://*/agent\", \"pcp://*/*\"]";
    let rules = [
        rule("multi-cast with destination_report", 399, report, "allow: []"),
        rule("inventory request", 400, &types(&["inventory_request"]), "allow: [orch.x.org]"),
        rule("pxp commands", 400, &types(&["rpc_non_blocking_request", "rpc_blocking_request"]), "allow: [orch.x.org]"),
        rule("pcp-broker message", 420, &types(&answers), "allow: \"*\""),
    ];
    let policy = policy(&format!("rules: [ {} ]", rules.concat()));
    for message_type in answers {
        assert_eq!(judge(&policy, "a.x.org", &format!("{puppet}{message_type}"), SERVER_URI), Ok(()), "{message_type}");
    }
    for (message_type, rule) in [
        (message_type::INVENTORY_REQUEST, Some("inventory request")),
        (pxp::BLOCKING_REQUEST, Some("pxp commands")),
        (pxp::NON_BLOCKING_REQUEST, Some("pxp commands")),
        (message_type::ERROR_MESSAGE, None),
        (message_type::INVENTORY_UPDATE, None),
    ] {
        let denied = rule.map_or(Denial::NoRule, Denial::Rule);
        assert_eq!(judge(&policy, "a.x.org", message_type, "pcp://b/agent"), Err(denied), "{message_type}");
        assert_eq!(judge(&policy, "x.org", message_type, "pcp://b/agent"), Err(denied), "{message_type}");
        let orchestrator = judge(&policy, "orch.x.org", message_type, "pcp://b/agent");
        assert_eq!(orchestrator.is_ok(), rule.is_some(), "{message_type}");
    }
    for (name, privileged) in [("a.x.org", false), ("orch.x.org", true)] {
        let rights = policy.rights(name, None);
        assert_eq!(policy.may_associate(&rights, "pcp://a.x.org/agent"), Ok(()));
        assert_eq!(policy.is_privileged(&rights, "pcp://a.x.org/agent"), privileged);
    }
}

#[test]
fn rights_are_good_under_their_own_policy_only() {
    let open = policy(&format!("rules: [ {} ]", rule("r", 1, "", "allow: \"*\"")));
    let rights = open.rights("a", None);
    let closed = policy(&format!("rules: [ {} ]", rule("r", 1, "", "deny: a"))).after(&open);
    assert!(open.made(&rights) && !closed.made(&rights));
    let rights = closed.rights("a", None);
    assert!(closed.made(&rights));
    assert_eq!(closed.may_associate(&rights, "pcp://a/agent"), Err(Denial::Rule("r")));
    let built_in = Policy::new(["ctl"]).after(&closed);
    assert!(!built_in.made(&rights));
    let rights = built_in.rights("a", None);
    assert_eq!(built_in.may_associate(&rights, "pcp://a/agent"), Ok(()));
    assert!(!built_in.is_privileged(&rights, "pcp://a/agent"));
    assert!(built_in.is_privileged(&built_in.rights("CTL", None), "pcp://CTL/x"));
}
