//! A YAML document as a tree whose nodes know their places and how their strings were written.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Parsed, fail};
use crate::limits::{PUPPET_SOURCE_BYTES_MAX, PUPPET_YAML_DEPTH_MAX};
use crate::puppet_lang::source::Source;
use crate::puppet_lang::value::Value;

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Its first byte; of a block the first one that is not white space.
    pub at: u32,
    pub content: Content,
}

/// What a node is.
#[derive(Debug)]
pub enum Content {
    Scalar(Style, String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The key of an entry.
#[derive(Debug)]
pub struct Key {
    pub at: u32,
    pub text: String,
}

/// How a string was written, which says whether it is code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Single,
    Double,
    /// Behind a pipe sign.
    Literal,
    /// Behind `>`.
    Folded,
}

impl Node {
    /// The only document of a text.
    pub fn read(source: &Source) -> Parsed<Self> {
        if source.text.len() > PUPPET_SOURCE_BYTES_MAX {
            return Err((0, format!("the text has more than {PUPPET_SOURCE_BYTES_MAX} bytes; split it")));
        }
        let mut reader = Reader { parser: Parser::new_from_str(&source.text), offsets: offsets(&source.text) };
        let mut document = None;
        while let Some((event, at)) = reader.next()? {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if document.is_some() => {
                    return Err((at, "this begins another document, and a plan is one".to_owned()));
                }
                Event::DocumentStart(_) => {}
                event => document = Some(reader.node(event, at, 0)?),
            }
        }
        document.ok_or_else(|| (0, "expected a plan, found nothing".to_owned()))
    }

    /// As text that is no code, whatever its style.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(style, text) => matches!(scalar(*style, text), Value::String(_)).then_some(text),
            _ => None,
        }
    }

    /// The entries of a map; `what` it should be.
    pub fn map(&self, what: &str) -> Parsed<&[(Key, Node)]> {
        match &self.content {
            Content::Map(entries) => Ok(entries),
            _ => fail(self, format!("{what} must be a map, and this is {}", self.describe())),
        }
    }

    /// The items of a list; `what` it should be.
    pub fn list(&self, what: &str) -> Parsed<&[Self]> {
        match &self.content {
            Content::List(items) => Ok(items),
            _ => fail(self, format!("{what} must be a list, and this is {}", self.describe())),
        }
    }

    /// Its first byte behind a quote.
    pub fn inside(&self) -> u32 {
        let is_quoted = matches!(&self.content, Content::Scalar(Style::Single | Style::Double, _));
        self.at + u32::from(is_quoted)
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(style, text) if scalar(*style, text) == Value::Undef)
    }

    /// Its value, in which nothing is code.
    pub fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(style, text) => scalar(*style, text),
            Content::List(items) => Value::array(items.iter().map(Self::value)),
            Content::Map(entries) => {
                Value::hash(entries.iter().map(|(key, value)| (Value::from(key.text.as_str()), value.value())))
            }
        }
    }

    fn describe(&self) -> &'static str {
        match &self.content {
            Content::Map(_) => "a map",
            Content::List(_) => "a list",
            Content::Scalar(style, text) => match scalar(*style, text) {
                Value::Undef => "nothing",
                Value::Boolean(_) => "a boolean",
                Value::Integer(_) | Value::Float(_) => "a number",
                _ => "a string",
            },
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    /// The byte of every character.
    offsets: Vec<u32>,
}

fn offsets(text: &str) -> Vec<u32> {
    let end = std::iter::once(text.len());
    text.char_indices().map(|(at, _)| at).chain(end).map(|at| u32::try_from(at).unwrap_or(u32::MAX)).collect()
}

impl<'t> Reader<'t> {
    fn at(&self, character: usize) -> u32 {
        self.offsets.get(character).or(self.offsets.last()).copied().unwrap_or(0)
    }

    fn next(&mut self) -> Parsed<Option<(Event<'t>, u32)>> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, Span { start, .. }))) => Ok(Some((event, self.at(start.index())))),
            Some(Err(error)) => {
                Err((self.at(error.marker().index()), format!("this is not valid YAML: {}", error.info())))
            }
        }
    }

    fn within(&mut self) -> Parsed<(Event<'t>, u32)> {
        let end = self.offsets.last().copied().unwrap_or(0);
        self.next()?.ok_or_else(|| (end, "this is not valid YAML: it ends too early".to_owned()))
    }

    fn node(&mut self, event: Event<'t>, at: u32, depth: usize) -> Parsed<Node> {
        if depth > PUPPET_YAML_DEPTH_MAX {
            return Err((at, format!("this is nested more than {PUPPET_YAML_DEPTH_MAX} levels deep")));
        }
        let tag = match &event {
            Event::Scalar(.., tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => tag.as_deref(),
            _ => None,
        };
        if let Some(tag) = tag {
            return Err((at, format!("the tag `{}{}`: tags are not offered", tag.handle, tag.suffix)));
        }
        let content = match event {
            Event::Scalar(text, style, ..) => Content::Scalar(Style::of(style), text.into_owned()),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.within()? {
                        (Event::SequenceEnd, _) => break Content::List(items),
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => Content::Map(self.entries(depth)?),
            Event::Alias(_) => return Err((at, "aliases are not offered; write it again".to_owned())),
            _ => return Err((at, "this is not valid YAML: expected a value".to_owned())),
        };
        Ok(Node { at, content })
    }

    fn entries(&mut self, depth: usize) -> Parsed<Vec<(Key, Node)>> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut known = std::collections::HashSet::new();
        loop {
            let key = match self.within()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (event, at) => self.node(event, at, depth + 1)?,
            };
            let Content::Scalar(_, text) = &key.content else {
                return fail(&key, "a key must be a string");
            };
            if !known.insert(text.clone()) {
                return fail(&key, format!("the key `{text}` is there twice"));
            }
            let key = Key { at: key.at, text: text.clone() };
            let (event, at) = self.within()?;
            entries.push((key, self.node(event, at, depth + 1)?));
        }
    }
}

impl Style {
    fn of(style: ScalarStyle) -> Self {
        match style {
            ScalarStyle::Plain => Self::Plain,
            ScalarStyle::SingleQuoted => Self::Single,
            ScalarStyle::DoubleQuoted => Self::Double,
            ScalarStyle::Literal => Self::Literal,
            ScalarStyle::Folded => Self::Folded,
        }
    }
}

/// The value of a scalar by YAML 1.1, which Ruby reads plans by.
pub fn scalar(style: Style, text: &str) -> Value {
    if style != Style::Plain {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Undef,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Boolean(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Value::Boolean(false),
        _ => {}
    }
    integer(text).map(Value::Integer).or_else(|| float(text).map(Value::Float)).unwrap_or_else(|| Value::from(text))
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.split_at_checked(2) {
        Some(("0x", digits)) => (16, digits),
        Some(("0b", digits)) => (2, digits),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    let begins = digits.starts_with(|first: char| first.is_digit(radix));
    let is_number = begins && digits.chars().all(|digit| digit.is_digit(radix) || digit == '_');
    is_number.then(|| i64::from_str_radix(&format!("{sign}{}", digits.replace('_', "")), radix).ok())?
}

fn float(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    let is_number = text.len() - digits.len() <= 1
        && digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.contains('.')
        && digits.chars().all(|one| one.is_ascii_digit() || matches!(one, '.' | 'e' | 'E' | '+' | '-' | '_'));
    is_number.then(|| text.replace('_', "").parse().ok().filter(|value: &f64| value.is_finite()))?
}
