//! When two values are the same, equal, or one before the other (Puppet language specification, "Expressions"): keys of
//! hashes are compared exactly, `==` takes numbers by value and strings without their case.

use std::cmp::Ordering;
use std::hash::{Hash as Hashing, Hasher};

use super::Value;

impl Value {
    /// Whether both are the same key of a hash: of one kind and of one value, case included.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Integer(_), Self::Float(_)) | (Self::Float(_), Self::Integer(_)) => false,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.is_same(b)),
            (Self::Hash(a), Self::Hash(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| value.is_same(other)))
            }
            _ => self.equals(other),
        }
    }

    /// `==`.
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undef, Self::Undef) | (Self::Default, Self::Default) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::String(a), Self::String(b)) => a.eq_ignore_ascii_case(b),
            (Self::Integer(_) | Self::Float(_), Self::Integer(_) | Self::Float(_)) => {
                number_order(self, other) == Some(Ordering::Equal)
            }
            (Self::Regexp(a), Self::Regexp(b)) => a.text == b.text,
            (Self::Array(a), Self::Array(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals(b)),
            (Self::Hash(a), Self::Hash(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| value.equals(other)))
            }
            (Self::Type(a), Self::Type(b)) => a.is_same(b),
            (Self::Sensitive(a), Self::Sensitive(b)) => a.equals(b),
            (Self::Timestamp(a), Self::Timestamp(b)) | (Self::Timespan(a), Self::Timespan(b)) => a == b,
            (Self::SemVer(a), Self::SemVer(b)) => a == b,
            (Self::SemVerRange(a), Self::SemVerRange(b)) => a == b,
            (Self::Uri(a), Self::Uri(b)) => a == b,
            (Self::Binary(a), Self::Binary(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => false,
        }
    }

    /// `<` and its kin; `None` if the two have no order.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::String(a), Self::String(b)) => Some(fold(a).cmp(&fold(b))),
            (Self::Timestamp(a), Self::Timestamp(b)) | (Self::Timespan(a), Self::Timespan(b)) => Some(a.cmp(b)),
            (Self::SemVer(a), Self::SemVer(b)) => Some(a.cmp(b)),
            // A span counts as seconds beside numbers.
            (Self::Timespan(a) | Self::Timestamp(a), Self::Integer(_) | Self::Float(_)) => {
                number_order(&Self::Float(*a as f64 / 1e9), other)
            }
            (Self::Integer(_) | Self::Float(_), Self::Timespan(b) | Self::Timestamp(b)) => {
                number_order(self, &Self::Float(*b as f64 / 1e9))
            }
            _ => number_order(self, other),
        }
    }
}

/// In lower case as far as ASCII goes, which is as far as the language's comparisons go.
fn fold(text: &str) -> String {
    text.to_ascii_lowercase()
}

fn number_order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Integer(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::Integer(b)) => a.partial_cmp(&(*b as f64)),
        _ => None,
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

impl Eq for Value {}

impl PartialEq for super::Hash {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, value)| other.get(key).is_some_and(|found| value == found))
    }
}

/// Agrees with [`Value::is_same`]; the kinds that are rarely keys share a place.
impl Hashing for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Boolean(value) => value.hash(state),
            Self::Integer(value) => value.hash(state),
            Self::Float(value) => (value + 0.0).to_bits().hash(state),
            Self::String(text) | Self::Uri(text) => text.hash(state),
            Self::Array(items) => items.iter().for_each(|item| item.hash(state)),
            Self::Hash(hash) => hash.len().hash(state),
            Self::Timestamp(value) | Self::Timespan(value) => value.hash(state),
            _ => {}
        }
    }
}
