//! One rule: its order, the messages it is about, and whom it lets pass (trapperkeeper-authorization, `rules`).

use std::collections::BTreeSet;

use hocon::HoconValue;

use super::ace::{self, Captures, Side};
use super::{Access, Conditions, Pattern, Place, Rule, boolean, number};
use crate::config::reader::shown;

/// The path of the request that a message is.
pub(super) const PATH: &str = "/pcp-broker/send";

const METHOD: &str = "post";
const METHODS: [&str; 5] = ["get", "post", "put", "delete", "head"];

const KEYS: [&str; 6] = ["name", "sort-order", "match-request", "allow", "deny", "allow-unauthenticated"];
const REQUEST_KEYS: [&str; 4] = ["path", "type", "method", "query-params"];

/// What a rule is.
pub(super) enum Read {
    /// One that decides about messages.
    AboutMessages(Rule),
    /// One about other requests.
    Elsewhere(String),
    /// One with problems, or one that no message meets.
    Void,
}

/// The name of a rule, if it has one.
pub(super) fn name(rule: &HoconValue) -> Option<String> {
    match field(rule, "name")? {
        HoconValue::Scalar(scalar) => Some(scalar.raw.clone()),
        _ => None,
    }
}

/// A value that is there and not null.
fn field<'v>(section: &'v HoconValue, key: &str) -> Option<&'v HoconValue> {
    section.as_object()?.get(key).filter(|value| !value.is_null())
}

/// Reads a rule and reports everything that is wrong with it.
pub(super) fn read(place: &mut Place<'_, '_>, value: &HoconValue) -> Read {
    let Some(object) = value.as_object() else {
        place.fail("", format!("An authorization rule should be specified as a map; found {}", shown(value)));
        return Read::Void;
    };
    place.refuse_unknown("", object.keys(), &KEYS);
    let name = name(value);
    if name.is_none() {
        place.fail("name", "must be given, a name of its own; it stands in the log when the rule denies a message");
    }
    let sort_order = sort_order(place, value);
    let request = request(place, value);
    let captures = request.as_ref().map_or(Captures::default(), |request| request.captures.clone());
    let access = access(place, value, &captures);
    let (Some(name), Some(sort_order), Some(request), Some(access), 0) =
        (name, sort_order, request, access, place.problems)
    else {
        return Read::Void;
    };
    match request.about {
        About::Others => Read::Elsewhere(name),
        About::Nothing => Read::Void,
        About::Messages(conditions) => Read::AboutMessages(Rule { name, sort_order, conditions, access }),
    }
}

fn sort_order(place: &mut Place<'_, '_>, rule: &HoconValue) -> Option<u16> {
    let value = field(rule, "sort-order");
    let order = value.and_then(number).and_then(|order| u16::try_from(order).ok());
    let order = order.filter(|order| (1..=999).contains(order));
    match (order, value) {
        (Some(_), _) => {}
        (None, None) => place.fail("sort-order", "must be given, a number from 1 to 999; lower ones are asked first"),
        (None, Some(value)) => {
            place.fail("sort-order", format!("must be a number from 1 to 999, found {}", shown(value)));
        }
    }
    order
}

/// The section `match-request`.
struct Request {
    about: About,
    captures: Captures,
}

enum About {
    Messages(Conditions),
    /// Other paths or methods.
    Others,
    /// No request whatsoever.
    Nothing,
}

fn request(place: &mut Place<'_, '_>, rule: &HoconValue) -> Option<Request> {
    let Some(section) = field(rule, "match-request") else {
        place.fail("match-request", "must be given, a section { path, type }");
        return None;
    };
    let Some(object) = section.as_object() else {
        place.fail("match-request", format!("must be a section {{ path, type }}, found {}", shown(section)));
        return None;
    };
    place.refuse_unknown("match-request", object.keys(), &REQUEST_KEYS);
    let path = path(place, section);
    let is_post = method(place, section);
    let conditions = conditions(place, section);
    let (is_path, captures) = path?;
    let about = match conditions? {
        _ if !is_path || !is_post? => About::Others,
        None => About::Nothing,
        Some(conditions) => About::Messages(conditions),
    };
    Some(Request { about, captures })
}

/// Whether the path is that of messages, and what its groups hold.
fn path(place: &mut Place<'_, '_>, request: &HoconValue) -> Option<(bool, Captures)> {
    let is_regex = kind(place, request);
    let key = "match-request.path";
    let Some(value) = field(request, "path") else {
        place.fail(key, format!("must be given; messages have the path {PATH}"));
        return None;
    };
    let Some(path) = value.as_str() else {
        place.fail(key, format!("must be a string, found {}", shown(value)));
        return None;
    };
    if !is_regex? {
        return Some((PATH.starts_with(path), Captures { groups: 0, held: Some(Vec::new()) }));
    }
    match Pattern::new(path) {
        Ok(pattern) => {
            let held = pattern.captures(PATH);
            Some((held.is_some(), Captures { groups: pattern.groups(), held }))
        }
        Err(message) => {
            place.fail(key, message);
            None
        }
    }
}

/// Whether the type is `regex`, not `path`.
fn kind(place: &mut Place<'_, '_>, request: &HoconValue) -> Option<bool> {
    let key = "match-request.type";
    match field(request, "type").map(|value| (value.as_str(), value)) {
        Some((Some("path"), _)) => return Some(false),
        Some((Some("regex"), _)) => return Some(true),
        Some((_, value)) => place.fail(key, format!("must be path or regex, in lower case, found {}", shown(value))),
        None => place.fail(key, "must be given: path (the path starts with it) or regex"),
    }
    None
}

/// Whether the methods are those of messages.
fn method(place: &mut Place<'_, '_>, request: &HoconValue) -> Option<bool> {
    let Some(value) = field(request, "method") else { return Some(true) };
    let listed = value.as_array().unwrap_or(std::slice::from_ref(value));
    let methods: Option<Vec<String>> = listed.iter().map(|item| item.as_str().map(str::to_ascii_lowercase)).collect();
    match methods.filter(|methods| methods.iter().all(|method| METHODS.contains(&method.as_str()))) {
        Some(methods) => Some(methods.iter().any(|method| method == METHOD)),
        None => {
            let known = METHODS.join(", ");
            let found = listed.iter().map(shown).collect::<Vec<_>>().join(", ");
            let message = format!("must be one or a list of {known}, found {found}; leave the key out for any method");
            place.fail("match-request.method", message);
            None
        }
    }
}

/// The section `query-params`; nothing if no message meets it.
fn conditions(place: &mut Place<'_, '_>, request: &HoconValue) -> Option<Option<Conditions>> {
    let mut conditions = Conditions::default();
    let key = "match-request.query-params";
    let Some(section) = field(request, "query-params") else { return Some(Some(conditions)) };
    let Some(object) = section.as_object() else {
        place.fail(key, format!("must be a section {{ message_type, target, sender }}, found {}", shown(section)));
        return None;
    };
    let (mut is_met, mut is_right) = (true, true);
    for (name, value) in object {
        let key = format!("{key}.{name}");
        let listed = value.as_array().unwrap_or(std::slice::from_ref(value));
        let Some(values) = listed.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<BTreeSet<_>>>()
        else {
            place.fail(&key, format!("must be a string or a list of strings, found {}", shown(value)));
            is_right = false;
            continue;
        };
        if values.is_empty() {
            place.warn(&key, "has no values: no message meets this rule, and it is left out");
        }
        is_met &= !values.is_empty();
        match name.as_str() {
            "message_type" => conditions.message_type = Some(values),
            "target" => conditions.target = Some(values),
            "sender" => conditions.sender = Some(values),
            _ => {
                let what = "messages have message_type, target and sender only: none meets this rule; it is left out";
                place.warn(&key, what);
                is_met = false;
            }
        }
    }
    is_right.then_some(is_met.then_some(conditions))
}

/// Whom the rule lets pass.
fn access(place: &mut Place<'_, '_>, rule: &HoconValue, captures: &Captures) -> Option<Access> {
    let key = "allow-unauthenticated";
    let unauthenticated = field(rule, key).map_or(Some(false), boolean);
    if unauthenticated.is_none() {
        place.fail(key, "must be true or false");
    }
    let mut lists = [("deny", Side::Deny), ("allow", Side::Allow)].map(|(key, side)| {
        // An explicit null is there, too, and wrong.
        let value = rule.as_object().and_then(|rule| rule.get(key));
        value.map(|value| ace::list(place, key, value, side, captures))
    });
    match (unauthenticated?, &mut lists) {
        (true, [None, None]) => Some(Access::Anyone),
        (true, _) => {
            place.fail(key, "cannot be true in a rule that has allow or deny; remove one of them");
            None
        }
        (false, [None, None]) => {
            place.fail("", "must contain either a 'deny' or 'allow' rule, or allow-unauthenticated: true");
            None
        }
        (false, [deny, allow]) => {
            Some(Access::Listed { deny: deny.take().unwrap_or_default(), allow: allow.take().unwrap_or_default() })
        }
    }
}
