//! Sets of results, which run_* functions return.

use super::Arguments;
use super::objects::of_object;
use crate::puppet_lang::eval::{Evaluator, Outcome};
use crate::puppet_lang::value::{Object, Value};

/// A set of these results.
pub fn result_set(results: impl IntoIterator<Item = Value>) -> Value {
    Value::object("ResultSet", [("results", Value::array(results))])
}

fn is_ok(result: &Value) -> bool {
    match result {
        Value::Object(result) => result.attributes.get_text("error").is_none_or(|error| !error.is_true()),
        _ => false,
    }
}

fn target(result: &Value) -> Value {
    match result {
        Value::Object(result) => result.attributes.get_text("target").cloned().unwrap_or(Value::Undef),
        _ => Value::Undef,
    }
}

/// What a function of a set of results says; `None` if it has none of the name.
pub fn of_result_set(
    evaluator: &mut Evaluator<'_>,
    set: &Object,
    name: &str,
    arguments: &Arguments,
) -> Option<Outcome> {
    let results = match set.attributes.get_text("results") {
        Some(Value::Array(results)) => results.to_vec(),
        _ => vec![],
    };
    let found = match name {
        "ok" => Value::Boolean(results.iter().all(is_ok)),
        "ok_set" => result_set(results.into_iter().filter(is_ok)),
        "error_set" => result_set(results.into_iter().filter(|result| !is_ok(result))),
        "filter_set" => {
            let block = arguments.block.clone()?;
            let mut kept = Vec::new();
            for result in results {
                match evaluator.call_block(&block, vec![result.clone()], arguments.at) {
                    Ok(value) if value.is_true() => kept.push(result),
                    Ok(_) => {}
                    Err(other) => return Some(Err(other)),
                }
            }
            result_set(kept)
        }
        "first" => results.first().cloned().unwrap_or(Value::Undef),
        "find" => {
            let name = arguments.value(1).to_string();
            results.into_iter().find(|result| target(result).to_string() == name).unwrap_or(Value::Undef)
        }
        "results" => Value::array(results),
        "targets" => Value::array(results.iter().map(target)),
        "names" => Value::array(results.iter().map(|result| target(result).to_string().into())),
        "count" | "length" | "size" => Value::from(results.len()),
        "empty" => Value::Boolean(results.is_empty()),
        "to_data" => Value::array(results.iter().map(|result| match result {
            Value::Object(result) => match of_object(evaluator, result, "to_data", arguments) {
                Some(Ok(data)) => data,
                _ => Value::Undef,
            },
            other => other.clone(),
        })),
        _ => return None,
    };
    Some(Ok(found))
}
