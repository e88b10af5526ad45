//! Functions that end blocks, functions and plans, catch errors, and let branches run beside each other.

use super::{Arguments, Function};
use crate::puppet_lang::eval::{Control, Evaluator, Failure, Outcome};
use crate::puppet_lang::value::Value;

pub const TABLE: &[Function] = &[
    Function {
        name: "return",
        signatures: &["Any, 0, 1"],
        doc: "Ends the function or plan with a value.",
        run: |_, a| Err(Control::Return(a.value(0))),
    },
    Function {
        name: "next",
        signatures: &["Any, 0, 1"],
        doc: "Ends this call of the block with a value.",
        run: |_, a| Err(Control::Next(a.value(0))),
    },
    Function {
        name: "break",
        signatures: &["0, 0"],
        doc: "Ends the iteration.",
        run: |_, a| Err(Control::Break(a.at)),
    },
    Function { name: "fail", signatures: &["Any, 0, default"], doc: "Ends the evaluation with an error.", run: fail },
    Function {
        name: "fail_plan",
        signatures: &["Variant[String, Error], Optional[String], Optional[Hash], Optional[String], 1, 4"],
        doc: "Ends the plan with an error that has a kind and details.",
        run: fail_plan,
    },
    Function {
        name: "catch_errors",
        signatures: &["Optional[Array[String]], 0, 1, Callable[0, 0]"],
        doc: "The block's value, or the error that ended it.",
        run: catch_errors,
    },
    Function {
        name: "parallelize",
        signatures: &["Variant[Array, Hash, Target, ResultSet], Callable[1, 1]"],
        doc: "Calls the block for all elements beside each other; the values in their order.",
        run: parallelize,
    },
    Function {
        name: "call",
        signatures: &["String, Any, 1, default, Optional[Callable]"],
        doc: "Calls the function of a name.",
        run: call,
    },
];

fn fail(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let words: Vec<_> = arguments.values.iter().map(Value::to_string).collect();
    evaluator.fail(arguments.at, words.join(" "))
}

fn fail_plan(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let mut failure = match arguments.value(0) {
        Value::Object(error) => Failure::from_error(&error.attributes),
        message => {
            let mut failure = Failure::new("bolt/plan-failure", message.to_string());
            if let Some(Value::String(kind)) = arguments.get(1) {
                failure.kind = kind.to_string();
            }
            if let Some(Value::Hash(details)) = arguments.get(2) {
                failure.details = (**details).clone();
            }
            failure.issue_code = arguments.get(3).and_then(Value::as_text).map(str::to_owned);
            failure
        }
    };
    failure.place = Some(evaluator.source.diagnostic(arguments.at, failure.message.clone()));
    Err(Control::Failed(Box::new(failure)))
}

fn catch_errors(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let Some(block) = arguments.block.clone() else { return Ok(Value::Undef) };
    let kinds: Vec<String> = match arguments.value(0) {
        Value::Array(kinds) => kinds.iter().map(Value::to_string).collect(),
        _ => vec![],
    };
    let source = evaluator.source.clone();
    match evaluator.call_block(&block, vec![], arguments.at) {
        Err(Control::Failed(failure)) if kinds.is_empty() || kinds.contains(&failure.kind) => {
            evaluator.source = source;
            Ok(failure.to_value())
        }
        other => other,
    }
}

/// Every branch is evaluated as far as it comes, so that all of them wait for their calls at once. The first error counts, but
/// only when no branch waits any more: which came first must not depend on who answered first.
fn parallelize(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let Some(block) = arguments.block.clone() else { return Ok(Value::Undef) };
    let of = arguments.value(0);
    let elements = match &of {
        Value::Object(object) if *object.class == *"Target" => vec![of.clone()],
        _ => evaluator.elements(&of, arguments.at)?,
    };
    let call = evaluator.branching_call(arguments.at)?;
    let mut values = Vec::with_capacity(elements.len());
    let mut waits = false;
    let mut failed = None;
    for (branch, element) in elements.into_iter().enumerate() {
        let source = evaluator.source.clone();
        let outcome =
            evaluator.in_branch(&call, branch, |evaluator| evaluator.call_block(&block, vec![element], arguments.at));
        evaluator.source = source;
        match outcome {
            Ok(value) | Err(Control::Return(value)) => values.push(value),
            Err(Control::Waiting) => waits = true,
            Err(other) => failed = failed.or(Some(other)),
        }
    }
    match (waits, failed) {
        (true, _) => Err(Control::Waiting),
        (false, Some(failed)) => Err(failed),
        (false, None) => Ok(Value::array(values)),
    }
}

fn call(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let name = arguments.text(0).to_owned();
    arguments.values.remove(0);
    let passed = Arguments {
        values: std::mem::take(&mut arguments.values),
        block: arguments.block.take(),
        scope: arguments.scope.clone(),
        at: arguments.at,
    };
    evaluator.call_named(&name, passed)
}
