//! Types as text, the way Puppet writes them: what is understood is left out.

use std::fmt;

use super::{Member, Range, Signature, Size, Type};
use crate::puppet_lang::value::{format_span, format_time, quoted};

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Undef => f.write_str("Undef"),
            Self::Default => f.write_str("Default"),
            Self::Data => f.write_str("Data"),
            Self::RichData => f.write_str("RichData"),
            Self::Scalar => f.write_str("Scalar"),
            Self::ScalarData => f.write_str("ScalarData"),
            Self::Numeric => f.write_str("Numeric"),
            Self::Boolean(None) => f.write_str("Boolean"),
            Self::Boolean(Some(value)) => write!(f, "Boolean[{value}]"),
            Self::Integer(range) => named(f, "Integer", ends(range, i64::to_string)),
            Self::Float(range) => named(f, "Float", ends(range, |value| format!("{value:?}"))),
            Self::String(size) => named(f, "String", ends(size, i64::to_string)),
            // Puppet shows what it knows of a string only where it must.
            Self::Text(_) => f.write_str("String"),
            Self::Enum(words, ignores_case) => named(f, "Enum", enumeration(words, *ignores_case)),
            Self::Pattern(patterns) => {
                named(f, "Pattern", patterns.iter().map(|pattern| regex(&pattern.text)).collect())
            }
            Self::Regexp(None) => f.write_str("Regexp"),
            Self::Regexp(Some(pattern)) => write!(f, "Regexp[{}]", regex(&pattern.text)),
            Self::Collection(size) => named(f, "Collection", ends(size, i64::to_string)),
            Self::Iterable(item) => with_one(f, "Iterable", item),
            Self::Iterator(item) => with_one(f, "Iterator", item),
            Self::Array(item, size) if item.is_any() || size.max == Some(0) => {
                named(f, "Array", sized(item, size, vec![]))
            }
            Self::Array(item, size) => named(f, "Array", with_size(vec![item.to_string()], size)),
            Self::Hash(key, value, size) if (key.is_any() && value.is_any()) || size.max == Some(0) => {
                named(f, "Hash", sized(key, size, if size.max == Some(0) { vec![] } else { vec![value.to_string()] }))
            }
            Self::Hash(key, value, size) => named(f, "Hash", with_size(vec![key.to_string(), value.to_string()], size)),
            Self::Tuple(types, size) => named(f, "Tuple", with_size(list(types), size.as_ref().unwrap_or(&Size::ALL))),
            Self::Struct(members) if members.is_empty() => f.write_str("Struct"),
            Self::Struct(members) => {
                write!(f, "Struct[{{{}}}]", members.iter().map(member).collect::<Vec<_>>().join(", "))
            }
            Self::Optional(inner) if matches!(**inner, Self::Undef) => f.write_str("Optional"),
            Self::Optional(inner) => with_one(f, "Optional", inner),
            Self::NotUndef(inner) => with_one(f, "NotUndef", inner),
            Self::Variant(types) => named(f, "Variant", list(types)),
            Self::Sensitive(inner) => with_one(f, "Sensitive", inner),
            Self::Type(inner) => with_one(f, "Type", inner),
            Self::Callable(None) => f.write_str("Callable"),
            Self::Callable(Some(signature)) => write_signature(f, signature),
            Self::Timestamp(range) => named(f, "Timestamp", ends_once(range, |time| quoted(&format_time(*time)))),
            Self::Timespan(range) => named(f, "Timespan", ends_once(range, |span| quoted(&format_span(*span)))),
            Self::SemVer(ranges) => named(f, "SemVer", ranges.iter().map(|range| quoted(&range.to_string())).collect()),
            Self::SemVerRange => f.write_str("SemVerRange"),
            Self::Uri => f.write_str("URI"),
            Self::Binary => f.write_str("Binary"),
            Self::Init(inner) => with_one(f, "Init", inner),
            Self::Object(class, None) => f.write_str(class),
            Self::Object(class, Some(kind)) => with_one(f, class, kind),
            Self::Impossible(text) => f.write_str(text),
            Self::Alias(alias) => f.write_str(&alias.name),
            Self::Within(alias) => {
                f.write_str(&alias.upgrade().map_or_else(|| "Any".into(), |alias| alias.name.clone()))
            }
        }
    }
}

fn named(f: &mut fmt::Formatter<'_>, name: &str, arguments: Vec<String>) -> fmt::Result {
    f.write_str(name)?;
    if arguments.is_empty() { Ok(()) } else { write!(f, "[{}]", arguments.join(", ")) }
}

fn with_one(f: &mut fmt::Formatter<'_>, name: &str, inner: &Type) -> fmt::Result {
    match inner {
        Type::Any => f.write_str(name),
        Type::Text(text) => write!(f, "{name}[{}]", quoted(text)),
        inner => write!(f, "{name}[{inner}]"),
    }
}

/// What an array or hash of anything, or an empty one, shows: its size, and what it would hold if it has one.
fn sized(first: &Type, size: &Size, rest: Vec<String>) -> Vec<String> {
    if size.is_all() {
        return vec![];
    }
    let mut arguments = if size.max == Some(0) { vec![] } else { vec![first.to_string()] };
    arguments.extend(rest);
    with_size(arguments, size)
}

fn list(types: &[Type]) -> Vec<String> {
    types.iter().map(Type::to_string).collect()
}

fn ends<T>(range: &Range<T>, text: fn(&T) -> String) -> Vec<String> {
    let end = |end: &Option<T>| end.as_ref().map_or_else(|| "default".to_owned(), text);
    match (&range.min, &range.max) {
        (None, None) => vec![],
        (_, None) => vec![end(&range.min)],
        _ => vec![end(&range.min), end(&range.max)],
    }
}

/// A range of one value shows it once.
fn ends_once<T: PartialEq>(range: &Range<T>, text: fn(&T) -> String) -> Vec<String> {
    let mut ends = ends(range, text);
    if range.min.is_some() && range.min == range.max {
        ends.pop();
    }
    ends
}

fn with_size(mut arguments: Vec<String>, size: &Size) -> Vec<String> {
    arguments.extend(ends(size, i64::to_string));
    arguments
}

fn enumeration(words: &[std::sync::Arc<str>], ignores_case: bool) -> Vec<String> {
    let mut arguments: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    arguments.extend(ignores_case.then(|| "true".to_owned()));
    arguments
}

fn regex(text: &str) -> String {
    format!("/{}/", text.replace('/', "\\/"))
}

/// A key says whether it may be missing only if its value's type says the opposite.
fn member(member: &Member) -> String {
    let key = quoted(&member.key);
    let key = match (member.is_optional, member.value.accepts_undef()) {
        (true, false) => format!("Optional[{key}]"),
        (false, true) if !member.value.is_any() => format!("NotUndef[{key}]"),
        _ => key,
    };
    format!("{key} => {}", member.value)
}

fn write_signature(f: &mut fmt::Formatter<'_>, signature: &Signature) -> fmt::Result {
    let mut arguments = list(&signature.parameters);
    match signature.size {
        Some(size) => arguments.extend(ends(&size, i64::to_string)),
        None if arguments.is_empty() => arguments.extend(["0".to_owned(), "0".to_owned()]),
        None => {}
    }
    arguments.extend(signature.block.as_ref().map(Type::to_string));
    match &signature.returns {
        Some(returns) => write!(f, "Callable[[{}], {returns}]", arguments.join(", ")),
        None => write!(f, "Callable[{}]", arguments.join(", ")),
    }
}
