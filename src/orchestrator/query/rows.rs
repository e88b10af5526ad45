//! The rows of an entity, and what a field of a row holds.

use super::evaluate::NodeView;
use super::field::{Field, Step};
use super::tree::{Comparison, Literal};
use crate::clock::WallTime;
use crate::orchestrator::facts::Fact;

/// A row: a node, and of the entity `facts` one of its facts.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The node.
    pub node: &'a NodeView<'a>,
    /// Name and value.
    pub fact: Option<(&'a str, &'a Fact)>,
}

/// What a field of a row holds.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// A point in time.
    Time(WallTime),
    /// A fact, or an extension of the certificate.
    Fact(&'a Fact),
}

/// What is to be found out about a field of a row: there may be several values in it, behind a `match`. `None` if
/// nothing is known of the field.
pub fn any_value(row: Row<'_>, field: &Field, test: &mut dyn FnMut(Cell<'_>) -> bool) -> Option<bool> {
    let NodeView { certname, connection, extensions, facts } = *row.node;
    let of_fact = |value: Option<Cell<'_>>, test: &mut dyn FnMut(Cell<'_>) -> bool| test(value.unwrap_or(Cell::Null));
    Some(match field {
        Field::Certname => test(Cell::Text(certname)),
        Field::Connected => test(Cell::Bool(connection.is_some())),
        Field::Broker => test(connection.map_or(Cell::Null, |connection| Cell::Text(&connection.broker))),
        Field::FactsTime => test(facts.map_or(Cell::Null, |facts| Cell::Time(facts.stored))),
        Field::Retired(_) => test(Cell::Null),
        Field::Name => of_fact(row.fact.map(|(name, _)| Cell::Text(name)), test),
        Field::Value => of_fact(row.fact.map(|(_, value)| Cell::Fact(value)), test),
        Field::Facts(steps) => {
            let facts = &facts?.facts;
            match steps.split_first() {
                Some((first, rest)) => children(facts.iter(), |name| facts.get(name), first, rest, test),
                None => test(Cell::Bool(true)),
            }
        }
        Field::Trusted(steps) => return trusted(certname, extensions, steps, test),
    })
}

/// What Puppet Server knows of a node by its certificate: the connection has been verified by it.
fn trusted(
    certname: &str,
    extensions: Option<&Fact>,
    steps: &[Step],
    test: &mut dyn FnMut(Cell<'_>) -> bool,
) -> Option<bool> {
    let (hostname, domain) = certname.split_once('.').map_or((certname, None), |(host, domain)| (host, Some(domain)));
    let [Step::Key(key), rest @ ..] = steps else { return Some(test(Cell::Bool(true))) };
    Some(match key.as_str() {
        "extensions" => values(Some(extensions?), rest, test),
        "certname" if rest.is_empty() => test(Cell::Text(certname)),
        "hostname" if rest.is_empty() => test(Cell::Text(hostname)),
        "domain" if rest.is_empty() => test(domain.map_or(Cell::Null, Cell::Text)),
        "authenticated" if rest.is_empty() => test(Cell::Text("remote")),
        _ => test(Cell::Null),
    })
}

/// Whether one of the values to which the steps lead passes; nothing at their end is null.
fn values(fact: Option<&Fact>, steps: &[Step], test: &mut dyn FnMut(Cell<'_>) -> bool) -> bool {
    let Some(fact) = fact.filter(|fact| !matches!(fact, Fact::Null)) else { return test(Cell::Null) };
    let Some((first, rest)) = steps.split_first() else { return test(Cell::Fact(fact)) };
    match (fact, first) {
        (Fact::Object(object), _) => children(object.iter(), |name| object.get(name), first, rest, test),
        (Fact::Array(items), Step::Index(_) | Step::Key(_)) => {
            let index = match first {
                Step::Index(index) => Some(*index),
                Step::Key(key) => key.parse().ok(),
                Step::Match(_) => None,
            };
            values(index.and_then(|index: usize| items.get(index)), rest, test)
        }
        _ => test(Cell::Null),
    }
}

fn children<'a>(
    mut all: impl Iterator<Item = (&'a str, &'a Fact)>,
    get: impl Fn(&str) -> Option<&'a Fact>,
    first: &Step,
    rest: &[Step],
    test: &mut dyn FnMut(Cell<'_>) -> bool,
) -> bool {
    match first {
        Step::Key(key) => values(get(key), rest, test),
        Step::Match(pattern) => all.any(|(name, value)| pattern.is_in(name) && values(Some(value), rest, test)),
        Step::Index(_) => test(Cell::Null),
    }
}

impl Cell<'_> {
    /// Whether it is this value. A list is, if one of its items is.
    pub fn equals(self, value: &Literal) -> bool {
        match (self, value) {
            (Self::Text(text), Literal::Text(value)) => text == value,
            (Self::Bool(is), Literal::Bool(value)) => is == *value,
            (Self::Time(time), Literal::Text(value)) => super::field::time(value) == Some(time),
            (Self::Fact(fact), value) => fact_equals(fact, value),
            _ => false,
        }
    }

    /// Whether it stands to a value like this.
    pub fn compares(self, comparison: Comparison, value: &Literal) -> bool {
        let order = match (self, value) {
            (Self::Fact(fact), Literal::Integer(_) | Literal::Float(_)) => compare_numbers(fact, &value.fact()),
            (Self::Time(time), Literal::Text(value)) => super::field::time(value).map(|value| time.cmp(&value)),
            _ => None,
        };
        order.is_some_and(|order| comparison.holds(order))
    }

    /// Gives it as a text to search, if it is one; numbers and booleans as they are written.
    pub fn with_text<T>(self, search: impl FnOnce(&str) -> T) -> Option<T> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(true) | Self::Fact(Fact::Bool(true)) => search("true"),
            Self::Bool(false) | Self::Fact(Fact::Bool(false)) => search("false"),
            Self::Text(text) => search(text),
            Self::Time(time) => search(&time.to_millis_string()),
            Self::Fact(Fact::Text(text)) => search(text),
            Self::Fact(Fact::Integer(number)) => search(&number.to_string()),
            Self::Fact(Fact::Float(number)) => search(&number.to_string()),
            Self::Fact(Fact::Null | Fact::Array(_) | Fact::Object(_)) => return None,
        })
    }

    /// Appends a text that only the same value has.
    pub fn write_key(self, key: &mut String) {
        let (kind, text) = match self {
            Self::Null | Self::Fact(Fact::Null | Fact::Array(_) | Fact::Object(_)) => ('n', String::new()),
            Self::Bool(value) => ('b', value.to_string()),
            Self::Fact(Fact::Bool(value)) => ('b', value.to_string()),
            Self::Text(text) => ('t', text.to_owned()),
            Self::Fact(Fact::Text(text)) => ('t', text.to_string()),
            Self::Time(time) => ('t', time.to_millis_string()),
            Self::Fact(Fact::Integer(number)) => ('i', number.to_string()),
            Self::Fact(Fact::Float(number)) => ('i', number.to_string()),
        };
        key.push(kind);
        key.push_str(&text.len().to_string());
        key.push(':');
        key.push_str(&text);
    }
}

fn fact_equals(fact: &Fact, value: &Literal) -> bool {
    match (fact, value) {
        (Fact::Array(items), value) => items.iter().any(|item| fact_equals(item, value)),
        (Fact::Text(text), Literal::Text(value)) => **text == **value,
        (Fact::Bool(is), Literal::Bool(value)) => is == value,
        (fact, value @ (Literal::Integer(_) | Literal::Float(_))) => {
            compare_numbers(fact, &value.fact()).is_some_and(std::cmp::Ordering::is_eq)
        }
        _ => false,
    }
}

/// The order of two facts that are numbers.
pub fn compare_numbers(a: &Fact, b: &Fact) -> Option<std::cmp::Ordering> {
    let float = |fact: &Fact| match fact {
        Fact::Integer(number) => Some(*number as f64),
        Fact::Float(number) => Some(*number),
        _ => None,
    };
    match (a, b) {
        (Fact::Integer(a), Fact::Integer(b)) => Some(a.cmp(b)),
        (a, b) => float(a)?.partial_cmp(&float(b)?),
    }
}
