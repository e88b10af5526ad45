//! Access control entries: whom a rule names (trapperkeeper-authorization, `acl`). The forms are tried in the reference's
//! order; entries that can match nobody are left out with a warning, or refused where that would open a door.

use std::net::IpAddr;

use hocon::HoconValue;

use super::{Ace, Attribute, Pattern, Place};
use crate::config::reader::{nearest, shown};

/// Which list an entry stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Deny,
    Allow,
}

impl Side {
    fn key(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

/// What `$1` and the like stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Captures {
    /// Capture groups of the path.
    pub(super) groups: usize,
    /// What they hold; nothing if the rule is not about messages.
    pub(super) held: Option<Vec<Option<String>>>,
}

/// Extensions by the names that Puppet has registered for them.
const SHORT_NAMES: [(&str, &str); 30] = [
    ("pp_uuid", "1.1"),
    ("pp_instance_id", "1.2"),
    ("pp_image_name", "1.3"),
    ("pp_preshared_key", "1.4"),
    ("pp_cost_center", "1.5"),
    ("pp_product", "1.6"),
    ("pp_project", "1.7"),
    ("pp_application", "1.8"),
    ("pp_service", "1.9"),
    ("pp_employee", "1.10"),
    ("pp_created_by", "1.11"),
    ("pp_environment", "1.12"),
    ("pp_role", "1.13"),
    ("pp_software_version", "1.14"),
    ("pp_department", "1.15"),
    ("pp_cluster", "1.16"),
    ("pp_provisioner", "1.17"),
    ("pp_region", "1.18"),
    ("pp_datacenter", "1.19"),
    ("pp_zone", "1.20"),
    ("pp_network", "1.21"),
    ("pp_securitypolicy", "1.22"),
    ("pp_cloudplatform", "1.23"),
    ("pp_apptier", "1.24"),
    ("pp_hostname", "1.25"),
    ("pp_owner", "1.26"),
    ("pp_authorization", "3.1"),
    ("pp_auth_auto_renew", "3.2"),
    ("pp_auth_role", "3.13"),
    ("pp_cli_auth", "3.39"),
];

/// The registered name of an extension, from its OID in dotted form.
pub fn extension_name(oid: &str) -> Option<&'static str> {
    let last = oid.strip_prefix(PUPPET_ARC)?.strip_prefix("1.")?;
    SHORT_NAMES.iter().find(|(_, known)| *known == last).map(|(name, _)| *name)
}

/// Puppet's extensions.
const PUPPET_ARC: &str = "1.3.6.1.4.1.34380.";
const ALTERNATIVE_NAME: &str = "subject-alt-name";
/// What an alternative name may be; we know of the first two.
const ALTERNATIVE_NAME_KINDS: [&str; 9] = [
    "dns-name",
    "ip",
    "other-name",
    "rfc822-name",
    "x400-address",
    "directory-name",
    "edi-party-name",
    "uri",
    "registered-id",
];
const KEYS: [&str; 3] = ["certname", "extensions", "rbac"];

/// Reads the entries of one side: one or a list of them.
pub(super) fn list(
    place: &mut Place<'_, '_>,
    key: &'static str,
    value: &HoconValue,
    side: Side,
    captures: &Captures,
) -> Vec<Ace> {
    let listed = value.as_array().unwrap_or(std::slice::from_ref(value));
    let mut aces = Vec::new();
    for item in listed {
        let ace = match item {
            HoconValue::Object(_) => map(place, item, side, captures),
            item => match item.as_str() {
                Some(text) => certname(place, key, text, side, captures),
                None => {
                    let found = shown(item);
                    place.fail(key, format!("must be a string, a map or a list of these, found {found}; quote names"));
                    None
                }
            },
        };
        aces.extend(ace);
    }
    aces
}

fn map(place: &mut Place<'_, '_>, value: &HoconValue, side: Side, captures: &Captures) -> Option<Ace> {
    let key = side.key();
    let object = value.as_object()?;
    place.refuse_unknown(key, object.keys(), &KEYS);
    let [by_name, by_extension, by_permission] = KEYS.map(|key| object.get(key));
    match (by_name, by_extension, by_permission) {
        (Some(_), Some(_), _) | (None, None, None) => {
            let message = "must contain exactly one of 'certname' or 'extensions' or 'rbac'; split the map into two";
            place.fail(key, message);
            None
        }
        (_, _, Some(permission)) => {
            rbac(place, permission, side);
            None
        }
        (None, Some(extensions), None) => certificate(place, extensions, side),
        (Some(name), None, None) => match name.as_str() {
            Some(name) => certname(place, key, name, side, captures),
            None => {
                place.fail(&format!("{key}.certname"), format!("must be a string, found {}", shown(name)));
                None
            }
        },
    }
}

/// A permission of a user, whom no message comes from.
fn rbac(place: &mut Place<'_, '_>, value: &HoconValue, side: Side) {
    let permission = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get("permission"));
    let permission = permission.and_then(HoconValue::as_str).filter(|text| text.split(':').count() >= 3);
    let key = format!("{}.rbac", side.key());
    match (permission, side) {
        (None, _) => place.fail(&key, "must be { permission: \"object_type:action:instance\" }"),
        (Some(permission), Side::Deny) => {
            let message = format!("RBAC permissions cannot be used to deny access. Permission: '{permission}'");
            place.fail(&key, message);
        }
        (Some(_), Side::Allow) => {
            place.warn(&key, "messages come from certificates, not from users: the entry matches nobody");
        }
    }
}

fn certname(place: &mut Place<'_, '_>, key: &'static str, text: &str, side: Side, captures: &Captures) -> Option<Ace> {
    let domain = match domain(text) {
        Ok(Domain::BackReference) => interpolated(text, captures).transpose()?,
        other => other,
    };
    match domain {
        Ok(Domain::Ace(ace)) => Some(ace),
        Ok(Domain::Nobody) => {
            let why = if text.ends_with('.') {
                "no certificate's name ends in a dot"
            } else {
                "a name of one label is compared in lower case"
            };
            let what = format!("'{text}' equals no name: {why}");
            matches_nobody(place, key, side, &what);
            None
        }
        // No message is captured anything with a back-reference in it.
        Ok(Domain::BackReference) => None,
        Err(message) => {
            place.fail(key, message);
            None
        }
    }
}

/// What a name in an entry is.
enum Domain {
    Ace(Ace),
    /// Something that no name equals.
    Nobody,
    BackReference,
}

fn domain(text: &str) -> Result<Domain, String> {
    if text == "*" {
        return Ok(Domain::Ace(Ace::Everyone));
    }
    if is_exact(text) {
        return Ok(Domain::Ace(Ace::Name(text.to_ascii_lowercase())));
    }
    if let Some(below) = text.strip_prefix("*.").filter(|below| below.split('.').all(is_label)) {
        return Ok(Domain::Ace(Ace::Domain(below.to_ascii_lowercase())));
    }
    if references(text).next().is_some() {
        return Ok(Domain::BackReference);
    }
    if text.starts_with(is_word) && text.chars().all(|c| is_word(c) || "-.@".contains(c)) {
        // One label, compared as it is with names in lower case.
        let is_nobody = text.contains('.') || text.chars().any(|c| c.is_ascii_uppercase());
        return Ok(if is_nobody { Domain::Nobody } else { Domain::Ace(Ace::Name(text.to_owned())) });
    }
    let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    match inner.filter(|inner| !inner.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])) {
        Some(pattern) => Ok(Domain::Ace(Ace::Matching(Pattern::new(pattern)?))),
        None => Err(format!(
            "invalid domain value: {text}; give a name, *.domain, *, /regex/ or a map with certname or extensions"
        )),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_label(label: &str) -> bool {
    label.starts_with(is_word) && label.chars().all(|c| is_word(c) || c == '-')
}

/// Two labels at least; the last one may begin with a hyphen.
fn is_exact(text: &str) -> bool {
    let Some((labels, last)) = text.rsplit_once('.') else { return false };
    labels.split('.').all(is_label) && !last.is_empty() && last.chars().all(|c| is_word(c) || c == '-')
}

/// Where each `$<number>` of a text is, and its number.
fn references(text: &str) -> impl Iterator<Item = (std::ops::Range<usize>, &str)> {
    text.match_indices('$').filter_map(|(at, _)| {
        let digits = &text[at + 1..];
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        (length > 0).then(|| (at..at + 1 + length, &digits[..length]))
    })
}

/// The entry with what the groups of the path hold; `None` if the rule is not about messages. The reference puts the whole
/// entry into lower case first.
fn interpolated(text: &str, captures: &Captures) -> Result<Option<Domain>, String> {
    let template = text.to_lowercase();
    let template = template.trim_end_matches('.');
    let mut name = String::new();
    let mut end = 0;
    for (range, number) in references(template) {
        let index = number.parse::<usize>().ok().filter(|number| (1..=captures.groups).contains(number));
        let Some(index) = index else {
            let groups = captures.groups;
            return Err(format!(
                "'{text}': ${number} refers to a capture group that the path, with {groups}, does not have"
            ));
        };
        let Some(held) = &captures.held else { return Ok(None) };
        let Some(Some(captured)) = held.get(index - 1) else {
            return Err(format!(
                "'{text}': ${number} refers to a capture group that is not part of the path of messages"
            ));
        };
        name.push_str(&template[end..range.start]);
        name.push_str(captured);
        end = range.end;
    }
    name.push_str(&template[end..]);
    match domain(&name) {
        Ok(Domain::BackReference) => Err(format!("invalid domain value: {name}, which '{text}' stands for")),
        Ok(domain) => Ok(Some(domain)),
        Err(message) => Err(format!("'{text}' stands for '{name}': {message}")),
    }
}

/// What a certificate must have.
fn certificate(place: &mut Place<'_, '_>, value: &HoconValue, side: Side) -> Option<Ace> {
    let key = format!("{}.extensions", side.key());
    let Some(object) = value.as_object() else {
        place.fail(&key, format!("must map extensions to a value or a list of values, found {}", shown(value)));
        return None;
    };
    if object.is_empty() {
        place.warn(&key, "asks for nothing: every certificate matches");
        return Some(Ace::Everyone);
    }
    let mut attributes = Some(Vec::new());
    for (name, value) in object {
        let key = format!("{key}.{name}");
        let attribute = if name == ALTERNATIVE_NAME {
            alternative_name(place, &key, value, side)
        } else {
            extension(place, &key, name, value, side)
        };
        attributes = attributes.zip(attribute).map(|(mut all, one)| {
            all.push(one);
            all
        });
    }
    attributes.map(Ace::Certificate)
}

fn extension(place: &mut Place<'_, '_>, key: &str, name: &str, value: &HoconValue, side: Side) -> Option<Attribute> {
    let values = texts(place, key, value)?;
    let short = SHORT_NAMES.iter().find(|(short, _)| *short == name);
    if let Some((_, oid)) = short {
        return Some(Attribute::Extension { oid: format!("{PUPPET_ARC}1.{oid}"), values });
    }
    if name.starts_with(PUPPET_ARC) {
        return Some(Attribute::Extension { oid: name.to_owned(), values });
    }
    let names = SHORT_NAMES.iter().map(|(short, _)| *short).chain([ALTERNATIVE_NAME]);
    let advice = nearest(name, names).map_or_else(
        || format!("give an OID below {PUPPET_ARC} or a name such as pp_role"),
        |known| format!("did you mean {known}?"),
    );
    matches_nobody(place, key, side, &format!("is not an extension that this version knows; {advice}"));
    None
}

fn alternative_name(place: &mut Place<'_, '_>, key: &str, value: &HoconValue, side: Side) -> Option<Attribute> {
    let Some(object) = value.as_object() else {
        place.fail(key, format!("must be a section {{ dns-name, ip }}, found {}", shown(value)));
        return None;
    };
    place.refuse_unknown(key, object.keys(), &ALTERNATIVE_NAME_KINDS);
    let (mut dns_names, mut ip_addresses) = (Vec::new(), Vec::new());
    for (kind, value) in object {
        let key = format!("{key}.{kind}");
        let values = texts(place, &key, value)?;
        match kind.as_str() {
            "dns-name" => dns_names = values,
            "ip" => ip_addresses = addresses(place, &key, values, side),
            kind if ALTERNATIVE_NAME_KINDS.contains(&kind) => {
                matches_nobody(place, &key, side, "is not looked at in this version; dns-name and ip are");
            }
            _ => {}
        }
    }
    Some(Attribute::AlternativeName { dns_names, ip_addresses })
}

fn addresses(place: &mut Place<'_, '_>, key: &str, values: Vec<String>, side: Side) -> Vec<String> {
    let mut addresses = Vec::new();
    for text in values {
        match text.parse::<IpAddr>() {
            Ok(address) => addresses.push(address.to_string()),
            Err(_) => matches_nobody(place, key, side, &format!("'{text}' is not an IP address")),
        }
    }
    addresses
}

fn texts(place: &mut Place<'_, '_>, key: &str, value: &HoconValue) -> Option<Vec<String>> {
    let listed = value.as_array().unwrap_or(std::slice::from_ref(value));
    let texts: Option<Vec<String>> = listed.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    if texts.is_none() {
        let found = shown(value);
        place.fail(key, format!("must be a string or a list of strings, found {found}; quote numbers and OIDs"));
    }
    texts
}

/// An entry that matches nobody does no harm in `allow`; in `deny` it is a door that only seems closed.
fn matches_nobody(place: &mut Place<'_, '_>, key: &str, side: Side, what: &str) {
    match side {
        Side::Allow => place.warn(key, format!("{what}: it matches no certificate")),
        Side::Deny => place.fail(key, format!("{what}: it would deny nobody")),
    }
}
