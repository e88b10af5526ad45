//! The section `authorization` in the format of trapperkeeper-authorization, version 1, as far as it is about messages:
//! pcp-broker puts each message to its rules as the request `POST /pcp-broker/send` with the query parameters `sender`,
//! `target` and `message_type`. Path and method never change, so they are settled here, back-references to the path too.

mod ace;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use hocon::{HoconValue, ScalarType};

use super::reader::{Reader, nearest, shown};
use crate::limits::AUTHORIZATION_RULES_MAX;
pub use ace::extension_name;
pub use pattern::Pattern;

/// Who decides what clients may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAccess {
    /// The built-in policy.
    BuiltIn {
        /// Certificate names that may ask for the inventory and give orders to agents.
        privileged: Vec<String>,
    },
    /// The rules of the configuration.
    Rules(AuthorizationRules),
}

/// The section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationRules {
    /// The rules about messages, in the order in which they are asked.
    pub rules: Vec<Rule>,
    /// Names of the rules about other requests.
    pub elsewhere: Vec<String>,
    /// Where names come from.
    pub identification: Identification,
}

/// Where the names of clients come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identification {
    /// Their certificates.
    Certificates,
    /// HTTP headers, which messages do not have: nobody has a name.
    Headers,
}

/// One rule. The first one whose conditions a message meets decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unlike all others.
    pub name: String,
    /// Lower ones are asked first, equal ones by name.
    pub sort_order: u16,
    /// Which messages it is about.
    pub conditions: Conditions,
    /// Who may send them.
    pub access: Access,
}

/// What a message must have; `None` is anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// One of these types.
    pub message_type: Option<BTreeSet<String>>,
    /// One of these targets.
    pub target: Option<BTreeSet<String>>,
    /// One of these senders.
    pub sender: Option<BTreeSet<String>>,
}

/// Whom a rule lets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everyone, with a name or without.
    Anyone,
    /// Whoever is not denied and is allowed.
    Listed {
        /// Asked first.
        deny: Vec<Ace>,
        /// Asked then; whom neither names is denied.
        allow: Vec<Ace>,
    },
}

/// One access control entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ace {
    /// `*`: everyone who has a name.
    Everyone,
    /// This name, in lower case.
    Name(String),
    /// This domain, in lower case, and every name below it.
    Domain(String),
    /// Names in which the pattern is found.
    Matching(Pattern),
    /// Certificates that have all of these.
    Certificate(Vec<Attribute>),
}

/// Something that a certificate may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// An extension with one of these values.
    Extension {
        /// In dotted form.
        oid: String,
        /// Any of them will do.
        values: Vec<String>,
    },
    /// One of these subject alternative names.
    AlternativeName {
        /// Of kind dNSName, compared as they are.
        dns_names: Vec<String>,
        /// Of kind iPAddress.
        ip_addresses: Vec<String>,
    },
}

/// Reads who decides.
pub(super) fn client_access(reader: &mut Reader<'_>) -> ClientAccess {
    let key = "pcp-broker.privileged-clients";
    let privileged = reader.texts(key);
    let Some(section) = reader.value("authorization") else {
        return ClientAccess::BuiltIn { privileged: privileged.unwrap_or_default() };
    };
    if privileged.is_some() {
        reader.fail(key, "has no place beside the section authorization, whose rules say who may send what; keep one");
    }
    if !section.is_object() {
        reader.fail("authorization", format!("must be a section {{ version, rules }}, found {}", shown(section)));
    }
    ClientAccess::Rules(AuthorizationRules::read(reader))
}

impl AuthorizationRules {
    fn read(reader: &mut Reader<'_>) -> Self {
        let version = reader.value("authorization.version");
        if version.is_none_or(|version| number(version) != Some(1)) {
            let key = "authorization.version";
            reader.fail(key, "Unsupported or missing version in configuration file. Supported versions are: 1");
        }
        let identification = identification(reader);
        let mut all = Self { rules: Vec::new(), elsewhere: Vec::new(), identification };
        let key = "authorization.rules";
        let Some(list) = reader.value(key).and_then(HoconValue::as_array) else {
            reader.fail(key, "must be given, a list of rules: [ { name, sort-order, match-request, allow }, ... ]");
            return all;
        };
        let mut names = BTreeSet::new();
        for (index, value) in list.iter().enumerate() {
            let name = rule::name(value);
            let at = match &name {
                Some(name) => format!("{key}.{name:?}"),
                None => format!("{key}.(rule {})", index + 1),
            };
            let mut place = Place { reader, at, problems: 0 };
            if let Some(name) = name.filter(|name| !names.insert(name.clone())) {
                place.fail("name", format!("Duplicate rules named '{name}'. Rules must be uniquely named."));
            }
            match rule::read(&mut place, value) {
                rule::Read::AboutMessages(rule) => all.rules.push(rule),
                rule::Read::Elsewhere(name) => all.elsewhere.push(name),
                rule::Read::Void => {}
            }
        }
        all.rules.sort_by(|a, b| (a.sort_order, &a.name).cmp(&(b.sort_order, &b.name)));
        if all.rules.len() > AUTHORIZATION_RULES_MAX {
            let (count, path) = (all.rules.len(), rule::PATH);
            let advice = format!("{count} rules are about {path}; at most {AUTHORIZATION_RULES_MAX} can be, join some");
            reader.fail(key, advice);
        }
        if all.rules.is_empty() {
            reader.warn(key, format!("no rule is about POST {}: no client may do anything", rule::PATH));
        }
        all
    }
}

fn identification(reader: &mut Reader<'_>) -> Identification {
    let key = "authorization.allow-header-cert-info";
    match reader.value(key).map(|value| (value, boolean(value))) {
        Some((_, Some(true))) => {
            let what = "messages have no headers: no client has a name, and only allow-unauthenticated lets any pass";
            reader.warn(key, what);
            Identification::Headers
        }
        Some((value, None)) => {
            reader.fail(key, format!("must be true or false, found {}", shown(value)));
            Identification::Certificates
        }
        _ => Identification::Certificates,
    }
}

/// One rule, to report what is wrong with it.
struct Place<'r, 't> {
    reader: &'r mut Reader<'t>,
    /// Its key.
    at: String,
    problems: usize,
}

impl Place<'_, '_> {
    fn key(&self, below: &str) -> String {
        if below.is_empty() { self.at.clone() } else { format!("{}.{below}", self.at) }
    }

    fn fail(&mut self, below: &str, message: impl Into<String>) {
        self.problems += 1;
        self.reader.fail(&self.key(below), message);
    }

    fn warn(&mut self, below: &str, message: impl Into<String>) {
        self.reader.warn(&self.key(below), message);
    }

    /// Reports the keys of a section that nobody knows.
    fn refuse_unknown<'k>(&mut self, below: &str, keys: impl Iterator<Item = &'k String>, known: &[&str]) {
        for key in keys.filter(|key| !known.contains(&key.as_str())) {
            let advice = nearest(key, known.iter().copied())
                .map_or_else(|| format!("known are {}", known.join(", ")), |known| format!("did you mean {known}?"));
            let below = if below.is_empty() { key.clone() } else { format!("{below}.{key}") };
            self.fail(&below, format!("unknown key; {advice}"));
        }
    }
}

/// A whole number that is written as one.
fn number(value: &HoconValue) -> Option<i64> {
    match value {
        HoconValue::Scalar(scalar) if scalar.value_type == ScalarType::Number => scalar.raw.parse().ok(),
        _ => None,
    }
}

/// A boolean that is written as one.
fn boolean(value: &HoconValue) -> Option<bool> {
    match value {
        HoconValue::Scalar(scalar) if scalar.value_type == ScalarType::Boolean => scalar.raw.parse().ok(),
        _ => None,
    }
}
