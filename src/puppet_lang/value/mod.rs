//! Values of the Puppet language. They are cheap to clone and never change.

mod compare;
mod json;
mod semver;
mod span;
mod text;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use json::Secrets;
pub use semver::{SemVer, SemVerRange};
pub(super) use span::{format_span, format_time, parse_span, parse_time};
pub(super) use text::quoted;

use super::pattern::Pattern;
use super::types::Type;

/// A value.
#[derive(Debug, Clone)]
pub enum Value {
    /// No value.
    Undef,
    /// The word `default`.
    Default,
    /// True or false.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A string.
    String(Arc<str>),
    /// A regular expression.
    Regexp(Arc<Pattern>),
    /// An array.
    Array(Arc<List>),
    /// A hash, in the order in which it was written.
    Hash(Arc<Hash>),
    /// A data type.
    Type(Arc<Type>),
    /// A secret.
    Sensitive(Arc<Value>),
    /// A point in time: nanoseconds since 1970.
    Timestamp(i128),
    /// A length of time in nanoseconds.
    Timespan(i128),
    /// A version.
    SemVer(Arc<SemVer>),
    /// A range of versions.
    SemVerRange(Arc<SemVerRange>),
    /// A URI.
    Uri(Arc<str>),
    /// Bytes.
    Binary(Arc<Vec<u8>>),
    /// An object: a target, a result, an error.
    Object(Arc<Object>),
}

/// The items of an array.
#[derive(Debug, Clone, Default)]
pub struct List {
    items: Vec<Value>,
    depth: usize,
}

impl std::ops::Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.items
    }
}

/// An object of a class that plans know.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its class: `Target`, `Result`, `ResultSet`, `Error` and others.
    pub class: Arc<str>,
    /// Its attributes by their names.
    pub attributes: Hash,
}

/// The entries of a hash, found by key in constant time once there are many.
#[derive(Debug, Clone, Default)]
pub struct Hash {
    entries: Vec<(Value, Value)>,
    places: Option<HashMap<Value, usize>>,
    depth: usize,
}

/// From so many entries on a hash has an index.
const INDEXED_FROM: usize = 9;

impl Hash {
    /// The entries in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(Value, Value)> + DoubleEndedIterator {
        self.entries.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn place(&self, key: &Value) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(key).copied(),
            None => self.entries.iter().position(|(other, _)| other.is_same(key)),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        self.place(key).map(|place| &self.entries[place].1)
    }

    /// The value of a key that is a string.
    pub fn get_text(&self, key: &str) -> Option<&Value> {
        match &self.places {
            Some(_) => self.get(&Value::from(key)),
            None => self
                .entries
                .iter()
                .find(|(other, _)| matches!(other, Value::String(text) if **text == *key))
                .map(|(_, value)| value),
        }
    }

    /// Adds an entry, or gives one that is there another value.
    pub fn insert(&mut self, key: Value, value: Value) {
        self.depth = self.depth.max(key.depth() + 1).max(value.depth() + 1);
        if let Some(place) = self.place(&key) {
            self.entries[place].1 = value;
            return;
        }
        if let Some(places) = &mut self.places {
            places.insert(key.clone(), self.entries.len());
        }
        self.entries.push((key, value));
        if self.places.is_none() && self.entries.len() >= INDEXED_FROM {
            self.places = Some(self.entries.iter().enumerate().map(|(place, (key, _))| (key.clone(), place)).collect());
        }
    }
}

impl FromIterator<(Value, Value)> for Hash {
    fn from_iter<I: IntoIterator<Item = (Value, Value)>>(entries: I) -> Self {
        let mut hash = Self::default();
        for (key, value) in entries {
            hash.insert(key, value);
        }
        hash
    }
}

impl Value {
    /// Whether it counts as true: everything but undef and false.
    pub fn is_true(&self) -> bool {
        !matches!(self, Self::Undef | Self::Boolean(false))
    }

    /// The text, if it is a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Bytes that it takes beside itself, for the limit of an evaluation.
    pub(super) fn weight(&self) -> u64 {
        let inner = match self {
            Self::String(text) | Self::Uri(text) => text.len(),
            Self::Array(items) => items.len() * size_of::<Self>(),
            Self::Hash(hash) => hash.len() * 4 * size_of::<Self>(),
            Self::Binary(bytes) => bytes.len(),
            _ => 0,
        };
        inner as u64
    }

    /// An array.
    pub fn array(items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<Self> = items.into_iter().collect();
        let depth = items.iter().map(Self::depth).max().unwrap_or_default() + 1;
        Self::Array(Arc::new(List { items, depth }))
    }

    /// A secret; one of a secret is no more secret than that.
    pub fn sensitive(inner: Self) -> Self {
        match inner {
            Self::Sensitive(_) => inner,
            inner => Self::Sensitive(Arc::new(inner)),
        }
    }

    /// How many arrays and hashes are within each other. Whoever makes values keeps it below
    /// [`PUPPET_VALUE_DEPTH_MAX`](crate::limits::PUPPET_VALUE_DEPTH_MAX), since they are walked by recursion.
    pub fn depth(&self) -> usize {
        match self {
            Self::Array(list) => list.depth,
            Self::Hash(hash) => hash.depth,
            Self::Object(object) => object.attributes.depth + 1,
            Self::Sensitive(inner) => inner.depth() + 1,
            _ => 0,
        }
    }

    /// A hash.
    pub fn hash(entries: impl IntoIterator<Item = (Self, Self)>) -> Self {
        Self::Hash(Arc::new(entries.into_iter().collect()))
    }

    /// An object of a class, with its attributes.
    pub fn object(class: &str, attributes: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let attributes = attributes.into_iter().map(|(name, value)| (Self::from(name), value)).collect();
        Self::Object(Arc::new(Object { class: class.into(), attributes }))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Type> for Value {
    fn from(data_type: Type) -> Self {
        Self::Type(Arc::new(data_type))
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

/// As it stands in a string: `"${value}"`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f, text::Style::Bare)
    }
}

/// A value as `String(value)` has it: strings in quotes within arrays and hashes.
pub(super) struct Plain<'a>(pub &'a Value);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self.0, f, text::Style::Plain)
    }
}

/// A value as the language writes it: strings in quotes.
pub(super) struct Literal<'a>(pub &'a Value);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self.0, f, text::Style::Quoted)
    }
}
