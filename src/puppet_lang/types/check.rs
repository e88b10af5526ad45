//! Whether a value is of a type.

use serde_json::Value as Json;

use super::judge::Judge;
use super::{Size, Type};
use crate::puppet_lang::value::Value;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The language: a secret is wrapped.
    Language,
    /// JSON, which has no secrets: whatever is given for a `Sensitive` becomes one.
    Json,
}

impl Type {
    /// Whether `value` is of the type.
    pub fn accepts(&self, value: &Value) -> bool {
        self.accepts_from(value, Origin::Language)
    }

    /// Whether a value of JSON is of the type; for `Sensitive` it counts without being wrapped.
    pub fn accepts_json(&self, json: &Json) -> bool {
        self.accepts_from(&Value::from_json(json), Origin::Json)
    }

    fn accepts_from(&self, value: &Value, origin: Origin) -> bool {
        let judge = Judge::new(origin);
        self.accepts_judged(value, &judge) && !judge.is_spent()
    }

    pub(super) fn accepts_judged(&self, value: &Value, judge: &Judge) -> bool {
        judge.enter(1) && judge.leave(self.accepts_one(value, judge))
    }

    fn accepts_one(&self, value: &Value, judge: &Judge) -> bool {
        match (self, value) {
            (Self::Any, _) => true,
            (Self::Alias(_) | Self::Within(_), _) => self.resolved(|body| body.accepts_judged(value, judge)),
            (Self::Optional(inner), _) => matches!(value, Value::Undef) || inner.accepts_judged(value, judge),
            (Self::NotUndef(inner), _) => !matches!(value, Value::Undef) && inner.accepts_judged(value, judge),
            (Self::Variant(types), _) => types.iter().any(|one| one.accepts_judged(value, judge)),
            (Self::Sensitive(inner), Value::Sensitive(secret)) => inner.accepts_judged(secret, judge),
            (Self::Sensitive(inner), _) => judge.origin == Origin::Json && inner.accepts_judged(value, judge),
            (Self::Undef, _) => matches!(value, Value::Undef),
            (Self::Default, _) => matches!(value, Value::Default),
            (Self::Data, _) => is_data(value),
            (Self::RichData, _) => is_rich_data(value),
            (Self::Scalar | Self::ScalarData, _) => is_scalar(value, matches!(self, Self::Scalar)),
            (Self::Numeric, _) => matches!(value, Value::Integer(_) | Value::Float(_)),
            (Self::Boolean(only), Value::Boolean(value)) => only.is_none_or(|only| only == *value),
            (Self::Integer(range), Value::Integer(value)) => range.contains(*value),
            (Self::Float(range), Value::Float(value)) => range.contains(*value),
            (_, Value::String(text)) => self.accepts_text(text, judge),
            (Self::Regexp(only), Value::Regexp(pattern)) => only.as_ref().is_none_or(|only| only.text == pattern.text),
            (Self::Array(..) | Self::Tuple(..) | Self::Collection(_), Value::Array(items)) => {
                self.accepts_items(items, judge)
            }
            (Self::Iterable(item) | Self::Iterator(item), Value::Array(items)) => {
                items.iter().all(|value| item.accepts_judged(value, judge))
            }
            (Self::Iterable(item), Value::Hash(hash)) => {
                hash.iter().all(|(key, value)| item.accepts_judged(&Value::array([key.clone(), value.clone()]), judge))
            }
            (Self::Iterable(item), Value::Integer(value)) => *value >= 0 && item.takes_integers(judge),
            (Self::Iterable(_), Value::Type(ty)) => {
                matches!(&**ty, Self::Integer(range) if range.min.is_some() && range.max.is_some())
            }
            (Self::Collection(size), Value::Hash(hash)) => size.holds(hash.len()),
            (Self::Hash(key, item, size), Value::Hash(hash)) => {
                size.holds(hash.len())
                    && hash.iter().all(|(k, v)| key.accepts_judged(k, judge) && item.accepts_judged(v, judge))
            }
            (Self::Struct(members), Value::Hash(hash)) => {
                let mut found = 0;
                members.iter().all(|member| match hash.get_text(&member.key) {
                    Some(value) => {
                        found += 1;
                        member.value.accepts_judged(value, judge)
                    }
                    None => member.is_optional,
                }) && found == hash.len()
            }
            (Self::Type(inner), Value::Type(found)) => inner.includes_judged(found, judge),
            (Self::Timestamp(range), Value::Timestamp(time)) | (Self::Timespan(range), Value::Timespan(time)) => {
                range.contains(*time)
            }
            (Self::SemVer(ranges), Value::SemVer(version)) => {
                ranges.is_empty() || ranges.iter().any(|range| range.includes(version))
            }
            (Self::SemVerRange, Value::SemVerRange(_)) | (Self::Uri, Value::Uri(_)) => true,
            (Self::Binary, Value::Binary(_)) => true,
            (Self::Object(class, kind), Value::Object(object)) => {
                let has_kind = |kind: &Self| {
                    object.attributes.get_text("kind").is_some_and(|found| kind.accepts_judged(found, judge))
                };
                is_a(&object.class, class) && kind.as_deref().is_none_or(has_kind)
            }
            _ => false,
        }
    }

    fn accepts_text(&self, text: &str, judge: &Judge) -> bool {
        match self {
            Self::String(size) => size.is_all() || size.holds(text.chars().count()),
            Self::Text(only) => **only == *text,
            Self::Enum(words, ignores_case) => {
                words.is_empty()
                    || words
                        .iter()
                        .any(|word| **word == *text || (*ignores_case && word.to_lowercase() == text.to_lowercase()))
            }
            Self::Pattern(patterns) => {
                patterns.is_empty() || patterns.iter().any(|pattern| pattern.compiled.is_match(text))
            }
            // Elements of a string are its characters.
            Self::Iterable(item) => item.includes_judged(&Self::String(Size::only(1)), judge),
            _ => false,
        }
    }

    fn accepts_items(&self, items: &[Value], judge: &Judge) -> bool {
        match self {
            Self::Array(item, size) => {
                size.holds(items.len()) && items.iter().all(|value| item.accepts_judged(value, judge))
            }
            Self::Tuple(types, size) if types.is_empty() => size.is_none_or(|size| size.holds(items.len())),
            Self::Tuple(types, size) => {
                tuple_size(types, *size).holds(items.len())
                    && positions(types).zip(items).all(|(one, value)| one.accepts_judged(value, judge))
            }
            Self::Collection(size) => size.holds(items.len()),
            _ => false,
        }
    }

    fn takes_integers(&self, judge: &Judge) -> bool {
        self.includes_judged(&Self::Integer(super::Range { min: Some(0), max: Some(0) }), judge)
    }
}

/// How many items a tuple takes.
pub(super) fn tuple_size(types: &[Type], size: Option<Size>) -> Size {
    size.unwrap_or(Size::only(i64::try_from(types.len()).unwrap_or(i64::MAX)))
}

/// The type of every position: the last one stands for all further ones.
pub(super) fn positions(types: &[Type]) -> impl Iterator<Item = &Type> {
    types.iter().chain(std::iter::repeat_n(types.last(), usize::MAX).flatten())
}

/// Whether a class is the other, or derived from it.
pub(super) fn is_a(class: &str, other: &str) -> bool {
    class == other || (class == "ApplyResult" && other == "Result")
}

fn is_data(value: &Value) -> bool {
    match value {
        Value::Undef => true,
        Value::Array(items) => items.iter().all(is_data),
        Value::Hash(hash) => hash.iter().all(|(key, value)| matches!(key, Value::String(_)) && is_data(value)),
        other => is_scalar(other, false),
    }
}

fn is_rich_data(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(is_rich_data),
        Value::Hash(hash) => hash.iter().all(|(key, value)| {
            matches!(key, Value::String(_) | Value::Integer(_) | Value::Float(_)) && is_rich_data(value)
                || is_rich_data(key) && is_rich_data(value)
        }),
        _ => true,
    }
}

fn is_scalar(value: &Value, is_rich: bool) -> bool {
    match value {
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => true,
        Value::Regexp(_) | Value::Timestamp(_) | Value::Timespan(_) | Value::SemVer(_) | Value::SemVerRange(_) => {
            is_rich
        }
        _ => false,
    }
}
