//! The type of a value: in detail, reduced to one type per array, or without sizes and ranges.

use std::sync::Arc;

use super::{Member, Range, Size, Type};
use crate::puppet_lang::value::{SemVerRange, Value};

impl Type {
    /// The type that says all about the value.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Array(items) if items.is_empty() => Self::Array(Arc::new(Self::Any), Size::only(0)),
            Value::Array(items) => Self::Tuple(items.iter().map(Self::of).collect(), None),
            Value::Hash(hash) if hash.is_empty() => Self::Hash(Arc::new(Self::Any), Arc::new(Self::Any), Size::only(0)),
            Value::Hash(hash) => {
                let member = |(key, value): &(Value, Value)| match key {
                    Value::String(key) if !key.is_empty() => {
                        Some(Member { key: key.clone(), is_optional: false, value: Self::of(value) })
                    }
                    _ => None,
                };
                match hash.iter().map(member).collect() {
                    Some(members) => Self::Struct(members),
                    None => {
                        let keys = unite(hash.iter().map(|(key, _)| Self::of(key)));
                        let values = unite(hash.iter().map(|(_, value)| Self::of(value)));
                        Self::Hash(Arc::new(keys), Arc::new(values), size(hash.len()))
                    }
                }
            }
            Value::Sensitive(inner) => Self::Sensitive(Arc::new(Self::of(inner).generalized())),
            other => Self::of_single(other),
        }
    }

    /// One type for all items of an array, and one for all keys and values of a hash.
    pub fn reduced(value: &Value) -> Self {
        match value {
            Value::Array(items) if !items.is_empty() => {
                Self::Array(Arc::new(common(items.iter().map(Self::reduced))), size(items.len()))
            }
            Value::Hash(hash) if !hash.is_empty() => Self::Hash(
                Arc::new(common(hash.iter().map(|(key, _)| Self::reduced(key)))),
                Arc::new(common(hash.iter().map(|(_, value)| Self::reduced(value)))),
                size(hash.len()),
            ),
            other => Self::of(other),
        }
    }

    fn of_single(value: &Value) -> Self {
        match value {
            Value::Undef => Self::Undef,
            Value::Default => Self::Default,
            Value::Boolean(value) => Self::Boolean(Some(*value)),
            Value::Integer(value) => Self::Integer(Range::only(*value)),
            Value::Float(value) => Self::Float(Range::only(*value)),
            Value::String(text) => Self::Text(text.clone()),
            Value::Regexp(pattern) => Self::Regexp(Some(pattern.clone())),
            Value::Type(inner) => Self::Type(inner.clone()),
            Value::Timestamp(time) => Self::Timestamp(Range::only(*time)),
            Value::Timespan(span) => Self::Timespan(Range::only(*span)),
            Value::SemVer(version) => {
                Self::SemVer(SemVerRange::parse(&format!("{version} - {version}")).map(Arc::new).into_iter().collect())
            }
            Value::SemVerRange(_) => Self::SemVerRange,
            Value::Uri(_) => Self::Uri,
            Value::Binary(_) => Self::Binary,
            Value::Object(object) => Self::Object(object.class.clone(), None),
            Value::Sensitive(_) | Value::Array(_) | Value::Hash(_) => Self::Any,
        }
    }

    /// Without what only this value has: ranges, sizes, texts.
    pub fn generalized(&self) -> Self {
        let inner = |inner: &Arc<Self>| Arc::new(inner.generalized());
        match self {
            Self::Boolean(_) => Self::Boolean(None),
            Self::Integer(_) => Self::Integer(Range::ALL),
            Self::Float(_) => Self::Float(Range::ALL),
            Self::Text(_) | Self::String(_) => Self::String(Size::ALL),
            Self::Enum(words, _) if !words.is_empty() => {
                let lengths = || words.iter().filter_map(|word| i64::try_from(word.chars().count()).ok());
                Self::String(Size { min: lengths().min(), max: lengths().max() })
            }
            Self::Collection(_) => Self::Collection(Size::ALL),
            Self::Array(item, _) => Self::Array(inner(item), Size::ALL),
            Self::Hash(key, value, _) => Self::Hash(inner(key), inner(value), Size::ALL),
            Self::Tuple(types, _) => Self::Tuple(types.iter().map(Self::generalized).collect(), None),
            Self::Struct(members) => {
                let general = |member: &Member| Member { value: member.value.generalized(), ..member.clone() };
                Self::Struct(members.iter().map(general).collect())
            }
            Self::Optional(one) => Self::Optional(inner(one)),
            Self::NotUndef(one) => Self::NotUndef(inner(one)),
            Self::Iterable(one) => Self::Iterable(inner(one)),
            Self::Iterator(one) => Self::Iterator(inner(one)),
            Self::Sensitive(one) => Self::Sensitive(inner(one)),
            Self::Type(one) => Self::Type(inner(one)),
            Self::Variant(types) => unite(types.iter().map(Self::generalized)),
            Self::Regexp(_) => Self::Regexp(None),
            Self::Timestamp(_) => Self::Timestamp(Range::ALL),
            Self::Timespan(_) => Self::Timespan(Range::ALL),
            Self::SemVer(_) => Self::SemVer(vec![]),
            other => other.clone(),
        }
    }
}

fn size(count: usize) -> Size {
    Size::only(i64::try_from(count).unwrap_or(i64::MAX))
}

/// A variant of different types, or the one type.
fn unite(types: impl Iterator<Item = Type>) -> Type {
    let mut different: Vec<Type> = Vec::new();
    for one in types {
        if !different.iter().any(|other| other.is_same(&one)) {
            different.push(one);
        }
    }
    if different.len() == 1 { different.swap_remove(0) } else { Type::Variant(different) }
}

/// The smallest type that all lie in, of those that a reader would name.
fn common(types: impl Iterator<Item = Type>) -> Type {
    types.reduce(common_of_two).unwrap_or(Type::Any)
}

fn common_of_two(a: Type, b: Type) -> Type {
    if a.includes(&b) {
        return a;
    }
    if b.includes(&a) {
        return b;
    }
    match (&a, &b) {
        (Type::Undef, other) | (other, Type::Undef) => other.clone(),
        (Type::Integer(a), Type::Integer(b)) => Type::Integer(Range {
            min: a.min.zip(b.min).map(|(a, b)| a.min(b)),
            max: a.max.zip(b.max).map(|(a, b)| a.max(b)),
        }),
        (Type::Float(a), Type::Float(b)) => Type::Float(Range {
            min: a.min.zip(b.min).map(|(a, b)| a.min(b)),
            max: a.max.zip(b.max).map(|(a, b)| a.max(b)),
        }),
        (Type::Text(a), Type::Text(b)) => enumeration(vec![a.clone(), b.clone()]),
        (Type::Enum(words, false), Type::Text(word)) | (Type::Text(word), Type::Enum(words, false)) => {
            enumeration(words.iter().cloned().chain([word.clone()]).collect())
        }
        (Type::Array(a, first), Type::Array(b, second)) => {
            Type::Array(Arc::new(common_item(a, first, b, second)), union_of_sizes(first, second))
        }
        (Type::Hash(key_a, a, first), Type::Hash(key_b, b, second)) => Type::Hash(
            Arc::new(common_item(key_a, first, key_b, second)),
            Arc::new(common_item(a, first, b, second)),
            union_of_sizes(first, second),
        ),
        (Type::Type(a), Type::Type(b)) => Type::Type(Arc::new(common_of_two((**a).clone(), (**b).clone()))),
        (Type::Regexp(_), Type::Regexp(_)) => Type::Regexp(None),
        _ => {
            let wide = [Type::Numeric, Type::ScalarData, Type::Scalar, Type::Data, Type::RichData];
            wide.into_iter().find(|wide| wide.includes(&a) && wide.includes(&b)).unwrap_or(Type::Any)
        }
    }
}

/// An empty array says nothing about its items.
fn common_item(a: &Type, first: &Size, b: &Type, second: &Size) -> Type {
    match (first.max, second.max) {
        (Some(0), _) => b.clone(),
        (_, Some(0)) => a.clone(),
        _ => common_of_two(a.clone(), b.clone()),
    }
}

/// Arrays of different sizes have any in common.
fn union_of_sizes(a: &Size, b: &Size) -> Size {
    if a == b { *a } else { Size::ALL }
}

fn enumeration(mut words: Vec<Arc<str>>) -> Type {
    words.sort();
    words.dedup();
    Type::Enum(words, false)
}
