//! From a type's text to a [`Type`]. Aliases of modules (`type A::B = <type>`) are looked up through a [`Resolver`] and
//! put in place; depth and number of nodes are limited, so an alias that means itself ends in an error.

use std::fmt;

use regex::RegexBuilder;

use super::lexer::{Token, tokens};
use super::{Member, Range, Size, Type};
use crate::limits::{TYPE_BYTES_MAX, TYPE_DEPTH_MAX, TYPE_NODES_MAX, TYPE_PATTERN_NODES, TYPE_REGEX_BYTES_MAX};

/// Gives the text of the file that defines an alias, `None` if no module on the path has it.
pub type Resolver<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a type expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeError {
    /// Not a type expression; with what is wrong.
    Syntax(String),
    /// A type that is neither built in nor an alias of a module on the path.
    Unknown(String),
    /// Too long, too deep or too large.
    TooLarge(String),
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(what) => f.write_str(what),
            Self::Unknown(name) => write!(
                f,
                "the type `{name}` is not built in, and no module of the environment defines it as a plain alias: \
                 install the module that has it"
            ),
            Self::TooLarge(what) => write!(f, "{what}; write a simpler type (an alias must not contain itself)"),
        }
    }
}

/// Parses a type expression.
pub fn parse(text: &str, resolver: Resolver<'_>) -> Result<Type, TypeError> {
    let mut nodes_left = TYPE_NODES_MAX;
    Parser::new(text, resolver, 0, &mut nodes_left)?.whole()
}

struct Parser<'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    resolver: Resolver<'a>,
    depth: usize,
    nodes_left: &'a mut usize,
}

/// An argument in brackets.
enum Argument {
    Type(Type),
    Text(String),
    Regex(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Default,
    Members(Vec<Member>),
}

fn syntax<T>(what: impl Into<String>) -> Result<T, TypeError> {
    Err(TypeError::Syntax(what.into()))
}

impl<'a> Parser<'a> {
    fn new(text: &str, resolver: Resolver<'a>, depth: usize, nodes_left: &'a mut usize) -> Result<Self, TypeError> {
        if text.len() > TYPE_BYTES_MAX {
            return Err(TypeError::TooLarge(format!("the type has more than {TYPE_BYTES_MAX} bytes")));
        }
        let tokens = tokens(text).map_err(TypeError::Syntax)?.into_iter().peekable();
        Ok(Self { tokens, resolver, depth, nodes_left })
    }

    fn whole(&mut self) -> Result<Type, TypeError> {
        let parsed = self.expression()?;
        match self.tokens.next() {
            None => Ok(parsed),
            Some(token) => syntax(format!("unexpected {token:?} after the type")),
        }
    }

    fn expression(&mut self) -> Result<Type, TypeError> {
        match self.tokens.next() {
            Some(Token::Name(name)) => self.named(&name),
            Some(token) => syntax(format!("expected a type's name, found {token:?}")),
            None => syntax("expected a type's name, found the end"),
        }
    }

    fn named(&mut self, name: &str) -> Result<Type, TypeError> {
        self.depth += 1;
        if self.depth > TYPE_DEPTH_MAX {
            return Err(TypeError::TooLarge(format!("the type is nested more than {TYPE_DEPTH_MAX} deep")));
        }
        self.spend(1)?;
        let arguments =
            if self.tokens.next_if_eq(&Token::Mark('[')).is_some() { Some(self.arguments()?) } else { None };
        if name == "Pattern" {
            self.spend(TYPE_PATTERN_NODES * arguments.as_ref().map_or(0, Vec::len))?;
        }
        let parsed = match build(name, arguments.unwrap_or_default())? {
            Some(parsed) => parsed,
            None => self.alias(name)?,
        };
        self.depth -= 1;
        Ok(parsed)
    }

    fn spend(&mut self, nodes: usize) -> Result<(), TypeError> {
        let left = self.nodes_left.checked_sub(nodes);
        *self.nodes_left =
            left.ok_or_else(|| TypeError::TooLarge(format!("the type has more than {TYPE_NODES_MAX} parts")))?;
        Ok(())
    }

    fn arguments(&mut self) -> Result<Vec<Argument>, TypeError> {
        let mut arguments = Vec::new();
        while self.tokens.next_if_eq(&Token::Mark(']')).is_none() {
            arguments.push(match self.tokens.next() {
                Some(Token::Name(name)) => Argument::Type(self.named(&name)?),
                Some(Token::Text(text)) => Argument::Text(text),
                Some(Token::Regex(text)) => Argument::Regex(text),
                Some(Token::Integer(value)) => Argument::Integer(value),
                Some(Token::Float(value)) => Argument::Float(value),
                Some(Token::Word(word)) => match word.as_str() {
                    "default" => Argument::Default,
                    "true" => Argument::Boolean(true),
                    "false" => Argument::Boolean(false),
                    _ => Argument::Text(word),
                },
                Some(Token::Mark('{')) => Argument::Members(self.members()?),
                Some(token) => return syntax(format!("unexpected {token:?} between brackets")),
                None => return syntax("a `[` has no `]`"),
            });
            if self.tokens.next_if_eq(&Token::Mark(',')).is_none() && self.tokens.peek() != Some(&Token::Mark(']')) {
                return syntax("expected `,` or `]`");
            }
        }
        Ok(arguments)
    }

    fn members(&mut self) -> Result<Vec<Member>, TypeError> {
        let mut members = Vec::new();
        while self.tokens.next_if_eq(&Token::Mark('}')).is_none() {
            let (key, marker) = self.member_key()?;
            if self.tokens.next() != Some(Token::Arrow) {
                return syntax(format!("expected `=>` after the key `{key}`"));
            }
            let value = self.expression()?;
            // Without a marker, a key whose value may be undef may also be missing.
            let is_optional = marker.unwrap_or_else(|| value.accepts_undef());
            members.push(Member { key, is_optional, value });
            if self.tokens.next_if_eq(&Token::Mark(',')).is_none() && self.tokens.peek() != Some(&Token::Mark('}')) {
                return syntax("expected `,` or `}`");
            }
        }
        Ok(members)
    }

    /// A key with what is known of its being optional.
    fn member_key(&mut self) -> Result<(String, Option<bool>), TypeError> {
        let marker = match self.tokens.next() {
            Some(Token::Text(key) | Token::Word(key)) => return Ok((key, None)),
            Some(Token::Name(name)) if name == "Optional" => true,
            Some(Token::Name(name)) if name == "NotUndef" => false,
            _ => return syntax("a key of a Struct must be a string, Optional['key'] or NotUndef['key']"),
        };
        match (self.tokens.next(), self.tokens.next(), self.tokens.next()) {
            (Some(Token::Mark('[')), Some(Token::Text(key) | Token::Word(key)), Some(Token::Mark(']'))) => {
                Ok((key, Some(marker)))
            }
            _ => syntax("Optional and NotUndef around a key of a Struct take one string"),
        }
    }

    /// `type <name> = <type>`, nothing else in the file.
    fn alias(&mut self, name: &str) -> Result<Type, TypeError> {
        let text = (self.resolver)(name).ok_or_else(|| TypeError::Unknown(name.to_owned()))?;
        let within = |error| match error {
            TypeError::Syntax(what) => TypeError::Syntax(format!("in the alias {name}: {what}")),
            other => other,
        };
        let mut inner = Parser::new(&text, self.resolver, self.depth, self.nodes_left).map_err(within)?;
        let head = (inner.tokens.next(), inner.tokens.next(), inner.tokens.next());
        match head {
            (Some(Token::Word(word)), Some(Token::Name(defined)), Some(Token::Mark('='))) if word == "type" => {
                if defined != name {
                    return syntax(format!("the file of the alias {name} defines {defined}"));
                }
            }
            _ => return syntax(format!("the file of the alias {name} does not begin with `type {name} =`")),
        }
        inner.whole().map_err(within)
    }
}

/// A built-in type; `None` if there is none of the name.
fn build(name: &str, arguments: Vec<Argument>) -> Result<Option<Type>, TypeError> {
    let plain = |parsed: Type| {
        if arguments.is_empty() { Ok(Some(parsed)) } else { syntax(format!("{name} takes no arguments")) }
    };
    match name {
        "Any" => return plain(Type::Any),
        "Undef" => return plain(Type::Undef),
        "Data" | "RichData" => return plain(Type::Data),
        "Scalar" => return plain(Type::Scalar("Scalar")),
        "ScalarData" => return plain(Type::Scalar("ScalarData")),
        "Numeric" => return plain(Type::Numeric),
        // Bolt's alias; it is needed by tasks that pass targets on.
        "TargetSpec" => {
            let strings = || Type::String(Size { min: Some(1), max: None });
            return plain(Type::Variant(vec![strings(), Type::Array(Box::new(strings()), Size::ALL)]));
        }
        _ => {}
    }
    let parsed = match name {
        "Boolean" => match arguments.as_slice() {
            [] => Type::Boolean(None),
            [Argument::Boolean(value)] => Type::Boolean(Some(*value)),
            _ => return syntax("Boolean takes true or false"),
        },
        "Integer" => Type::Integer(range(name, &arguments)?),
        "Float" => Type::Float(float_range(&arguments)?),
        "String" => match arguments.as_slice() {
            [Argument::Text(text)] => Type::Enum(vec![text.clone()], false),
            _ => Type::String(range(name, &arguments)?),
        },
        "Enum" => enumeration(arguments)?,
        "Pattern" => Type::Pattern(arguments.into_iter().map(pattern).collect::<Result<_, _>>()?),
        "Collection" => Type::Collection(range(name, &arguments)?),
        "Array" | "Iterable" | "Iterator" => {
            let (mut types, size) = types_and_size(name, arguments, 1)?;
            Type::Array(Box::new(types.pop().unwrap_or(Type::Any)), size.unwrap_or(Size::ALL))
        }
        "Hash" => {
            let (mut types, size) = types_and_size(name, arguments, 2)?;
            match (types.pop(), types.pop()) {
                (Some(value), Some(key)) => Type::Hash(Box::new(key), Box::new(value), size.unwrap_or(Size::ALL)),
                (None, _) => Type::Hash(Box::new(Type::Any), Box::new(Type::Any), size.unwrap_or(Size::ALL)),
                _ => return syntax("Hash takes a type of keys and a type of values"),
            }
        }
        "Tuple" => {
            let (types, size) = types_and_size(name, arguments, usize::MAX)?;
            Type::Tuple(types, size)
        }
        "Struct" => match <[Argument; 1]>::try_from(arguments) {
            Ok([Argument::Members(members)]) => Type::Struct(members),
            _ => return syntax("Struct takes one hash of keys and types"),
        },
        "Optional" => Type::Optional(Box::new(one(name, arguments)?)),
        "NotUndef" => Type::NotUndef(Box::new(one(name, arguments)?)),
        "Sensitive" => Type::Sensitive(Box::new(one(name, arguments)?)),
        "Variant" => Type::Variant(types_and_size(name, arguments, usize::MAX)?.0),
        "Default" | "Regexp" | "Type" | "Class" | "Resource" | "CatalogEntry" | "Callable" | "Runtime" | "Object"
        | "Timestamp" | "Timespan" | "SemVer" | "SemVerRange" | "Binary" | "URI" | "Target" | "Init" | "Error" => {
            Type::Impossible(name.to_owned())
        }
        _ => return Ok(None),
    };
    Ok(Some(parsed))
}

fn one(name: &str, arguments: Vec<Argument>) -> Result<Type, TypeError> {
    match <[Argument; 1]>::try_from(arguments) {
        Ok([Argument::Type(parsed)]) => Ok(parsed),
        Ok([Argument::Text(text)]) => Ok(Type::Enum(vec![text], false)),
        Err(arguments) if arguments.is_empty() => Ok(Type::Any),
        _ => syntax(format!("{name} takes one type")),
    }
}

/// Leading types, at most `max`, then the ends of a size.
fn types_and_size(name: &str, arguments: Vec<Argument>, max: usize) -> Result<(Vec<Type>, Option<Size>), TypeError> {
    let mut types = Vec::new();
    let mut sizes = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Type(parsed) if sizes.is_empty() && types.len() < max => types.push(parsed),
            Argument::Integer(_) | Argument::Default => sizes.push(argument),
            _ => return syntax(format!("{name} takes types, then a smallest and a largest size")),
        }
    }
    let size = if sizes.is_empty() { None } else { Some(range(name, &sizes)?) };
    Ok((types, size))
}

fn range(name: &str, arguments: &[Argument]) -> Result<Range<i64>, TypeError> {
    let end = |argument: &Argument| match argument {
        Argument::Integer(value) => Ok(Some(*value)),
        Argument::Default => Ok(None),
        _ => syntax(format!("the range of {name} takes integers or `default`")),
    };
    match arguments {
        [] => Ok(Range::ALL),
        [min] => Ok(Range { min: end(min)?, max: None }),
        [min, max] => Ok(Range { min: end(min)?, max: end(max)? }),
        _ => syntax(format!("the range of {name} has at most two ends")),
    }
}

fn float_range(arguments: &[Argument]) -> Result<Range<f64>, TypeError> {
    let end = |argument: &Argument| match argument {
        Argument::Float(value) => Ok(Some(*value)),
        // Exact up to 2^53, and nobody writes larger ends.
        Argument::Integer(value) => Ok(Some(*value as f64)),
        Argument::Default => Ok(None),
        _ => syntax("the range of Float takes numbers or `default`"),
    };
    match arguments {
        [] => Ok(Range::ALL),
        [min] => Ok(Range { min: end(min)?, max: None }),
        [min, max] => Ok(Range { min: end(min)?, max: end(max)? }),
        _ => syntax("the range of Float has at most two ends"),
    }
}

fn enumeration(arguments: Vec<Argument>) -> Result<Type, TypeError> {
    let mut ignores_case = false;
    let mut words = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Text(word) => words.push(word),
            // Authors write numbers and booleans without quotes: their texts are meant.
            Argument::Integer(value) => words.push(value.to_string()),
            Argument::Boolean(value) => ignores_case = value,
            _ => return syntax("Enum takes strings"),
        }
    }
    Ok(Type::Enum(words, ignores_case))
}

/// A pattern, with Ruby's syntax put into that of our engine.
fn pattern(argument: Argument) -> Result<(String, regex::Regex), TypeError> {
    let (Argument::Regex(text) | Argument::Text(text)) = argument else {
        return syntax("Pattern takes regular expressions");
    };
    let compiled = RegexBuilder::new(&translated(&text)).multi_line(true).size_limit(TYPE_REGEX_BYTES_MAX).build();
    match compiled {
        Ok(compiled) => Ok((text, compiled)),
        Err(error) => {
            let cause = error.to_string();
            let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ");
            syntax(format!("the pattern /{text}/ cannot be checked by this server: {cause}"))
        }
    }
}

/// `\Z`, `\h`, `\0` and `{,n}` are Ruby's alone.
fn translated(ruby: &str) -> String {
    let mut ours = String::with_capacity(ruby.len());
    let mut in_class = false;
    let mut chars = ruby.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' {
            match chars.next() {
                Some('Z') => ours.push_str(r"\n?\z"),
                Some('h') => ours.push_str("[0-9a-fA-F]"),
                Some('0') => ours.push_str(r"\x00"),
                Some('/') => ours.push('/'),
                Some(escaped) => ours.extend(['\\', escaped]),
                None => ours.push('\\'),
            }
            continue;
        }
        match c {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        ours.push(c);
        if c == '{' && !in_class && chars.peek() == Some(&',') {
            ours.push('0');
        }
    }
    ours
}
