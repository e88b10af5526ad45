//! What is wrong with a value, in words that follow the name of what has it.

use serde_json::Value as Json;

use super::check::{Origin, positions, tuple_size};
use super::judge::Judge;
use super::{Size, Type};
use crate::puppet_lang::value::{Hash, Value};

impl Type {
    /// What keeps `value` from being of the type; `None` if nothing does.
    pub fn problem(&self, value: &Value) -> Option<String> {
        self.problem_from(value, Origin::Language)
    }

    /// The same for a value of JSON.
    pub fn problem_json(&self, json: &Json) -> Option<String> {
        self.problem_from(&Value::from_json(json), Origin::Json)
    }

    fn problem_from(&self, value: &Value, origin: Origin) -> Option<String> {
        let judge = Judge::new(origin);
        let problem = self.problem_judged(value, &judge);
        if judge.is_spent() { Some(judge.gave_up(self)) } else { problem }
    }

    fn problem_judged(&self, value: &Value, judge: &Judge) -> Option<String> {
        // What is said here is not what is told: see `problem_from`.
        if judge.enter(1) { judge.leave(self.problem_of_one(value, judge)) } else { Some(String::new()) }
    }

    fn problem_of_one(&self, value: &Value, judge: &Judge) -> Option<String> {
        match (self, value) {
            (Self::Alias(_) | Self::Within(_), _) => self.resolved(|body| body.problem_judged(value, judge)),
            (Self::Array(item, size), Value::Array(items)) => size_problem(*size, items.len())
                .or_else(|| first_problem(items.iter().map(|value| (&**item, value)), judge)),
            (Self::Tuple(types, size), Value::Array(items)) if !types.is_empty() => {
                size_problem(tuple_size(types, *size), items.len())
                    .or_else(|| first_problem(positions(types).zip(items.iter()), judge))
            }
            (Self::Hash(key, item, size), Value::Hash(hash)) => {
                size_problem(*size, hash.len()).or_else(|| hash_problem(key, item, hash, judge))
            }
            (Self::Struct(_), Value::Hash(hash)) => self.struct_problem(hash, judge),
            // Asked once: asking first whether the inside accepts would double the work with every level.
            (Self::Optional(_), Value::Undef) => None,
            (Self::Optional(inner), _) => inner.problem_judged(value, judge),
            (Self::NotUndef(inner), _) if !matches!(value, Value::Undef) => inner.problem_judged(value, judge),
            (Self::Sensitive(inner), Value::Sensitive(secret)) => {
                (!inner.accepts_judged(secret, judge)).then(|| mismatch(self, value))
            }
            (Self::Sensitive(inner), _) if judge.origin == Origin::Json && !matches!(value, Value::Undef) => {
                inner.problem_judged(value, judge)
            }
            _ if self.accepts_judged(value, judge) => None,
            (Self::Enum(..) | Self::Pattern(_), Value::String(text)) => {
                Some(format!("expects a match for {self}, got '{text}'"))
            }
            (Self::Enum(..) | Self::Pattern(_), _) => {
                Some(format!("expects a match for {self}, got {}", kind_of(value)))
            }
            (Self::Variant(types), _) => {
                let names: Vec<_> = types.iter().map(Type::to_string).collect();
                Some(format!("expects a value of type {}, got {}", one_of(&names), kind_of(value)))
            }
            _ if judge.origin == Origin::Json && !self.is_in_json() => {
                Some(format!("expects a value of type {self}, which JSON cannot express"))
            }
            _ => Some(mismatch(self, value)),
        }
    }

    fn struct_problem(&self, hash: &Hash, judge: &Judge) -> Option<String> {
        let Self::Struct(members) = self else { return None };
        let missing = members.iter().find(|member| !member.is_optional && hash.get_text(&member.key).is_none());
        if let Some(member) = missing {
            return Some(format!("expects a value for key '{}'", member.key));
        }
        hash.iter().find_map(|(key, value)| {
            let member = key.as_text().and_then(|key| members.iter().find(|member| *member.key == *key));
            match member {
                Some(member) => {
                    member.value.problem_judged(value, judge).map(|problem| format!("entry '{key}' {problem}"))
                }
                None => Some(format!("unrecognized key '{key}'")),
            }
        })
    }

    /// Whether JSON has values of the type.
    fn is_in_json(&self) -> bool {
        !matches!(
            self,
            Self::Default
                | Self::Regexp(_)
                | Self::Type(_)
                | Self::Callable(_)
                | Self::Timestamp(_)
                | Self::Timespan(_)
                | Self::SemVer(_)
                | Self::SemVerRange
                | Self::Uri
                | Self::Binary
                | Self::Init(_)
                | Self::Object(..)
                | Self::Impossible(_)
        )
    }
}

fn mismatch(expected: &Type, value: &Value) -> String {
    let name = expected.to_string();
    format!("expects {} {name} value, got {}", article(&name), got(expected, value))
}

fn size_problem(size: Size, count: usize) -> Option<String> {
    if size.holds(count) {
        return None;
    }
    Some(match (size.min, size.max) {
        (Some(min), None) => format!("expects size to be at least {min}, got {count}"),
        (None, Some(max)) => format!("expects size to be at most {max}, got {count}"),
        (min, max) => {
            format!("expects size to be between {} and {}, got {count}", min.unwrap_or(0), max.unwrap_or(i64::MAX))
        }
    })
}

fn first_problem<'a>(mut pairs: impl Iterator<Item = (&'a Type, &'a Value)>, judge: &Judge) -> Option<String> {
    let mut index = 0;
    pairs.find_map(|(one, value)| {
        let problem = one.problem_judged(value, judge).map(|problem| format!("index {index} {problem}"));
        index += 1;
        problem
    })
}

fn hash_problem(key: &Type, item: &Type, hash: &Hash, judge: &Judge) -> Option<String> {
    hash.iter().find_map(|(name, value)| {
        let of_key = key.problem_judged(name, judge).map(|problem| format!("key of entry '{name}' {problem}"));
        of_key.or_else(|| item.problem_judged(value, judge).map(|problem| format!("entry '{name}' {problem}")))
    })
}

pub(super) fn article(name: &str) -> &'static str {
    if name.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" }
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first, second] => format!("{first} or {second}"),
        [first @ .., last] => format!("{}, or {last}", first.join(", ")),
    }
}

/// The type of the value, with the value where the expected type has a range that it misses.
fn got(expected: &Type, value: &Value) -> String {
    match (expected, value) {
        (Type::Integer(_), Value::Integer(_)) | (Type::Float(_), Value::Float(_)) | (Type::Type(_), Value::Type(_)) => {
            Type::of(value).to_string()
        }
        _ => kind_of(value).to_owned(),
    }
}

/// The name of the type that Puppet infers.
pub fn kind_of(value: &Value) -> &str {
    match value {
        Value::Undef => "Undef",
        Value::Default => "Default",
        Value::Boolean(_) => "Boolean",
        Value::Float(_) => "Float",
        Value::Integer(_) => "Integer",
        Value::String(_) => "String",
        Value::Regexp(_) => "Regexp",
        Value::Array(items) if items.is_empty() => "Array",
        Value::Array(_) => "Tuple",
        Value::Hash(hash) if hash.is_empty() => "Hash",
        Value::Hash(hash) if hash.iter().all(|(key, _)| key.as_text().is_some_and(|key| !key.is_empty())) => "Struct",
        Value::Hash(_) => "Hash",
        Value::Type(_) => "Type",
        Value::Sensitive(_) => "Sensitive",
        Value::Timestamp(_) => "Timestamp",
        Value::Timespan(_) => "Timespan",
        Value::SemVer(_) => "SemVer",
        Value::SemVerRange(_) => "SemVerRange",
        Value::Uri(_) => "URI",
        Value::Binary(_) => "Binary",
        Value::Object(object) => &object.class,
    }
}
