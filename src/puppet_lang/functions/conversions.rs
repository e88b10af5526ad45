//! Types of values, and values of one type made from those of another: `type`, `assert_type`, `new` and its kin.

use std::sync::Arc;

use super::{Arguments, Function};
use crate::puppet_lang::base64;
use crate::puppet_lang::eval::{Evaluator, Failure, Outcome};
use crate::puppet_lang::types::Type;
use crate::puppet_lang::value::{Plain, SemVer, SemVerRange, Value, parse_span, parse_time};

pub const TABLE: &[Function] = &[
    Function {
        name: "type",
        signatures: &["Any, Optional[Enum['detailed', 'reduced', 'generalized']], 1, 2"],
        doc: "The type of a value: with all that is known, with one type per array, or without sizes and ranges.",
        run: type_of,
    },
    Function {
        name: "assert_type",
        signatures: &["Variant[Type, String], Any, Optional[Callable[2, 2]]"],
        doc: "The value if it is of the type; otherwise an error, or the block's value.",
        run: assert_type,
    },
    Function {
        name: "new",
        signatures: &["Variant[Type, String], Any, 1, default, Optional[Callable]"],
        doc: "A value of a type from other values.",
        run: new,
    },
    Function {
        name: "convert_to",
        signatures: &["Any, Type, Any, 2, default, Optional[Callable[1, 1]]"],
        doc: "The value as one of the type; with a block, the block's value.",
        run: convert_to,
    },
    Function {
        name: "num2bool",
        signatures: &["Variant[Numeric, String, Boolean]"],
        doc: "Whether a number is above 0.",
        run: num2bool,
    },
    Function {
        name: "str2bool",
        signatures: &["Variant[String, Boolean]"],
        doc: "Whether a string means yes.",
        run: str2bool,
    },
    Function {
        name: "bool2str",
        signatures: &["Boolean, String, 1, 3"],
        doc: "A boolean as `true` or `false`, or as one of two strings.",
        run: bool2str,
    },
];

fn type_of(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let value = arguments.value(0);
    Ok(match arguments.text(1) {
        "reduced" => Type::reduced(&value),
        "generalized" => Type::reduced(&value).generalized(),
        _ => Type::of(&value),
    }
    .into())
}

/// A type that is given as itself or by its text.
fn as_type(evaluator: &mut Evaluator<'_>, value: &Value, at: u32) -> Outcome<Arc<Type>> {
    match value {
        Value::Type(data_type) => Ok(data_type.clone()),
        other => evaluator.named_type(&other.to_string(), &[], at).map(Arc::new),
    }
}

fn assert_type(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let expected = as_type(evaluator, &arguments.value(0), arguments.at)?;
    let value = arguments.value(1);
    let Some(problem) = expected.problem(&value) else { return Ok(value) };
    match arguments.block.clone() {
        Some(block) => {
            let found = Type::of(&value).generalized();
            evaluator.call_block(&block, vec![Value::Type(expected), found.into()], arguments.at)
        }
        None => evaluator.fail(arguments.at, format!("`assert_type` {problem}")),
    }
}

fn new(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let wanted = as_type(evaluator, &arguments.value(0), arguments.at)?;
    let made = made(evaluator, &wanted, &arguments.values[1..], arguments.at)?;
    if let Some(problem) = wanted.problem(&made) {
        return evaluator.fail(arguments.at, format!("the new value {problem}"));
    }
    match arguments.block.clone() {
        Some(block) => evaluator.call_block(&block, vec![made], arguments.at),
        None => Ok(made),
    }
}

fn convert_to(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    arguments.values.swap(0, 1);
    new(evaluator, arguments)
}

fn made(evaluator: &mut Evaluator<'_>, wanted: &Type, from: &[Value], at: u32) -> Outcome {
    if let (Type::Timestamp(_), []) = (wanted, from) {
        // The one thing in the language that is not the same in every replay unless it is recorded.
        return evaluator.call_host("Timestamp::now", vec![], at);
    }
    let first = match from {
        [] => return evaluator.fail(at, format!("a new {wanted} needs an argument")),
        [first, ..] => first,
    };
    let made = match wanted {
        Type::Integer(_) => integer(first, from),
        Type::Float(_) => number(first, from).map(|value| match value {
            Value::Integer(value) => Value::Float(value as f64),
            other => other,
        }),
        Type::Numeric => number(first, from),
        Type::Boolean(_) => boolean(first),
        Type::String(_) | Type::Text(_) | Type::Enum(..) | Type::Pattern(_) => string(first, from.get(1)),
        Type::Array(..) | Type::Tuple(..) => return array(evaluator, first, from, at),
        Type::Hash(..) | Type::Struct(_) => return hash(evaluator, first, at),
        Type::Sensitive(_) => Ok(Value::sensitive(first.clone())),
        Type::SemVer(_) => version(from),
        Type::SemVerRange => match first {
            Value::SemVerRange(_) => Ok(first.clone()),
            other => SemVerRange::parse(&other.to_string())
                .map(|range| Value::SemVerRange(range.into()))
                .ok_or_else(|| format!("`{other}` is no range of versions")),
        },
        Type::Timestamp(_) => timestamp(first),
        Type::Timespan(_) => timespan(from),
        Type::Uri => Ok(Value::Uri(first.to_string().into())),
        Type::Binary => binary(first, from.get(1).and_then(Value::as_text)),
        Type::Regexp(_) => crate::puppet_lang::pattern::Pattern::new(&first.to_string()).map(Value::Regexp),
        Type::Optional(inner) | Type::NotUndef(inner) if !matches!(first, Value::Undef) => {
            return made(evaluator, inner, from, at);
        }
        Type::Optional(_) => Ok(Value::Undef),
        Type::Alias(alias) if alias.body.get().is_some() => {
            return made(evaluator, alias.body.get().unwrap_or(&Type::Any), from, at);
        }
        Type::Variant(_) if wanted.accepts(first) => Ok(first.clone()),
        Type::Variant(types) => {
            for one in types {
                if let Ok(made) = made(evaluator, one, from, at) {
                    return Ok(made);
                }
            }
            Err(format!("{} cannot become any of {wanted}", shown(first)))
        }
        Type::Object(class, _) if **class == *"Error" => error(from),
        Type::Object(class, _) if **class == *"Target" => return evaluator.call_host("Target.new", from.to_vec(), at),
        other => Err(format!("there are no new values of {other}")),
    };
    evaluator.at(at, made)
}

fn error(from: &[Value]) -> Result<Value, String> {
    let attributes = match from {
        [Value::Hash(attributes)] => (**attributes).clone(),
        [message, rest @ ..] => {
            let names = ["kind", "details", "issue_code"];
            let rest = names.iter().zip(rest).map(|(name, value)| (Value::from(*name), value.clone()));
            [(Value::from("msg"), message.clone())].into_iter().chain(rest).collect()
        }
        [] => return Err("a new Error needs a message".to_owned()),
    };
    Ok(Failure::from_error(&attributes).to_value())
}

/// Digits in a radix, with its prefix and spaces around if it likes.
fn integer(first: &Value, from: &[Value]) -> Result<Value, String> {
    let (radix, is_absolute) = match (first, from) {
        (_, [_, Value::Integer(radix), rest @ ..]) => (Some(*radix), rest.first()),
        (_, [_, Value::Default | Value::Undef, rest @ ..]) => (None, rest.first()),
        (Value::Hash(options), _) => {
            let from = options.get_text("from").cloned().unwrap_or(Value::Undef);
            let radix = options.get_text("radix").cloned().unwrap_or(Value::Default);
            let is_absolute = options.get_text("abs").cloned().unwrap_or(Value::Boolean(false));
            return integer(&from, &[from.clone(), radix, is_absolute]);
        }
        _ => (None, None),
    };
    let is_absolute = matches!(is_absolute, Some(Value::Boolean(true)));
    let found = match first {
        Value::Integer(value) => Some(*value),
        Value::Float(value) if value.abs() < 9.2e18 => Some(value.trunc() as i64),
        Value::Boolean(value) => Some(i64::from(*value)),
        Value::Timestamp(time) | Value::Timespan(time) => i64::try_from(time.div_euclid(1_000_000_000)).ok(),
        Value::String(text) => integer_text(text, radix),
        _ => None,
    };
    let found = found.and_then(|value| if is_absolute { value.checked_abs() } else { Some(value) });
    found.map(Value::Integer).ok_or_else(|| format!("{} cannot become an Integer", shown(first)))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        other => Type::of(other).generalized().to_string(),
    }
}

fn integer_text(text: &str, radix: Option<i64>) -> Option<i64> {
    let text = text.trim_start();
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", text[1..].trim_start()),
        b'+' => ("", text[1..].trim_start()),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match (radix, lower.get(..2)) {
        (None | Some(16), Some("0x")) => (16, &lower[2..]),
        (None | Some(2), Some("0b")) => (2, &lower[2..]),
        (Some(8), Some(prefix)) if prefix.starts_with('0') => (8, &lower[1..]),
        (None, Some(prefix)) if prefix.starts_with('0') => (8, &lower[1..]),
        (Some(radix @ (2 | 8 | 10 | 16)), _) => (u32::try_from(radix).ok()?, lower.as_str()),
        (None, _) => (10, lower.as_str()),
        _ => return None,
    };
    let is_digits = digits.starts_with(|first: char| first.is_ascii_alphanumeric());
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok().filter(|_| is_digits)
}

fn number(first: &Value, from: &[Value]) -> Result<Value, String> {
    match first {
        Value::Float(_) => Ok(first.clone()),
        Value::Timestamp(time) | Value::Timespan(time) => Ok(Value::Float(*time as f64 / 1e9)),
        Value::String(text) if integer_text(text, None).is_none() => {
            let is_plain = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+'))
                && text.ends_with(|c: char| c.is_ascii_digit())
                && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let value = text.parse().ok().filter(|value: &f64| is_plain && value.is_finite());
            value.map(Value::Float).ok_or_else(|| format!("{} cannot become a number", shown(first)))
        }
        _ => integer(first, from),
    }
}

fn boolean(first: &Value) -> Result<Value, String> {
    let found = match first {
        Value::Boolean(value) => Some(*value),
        Value::Integer(value) => Some(*value != 0),
        Value::Float(value) => Some(*value != 0.0),
        Value::String(text) => match text.to_lowercase().as_str() {
            "true" | "yes" | "y" => Some(true),
            "false" | "no" | "n" => Some(false),
            _ => None,
        },
        _ => None,
    };
    found.map(Value::Boolean).ok_or_else(|| format!("{} cannot become a Boolean", shown(first)))
}

/// A value's text, or as a format like `%x` or `%p` says. Formats per type are a hash.
fn string(first: &Value, format: Option<&Value>) -> Result<Value, String> {
    let format = match format {
        None | Some(Value::Default | Value::Undef) => return Ok(plain_text(first).into()),
        Some(Value::String(format)) => format.to_string(),
        Some(Value::Hash(formats)) => {
            let chosen = formats.iter().find(|(key, _)| matches!(key, Value::Type(ty) if ty.accepts(first)));
            match chosen {
                Some((_, Value::String(format))) => format.to_string(),
                Some(_) => return Err("formats with `separator` and the like are not offered".to_owned()),
                None => return Ok(plain_text(first).into()),
            }
        }
        Some(_) => return Err("a format is a string, or a hash of types and strings".to_owned()),
    };
    match (first, format.trim_start_matches('%')) {
        (_, "s") => Ok(plain_text(first).into()),
        (Value::Array(_) | Value::Hash(_), "a" | "h") => Ok(plain_text(first).into()),
        (Value::Boolean(value), "y") => Ok(if *value { "yes" } else { "no" }.into()),
        (Value::Boolean(value), "Y") => Ok(if *value { "Yes" } else { "No" }.into()),
        (Value::Boolean(value), "t") => Ok(if *value { "true" } else { "false" }.into()),
        (Value::Boolean(value), "T") => Ok(if *value { "True" } else { "False" }.into()),
        (Value::Boolean(value), "d") => Ok(if *value { "1" } else { "0" }.into()),
        (Value::String(text), "u") => Ok(text.to_uppercase().into()),
        (Value::String(text), "d") => Ok(text.to_lowercase().into()),
        (Value::String(text), "c") => {
            Ok(text.chars().take(1).flat_map(char::to_uppercase).chain(text.chars().skip(1)).collect::<String>().into())
        }
        (Value::String(text), "t") => Ok(text.trim().into()),
        _ => super::format::format(&format, std::slice::from_ref(first)).map(Value::from),
    }
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::Float(value) if value.abs() < 1e16 => format!("{value:.6}"),
        Value::Regexp(pattern) => pattern.text.clone(),
        other => Plain(other).to_string(),
    }
}

fn array(evaluator: &mut Evaluator<'_>, first: &Value, from: &[Value], at: u32) -> Outcome {
    let wraps = matches!(from.get(1), Some(Value::Boolean(true)));
    Ok(match first {
        Value::Array(_) => first.clone(),
        _ if wraps => Value::array([first.clone()]),
        Value::Binary(bytes) => Value::array(bytes.iter().map(|byte| Value::Integer(i64::from(*byte)))),
        Value::Integer(value) if *value < 0 => return evaluator.fail(at, "an Array has no elements below 0"),
        Value::String(_) | Value::Hash(_) | Value::Integer(_) => Value::array(evaluator.elements(first, at)?),
        other => return evaluator.fail(at, format!("{} cannot become an Array", shown(other))),
    })
}

fn hash(evaluator: &mut Evaluator<'_>, first: &Value, at: u32) -> Outcome {
    let pairs = match first {
        Value::Hash(_) => return Ok(first.clone()),
        Value::Array(items) => crate::puppet_lang::eval::pairs(items),
        other => {
            let elements = evaluator.elements(other, at)?;
            crate::puppet_lang::eval::pairs(&elements).filter(|_| !elements.is_empty())
        }
    };
    match pairs {
        Some(pairs) => Ok(Value::hash(pairs)),
        None => evaluator.fail(at, format!("{} cannot become a Hash: expected pairs", shown(first))),
    }
}

fn version(from: &[Value]) -> Result<Value, String> {
    let made = match from {
        [version @ Value::SemVer(_)] => return Ok(version.clone()),
        [Value::String(text)] => SemVer::parse(text),
        [Value::Integer(major), Value::Integer(minor), Value::Integer(patch), rest @ ..] => {
            let numbers = [*major, *minor, *patch].map(|number| u64::try_from(number).ok());
            match numbers {
                [Some(major), Some(minor), Some(patch)] => SemVer::of(
                    [major, minor, patch],
                    rest.first().and_then(Value::as_text),
                    rest.get(1).and_then(Value::as_text),
                ),
                _ => None,
            }
        }
        _ => None,
    };
    made.map(|version| Value::SemVer(version.into())).ok_or_else(|| "this is no version like 1.2.3".to_owned())
}

fn timestamp(first: &Value) -> Result<Value, String> {
    let time = match first {
        Value::Timestamp(time) => Some(*time),
        Value::Integer(seconds) => Some(i128::from(*seconds) * 1_000_000_000),
        Value::Float(seconds) => Some((seconds * 1e9) as i128),
        Value::String(text) => parse_time(text),
        _ => None,
    };
    time.map(Value::Timestamp).ok_or_else(|| format!("{} is no point in time", shown(first)))
}

fn timespan(from: &[Value]) -> Result<Value, String> {
    let number = |value: &Value| match value {
        Value::Integer(value) => Some(i128::from(*value)),
        _ => None,
    };
    let units: [i128; 7] = [86_400_000_000_000, 3_600_000_000_000, 60_000_000_000, 1_000_000_000, 1_000_000, 1_000, 1];
    let names = ["days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"];
    let span = match from {
        [Value::Timespan(span)] => Some(*span),
        [Value::Integer(seconds)] => Some(i128::from(*seconds) * 1_000_000_000),
        [Value::Float(seconds)] => Some((seconds * 1e9) as i128),
        [Value::String(text)] => parse_span(text),
        [Value::Hash(parts)] => {
            let part = |(name, unit): (&&str, &i128)| {
                parts.get_text(name).map_or(Some(0), |value| Some(number(value)? * unit))
            };
            names.iter().zip(&units).map(part).sum::<Option<i128>>()
        }
        many if many.len() >= 4 => many.iter().zip(&units).map(|(value, unit)| Some(number(value)? * unit)).sum(),
        _ => None,
    };
    span.map(Value::Timespan).ok_or_else(|| "this is no length of time".to_owned())
}

fn binary(first: &Value, format: Option<&str>) -> Result<Value, String> {
    let bytes = match (first, format) {
        (Value::Binary(_), _) => return Ok(first.clone()),
        (Value::String(text), None | Some("%b" | "%u" | "%B")) => base64::decode(text, format == Some("%B")),
        (Value::String(text), Some("%s" | "%r")) => Some(text.as_bytes().to_vec()),
        (Value::Array(items), _) => items
            .iter()
            .map(|item| if let Value::Integer(byte) = item { u8::try_from(*byte).ok() } else { None })
            .collect(),
        _ => None,
    };
    bytes.map(|bytes| Value::Binary(bytes.into())).ok_or_else(|| format!("{} cannot become a Binary", shown(first)))
}

fn num2bool(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let number = match number(&arguments.value(0), &[]) {
        Ok(Value::Integer(value)) => Ok(value > 0),
        Ok(Value::Float(value)) => Ok(value > 0.0),
        Ok(_) => Ok(false),
        Err(message) => Err(message),
    };
    evaluator.at(arguments.at, number.map(Value::Boolean))
}

fn str2bool(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let found = match arguments.value(0) {
        Value::Boolean(value) => Some(value),
        other => match other.to_string().to_lowercase().as_str() {
            "1" | "t" | "y" | "true" | "yes" => Some(true),
            "" | "0" | "f" | "n" | "false" | "no" | "undef" | "undefined" => Some(false),
            _ => None,
        },
    };
    evaluator
        .at(arguments.at, found.map(Value::Boolean).ok_or_else(|| "this string means neither yes nor no".to_owned()))
}

fn bool2str(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let is_true = arguments.value(0).is_true();
    let index = if is_true { 1 } else { 2 };
    Ok(arguments.get(index).cloned().unwrap_or_else(|| if is_true { "true".into() } else { "false".into() }))
}
