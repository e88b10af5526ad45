//! Functions on arrays and hashes as wholes.

use std::cmp::Ordering;

use super::{Arguments, Function};
use crate::puppet_lang::eval::{Evaluator, Outcome};
use crate::puppet_lang::types::Type;
use crate::puppet_lang::value::{Hash, Value};

pub const TABLE: &[Function] = &[
    Function {
        name: "length",
        signatures: &["Variant[Collection, String, Binary]", "ResultSet"],
        doc: "How many elements or characters there are.",
        run: length,
    },
    Function {
        name: "size",
        signatures: &["Variant[Collection, String, Binary]", "ResultSet"],
        doc: "The same as `length`.",
        run: length,
    },
    Function {
        name: "empty",
        signatures: &["Variant[Collection, String, Binary, Undef, Numeric]", "ResultSet"],
        doc: "Whether there is nothing in it.",
        run: empty,
    },
    Function { name: "keys", signatures: &["Hash"], doc: "The keys of a hash.", run: keys },
    Function { name: "values", signatures: &["Hash"], doc: "The values of a hash.", run: values },
    Function {
        name: "merge",
        signatures: &["Variant[Hash, Undef, String[0, 0]], 0, default"],
        doc: "One hash of all entries; the last of a key counts.",
        run: merge,
    },
    Function {
        name: "deep_merge",
        signatures: &["Variant[Hash, String[0, 0]], 2, default"],
        doc: "One hash of all entries; hashes within are merged too.",
        run: deep_merge,
    },
    Function {
        name: "flatten",
        signatures: &["Any, 0, default"],
        doc: "One array of what is in the arrays within each other.",
        run: flatten,
    },
    Function {
        name: "unique",
        signatures: &["Variant[Iterable, String], Optional[Callable[1, 1]]"],
        doc: "The elements, each once; with a block, each value of it once.",
        run: unique,
    },
    Function {
        name: "sort",
        signatures: &["Variant[Array, String], Optional[Callable[2, 2]]"],
        doc: "The elements in order: of numbers or of strings, or as the block's -1, 0 and 1 say.",
        run: sort,
    },
    Function {
        name: "join",
        signatures: &["Array, Optional[String], 1, 2"],
        doc: "The elements as one string, with another between them.",
        run: join,
    },
    Function {
        name: "concat",
        signatures: &["Array, Any, 1, default"],
        doc: "One array of all elements.",
        run: concat,
    },
    Function {
        name: "delete",
        signatures: &["Variant[Array, String, Hash], Any"],
        doc: "Without the elements, parts or keys that are equal.",
        run: delete,
    },
    Function {
        name: "delete_undef_values",
        signatures: &["Variant[Array, Hash]"],
        doc: "Without elements or values that are undef.",
        run: delete_undef,
    },
    Function {
        name: "intersection",
        signatures: &["Array, Array"],
        doc: "The elements that are in both.",
        run: intersection,
    },
    Function {
        name: "union",
        signatures: &["Array, 0, default"],
        doc: "The elements of all arrays, each once.",
        run: union,
    },
    Function {
        name: "difference",
        signatures: &["Array, Array"],
        doc: "The elements of the first that are not in the second.",
        run: difference,
    },
    Function {
        name: "member",
        signatures: &["Array, Any"],
        doc: "Whether the element, or all of an array, are in it.",
        run: member,
    },
    Function { name: "has_key", signatures: &["Hash, Any"], doc: "Whether a hash has a key.", run: has_key },
    Function {
        name: "range",
        signatures: &["Integer, Integer, Optional[Integer[1]], 2, 3"],
        doc: "The integers from one to another.",
        run: range,
    },
    Function {
        name: "zip",
        signatures: &["Array, Array"],
        doc: "Pairs of the elements with the same index.",
        run: zip,
    },
    Function { name: "any2array", signatures: &["Any, 0, default"], doc: "The value as an array.", run: any2array },
    Function {
        name: "unwrap",
        signatures: &["Any, Optional[Callable[1, 1]]"],
        doc: "What a `Sensitive` hides; with a block, the block's value for it.",
        run: unwrap,
    },
];

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Object(object) => match object.attributes.get_text("results") {
            Some(Value::Array(results)) => results,
            _ => &[],
        },
        _ => &[],
    }
}

fn entries(value: &Value) -> Vec<(Value, Value)> {
    match value {
        Value::Hash(hash) => hash.iter().cloned().collect(),
        _ => vec![],
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        Value::Hash(hash) => hash.len(),
        Value::Binary(bytes) => bytes.len(),
        other => items(other).len(),
    }
}

fn length(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    Ok(Value::from(count(&arguments.value(0))))
}

fn empty(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    Ok(Value::Boolean(match arguments.value(0) {
        Value::Integer(_) | Value::Float(_) => false,
        other => count(&other) == 0,
    }))
}

fn keys(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    Ok(Value::array(entries(&arguments.value(0)).into_iter().map(|(key, _)| key)))
}

fn values(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    Ok(Value::array(entries(&arguments.value(0)).into_iter().map(|(_, value)| value)))
}

fn merge(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    Ok(Value::hash(arguments.values.iter().flat_map(entries)))
}

fn deep_merge(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let hashes = arguments.values.iter().filter(|value| matches!(value, Value::Hash(_))).cloned();
    Ok(hashes.reduce(|a, b| merged_deep(&a, &b)).unwrap_or_else(|| Value::hash([])))
}

fn merged_deep(a: &Value, b: &Value) -> Value {
    let (Value::Hash(first), Value::Hash(second)) = (a, b) else { return b.clone() };
    let mut merged: Hash = (**first).clone();
    for (key, value) in second.iter() {
        let value = merged.get(key).map_or_else(|| value.clone(), |old| merged_deep(old, value));
        merged.insert(key.clone(), value);
    }
    Value::Hash(merged.into())
}

fn flatten_into(value: &Value, flat: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flatten_into(item, flat)),
        other => flat.push(other.clone()),
    }
}

fn flatten(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut flat = Vec::new();
    for value in &arguments.values {
        flatten_into(value, &mut flat);
        // Shared arrays may be many more elements than they take.
        evaluator.spend(arguments.at, flat.len() as u64)?;
    }
    Ok(Value::array(flat))
}

fn unique(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let of = arguments.value(0);
    let mut seen = Hash::default();
    let mut kept = Vec::new();
    for element in evaluator.elements(&of, arguments.at)? {
        let key = match &arguments.block {
            Some(block) => evaluator.call_block(block, vec![element.clone()], arguments.at)?,
            None => element.clone(),
        };
        if seen.get(&key).is_none() {
            seen.insert(key, Value::Undef);
            kept.push(element);
        }
    }
    Ok(match of {
        Value::String(_) => kept.iter().map(Value::to_string).collect::<String>().into(),
        _ => Value::array(kept),
    })
}

fn sort(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let of = arguments.value(0);
    let mut elements = evaluator.elements(&of, arguments.at)?;
    elements = match arguments.block.clone() {
        Some(block) => sorted(elements, &mut |a, b| match evaluator.call_block(
            &block,
            vec![a.clone(), b.clone()],
            arguments.at,
        )? {
            Value::Integer(order) => Ok(order.cmp(&0)),
            other => evaluator
                .fail(arguments.at, format!("the block of `sort` must return -1, 0 or 1, not {}", Type::of(&other))),
        })?,
        None => sorted(elements, &mut |a, b| match natural_order(a, b) {
            Some(order) => Ok(order),
            None => evaluator.fail(
                arguments.at,
                format!("`sort` cannot compare {} with {}", Type::of(a).generalized(), Type::of(b).generalized()),
            ),
        })?,
    };
    Ok(match of {
        Value::String(_) => elements.iter().map(Value::to_string).collect::<String>().into(),
        _ => Value::array(elements),
    })
}

/// Strings with their case, numbers by value, arrays item by item.
fn natural_order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Array(a), Value::Array(b)) => {
            let pairs = a.iter().zip(b.iter()).map(|(a, b)| natural_order(a, b));
            let mut order = Ordering::Equal;
            for pair in pairs {
                order = pair?;
                if order.is_ne() {
                    return Some(order);
                }
            }
            Some(order.then(a.len().cmp(&b.len())))
        }
        _ => a.order(b),
    }
}

/// A merge sort, because the order may fail, and may be no order at all.
fn sorted(mut elements: Vec<Value>, order: &mut dyn FnMut(&Value, &Value) -> Outcome<Ordering>) -> Outcome<Vec<Value>> {
    if elements.len() < 2 {
        return Ok(elements);
    }
    let second = elements.split_off(elements.len() / 2);
    let mut left = sorted(elements, order)?.into_iter().peekable();
    let mut right = sorted(second, order)?.into_iter().peekable();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let takes_right = order(a, b)? == Ordering::Greater;
        merged.extend(if takes_right { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

fn join(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let of = arguments.value(0);
    let mut flat = Vec::new();
    flatten_into(&of, &mut flat);
    let texts: Vec<_> = flat.iter().map(Value::to_string).collect();
    Ok(texts.join(arguments.text(1)).into())
}

fn concat(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut all = Vec::new();
    for value in &arguments.values {
        match value {
            Value::Array(items) => all.extend(items.iter().cloned()),
            other => all.push(other.clone()),
        }
    }
    Ok(Value::array(all))
}

fn delete(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let removed = arguments.value(1);
    let is_removed = |value: &Value| match &removed {
        Value::Array(many) => many.iter().any(|one| one.is_same(value)),
        one => one.is_same(value),
    };
    Ok(match arguments.value(0) {
        Value::Array(items) => Value::array(items.iter().filter(|item| !is_removed(item)).cloned()),
        Value::Hash(hash) => Value::hash(hash.iter().filter(|(key, _)| !is_removed(key)).cloned()),
        text => {
            let mut text = text.to_string();
            for part in if let Value::Array(many) = &removed { many.to_vec() } else { vec![removed.clone()] } {
                let part = part.to_string();
                if !part.is_empty() {
                    text = text.replace(&part, "");
                }
            }
            text.into()
        }
    })
}

fn delete_undef(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let is_there = |value: &Value| !matches!(value, Value::Undef);
    Ok(match arguments.value(0) {
        Value::Hash(hash) => Value::hash(hash.iter().filter(|(_, value)| is_there(value)).cloned()),
        other => Value::array(items(&other).iter().filter(|item| is_there(item)).cloned()),
    })
}

fn set(value: &Value) -> Hash {
    items(value).iter().map(|item| (item.clone(), Value::Undef)).collect()
}

fn intersection(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let second = set(&arguments.value(1));
    let first = set(&arguments.value(0));
    Ok(Value::array(first.iter().map(|(item, _)| item).filter(|item| second.get(item).is_some()).cloned()))
}

fn union(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let all: Hash = arguments.values.iter().flat_map(items).map(|item| (item.clone(), Value::Undef)).collect();
    Ok(Value::array(all.iter().map(|(item, _)| item.clone())))
}

fn difference(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let second = set(&arguments.value(1));
    Ok(Value::array(items(&arguments.value(0)).iter().filter(|item| second.get(item).is_none()).cloned()))
}

fn member(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let all = set(&arguments.value(0));
    let is_member = |value: &Value| all.get(value).is_some();
    Ok(Value::Boolean(match arguments.value(1) {
        Value::Array(many) => many.iter().all(is_member),
        one => is_member(&one),
    }))
}

fn has_key(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let key = arguments.value(1);
    Ok(Value::Boolean(matches!(arguments.value(0), Value::Hash(hash) if hash.get(&key).is_some())))
}

fn range(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let (from, to) = (arguments.integer(0).unwrap_or(0), arguments.integer(1).unwrap_or(0));
    let step = usize::try_from(arguments.integer(2).unwrap_or(1)).unwrap_or(usize::MAX);
    let ends = crate::puppet_lang::types::Range { min: Some(from.min(to)), max: Some(from.max(to)) };
    let mut all = evaluator.elements(&Type::Integer(ends).into(), arguments.at)?;
    if from > to {
        all.reverse();
    }
    Ok(Value::array(all.into_iter().step_by(step)))
}

fn zip(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let (first, second) = (arguments.value(0), arguments.value(1));
    let others = items(&second).iter().cloned().chain(std::iter::repeat(Value::Undef));
    Ok(Value::array(items(&first).iter().cloned().zip(others).map(|(a, b)| Value::array([a, b]))))
}

fn any2array(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    Ok(match arguments.values.as_slice() {
        [Value::Array(items)] => Value::Array(items.clone()),
        [Value::Hash(hash)] => Value::array(hash.iter().flat_map(|(key, value)| [key.clone(), value.clone()])),
        [Value::String(text)] if text.is_empty() => Value::array([]),
        [Value::Undef] => Value::array([]),
        many => Value::array(many.iter().cloned()),
    })
}

fn unwrap(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let inner = match arguments.value(0) {
        Value::Sensitive(inner) => (*inner).clone(),
        plain => plain,
    };
    match arguments.block.clone() {
        Some(block) => evaluator.call_block(&block, vec![inner], arguments.at),
        None => Ok(inner),
    }
}
