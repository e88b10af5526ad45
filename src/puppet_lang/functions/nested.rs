//! Functions that reach into values within values.

use super::{Arguments, Function};
use crate::puppet_lang::eval::{Evaluator, Outcome};
use crate::puppet_lang::types::Type;
use crate::puppet_lang::value::Value;

pub const TABLE: &[Function] = &[
    Function {
        name: "dig",
        signatures: &["Optional[Collection], Any, 1, default"],
        doc: "The value under a key or index, under the next one in that, and so on; undef where there is none.",
        run: dig,
    },
    Function {
        name: "get",
        signatures: &["Any, String, Any, 2, 3, Optional[Callable[1, 1]]"],
        doc: "The value at a path like `a.0.b`, or a default.",
        run: get,
    },
    Function {
        name: "getvar",
        signatures: &["String, Any, 1, 2, Optional[Callable[1, 1]]"],
        doc: "The value of a variable, or at a path within it, or a default.",
        run: getvar,
    },
];

/// A step into a value: `None` if nothing can be under a key there.
fn under(value: &Value, key: &Value) -> Option<Value> {
    match (value, key) {
        (Value::Undef, _) => Some(Value::Undef),
        (Value::Hash(hash), _) => Some(hash.get(key).cloned().unwrap_or(Value::Undef)),
        (Value::Array(items), Value::Integer(index)) => {
            let index = if *index < 0 { index + i64::try_from(items.len()).unwrap_or(i64::MAX) } else { *index };
            Some(usize::try_from(index).ok().and_then(|index| items.get(index).cloned()).unwrap_or(Value::Undef))
        }
        (Value::Object(object), Value::String(name)) => {
            let in_value = match object.attributes.get_text("value") {
                Some(Value::Hash(hash)) => hash.get(key).cloned(),
                _ => None,
            };
            Some(in_value.or_else(|| object.attributes.get_text(name).cloned()).unwrap_or(Value::Undef))
        }
        _ => None,
    }
}

fn dig(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut value = arguments.value(0);
    for key in &arguments.values[1..] {
        value = match under(&value, key) {
            Some(found) => found,
            None => {
                let kind = Type::of(&value).generalized();
                return evaluator
                    .fail(arguments.at, format!("`dig` finds a {kind} where it expects an array or a hash"));
            }
        };
    }
    Ok(value)
}

/// The keys of a path: between dots, in quotes where they have dots, integers where they look like one.
fn keys(path: &str) -> Option<Vec<Value>> {
    let mut keys = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (key, after) = match quote {
            Some(quote) => {
                let end = rest[1..].find(quote)?;
                (Value::from(&rest[1..=end]), &rest[end + 2..])
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let key = &rest[..end];
                let is_number = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
                let number = key.parse().ok().filter(|_| is_number).map(Value::Integer);
                (number.unwrap_or_else(|| Value::from(key)), &rest[end..])
            }
        };
        keys.push(key);
        rest = match after.strip_prefix('.') {
            Some("") => return None,
            Some(more) => more,
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(keys)
}

fn at_path(value: Value, path: &[Value]) -> Value {
    path.iter().try_fold(value, |value, key| under(&value, key)).unwrap_or(Value::Undef)
}

/// The value, or the default; with a block, the block's value for whatever is missing.
fn or_default(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments, found: Value, default: usize) -> Outcome {
    if !matches!(found, Value::Undef) {
        return Ok(found);
    }
    match arguments.block.clone() {
        Some(block) => evaluator.call_block(&block, vec![arguments.value(default)], arguments.at),
        None => Ok(arguments.value(default)),
    }
}

fn get(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let Some(path) = keys(arguments.text(1)) else {
        return evaluator.fail(arguments.at, format!("`{}` is no path like `a.0.b`", arguments.text(1)));
    };
    let found = at_path(arguments.value(0), &path);
    or_default(evaluator, arguments, found, 2)
}

fn getvar(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let text = arguments.text(0).to_owned();
    let (name, path) = text.split_once('.').unwrap_or((&text, ""));
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_' || first == ':');
    let Some(path) = keys(path).filter(|_| is_name) else {
        return evaluator.fail(arguments.at, format!("`{text}` is no name of a variable, or no path within one"));
    };
    let value = arguments.scope.get(name.trim_start_matches("::")).unwrap_or(Value::Undef);
    let found = at_path(value, &path);
    or_default(evaluator, arguments, found, 1)
}
