//! From a type's name and its arguments to the type.

use std::sync::Arc;

use super::mismatch::{article, kind_of};
use super::{Alias, CLASSES, Member, Range, Signature, Size, Type};
use crate::puppet_lang::pattern::Pattern;
use crate::puppet_lang::value::{SemVerRange, Value, parse_span, parse_time};

type Built<T> = Result<T, String>;

/// A built-in type with its arguments, none if it stands alone; `None` if there is no such type.
pub fn build(name: &str, arguments: &[Value]) -> Option<Built<Type>> {
    plain(name, arguments).or_else(|| numbers_and_texts(name, arguments)).or_else(|| others(name, arguments))
}

fn plain(name: &str, arguments: &[Value]) -> Option<Built<Type>> {
    let built = match name {
        "Any" => Type::Any,
        "Undef" => Type::Undef,
        "Default" => Type::Default,
        "Data" => Type::Data,
        "RichData" => Type::RichData,
        "Scalar" => Type::Scalar,
        "ScalarData" => Type::ScalarData,
        "Numeric" => Type::Numeric,
        "SemVerRange" => Type::SemVerRange,
        "URI" => Type::Uri,
        "Binary" => Type::Binary,
        "TargetSpec" | "Boltlib::TargetSpec" => target_spec(name),
        _ if name != "Error" && CLASSES.contains(&name) => Type::Object(name.into(), None),
        _ => return None,
    };
    Some(if arguments.is_empty() { Ok(built) } else { Err(format!("{name} takes no arguments")) })
}

/// One node by its name, a target, or many of them.
fn target_spec(name: &str) -> Type {
    let alias = Alias::new(name);
    let many = Type::Array(Arc::new(Type::Within(Arc::downgrade(&alias))), Size::ALL);
    let name = Type::String(Size { min: Some(1), max: None });
    // Nobody else has the alias yet, so it has no body.
    drop(alias.body.set(Type::Variant(vec![name, Type::Object("Target".into(), None), many])));
    Type::Alias(alias)
}

fn numbers_and_texts(name: &str, arguments: &[Value]) -> Option<Built<Type>> {
    Some(match (name, arguments) {
        ("Boolean", []) => Ok(Type::Boolean(None)),
        ("Boolean", [Value::Boolean(value)]) => Ok(Type::Boolean(Some(*value))),
        ("Boolean", _) => Err("Boolean takes true or false".to_owned()),
        ("Integer", _) => integers(name, arguments).map(Type::Integer),
        ("Float", _) => floats(arguments).map(Type::Float),
        ("String", [Value::String(text)]) => Ok(Type::Text(text.clone())),
        ("String", _) => size(name, arguments).map(Type::String),
        ("Enum", _) => enumeration(arguments),
        ("Pattern", _) => arguments.iter().map(|one| pattern(name, one)).collect::<Built<_>>().map(Type::Pattern),
        ("Regexp", []) => Ok(Type::Regexp(None)),
        ("Regexp", [one]) => pattern(name, one).map(|pattern| Type::Regexp(Some(pattern))),
        ("Collection", _) => size(name, arguments).map(Type::Collection),
        ("Timestamp", _) => times(arguments, parse_time).map(Type::Timestamp),
        ("Timespan", _) => times(arguments, parse_span).map(Type::Timespan),
        ("SemVer", _) => arguments.iter().map(version_range).collect::<Built<_>>().map(Type::SemVer),
        _ => return None,
    })
}

fn others(name: &str, arguments: &[Value]) -> Option<Built<Type>> {
    Some(match name {
        "Array" => types_and_size(name, arguments, 1).map(|(types, size)| {
            Type::Array(Arc::new(types.into_iter().next().unwrap_or(Type::Any)), size.unwrap_or(Size::ALL))
        }),
        "Hash" => hash(arguments),
        "Tuple" => types_and_size(name, arguments, usize::MAX).map(|(types, size)| Type::Tuple(types, size)),
        "Struct" => structure(arguments),
        "Variant" => variant(arguments),
        // Alone it has the one value that every Optional has.
        "Optional" if arguments.is_empty() => Ok(Type::Optional(Arc::new(Type::Undef))),
        "Optional" => one(name, arguments).map(|inner| Type::Optional(Arc::new(inner))),
        "NotUndef" => one(name, arguments).map(|inner| Type::NotUndef(Arc::new(inner))),
        "Sensitive" => one(name, arguments).map(|inner| Type::Sensitive(Arc::new(inner))),
        "Type" => one(name, arguments).map(|inner| Type::Type(Arc::new(inner))),
        "Iterable" => one(name, arguments).map(|inner| Type::Iterable(Arc::new(inner))),
        "Iterator" => one(name, arguments).map(|inner| Type::Iterator(Arc::new(inner))),
        "Init" => one(name, arguments.get(..1).unwrap_or_default()).map(|inner| Type::Init(Arc::new(inner))),
        "Callable" => callable(arguments),
        "Error" => error(arguments),
        "Class" | "Resource" | "CatalogEntry" | "Runtime" | "Object" | "TypeSet" | "Deferred" | "TypeAlias"
        | "TypeReference" => Ok(Type::Impossible(name.into())),
        _ => return None,
    })
}

fn integers(name: &str, arguments: &[Value]) -> Built<Range<i64>> {
    let end = |argument: &Value| match argument {
        Value::Integer(value) => Ok(Some(*value)),
        Value::Default => Ok(None),
        other => Err(format!(
            "the range of {name} takes integers or `default`, not {} {}",
            article(kind_of(other)),
            kind_of(other)
        )),
    };
    let range = match arguments {
        [] => Range::ALL,
        [min] => Range { min: end(min)?, max: None },
        [min, max] => Range { min: end(min)?, max: end(max)? },
        _ => return Err(format!("the range of {name} has at most two ends")),
    };
    ordered(name, range)
}

fn ordered<T: PartialOrd>(name: &str, range: Range<T>) -> Built<Range<T>> {
    match (&range.min, &range.max) {
        (Some(min), Some(max)) if min > max => Err(format!("the range of {name} ends before it begins")),
        _ => Ok(range),
    }
}

fn size(name: &str, arguments: &[Value]) -> Built<Size> {
    if let [Value::Type(ty)] = arguments
        && let Type::Integer(range) = &**ty
    {
        return size_ends(name, *range);
    }
    size_ends(name, integers(name, arguments)?)
}

fn size_ends(name: &str, size: Size) -> Built<Size> {
    match (size.min, size.max) {
        (Some(end), _) | (_, Some(end)) if end < 0 => Err(format!("the size of {name} cannot be below 0")),
        _ => Ok(size),
    }
}

fn floats(arguments: &[Value]) -> Built<Range<f64>> {
    let end = |argument: &Value| match argument {
        Value::Float(value) => Ok(Some(*value)),
        // Exact up to 2^53, and nobody writes larger ends.
        Value::Integer(value) => Ok(Some(*value as f64)),
        Value::Default => Ok(None),
        _ => Err("the range of Float takes numbers or `default`".to_owned()),
    };
    let range = match arguments {
        [] => Range::ALL,
        [min] => Range { min: end(min)?, max: None },
        [min, max] => Range { min: end(min)?, max: end(max)? },
        _ => return Err("the range of Float has at most two ends".to_owned()),
    };
    ordered("Float", range)
}

/// A range of times; one end alone is both.
fn times(arguments: &[Value], read: fn(&str) -> Option<i128>) -> Built<Range<i128>> {
    let end = |argument: &Value| match argument {
        Value::Default => Ok(None),
        Value::Timestamp(time) | Value::Timespan(time) => Ok(Some(*time)),
        Value::Integer(seconds) => Ok(Some(i128::from(*seconds) * 1_000_000_000)),
        Value::Float(seconds) => Ok(Some((seconds * 1e9) as i128)),
        Value::String(text) => {
            read(text).map(Some).ok_or_else(|| format!("`{text}` is no time in one of the formats that are known"))
        }
        other => {
            Err(format!("expected a time as the end of a range, not {} {}", article(kind_of(other)), kind_of(other)))
        }
    };
    match arguments {
        [] => Ok(Range::ALL),
        [only] => end(only).map(|end| Range { min: end, max: end }),
        [min, max] => ordered("times", Range { min: end(min)?, max: end(max)? }),
        _ => Err("a range of times has at most two ends".to_owned()),
    }
}

fn enumeration(arguments: &[Value]) -> Built<Type> {
    let (words, ignores_case) = match arguments {
        [words @ .., Value::Boolean(ignores_case)] => (words, *ignores_case),
        words => (words, false),
    };
    let words = words.iter().flat_map(|one| match one {
        Value::Array(items) => items.to_vec(),
        other => vec![other.clone()],
    });
    let word = |word: Value| match word {
        Value::String(text) => Ok(text),
        other => Err(format!("Enum takes strings, not {} {}", article(kind_of(&other)), kind_of(&other))),
    };
    Ok(Type::Enum(words.map(word).collect::<Built<_>>()?, ignores_case))
}

fn pattern(name: &str, argument: &Value) -> Built<Arc<Pattern>> {
    match argument {
        Value::Regexp(pattern) => Ok(pattern.clone()),
        Value::String(text) => Pattern::new(text),
        Value::Type(inner) => match &**inner {
            Type::Regexp(Some(pattern)) => Ok(pattern.clone()),
            Type::Pattern(patterns) if patterns.len() == 1 => Ok(patterns[0].clone()),
            _ => Err(format!("{name} takes regular expressions")),
        },
        _ => Err(format!("{name} takes regular expressions")),
    }
}

fn version_range(argument: &Value) -> Built<Arc<SemVerRange>> {
    match argument {
        Value::SemVerRange(range) => Ok(range.clone()),
        Value::String(text) => match SemVerRange::parse(text) {
            Some(range) => Ok(Arc::new(range)),
            None => Err(format!("`{text}` is no range of versions")),
        },
        _ => Err("SemVer takes ranges of versions".to_owned()),
    }
}

/// Types as they are; a string stands for the type of that string.
fn as_type(name: &str, argument: &Value) -> Built<Type> {
    match argument {
        Value::Type(inner) => Ok((**inner).clone()),
        Value::String(text) => Ok(Type::Text(text.clone())),
        Value::Undef => Ok(Type::Undef),
        other => Err(format!("{name} takes types, not {} {}", article(kind_of(other)), kind_of(other))),
    }
}

fn one(name: &str, arguments: &[Value]) -> Built<Type> {
    match arguments {
        [] => Ok(Type::Any),
        [only] => as_type(name, only),
        _ => Err(format!("{name} takes one type")),
    }
}

/// Leading types, at most `max`, then the ends of a size.
fn types_and_size(name: &str, arguments: &[Value], max: usize) -> Built<(Vec<Type>, Option<Size>)> {
    let count = arguments.iter().take_while(|one| matches!(one, Value::Type(_) | Value::String(_))).count();
    let (types, sizes) = arguments.split_at(count);
    if count > max || sizes.len() > 2 {
        return Err(format!("{name} takes types, then a smallest and a largest size"));
    }
    let types = types.iter().map(|one| as_type(name, one)).collect::<Built<_>>()?;
    let size = if sizes.is_empty() { None } else { Some(size_ends(name, integers(name, sizes)?)?) };
    Ok((types, size))
}

fn hash(arguments: &[Value]) -> Built<Type> {
    let (mut types, size) = types_and_size("Hash", arguments, 2)?;
    let size = size.unwrap_or(Size::ALL);
    match (types.pop(), types.pop()) {
        (Some(value), Some(key)) => Ok(Type::Hash(Arc::new(key), Arc::new(value), size)),
        (None, _) => Ok(Type::Hash(Arc::new(Type::Any), Arc::new(Type::Any), size)),
        _ => Err("Hash takes a type of keys and a type of values".to_owned()),
    }
}

fn variant(arguments: &[Value]) -> Built<Type> {
    let mut types = arguments.iter().map(|one| as_type("Variant", one)).collect::<Built<Vec<_>>>()?;
    Ok(if types.len() == 1 { types.swap_remove(0) } else { Type::Variant(types) })
}

fn structure(arguments: &[Value]) -> Built<Type> {
    let hash = match arguments {
        [] => return Ok(Type::Struct(vec![])),
        [Value::Hash(hash)] => hash,
        _ => return Err("Struct takes one hash of keys and types".to_owned()),
    };
    let mut members: Vec<Member> = Vec::with_capacity(hash.len());
    for (key, value) in hash.iter() {
        let value = as_type("Struct", value)?;
        let (key, marker) = member_key(key)?;
        // Without a marker, a key whose value may be undef may also be missing.
        members.push(Member { key, is_optional: marker.unwrap_or_else(|| value.accepts_undef()), value });
    }
    Ok(Type::Struct(members))
}

/// A key with what is known of its being optional.
fn member_key(key: &Value) -> Built<(Arc<str>, Option<bool>)> {
    let text = |inner: &Type| match inner {
        Type::Text(text) => Some(text.clone()),
        Type::Enum(words, false) if words.len() == 1 => Some(words[0].clone()),
        _ => None,
    };
    let found = match key {
        Value::String(text) => Some((text.clone(), None)),
        Value::Type(marked) => match &**marked {
            Type::Optional(inner) => text(inner).map(|text| (text, Some(true))),
            Type::NotUndef(inner) => text(inner).map(|text| (text, Some(false))),
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| "a key of a Struct must be a string, Optional['key'] or NotUndef['key']".to_owned())
}

fn callable(arguments: &[Value]) -> Built<Type> {
    if arguments.is_empty() {
        return Ok(Type::Callable(None));
    }
    let (arguments, returns) = match arguments {
        [Value::Array(parameters), returns] => (parameters.to_vec(), Some(as_type("Callable", returns)?)),
        [Value::Array(parameters)] => (parameters.to_vec(), None),
        _ => (arguments.to_vec(), None),
    };
    let mut arguments = arguments.as_slice();
    let mut block = None;
    if let [rest @ .., Value::Type(last)] = arguments
        && is_block(last)
    {
        block = Some((**last).clone());
        arguments = rest;
    }
    let (parameters, size) = types_and_size("Callable", arguments, usize::MAX)?;
    Ok(Type::Callable(Some(Arc::new(Signature { parameters, size, block, returns }))))
}

fn is_block(last: &Type) -> bool {
    match last {
        Type::Callable(_) => true,
        Type::Optional(inner) => matches!(**inner, Type::Callable(_)),
        _ => false,
    }
}

fn error(arguments: &[Value]) -> Built<Type> {
    let kind = match arguments {
        [] => None,
        [Value::Regexp(pattern), ..] => Some(Type::Pattern(vec![pattern.clone()])),
        [Value::Default, ..] => None,
        [kind, ..] => Some(as_type("Error", kind)?),
    };
    Ok(Type::Object("Error".into(), kind.map(Arc::new)))
}

impl Type {
    /// How deep types are within each other, and how many there are; what aliases stand for counts once by itself.
    pub fn measure(&self) -> (usize, usize) {
        let inner = |types: &mut dyn Iterator<Item = &Self>| {
            types.map(Self::measure).fold((1, 1), |(depth, nodes), (d, n)| (depth.max(d + 1), nodes + n))
        };
        match self {
            Self::Optional(one)
            | Self::NotUndef(one)
            | Self::Array(one, _)
            | Self::Sensitive(one)
            | Self::Type(one) => inner(&mut std::iter::once(&**one)),
            Self::Iterable(one) | Self::Iterator(one) | Self::Init(one) => inner(&mut std::iter::once(&**one)),
            Self::Hash(key, value, _) => inner(&mut [&**key, &**value].into_iter()),
            Self::Tuple(types, _) | Self::Variant(types) => inner(&mut types.iter()),
            Self::Struct(members) => inner(&mut members.iter().map(|member| &member.value)),
            Self::Callable(Some(signature)) => {
                inner(&mut signature.parameters.iter().chain(&signature.block).chain(&signature.returns))
            }
            Self::Enum(words, _) => (1, words.len()),
            Self::Pattern(patterns) => (1, 1 + patterns.len() * crate::limits::TYPE_PATTERN_NODES),
            _ => (1, 1),
        }
    }
}
