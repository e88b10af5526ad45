//! Data as text: JSON and base64.

use super::{Arguments, Function};
use crate::puppet_lang::base64;
use crate::puppet_lang::eval::{Evaluator, Outcome};
use crate::puppet_lang::value::{Secrets, Value};

pub const TABLE: &[Function] = &[
    Function {
        name: "parsejson",
        signatures: &["String, Any, 1, 2"],
        doc: "The value of a text in JSON, or a default if it is none.",
        run: parsejson,
    },
    Function { name: "to_json", signatures: &["Any"], doc: "A value as JSON on one line.", run: to_json },
    Function {
        name: "to_json_pretty",
        signatures: &["Any"],
        doc: "A value as JSON on many lines.",
        run: to_json_pretty,
    },
    Function {
        name: "base64",
        signatures: &["Enum['encode', 'decode'], String, Optional[Enum['default', 'strict', 'urlsafe']], 2, 3"],
        doc: "A text as base64, or back.",
        run: base64_function,
    },
];

fn parsejson(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    match serde_json::from_str(arguments.text(0)) {
        Ok(json) => evaluator.account(arguments.at, Value::from_json(&json)),
        Err(_) if arguments.values.len() > 1 => Ok(arguments.value(1)),
        Err(error) => evaluator.fail(arguments.at, format!("the text is not JSON: {error}")),
    }
}

fn to_json(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let json = arguments.value(0).to_json(Secrets::Hidden);
    let text = evaluator
        .at(arguments.at, json.map(|json| json.to_string()).ok_or_else(|| "this is nested too deep".to_owned()))?;
    evaluator.account(arguments.at, text.into())
}

fn to_json_pretty(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let json = arguments.value(0).to_json(Secrets::Hidden).and_then(|json| serde_json::to_string_pretty(&json).ok());
    let text = evaluator.at(arguments.at, json.ok_or_else(|| "this is nested too deep".to_owned()))?;
    evaluator.account(arguments.at, (text + "\n").into())
}

fn base64_function(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let (text, method) = (arguments.text(1), arguments.text(2));
    if arguments.text(0) == "encode" {
        let encoded = base64::encode(text.as_bytes());
        return Ok(match method {
            "strict" => encoded,
            "urlsafe" => encoded.replace('+', "-").replace('/', "_"),
            // Sixty letters a line, as the oldest tools wrap it.
            _ => encoded.as_bytes().chunks(60).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect(),
        }
        .into());
    }
    let decoded = base64::decode(text, method == "strict").and_then(|bytes| String::from_utf8(bytes).ok());
    evaluator.at(arguments.at, decoded.map(Value::from).ok_or_else(|| "this is not base64 of a text".to_owned()))
}
