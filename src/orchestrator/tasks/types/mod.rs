//! Puppet data types as far as values in JSON can have them: parsing of type expressions, aliases included, and the
//! check of a value with messages in Puppet's words (puppet-specifications, language/types_values_variables).

mod check;
mod lexer;
mod parser;

use std::fmt;

use regex::Regex;

pub use parser::{Resolver, TypeError, parse};

/// A range with inclusive ends; `None` is no end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range<T> {
    /// Smallest.
    pub min: Option<T>,
    /// Largest.
    pub max: Option<T>,
}

impl<T: PartialOrd + Copy> Range<T> {
    /// Everything.
    pub const ALL: Self = Self { min: None, max: None };

    /// Whether `value` is in the range.
    pub fn contains(&self, value: T) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    fn is_all(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }
}

/// A range of sizes or lengths.
pub type Size = Range<i64>;

/// A data type.
#[derive(Debug, Clone)]
pub enum Type {
    /// Every value.
    Any,
    /// `null` only.
    Undef,
    /// Every value that JSON has.
    Data,
    /// Strings, numbers, booleans.
    Scalar(&'static str),
    /// Integers and floats.
    Numeric,
    /// A boolean, perhaps a certain one.
    Boolean(Option<bool>),
    /// An integer.
    Integer(Range<i64>),
    /// A float.
    Float(Range<f64>),
    /// A string of so many characters.
    String(Size),
    /// One of these strings; `true` ignores case.
    Enum(Vec<String>, bool),
    /// A string that one of the patterns matches.
    Pattern(Vec<(String, Regex)>),
    /// An array, or a hash.
    Collection(Size),
    /// An array.
    Array(Box<Type>, Size),
    /// A hash.
    Hash(Box<Type>, Box<Type>, Size),
    /// An array with a type per position; the last one repeats if the size allows.
    Tuple(Vec<Type>, Option<Size>),
    /// A hash with known keys.
    Struct(Vec<Member>),
    /// The type or `null`.
    Optional(Box<Type>),
    /// The type but not `null`.
    NotUndef(Box<Type>),
    /// Any of the types.
    Variant(Vec<Type>),
    /// The type; its values are secret.
    Sensitive(Box<Type>),
    /// A type of which JSON has no values, by name.
    Impossible(String),
}

/// A key of a [`Type::Struct`].
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub key: String,
    /// Whether it may be missing.
    pub is_optional: bool,
    /// Of its value.
    pub value: Type,
}

impl Type {
    /// Whether `null`, or nothing at all, is a value of the type.
    pub fn accepts_undef(&self) -> bool {
        self.accepts(&serde_json::Value::Null)
    }

    /// Whether values of the type, or parts of them, are secret.
    pub fn is_sensitive(&self) -> bool {
        match self {
            Self::Sensitive(_) => true,
            Self::Optional(inner) | Self::NotUndef(inner) | Self::Array(inner, _) => inner.is_sensitive(),
            Self::Hash(key, value, _) => key.is_sensitive() || value.is_sensitive(),
            Self::Variant(types) | Self::Tuple(types, _) => types.iter().any(Self::is_sensitive),
            Self::Struct(members) => members.iter().any(|member| member.value.is_sensitive()),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Undef => f.write_str("Undef"),
            Self::Data => f.write_str("Data"),
            Self::Scalar(name) => f.write_str(name),
            Self::Numeric => f.write_str("Numeric"),
            Self::Boolean(None) => f.write_str("Boolean"),
            Self::Boolean(Some(value)) => write!(f, "Boolean[{value}]"),
            Self::Integer(range) => named(f, "Integer", &ends(range)),
            Self::Float(range) => named(f, "Float", &ends(range)),
            Self::String(size) => named(f, "String", &ends(size)),
            Self::Enum(words, _) => named(f, "Enum", &words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>()),
            Self::Pattern(patterns) => {
                named(f, "Pattern", &patterns.iter().map(|(text, _)| format!("/{text}/")).collect::<Vec<_>>())
            }
            Self::Collection(size) => named(f, "Collection", &ends(size)),
            Self::Array(item, size) => named(f, "Array", &with_size(vec![item.to_string()], size)),
            Self::Hash(key, value, size) => {
                named(f, "Hash", &with_size(vec![key.to_string(), value.to_string()], size))
            }
            Self::Tuple(types, size) => named(f, "Tuple", &with_size(list(types), size.as_ref().unwrap_or(&Size::ALL))),
            Self::Struct(members) => {
                let members: Vec<_> =
                    members.iter().map(|member| format!("'{}' => {}", member.key, member.value)).collect();
                write!(f, "Struct[{{{}}}]", members.join(", "))
            }
            Self::Optional(inner) => write!(f, "Optional[{inner}]"),
            Self::NotUndef(inner) => write!(f, "NotUndef[{inner}]"),
            Self::Variant(types) => named(f, "Variant", &list(types)),
            Self::Sensitive(inner) => write!(f, "Sensitive[{inner}]"),
            Self::Impossible(name) => f.write_str(name),
        }
    }
}

fn named(f: &mut fmt::Formatter<'_>, name: &str, arguments: &[String]) -> fmt::Result {
    f.write_str(name)?;
    if arguments.is_empty() { Ok(()) } else { write!(f, "[{}]", arguments.join(", ")) }
}

fn list(types: &[Type]) -> Vec<String> {
    types.iter().map(Type::to_string).collect()
}

fn ends<T: fmt::Display + PartialOrd + Copy>(range: &Range<T>) -> Vec<String> {
    let end = |end: Option<T>| end.map_or_else(|| "default".to_owned(), |end| end.to_string());
    match (range.min, range.max) {
        (None, None) => vec![],
        (min, None) => vec![end(min)],
        (min, max) => vec![end(min), end(max)],
    }
}

fn with_size(mut arguments: Vec<String>, size: &Size) -> Vec<String> {
    if !size.is_all() {
        arguments.extend(ends(size));
    }
    arguments
}
