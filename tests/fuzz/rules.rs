//! Authorization rules. Damaged files are read or refused, never more; and what the broker makes of sound ones is what
//! the plain reading of the same file says, rule by rule and label by label.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use podium::broker::authorize::{Judged, Policy};
use podium::broker::controllers::Controllers;
use podium::config::load_broker;
use podium::link::CertificateAttributes;
use podium::random::Random;
use serde_json::{Map, Value, json};

use super::cases;
use super::mutator::mutate_json;
use super::target::{Target, Verdict};

const NAMES: [&str; 14] = [
    "a",
    "foo",
    "FOO",
    "x.org",
    "a.x.org",
    "A.X.org",
    "b.a.x.org",
    "org",
    "web1",
    "web.x.org",
    "send",
    "broker.send",
    "a.send",
    "xx.org",
];
const TEXTS: [&str; 16] = [
    "*",
    "a",
    "foo",
    "a_b",
    "x.org",
    "a.x.org",
    "A.x.ORG",
    "*.x.org",
    "*.a.x.org",
    "*.org",
    "/^web/",
    "/x\\.o/",
    "//",
    "/(?i)FOO/",
    "web1",
    "org",
];
/// For the rules whose path has two groups.
const REFERENCES: [&str; 4] = ["$2", "$1.$2", "*.$2", "A.$2"];
/// Paths with their type; the first three are about messages.
const PATHS: [(&str, &str); 6] = [
    ("/pcp-broker/send", "path"),
    ("^/pcp-(broker)/(send)$", "regex"),
    ("broker", "regex"),
    ("/status", "path"),
    ("^/other/([^/]+)/(.*)$", "regex"),
    ("broker", "path"),
];
const TYPES: [&str; 4] = ["t", "u", "http://puppetlabs.com/associate_request", "v"];
const TARGETS: [&str; 3] = ["pcp:///server", "pcp://a/agent", "pcp://b/agent"];
const METHODS: [&str; 5] = ["get", "POST", "put", "delete", "Post"];
const EXTENSIONS: [(&str, &str); 3] =
    [("pp_role", "1.1.13"), ("pp_auth_role", "1.3.13"), ("1.3.6.1.4.1.34380.1.2.7", "1.2.7")];
const VALUES: [&str; 3] = ["web", "db", ""];
const ADDRESSES: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

const WORDS: [&[u8]; 18] = [
    b"\"*.*\"",
    b"\"$1\"",
    b"\"/(?=/\"",
    b"\"/(((((/\"",
    b"\\u0000",
    b"null",
    b"{",
    b"]",
    b"99999999999999999999",
    b"\"sort-order\":0,",
    b"\"/[[:a/\"",
    b"\xFF",
    b"\"*\",",
    b"\"foo\",",
    b"\"deny\":",
    b"*.",
    b"x.org",
    b"\"allow-unauthenticated\":true,",
];

fn any(random: &mut Random, of: &[&'static str]) -> &'static str {
    of[random.index(of.len())]
}

/// A few of these, perhaps one, perhaps none, perhaps not in a list.
fn some(random: &mut Random, of: &[&'static str]) -> Value {
    match random.index(4) {
        0 => json!(any(random, of)),
        count => Value::Array((1..count).map(|_| json!(any(random, of))).collect()),
    }
}

fn entry(random: &mut Random, has_groups: bool) -> Value {
    match random.index(8) {
        0 => {
            let mut asked = Map::new();
            for _ in 0..random.index(3) {
                asked.insert(random.pick(&EXTENSIONS).0.to_owned(), some(random, &VALUES));
            }
            if random.percent(30) {
                let (dns, ip) = (some(random, &NAMES), some(random, &ADDRESSES));
                asked.insert("subject-alt-name".to_owned(), json!({"dns-name": dns, "ip": ip}));
            }
            json!({"extensions": asked})
        }
        1 => json!({"certname": any(random, &TEXTS)}),
        2 if has_groups => json!(any(random, &REFERENCES)),
        _ => json!(any(random, &TEXTS)),
    }
}

fn entries(random: &mut Random, has_groups: bool) -> Value {
    match random.index(4) {
        0 => entry(random, has_groups),
        count => Value::Array((0..count).map(|_| entry(random, has_groups)).collect()),
    }
}

fn rule(random: &mut Random, name: String) -> Value {
    let paths = if random.percent(80) { &PATHS[..3] } else { &PATHS[..] };
    let (path, kind) = *random.pick(paths);
    let has_groups = path.contains(")/(");
    let mut request = json!({"path": path, "type": kind});
    if random.percent(20) {
        request["method"] = some(random, &METHODS);
    }
    let mut params = Map::new();
    for (name, values) in [("message_type", &TYPES[..3]), ("target", &TARGETS), ("sender", &NAMES), ("other", &["x"])] {
        if random.percent(match name {
            "message_type" => 60,
            "target" => 30,
            _ => 5,
        }) {
            params.insert(name.to_owned(), some(random, values));
        }
    }
    if !params.is_empty() {
        request["query-params"] = Value::Object(params);
    }
    let mut rule = json!({"name": name, "sort-order": 1 + random.index(5), "match-request": request});
    match random.index(6) {
        0 => rule["allow-unauthenticated"] = json!(true),
        1 => rule["deny"] = entries(random, has_groups),
        2 => {
            rule["deny"] = entries(random, has_groups);
            rule["allow"] = entries(random, has_groups);
        }
        _ => rule["allow"] = entries(random, has_groups),
    }
    rule
}

/// A section of random rules.
fn section(random: &mut Random) -> Value {
    let rules: Vec<Value> = (0..random.index(9))
        .map(|number| {
            let name = format!("{}{number}", any(random, &["a", "Z", "m"]));
            rule(random, name)
        })
        .collect();
    json!({"version": 1, "rules": rules, "allow-header-cert-info": random.percent(5)})
}

struct Client {
    name: &'static str,
    attributes: CertificateAttributes,
}

fn client(random: &mut Random) -> Client {
    let mut attributes = CertificateAttributes::default();
    for _ in 0..random.index(3) {
        attributes.dns_names.push(any(random, &NAMES).into());
    }
    if random.percent(30) {
        attributes.ip_addresses.push(any(random, &ADDRESSES).into());
    }
    for (_, oid) in EXTENSIONS {
        if random.percent(50) {
            let value = any(random, &VALUES).into();
            attributes.extensions.push((format!("1.3.6.1.4.1.34380.{oid}").into(), value));
        }
    }
    Client { name: any(random, &NAMES), attributes }
}

/// One value or a list of them, as a list.
fn listed(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

/// The plain reading of a section.
fn plainly(section: &Value, client: &Client, judged: &Judged<'_>) -> bool {
    let mut rules = listed(&section["rules"]);
    rules.sort_by_key(|rule| (rule["sort-order"].as_u64(), rule["name"].as_str().unwrap().to_owned()));
    let Some(rule) = rules.iter().find(|rule| is_met(&rule["match-request"], judged)) else { return false };
    if rule["allow-unauthenticated"] == true {
        return true;
    }
    let names = |entry: &Value| names(entry, client);
    section["allow-header-cert-info"] != true
        && !listed(&rule["deny"]).iter().any(names)
        && listed(&rule["allow"]).iter().any(names)
}

fn is_met(request: &Value, judged: &Judged<'_>) -> bool {
    let about_messages = PATHS[..3].iter().any(|(path, kind)| request["path"] == *path && request["type"] == *kind);
    let methods = &request["method"];
    let is_post = |method: &Value| method.as_str().unwrap().eq_ignore_ascii_case("POST");
    let given = |param: &str| match param {
        "message_type" => Some(judged.message_type),
        "target" => Some(judged.target),
        "sender" => Some(judged.sender),
        _ => None,
    };
    let no_params = Map::new();
    about_messages
        && (methods.is_null() || listed(methods).iter().any(is_post))
        && request["query-params"]
            .as_object()
            .unwrap_or(&no_params)
            .iter()
            .all(|(param, values)| given(param).is_some_and(|given| listed(values).contains(&json!(given))))
}

fn names(entry: &Value, client: &Client) -> bool {
    let attributes = &client.attributes;
    let all_names = || attributes.dns_names.iter().map(|name| &**name).chain([client.name]);
    if let Some(asked) = entry["extensions"].as_object() {
        return asked.iter().all(|(key, values)| {
            if key == "subject-alt-name" {
                let is_asked = |kind: &str, text: &str| listed(&values[kind]).contains(&json!(text));
                return all_names().any(|name| is_asked("dns-name", name))
                    || attributes.ip_addresses.iter().any(|address| is_asked("ip", address));
            }
            let oid = EXTENSIONS.iter().find(|(name, _)| name == key).unwrap().1;
            let found = attributes.extensions.iter().find(|(found, _)| found.ends_with(&format!("34380.{oid}")));
            found.is_some_and(|(_, value)| listed(values).contains(&json!(value)))
        });
    }
    let text = entry["certname"].as_str().or(entry.as_str()).unwrap();
    let text = text.replace("$1", "broker").replace("$2", "send").to_lowercase();
    all_names().any(|name| {
        let labels = |text: &str| text.to_lowercase().split('.').rev().map(str::to_owned).collect::<Vec<_>>();
        match text.as_str() {
            "*" | "//" => true,
            "/^web/" => name.starts_with("web"),
            "/x\\.o/" => name.contains("x.o"),
            "/(?i)foo/" => name.to_lowercase().contains("foo"),
            text => match text.strip_prefix("*.") {
                Some(domain) => labels(name).starts_with(&labels(domain)),
                None => labels(name) == labels(text),
            },
        }
    })
}

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let certificates = "global.certs { ssl-cert: c.pem, ssl-key: c.pem, ssl-ca-cert: c.pem, ssl-crl-path: c.pem }";
    std::fs::write(dir.path().join("c.pem"), "").unwrap();
    std::fs::write(dir.path().join("broker.conf"), certificates).unwrap();
    dir
}

fn load(dir: &Path, text: &[u8]) -> Result<Policy, String> {
    std::fs::write(dir.join("auth.conf"), text).unwrap();
    let loaded = load_broker(dir).map_err(|problems| problems.to_string())?;
    Ok(Policy::from_access(&loaded.settings.broker.access))
}

fn says(policy: &Policy, client: &Client, judged: &Judged<'_>) -> bool {
    let rights = policy.rights(client.name, Some(&client.attributes));
    policy.judge(&rights, judged, &Controllers::default()).is_ok()
}

fn judged<'c>(random: &mut Random, client: &'c Client) -> Judged<'c> {
    Judged {
        common_name: client.name,
        sender: any(random, &NAMES),
        message_type: any(random, &TYPES),
        target: any(random, &TARGETS),
    }
}

#[test]
fn verdicts_are_those_of_the_plain_reading() {
    let dir = directory();
    let allowed = AtomicUsize::new(0);
    cases(300, |random| {
        let section = section(random);
        let text = json!({"authorization": section}).to_string();
        let policy = load(dir.path(), text.as_bytes()).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        for _ in 0..30 {
            let client = client(random);
            let judged = judged(random, &client);
            let expected = plainly(&section, &client, &judged);
            allowed.fetch_add(usize::from(expected), Ordering::Relaxed);
            let (name, attributes) = (client.name, &client.attributes);
            assert_eq!(says(&policy, &client, &judged), expected, "{section:#}\n{name} {attributes:?} {judged:?}");
        }
    });
    println!("{} of 30 verdicts per case allow", allowed.into_inner());
}

/// Whether the plain reading knows what this means: no other keys, no nulls, and of the patterns and paths those that it
/// knows. The loader takes more than that.
fn is_plain(section: &Value) -> bool {
    let is_text = |value: &Value| value.as_str().is_some_and(str::is_ascii);
    let are_texts = |values: &Value| listed(values).iter().all(is_text) && !values.is_null();
    let is_flag = |value: &Value| value.is_null() || value.is_boolean();
    let is_name = |value: &Value| {
        value.as_str().is_some_and(|text| {
            let is_literal = !text.contains(['/', '$', '*']);
            text.is_ascii() && (is_literal || TEXTS.contains(&text) || REFERENCES.contains(&text))
        })
    };
    let has_parts = |asked: &Value, known: &dyn Fn(&str) -> bool| {
        asked.as_object().is_some_and(|asked| asked.iter().all(|(key, values)| known(key) && are_texts(values)))
    };
    let is_extension = |(key, values): (&String, &Value)| match key.as_str() {
        "subject-alt-name" => has_parts(values, &|kind| ["dns-name", "ip"].contains(&kind)),
        key => EXTENSIONS.iter().any(|(name, _)| *name == key) && are_texts(values),
    };
    let is_entry = |entry: &Value| match entry.as_object() {
        None => is_name(entry),
        Some(asked) if asked.len() != 1 => false,
        Some(asked) => match asked.get("extensions").map(Value::as_object) {
            Some(extensions) => extensions.is_some_and(|extensions| extensions.iter().all(is_extension)),
            None => asked.get("certname").is_some_and(is_name),
        },
    };
    let is_request = |request: &Value| {
        let params = &request["query-params"];
        PATHS.iter().any(|(path, kind)| request["path"] == *path && request["type"] == *kind)
            && (request["method"].is_null() || are_texts(&request["method"]))
            && (params.is_null() || has_parts(params, &|_| true))
    };
    let is_rule = |rule: &Value| {
        is_text(&rule["name"])
            && rule["sort-order"].is_u64()
            && is_flag(&rule["allow-unauthenticated"])
            && is_request(&rule["match-request"])
            && [&rule["deny"], &rule["allow"]].into_iter().flat_map(listed).all(|entry| is_entry(&entry))
    };
    let rules = section["rules"].as_array();
    is_flag(&section["allow-header-cert-info"]) && rules.is_some_and(|rules| rules.iter().all(is_rule))
}

/// The section of a file of JSON, if it is the same whoever reads it: HOCON merges objects of one key, and has more to
/// say about nulls.
fn as_json(text: &[u8]) -> Option<Value> {
    fn entries(value: &Value) -> usize {
        match value {
            Value::Object(members) => members.len() + members.values().map(entries).sum::<usize>(),
            Value::Array(items) => items.iter().map(entries).sum(),
            _ => 0,
        }
    }
    let mut whole: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let mut quoted = false;
    let mut escaped = false;
    let colons = text.iter().filter(|&&byte| {
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        byte == b':' && !quoted
    });
    let written = colons.count();
    let section = whole.remove("authorization")?;
    let has_nulls = section.to_string().contains("null");
    (whole.is_empty() && written == entries(&section) + 1 && !has_nulls).then_some(section)
}

#[test]
fn damaged_rules() {
    let dir = directory();
    let compared = AtomicUsize::new(0);
    Target { name: "rules", words: &WORDS, cases: 500 }.run(|random, input| {
        let policy = match load(dir.path(), input) {
            Ok(policy) => policy,
            Err(problems) => {
                assert!(!problems.is_empty());
                return Verdict::Refused;
            }
        };
        let plain = as_json(input).filter(is_plain);
        for _ in 0..10 {
            let client = client(random);
            let judged = judged(random, &client);
            let said = says(&policy, &client, &judged);
            if let Some(section) = &plain {
                compared.fetch_add(1, Ordering::Relaxed);
                let (name, attributes) = (client.name, &client.attributes);
                assert_eq!(said, plainly(section, &client, &judged), "{section:#}\n{name} {attributes:?} {judged:?}");
            }
        }
        Verdict::Sound
    });
    assert!(compared.into_inner() > 0);
}

/// Whole files of damaged sections.
#[test]
fn damaged_sections() {
    let dir = directory();
    cases(300, |random| {
        let mut section = json!({"authorization": section(random)});
        mutate_json(random, &mut section);
        match load(dir.path(), section.to_string().as_bytes()) {
            Err(problems) => assert!(!problems.is_empty()),
            Ok(policy) => {
                let client = client(random);
                says(&policy, &client, &judged(random, &client));
            }
        }
    });
}
