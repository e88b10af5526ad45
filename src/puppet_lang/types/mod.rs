//! Puppet data types (Puppet language specification, "The Puppet Type System"): what they are, how they are written, which
//! values are theirs, which of them lie within each other, and what is wrong with a value in words.

mod aliases;
mod assign;
mod build;
mod check;
mod infer;
mod judge;
mod mismatch;
mod parse;
mod print;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock, Weak};

pub(super) use aliases::Aliases;
pub(super) use build::build;
pub use parse::{Resolver, TypeError, parse};

use super::pattern::Pattern;
use super::value::{SemVerRange, Value};

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

    /// One value.
    pub fn only(value: T) -> Self {
        Self { min: Some(value), max: Some(value) }
    }

    /// Whether `value` is in the range.
    pub fn contains(&self, value: T) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    /// Whether the whole of `other` is in the range.
    pub fn includes(&self, other: &Self) -> bool {
        let min = self.min.is_none_or(|min| other.min.is_some_and(|other| other >= min));
        min && self.max.is_none_or(|max| other.max.is_some_and(|other| other <= max))
    }

    fn is_all(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }
}

/// A range of sizes or lengths.
pub type Size = Range<i64>;

impl Size {
    /// Whether so many are in the range.
    pub fn holds(&self, count: usize) -> bool {
        self.contains(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Whether all sizes of `other`, none of which is below nothing, are in the range.
    fn includes_sizes(&self, other: &Self) -> bool {
        let floor = |size: &Self| Self { min: Some(size.min.unwrap_or(0).max(0)), max: size.max };
        floor(self).includes(&floor(other))
    }
}

/// A data type.
#[derive(Debug, Clone)]
pub enum Type {
    /// Every value.
    Any,
    /// `undef` only.
    Undef,
    /// `default` only.
    Default,
    /// Every value that JSON has.
    Data,
    /// Every value that can be stored.
    RichData,
    /// Strings, numbers, booleans, regular expressions, times and versions.
    Scalar,
    /// Strings, numbers, booleans.
    ScalarData,
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
    /// This string: what is inferred of a string.
    Text(Arc<str>),
    /// One of these strings; `true` ignores case.
    Enum(Vec<Arc<str>>, bool),
    /// A string that one of the patterns matches.
    Pattern(Vec<Arc<Pattern>>),
    /// A regular expression, perhaps a certain one.
    Regexp(Option<Arc<Pattern>>),
    /// An array, or a hash.
    Collection(Size),
    /// What has elements.
    Iterable(Arc<Type>),
    /// What yields elements one by one.
    Iterator(Arc<Type>),
    /// An array.
    Array(Arc<Type>, Size),
    /// A hash.
    Hash(Arc<Type>, Arc<Type>, Size),
    /// An array with a type per position; the last one repeats if the size allows.
    Tuple(Vec<Type>, Option<Size>),
    /// A hash with known keys.
    Struct(Vec<Member>),
    /// The type or `undef`.
    Optional(Arc<Type>),
    /// The type but not `undef`.
    NotUndef(Arc<Type>),
    /// Any of the types.
    Variant(Vec<Type>),
    /// The type; its values are secret.
    Sensitive(Arc<Type>),
    /// A type within the type.
    Type(Arc<Type>),
    /// A block, or a function.
    Callable(Option<Arc<Signature>>),
    /// A point in time.
    Timestamp(Range<i128>),
    /// A length of time.
    Timespan(Range<i128>),
    /// A version in one of the ranges; in any if there is none.
    SemVer(Vec<Arc<SemVerRange>>),
    /// A range of versions.
    SemVerRange,
    /// A URI.
    Uri,
    /// Bytes.
    Binary,
    /// What the arguments of `new` for the type are.
    Init(Arc<Type>),
    /// An object of this class; for an error perhaps with the type of its kind.
    Object(Arc<str>, Option<Arc<Type>>),
    /// A type of which there are no values here, by its text.
    Impossible(Arc<str>),
    /// A type with a name of its own.
    Alias(Arc<Alias>),
    /// The same, within its own definition.
    Within(Weak<Alias>),
}

/// A key of a [`Type::Struct`].
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub key: Arc<str>,
    /// Whether it may be missing.
    pub is_optional: bool,
    /// Of its value.
    pub value: Type,
}

/// What a block or a function takes.
#[derive(Debug)]
pub struct Signature {
    /// Of its parameters; the last one repeats if the size allows.
    pub parameters: Vec<Type>,
    /// How many arguments.
    pub size: Option<Size>,
    /// The block that it takes, perhaps an optional one.
    pub block: Option<Type>,
    /// What it returns.
    pub returns: Option<Type>,
}

/// A type with a name.
#[derive(Debug)]
pub struct Alias {
    /// Its name.
    pub name: Arc<str>,
    /// What it stands for; set once, after which nothing changes.
    pub(super) body: OnceLock<Type>,
}

impl Alias {
    pub(super) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.into(), body: OnceLock::new() })
    }
}

/// Classes of objects that plans know, with what each is derived from.
const CLASSES: &[&str] = &[
    "Target",
    "Result",
    "ResultSet",
    "ApplyResult",
    "Error",
    "ResourceInstance",
    "Future",
    "PlanResult",
    "ContainerResult",
];

impl Type {
    /// An array of anything.
    pub fn any_array() -> Self {
        Self::Array(Arc::new(Self::Any), Size::ALL)
    }

    /// A hash of anything.
    pub fn any_hash() -> Self {
        Self::Hash(Arc::new(Self::Any), Arc::new(Self::Any), Size::ALL)
    }

    fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    /// Calls `visit` with what an alias stands for, or with the type itself.
    fn resolved<R>(&self, visit: impl FnOnce(&Self) -> R) -> R {
        match self {
            Self::Alias(alias) => match alias.body.get() {
                Some(body) => body.resolved(visit),
                None => visit(&Self::Any),
            },
            Self::Within(alias) => match alias.upgrade() {
                Some(alias) => Self::Alias(alias).resolved(visit),
                None => visit(&Self::Impossible("a type that is gone".into())),
            },
            other => visit(other),
        }
    }

    /// Whether `undef`, or nothing at all, is a value of the type.
    pub fn accepts_undef(&self) -> bool {
        self.through_aliases(|one, next| one.takes_undef(next))
    }

    fn takes_undef(&self, next: &mut Vec<Arc<Alias>>) -> bool {
        match self {
            Self::Alias(_) | Self::Within(_) => self.hand_over(next),
            Self::Variant(types) => types.iter().any(|one| one.takes_undef(next)),
            // For this value it has come to an end with any other type.
            other => other.accepts(&Value::Undef),
        }
    }

    /// Whether values of the type, or parts of them, are secret.
    pub fn is_sensitive(&self) -> bool {
        self.through_aliases(|one, next| one.has_sensitive(next))
    }

    fn has_sensitive(&self, next: &mut Vec<Arc<Alias>>) -> bool {
        match self {
            Self::Sensitive(_) => true,
            Self::Optional(inner) | Self::NotUndef(inner) | Self::Array(inner, _) | Self::Iterable(inner) => {
                inner.has_sensitive(next)
            }
            Self::Hash(key, value, _) => key.has_sensitive(next) || value.has_sensitive(next),
            Self::Variant(types) | Self::Tuple(types, _) => types.iter().any(|one| one.has_sensitive(next)),
            Self::Struct(members) => members.iter().any(|member| member.value.has_sensitive(next)),
            Self::Alias(_) | Self::Within(_) => self.hand_over(next),
            _ => false,
        }
    }

    /// Whether `holds` is true of the type, or of what one of the aliases stands for that it hands over: each of them once,
    /// however often it is named, and none within another, because a chain of aliases may be long. Of one that is still being
    /// read nothing is true.
    fn through_aliases(&self, holds: impl Fn(&Self, &mut Vec<Arc<Alias>>) -> bool) -> bool {
        let (mut seen, mut next) = (HashSet::new(), Vec::new());
        if holds(self, &mut next) {
            return true;
        }
        while let Some(alias) = next.pop() {
            if seen.insert(Arc::as_ptr(&alias)) && alias.body.get().is_some_and(|body| holds(body, &mut next)) {
                return true;
            }
        }
        false
    }

    /// Leaves an alias for later; nothing is true of its name alone.
    fn hand_over(&self, next: &mut Vec<Arc<Alias>>) -> bool {
        match self {
            Self::Alias(alias) => next.push(alias.clone()),
            Self::Within(alias) => next.extend(alias.upgrade()),
            _ => {}
        }
        false
    }
}
