//! Functions that call a block for every element.

use super::{Arguments, Function};
use crate::limits::PUPPET_RANGE_MAX;
use crate::puppet_lang::eval::{Evaluator, Outcome};
use crate::puppet_lang::types::Type;
use crate::puppet_lang::value::Value;

pub const TABLE: &[Function] = &[
    Function {
        name: "each",
        signatures: &["Iterable, Callable[1, 1]", "Iterable, Callable[2, 2]", "ResultSet, Callable[1, 1]"],
        doc: "Calls the block for every element; returns what it iterated over.",
        run: each,
    },
    Function {
        name: "map",
        signatures: &["Iterable, Callable[1, 1]", "Iterable, Callable[2, 2]", "ResultSet, Callable[1, 1]"],
        doc: "The block's values for every element.",
        run: map,
    },
    Function {
        name: "filter",
        signatures: &["Iterable, Callable[1, 1]", "Iterable, Callable[2, 2]", "ResultSet, Callable[1, 1]"],
        doc: "The elements for which the block's value is true.",
        run: filter,
    },
    Function {
        name: "reduce",
        signatures: &[
            "Iterable, Callable[2, 2]",
            "Iterable, Any, Callable[2, 2]",
            "ResultSet, Any, 1, 2, Callable[2, 2]",
        ],
        doc: "One value from all elements: the block gets the value so far and the next element.",
        run: reduce,
    },
    Function {
        name: "any",
        signatures: &["Iterable, Callable[1, 1]", "Iterable, Callable[2, 2]"],
        doc: "Whether the block's value is true for an element.",
        run: any,
    },
    Function {
        name: "all",
        signatures: &["Iterable, Callable[1, 1]", "Iterable, Callable[2, 2]"],
        doc: "Whether the block's value is true for every element.",
        run: all,
    },
    Function {
        name: "index",
        signatures: &["Iterable, Callable[1, 1]", "Iterable, Callable[2, 2]", "Iterable, Any"],
        doc: "The index or key of the first element for which the block's value is true, or that is equal.",
        run: index,
    },
    Function {
        name: "partition",
        signatures: &["Collection, Callable[1, 1]", "Collection, Callable[2, 2]"],
        doc: "Two arrays: the elements for which the block's value is true, and the others.",
        run: partition,
    },
    Function {
        name: "group_by",
        signatures: &["Collection, Callable[1, 1]", "Collection, Callable[2, 2]"],
        doc: "A hash of the block's values with the elements that have them.",
        run: group_by,
    },
    Function {
        name: "slice",
        signatures: &["Iterable, Integer[1], Optional[Callable]"],
        doc: "The elements in arrays of so many, or the block called with each of these.",
        run: slice,
    },
    Function {
        name: "step",
        signatures: &["Iterable, Integer[1], Optional[Callable[1, 1]]"],
        doc: "Every so-manyth element, or the block called with each of these.",
        run: step,
    },
    Function {
        name: "reverse_each",
        signatures: &["Iterable, Optional[Callable[1, 1]]"],
        doc: "The elements from the last to the first, or the block called with each.",
        run: reverse_each,
    },
    Function {
        name: "with",
        signatures: &["Any, 0, default, Callable"],
        doc: "Calls the block with the arguments.",
        run: with,
    },
    Function {
        name: "then",
        signatures: &["Any, Callable[1, 1]"],
        doc: "Calls the block with the value unless that is undef.",
        run: then,
    },
    Function {
        name: "lest",
        signatures: &["Any, Callable[0, 0]"],
        doc: "The value, or the block's if it is undef.",
        run: lest,
    },
];

impl Evaluator<'_> {
    /// The elements of something iterable.
    pub(super) fn elements(&mut self, value: &Value, at: u32) -> Outcome<Vec<Value>> {
        let range = |from: i64, to: i64| (from..=to).map(Value::Integer).collect::<Vec<_>>();
        let elements = match value {
            Value::Array(items) => items.to_vec(),
            Value::Hash(hash) => hash.iter().map(|(key, value)| Value::array([key.clone(), value.clone()])).collect(),
            Value::String(text) => text.chars().map(|c| Value::from(c.to_string())).collect(),
            Value::Integer(count) => {
                self.check_range(0, *count, at)?;
                range(0, *count - 1)
            }
            Value::Type(data_type) => match &**data_type {
                Type::Integer(ends) => {
                    let (from, to) = (ends.min.unwrap_or(0), ends.max.unwrap_or(-1));
                    self.check_range(from, to, at)?;
                    range(from, to)
                }
                _ => vec![],
            },
            Value::Object(object) => match object.attributes.get_text("results") {
                Some(Value::Array(results)) => results.to_vec(),
                _ => vec![],
            },
            _ => vec![],
        };
        self.spend(at, elements.len() as u64 * 32)?;
        Ok(elements)
    }

    fn check_range(&self, from: i64, to: i64, at: u32) -> Outcome<()> {
        match to.checked_sub(from) {
            Some(count) if count < PUPPET_RANGE_MAX => Ok(()),
            _ => self.fail(at, format!("a range can have {PUPPET_RANGE_MAX} elements at most")),
        }
    }

    /// Calls the block for every element, with its index or key if it takes two; `take` sees the element and the value and
    /// says whether to go on.
    fn for_each(&mut self, arguments: &Arguments, mut take: impl FnMut(usize, &Value, Value) -> bool) -> Outcome<()> {
        let of = arguments.value(0);
        let elements = self.elements(&of, arguments.at)?;
        let Some(block) = &arguments.block else {
            for (index, element) in elements.iter().enumerate() {
                if !take(index, element, element.clone()) {
                    break;
                }
            }
            return Ok(());
        };
        let takes_two = block.takes(2);
        for (index, element) in elements.iter().enumerate() {
            let values = match (takes_two, &of, element) {
                (false, ..) => vec![element.clone()],
                (true, Value::Hash(_), Value::Array(pair)) => pair.to_vec(),
                (true, ..) => vec![Value::from(index), element.clone()],
            };
            let Some(value) = self.iterate(block, values, arguments.at)? else { break };
            if !take(index, element, value) {
                break;
            }
        }
        Ok(())
    }
}

fn each(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    evaluator.for_each(arguments, |_, _, _| true)?;
    Ok(arguments.value(0))
}

fn map(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut values = Vec::new();
    evaluator.for_each(arguments, |_, _, value| {
        values.push(value);
        true
    })?;
    Ok(Value::array(values))
}

/// Elements back in the form that they came in.
fn regathered(of: &Value, elements: Vec<Value>) -> Value {
    match of {
        Value::Hash(_) => Value::hash(elements.iter().filter_map(|pair| match pair {
            Value::Array(pair) => Some((pair[0].clone(), pair[1].clone())),
            _ => None,
        })),
        Value::Object(_) => super::results::result_set(elements),
        _ => Value::array(elements),
    }
}

fn filter(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut kept = Vec::new();
    evaluator.for_each(arguments, |_, element, value| {
        if value.is_true() {
            kept.push(element.clone());
        }
        true
    })?;
    Ok(regathered(&arguments.value(0), kept))
}

fn reduce(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut elements = evaluator.elements(&arguments.value(0), arguments.at)?.into_iter();
    let first = if arguments.values.len() > 1 { Some(arguments.value(1)) } else { elements.next() };
    let (Some(mut memo), Some(block)) = (first, arguments.block.clone()) else { return Ok(Value::Undef) };
    for element in elements {
        match evaluator.iterate(&block, vec![memo.clone(), element], arguments.at)? {
            Some(value) => memo = value,
            None => break,
        }
    }
    Ok(memo)
}

fn any(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut found = false;
    evaluator.for_each(arguments, |_, _, value| {
        found = value.is_true();
        !found
    })?;
    Ok(Value::Boolean(found))
}

fn all(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut holds = true;
    evaluator.for_each(arguments, |_, _, value| {
        holds = value.is_true();
        holds
    })?;
    Ok(Value::Boolean(holds))
}

fn index(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let of = arguments.value(0);
    let place = |index: usize, element: &Value| match (&of, element) {
        (Value::Hash(_), Value::Array(pair)) => pair[0].clone(),
        _ => Value::from(index),
    };
    let mut found = Value::Undef;
    if arguments.block.is_none() {
        let wanted = arguments.value(1);
        if let (Value::String(text), Value::String(part)) = (&of, &wanted) {
            let at = text.find(&**part).map(|at| text[..at].chars().count());
            return Ok(at.map_or(Value::Undef, Value::from));
        }
        for (index, element) in evaluator.elements(&of, arguments.at)?.iter().enumerate() {
            let compared = match (&of, element) {
                (Value::Hash(_), Value::Array(pair)) => &pair[1],
                (_, element) => element,
            };
            if compared.equals(&wanted) {
                return Ok(place(index, element));
            }
        }
        return Ok(found);
    }
    evaluator.for_each(arguments, |index, element, value| {
        if value.is_true() {
            found = place(index, element);
        }
        !value.is_true()
    })?;
    Ok(found)
}

fn partition(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let (mut yes, mut no) = (Vec::new(), Vec::new());
    evaluator.for_each(arguments, |_, element, value| {
        let side = if value.is_true() { &mut yes } else { &mut no };
        side.push(element.clone());
        true
    })?;
    Ok(Value::array([Value::array(yes), Value::array(no)]))
}

fn group_by(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    evaluator.for_each(arguments, |_, element, value| {
        match groups.iter_mut().find(|(key, _)| key.is_same(&value)) {
            Some((_, group)) => group.push(element.clone()),
            None => groups.push((value, vec![element.clone()])),
        }
        true
    })?;
    Ok(Value::hash(groups.into_iter().map(|(key, group)| (key, Value::array(group)))))
}

fn slice(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let elements = evaluator.elements(&arguments.value(0), arguments.at)?;
    let size = usize::try_from(arguments.integer(1).unwrap_or(1)).unwrap_or(usize::MAX);
    let Some(block) = &arguments.block else {
        return Ok(Value::array(elements.chunks(size).map(|chunk| Value::array(chunk.iter().cloned()))));
    };
    let (_, max) = block.arity();
    for chunk in elements.chunks(size) {
        let values = match max {
            1 => vec![Value::array(chunk.iter().cloned())],
            usize::MAX => chunk.to_vec(),
            // What is missing at the end is undef, as far as the block has parameters for it.
            max => (0..max.min(size)).map(|index| chunk.get(index).cloned().unwrap_or(Value::Undef)).collect(),
        };
        if evaluator.iterate(block, values, arguments.at)?.is_none() {
            break;
        }
    }
    Ok(arguments.value(0))
}

fn step(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let size = usize::try_from(arguments.integer(1).unwrap_or(1)).unwrap_or(usize::MAX);
    let elements = evaluator.elements(&arguments.value(0), arguments.at)?;
    let chosen: Vec<_> = elements.into_iter().step_by(size).collect();
    over(evaluator, arguments, chosen)
}

fn reverse_each(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut elements = evaluator.elements(&arguments.value(0), arguments.at)?;
    elements.reverse();
    over(evaluator, arguments, elements)
}

/// The block for each of the elements, or the elements themselves without one.
fn over(evaluator: &mut Evaluator<'_>, arguments: &Arguments, elements: Vec<Value>) -> Outcome {
    let Some(block) = &arguments.block else { return Ok(Value::array(elements)) };
    for element in elements {
        if evaluator.iterate(block, vec![element], arguments.at)?.is_none() {
            break;
        }
    }
    Ok(arguments.value(0))
}

fn with(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    match arguments.block.clone() {
        Some(block) => evaluator.call_block(&block, std::mem::take(&mut arguments.values), arguments.at),
        None => Ok(Value::Undef),
    }
}

fn then(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    match arguments.value(0) {
        Value::Undef => Ok(Value::Undef),
        _ => with(evaluator, arguments),
    }
}

fn lest(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    match arguments.value(0) {
        Value::Undef => {
            arguments.values.clear();
            with(evaluator, arguments)
        }
        value => Ok(value),
    }
}
