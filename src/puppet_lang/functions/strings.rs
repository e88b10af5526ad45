//! Functions on strings. Those that change one string change every string of an array too.

use super::{Arguments, Function};
use crate::puppet_lang::eval::{Evaluator, Outcome};
use crate::puppet_lang::pattern::Pattern;
use crate::puppet_lang::types::Type;
use crate::puppet_lang::value::Value;

pub const TABLE: &[Function] = &[
    Function {
        name: "upcase",
        signatures: &["Variant[Numeric, String]", "Iterable"],
        doc: "In upper case.",
        run: |e, a| each_text(e, a, |text| text.to_uppercase()),
    },
    Function {
        name: "downcase",
        signatures: &["Variant[Numeric, String]", "Iterable"],
        doc: "In lower case.",
        run: |e, a| each_text(e, a, |text| text.to_lowercase()),
    },
    Function {
        name: "capitalize",
        signatures: &["Variant[Numeric, String]", "Iterable"],
        doc: "With its first letter in upper case and the others in lower case.",
        run: |e, a| each_text(e, a, capitalized),
    },
    Function {
        name: "camelcase",
        signatures: &["Variant[Numeric, String]", "Iterable"],
        doc: "`some_words` as `SomeWords`.",
        run: |e, a| each_text(e, a, camel),
    },
    Function {
        name: "strip",
        signatures: &["Variant[Numeric, String]", "Iterable"],
        doc: "Without white space at both ends.",
        run: |e, a| each_text(e, a, |text| text.trim_matches(is_blank).to_owned()),
    },
    Function {
        name: "lstrip",
        signatures: &["Variant[Numeric, String]", "Iterable"],
        doc: "Without white space at its beginning.",
        run: |e, a| each_text(e, a, |text| text.trim_start_matches(is_blank).to_owned()),
    },
    Function {
        name: "rstrip",
        signatures: &["Variant[Numeric, String]", "Iterable"],
        doc: "Without white space at its end.",
        run: |e, a| each_text(e, a, |text| text.trim_end_matches(is_blank).to_owned()),
    },
    Function {
        name: "chomp",
        signatures: &["Variant[Numeric, String]", "Iterable"],
        doc: "Without the line break at its end.",
        run: |e, a| each_text(e, a, chomped),
    },
    Function {
        name: "chop",
        signatures: &["Variant[Numeric, String]", "Iterable"],
        doc: "Without its last character.",
        run: |e, a| each_text(e, a, chopped),
    },
    Function {
        name: "split",
        signatures: &[
            "String, Variant[String, Regexp, Type[Regexp]]",
            "Sensitive[String], Variant[String, Regexp, Type[Regexp]]",
        ],
        doc: "The parts between the matches of a regular expression.",
        run: split,
    },
    Function {
        name: "match",
        signatures: &[
            "String, Variant[String, Regexp, Type[Pattern], Type[Regexp]]",
            "Array[String], Variant[String, Regexp, Type[Pattern], Type[Regexp]]",
        ],
        doc: "The whole match and its groups, or undef.",
        run: matched,
    },
    Function {
        name: "regsubst",
        signatures: &[
            "Variant[Array[String], String], Variant[String, Regexp, Type[Regexp]], String, Pattern[/^[GEIM]*$/], 3, 4",
            "Variant[Array[String], String], Variant[String, Regexp, Type[Regexp]], Hash, Pattern[/^[GEIM]*$/], 3, 4",
        ],
        doc: "With the first match, or with `G` every one, replaced; `\\\\1` stands for the first group.",
        run: regsubst,
    },
    Function {
        name: "sprintf",
        signatures: &["String, Any, 1, default"],
        doc: "A text with values in the places of `%s`, `%d`, `%<name>s` and so on.",
        run: sprintf,
    },
    Function {
        name: "versioncmp",
        signatures: &["String, String, Optional[Boolean], 2, 3"],
        doc: "-1, 0 or 1: which version is older.",
        run: versioncmp,
    },
    Function {
        name: "compare",
        signatures: &[
            "Numeric, Numeric",
            "String, String, Optional[Boolean], 2, 3",
            "SemVer, SemVer",
            "Timestamp, Variant[Timestamp, Numeric]",
            "Timespan, Variant[Timespan, Numeric]",
        ],
        doc: "-1, 0 or 1: which value is smaller.",
        run: compare,
    },
    Function {
        name: "shellquote",
        signatures: &["Any, 0, default"],
        doc: "The words as a shell reads them.",
        run: shellquote,
    },
];

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\0')
}

fn each_text(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments, change: fn(&str) -> String) -> Outcome {
    Ok(match arguments.value(0) {
        Value::String(text) => change(&text).into(),
        number @ (Value::Integer(_) | Value::Float(_)) => number,
        other => {
            let mut changed = Vec::new();
            for element in evaluator.elements(&other, arguments.at)? {
                changed.push(match element {
                    Value::String(text) => change(&text).into(),
                    number @ (Value::Integer(_) | Value::Float(_)) => number,
                    other => {
                        let kind = Type::of(&other).generalized();
                        return evaluator.fail(arguments.at, format!("expected strings or numbers, got {kind}"));
                    }
                });
            }
            Value::array(changed)
        }
    })
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect())
        .unwrap_or_default()
}

fn camel(text: &str) -> String {
    text.split('_').map(capitalized).collect()
}

fn chomped(text: &str) -> String {
    text.strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .or_else(|| text.strip_suffix('\r'))
        .unwrap_or(text)
        .to_owned()
}

fn chopped(text: &str) -> String {
    let shorter = text.strip_suffix("\r\n").map(str::to_owned);
    shorter.unwrap_or_else(|| text.chars().take(text.chars().count().saturating_sub(1)).collect())
}

/// A pattern that was given in one of its forms.
fn pattern(value: &Value) -> Result<std::sync::Arc<Pattern>, String> {
    match value {
        Value::Regexp(pattern) => Ok(pattern.clone()),
        Value::String(text) => Pattern::new(text),
        Value::Type(data_type) => match &**data_type {
            Type::Regexp(Some(pattern)) => Ok(pattern.clone()),
            Type::Pattern(patterns) if patterns.len() == 1 => Ok(patterns[0].clone()),
            Type::Pattern(patterns) if !patterns.is_empty() => {
                let texts: Vec<_> = patterns.iter().map(|one| format!("(?:{})", one.text)).collect();
                Pattern::new(&texts.join("|"))
            }
            _ => Pattern::new(""),
        },
        _ => Pattern::new(""),
    }
}

fn split(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let pattern = evaluator.at(arguments.at, pattern(&arguments.value(1)))?;
    let (text, is_secret) = match arguments.value(0) {
        Value::Sensitive(inner) => (inner.to_string(), true),
        text => (text.to_string(), false),
    };
    evaluator.spend(arguments.at, text.len() as u64 * 16)?;
    let mut parts: Vec<String> =
        if pattern.text.is_empty() { text.chars().map(String::from).collect() } else { split_by(&pattern, &text) };
    while parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    let parts = Value::array(parts.into_iter().map(Value::from));
    Ok(if is_secret { Value::sensitive(parts) } else { parts })
}

/// The parts with the groups of the matches between them; an empty match splits between characters.
fn split_by(pattern: &Pattern, text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut from = 0;
    for found in pattern.compiled.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        if whole.is_empty() && (whole.start() == from && from == 0 || whole.start() >= text.len()) {
            continue;
        }
        parts.push(text[from..whole.start()].to_owned());
        parts.extend(found.iter().skip(1).flatten().map(|group| group.as_str().to_owned()));
        from = whole.end();
    }
    if !text.is_empty() {
        parts.push(text[from..].to_owned());
    }
    parts
}

fn matched(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let pattern = evaluator.at(arguments.at, pattern(&arguments.value(1)))?;
    let one = |text: &Value| match pattern.compiled.captures(text.as_text().unwrap_or_default()) {
        Some(groups) => {
            Value::array(groups.iter().map(|group| group.map_or(Value::Undef, |group| group.as_str().into())))
        }
        None => Value::Undef,
    };
    Ok(match arguments.value(0) {
        Value::Array(texts) => Value::array(texts.iter().map(one)),
        text => one(&text),
    })
}

fn regsubst(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let flags = arguments.text(3).to_owned();
    let mut text = evaluator.at(arguments.at, pattern(&arguments.value(1)))?.text.clone();
    let options: String = [('I', 'i'), ('E', 'x'), ('M', 'm')]
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, o)| *o)
        .collect();
    if !options.is_empty() {
        text = format!("(?{options}:{text})");
    }
    let pattern = evaluator.at(arguments.at, Pattern::new(&text))?;
    let replacement = arguments.value(2);
    let replace = |text: &str| -> String {
        let by = |found: &regex::Captures<'_>| match &replacement {
            Value::Hash(hash) => {
                hash.get_text(found.get(0).map_or("", |whole| whole.as_str())).map(Value::to_string).unwrap_or_default()
            }
            other => expanded(other.as_text().unwrap_or_default(), found),
        };
        let limit = usize::from(!flags.contains('G'));
        pattern.compiled.replacen(text, limit, by).into_owned()
    };
    let value = match arguments.value(0) {
        Value::Array(texts) => Value::array(texts.iter().map(|one| replace(one.as_text().unwrap_or_default()).into())),
        text => replace(text.as_text().unwrap_or_default()).into(),
    };
    evaluator.account(arguments.at, value)
}

/// A replacement with `\1`, `\0` and `\k<name>` for groups of the match.
fn expanded(replacement: &str, found: &regex::Captures<'_>) -> String {
    let mut text = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                chars.next();
                let group = digit.to_digit(10).unwrap_or(0) as usize;
                text.push_str(found.get(group).map_or("", |group| group.as_str()));
            }
            ('\\', Some('k')) => {
                let name: String = chars.by_ref().skip(2).take_while(|c| *c != '>').collect();
                text.push_str(found.name(&name).map_or("", |group| group.as_str()));
            }
            ('\\', Some('&')) => {
                chars.next();
                text.push_str(found.get(0).map_or("", |group| group.as_str()));
            }
            ('\\', Some('\\')) => {
                chars.next();
                text.push('\\');
            }
            _ => text.push(c),
        }
    }
    text
}

fn sprintf(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let formatted = super::format::format(arguments.text(0), &arguments.values[1..]);
    let text = evaluator.at(arguments.at, formatted)?;
    evaluator.account(arguments.at, text.into())
}

fn versioncmp(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let clean = |text: &str| -> String {
        if !matches!(arguments.get(2), Some(Value::Boolean(true))) {
            return text.to_owned();
        }
        // Zeros at the end of the numbers say nothing.
        let (number, rest) = text.split_once('-').map_or((text, None), |(number, rest)| (number, Some(rest)));
        let number = number.trim_end_matches(".0");
        rest.map_or_else(|| number.to_owned(), |rest| format!("{number}-{rest}"))
    };
    Ok(Value::Integer(version_order(&clean(arguments.text(0)), &clean(arguments.text(1))) as i64))
}

/// Numbers by value, letters by their order, and what has a dot or dash after what ends there.
fn version_order(a: &str, b: &str) -> std::cmp::Ordering {
    let parts = |text: &str| -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        for c in text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')) {
            let joins = |last: &String| {
                let digits = |text: &str| text.ends_with(|c: char| c.is_ascii_digit());
                c.is_ascii_alphanumeric()
                    && last.ends_with(|last: char| last.is_ascii_alphanumeric())
                    && digits(last) == c.is_ascii_digit()
            };
            match parts.last_mut().filter(|last| joins(last)) {
                Some(last) => last.push(c),
                None => parts.push(c.to_string()),
            }
        }
        parts
    };
    let (first, second) = (parts(a), parts(b));
    for (a, b) in first.iter().zip(&second) {
        if a == b {
            continue;
        }
        for mark in ["-", "."] {
            if a == mark {
                return std::cmp::Ordering::Less;
            }
            if b == mark {
                return std::cmp::Ordering::Greater;
            }
        }
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let order = if is_number(a) && is_number(b) && !a.starts_with('0') && !b.starts_with('0') {
            a.len().cmp(&b.len()).then(a.cmp(b))
        } else {
            a.to_uppercase().cmp(&b.to_uppercase())
        };
        if order.is_ne() {
            return order;
        }
    }
    a.cmp(b)
}

fn compare(evaluator: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let order = match (arguments.get(0), arguments.get(1), arguments.get(2)) {
        (Some(Value::String(a)), Some(Value::String(b)), Some(Value::Boolean(false))) => Some(a.cmp(b)),
        (Some(a), Some(b), _) => a.order(b),
        _ => None,
    };
    match order {
        Some(order) => Ok(Value::Integer(order as i64)),
        None => evaluator.fail(arguments.at, "the two values cannot be compared"),
    }
}

fn shellquote(_: &mut Evaluator<'_>, arguments: &mut Arguments) -> Outcome {
    let quoted = |word: &Value| {
        let word = word.to_string();
        let is_safe = |c: char| c.is_ascii_alphanumeric() || "@%_+=:,./-".contains(c);
        if !word.is_empty() && word.chars().all(is_safe) {
            word
        } else if !word.contains(['"', '$', '`', '\\', '!']) {
            format!("\"{word}\"")
        } else if !word.contains('\'') {
            format!("'{word}'")
        } else {
            let escape = |c: char| if "\"$`\\".contains(c) { vec!['\\', c] } else { vec![c] };
            format!("\"{}\"", word.chars().flat_map(escape).collect::<String>())
        }
    };
    let words = arguments.values.iter().flat_map(|value| match value {
        Value::Array(items) => items.to_vec(),
        other => vec![other.clone()],
    });
    Ok(words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ").into())
}
