//! Functions on numbers.

use super::{Arguments, Function};
use crate::puppet_lang::eval::{Evaluator, Outcome};
use crate::puppet_lang::value::Value;

pub const TABLE: &[Function] = &[
    Function { name: "abs", signatures: &["Numeric"], doc: "The number without its sign.", run: abs },
    Function {
        name: "ceiling",
        signatures: &["Numeric"],
        doc: "The smallest integer that is not below the number.",
        run: |e, a| rounded(e, a, f64::ceil),
    },
    Function {
        name: "floor",
        signatures: &["Numeric"],
        doc: "The largest integer that is not above the number.",
        run: |e, a| rounded(e, a, f64::floor),
    },
    Function {
        name: "round",
        signatures: &["Numeric"],
        doc: "The nearest integer; halves go away from 0.",
        run: |e, a| rounded(e, a, f64::round),
    },
    Function {
        name: "max",
        signatures: &["Any, 1, default", "Array, Optional[Callable[2, 2]]"],
        doc: "The largest of numbers, strings or others that can be compared.",
        run: |e, a| extreme(e, a, std::cmp::Ordering::Greater),
    },
    Function {
        name: "min",
        signatures: &["Any, 1, default", "Array, Optional[Callable[2, 2]]"],
        doc: "The smallest of numbers, strings or others that can be compared.",
        run: |e, a| extreme(e, a, std::cmp::Ordering::Less),
    },
];

fn abs(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    match arguments.value(0) {
        Value::Float(value) => Ok(Value::Float(value.abs())),
        Value::Integer(value) => {
            let value = value.checked_abs().map(Value::Integer);
            evaluator.at(arguments.at, value.ok_or_else(|| "the result does not fit into 64 bits".to_owned()))
        }
        other => Ok(other),
    }
}

/// 2^63, which is the first float beyond the integers.
const LIMIT: f64 = 9_223_372_036_854_775_808.0;

fn rounded(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments, round: fn(f64) -> f64) -> Outcome {
    match arguments.value(0) {
        Value::Float(value) if (-LIMIT..LIMIT).contains(&round(value)) => Ok(Value::Integer(round(value) as i64)),
        Value::Float(_) => evaluator.fail(arguments.at, "the result does not fit into 64 bits"),
        other => Ok(other),
    }
}

fn extreme(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments, wanted: std::cmp::Ordering) -> Outcome {
    let values = match arguments.values.as_slice() {
        [Value::Array(items)] => items.to_vec(),
        many => many.to_vec(),
    };
    let mut found: Option<Value> = None;
    for value in values {
        let Some(best) = &found else {
            found = Some(value);
            continue;
        };
        let order = match arguments.block.clone() {
            Some(block) => match evaluator.call_block(&block, vec![value.clone(), best.clone()], arguments.at)? {
                Value::Integer(order) => Some(order.cmp(&0)),
                _ => None,
            },
            None => match (&value, best) {
                (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
                _ => value.order(best),
            },
        };
        match order {
            Some(order) if order == wanted => found = Some(value),
            Some(_) => {}
            None => return evaluator.fail(arguments.at, "these values cannot be compared with each other"),
        }
    }
    Ok(found.unwrap_or(Value::Undef))
}
