//! `value[keys]`: parts of strings, arrays and hashes, and arguments of types.

use std::rc::Rc;
use std::sync::Arc;

use super::{Evaluator, Outcome, Scope};
use crate::puppet_lang::syntax::ast::{Expr, Kind};
use crate::puppet_lang::types::Type;
use crate::puppet_lang::value::{Hash, Value};

impl Evaluator<'_> {
    pub(super) fn access(&mut self, of: &Expr, keys: &[Expr], at: u32, scope: &Rc<Scope>) -> Outcome {
        if let Kind::TypeName(name) = &of.kind {
            let keys = self.arguments(keys, scope)?;
            return Ok(self.named_type(name, &keys, at)?.into());
        }
        let value = self.eval(of, scope)?;
        let keys = self.arguments(keys, scope)?;
        match &value {
            Value::String(text) => self.part_of_text(text, &keys, at),
            Value::Array(items) => self.part_of_array(items, &keys, at),
            Value::Hash(hash) => Ok(values_of(hash, &keys)),
            Value::Object(object) => match (&*object.class, object.attributes.get_text("value"), keys.as_slice()) {
                ("Result" | "ApplyResult" | "ResourceInstance", Some(Value::Hash(hash)), _) => {
                    Ok(values_of(hash, &keys))
                }
                ("ResultSet", ..) => match object.attributes.get_text("results") {
                    Some(Value::Array(results)) => self.part_of_array(results, &keys, at),
                    _ => Ok(Value::Undef),
                },
                (_, _, [Value::String(name)]) => Ok(object.attributes.get_text(name).cloned().unwrap_or(Value::Undef)),
                _ => self.fail(at, format!("a {} has no parts in brackets", object.class)),
            },
            Value::Type(data_type) => self.arguments_of(data_type, &keys, at),
            other => self.fail(at, format!("{} has no parts in brackets", Type::of(other).generalized())),
        }
    }

    /// A type that is not written out, but comes from a variable.
    fn arguments_of(&mut self, data_type: &Arc<Type>, keys: &[Value], at: u32) -> Outcome {
        let name = data_type.to_string();
        if name.contains('[') {
            return self.fail(at, format!("{name} has its arguments already"));
        }
        Ok(self.named_type(&name, keys, at)?.into())
    }

    fn part_of_text(&self, text: &str, keys: &[Value], at: u32) -> Outcome {
        let count = text.chars().count();
        let (from, length) = match keys {
            [only] => (self.index(only, at)?, 1),
            [from, length] => (self.index(from, at)?, self.index(length, at)?),
            _ => return self.fail(at, "a string takes an index, or a first index and a length"),
        };
        match window(count, from, length, keys.len() == 1) {
            Some((start, length)) => Ok(text.chars().skip(start).take(length).collect::<String>().into()),
            None => Ok(Value::from("")),
        }
    }

    fn part_of_array(&self, items: &[Value], keys: &[Value], at: u32) -> Outcome {
        match keys {
            [only] => {
                let window = window(items.len(), self.index(only, at)?, 1, true);
                Ok(window.and_then(|(start, _)| items.get(start).cloned()).unwrap_or(Value::Undef))
            }
            [from, length] => {
                let (from, length) = (self.index(from, at)?, self.index(length, at)?);
                match window(items.len(), from, length, false) {
                    Some((start, length)) => Ok(Value::array(items.iter().skip(start).take(length).cloned())),
                    None => Ok(Value::array([])),
                }
            }
            _ => self.fail(at, "an array takes an index, or a first index and a length"),
        }
    }

    fn index(&self, value: &Value, at: u32) -> Outcome<i64> {
        match value {
            Value::Integer(index) => Ok(*index),
            other => self.fail(at, format!("expected an integer as index, got {}", Type::of(other).generalized())),
        }
    }
}

fn values_of(hash: &Hash, keys: &[Value]) -> Value {
    match keys {
        [only] => hash.get(only).cloned().unwrap_or(Value::Undef),
        many => {
            let found = many.iter().filter_map(|key| hash.get(key)).filter(|value| !matches!(value, Value::Undef));
            Value::array(found.cloned())
        }
    }
}

/// Where a part begins and how long it is: a negative index counts from the end, and a negative length is the index of the
/// part's last item.
fn window(count: usize, from: i64, length: i64, is_single: bool) -> Option<(usize, usize)> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let start = if from < 0 { from + count } else { from };
    let mut length = if length < 0 { (count + length).checked_sub(start)?.checked_add(1)? } else { length };
    let start = if start < 0 && !is_single {
        length = length.checked_add(start)?;
        0
    } else {
        start
    };
    let is_within = start >= 0 && start < count && length > 0;
    is_within.then(|| (usize::try_from(start).unwrap_or(0), usize::try_from(length).unwrap_or(0)))
}
