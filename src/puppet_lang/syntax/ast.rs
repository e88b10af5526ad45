//! The syntax tree. Every expression knows the byte at which errors about it point.

use std::sync::Arc;

use crate::puppet_lang::source::Source;

/// An expression.
#[derive(Debug)]
pub struct Expr {
    pub at: u32,
    pub kind: Kind,
}

/// What an expression is.
#[derive(Debug)]
pub enum Kind {
    /// Nothing: an empty body.
    Nop,
    Undef,
    Default,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(Arc<str>),
    /// A word without quotes: a string, or the name of a function.
    Name(Arc<str>),
    TypeName(Arc<str>),
    Variable(Arc<str>),
    Regex(Arc<str>),
    Interpolated(Vec<Part>),
    Array(Vec<Expr>),
    Hash(Vec<(Expr, Expr)>),
    /// `value[keys]`.
    Access(Box<Expr>, Vec<Expr>),
    Call(Box<Call>),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    Splat(Box<Expr>),
    Binary(Operator, Box<(Expr, Expr)>),
    Assign(Box<(Expr, Expr)>),
    /// Expressions in parentheses, which keep them from being taken apart.
    Parentheses(Box<Expr>),
    Block(Vec<Expr>),
    If(Box<Branches>),
    Case(Box<Case>),
    Selector(Box<Selector>),
    /// Code that becomes a catalog: not evaluated here.
    Catalog(Box<CatalogBlock>),
}

/// Part of a string.
#[derive(Debug)]
pub enum Part {
    Text(Arc<str>),
    Code(Expr),
}

/// Operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    ShiftLeft,
    ShiftRight,
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
    Match,
    NoMatch,
    In,
}

/// A call of a function.
#[derive(Debug)]
pub struct Call {
    pub callee: Callee,
    /// The receiver of a chained call is the first.
    pub arguments: Vec<Expr>,
    pub block: Option<Arc<Lambda>>,
    /// `receiver.name`.
    pub is_chained: bool,
}

/// What is called.
#[derive(Debug)]
pub enum Callee {
    Name(Arc<str>),
    /// A type: a new value of it.
    Type(Expr),
}

/// `if` or `unless`, which has its condition negated.
#[derive(Debug)]
pub struct Branches {
    pub condition: Expr,
    pub is_unless: bool,
    pub then: Expr,
    pub otherwise: Option<Expr>,
}

/// `case`.
#[derive(Debug)]
pub struct Case {
    pub subject: Expr,
    pub options: Vec<(Vec<Expr>, Expr)>,
}

/// `value ? { ... }`.
#[derive(Debug)]
pub struct Selector {
    pub subject: Expr,
    pub options: Vec<(Expr, Expr)>,
}

/// `apply(...) { ... }`: the code goes to a compiler as it is.
#[derive(Debug)]
pub struct CatalogBlock {
    pub arguments: Vec<Expr>,
    pub code: Arc<str>,
}

/// A block with parameters, and the body of functions and plans.
#[derive(Debug)]
pub struct Lambda {
    pub parameters: Vec<Parameter>,
    pub returns: Option<Expr>,
    pub body: Expr,
    pub source: Arc<Source>,
}

/// A parameter.
#[derive(Debug)]
pub struct Parameter {
    pub name: Arc<str>,
    pub data_type: Option<Expr>,
    /// The type as it is written.
    pub type_text: Option<Arc<str>>,
    pub default: Option<Expr>,
    /// The default as it is written.
    pub default_text: Option<Arc<str>>,
    /// Takes all arguments that are left.
    pub takes_rest: bool,
    pub at: u32,
}

/// What a file defines.
#[derive(Debug)]
pub enum Definition {
    Function(Arc<str>, Arc<Lambda>),
    Plan(Arc<str>, Arc<Lambda>),
    Alias(Arc<str>, Arc<Expr>),
}

/// A file.
#[derive(Debug)]
pub struct File {
    pub source: Arc<Source>,
    pub definitions: Vec<Definition>,
    pub body: Expr,
}

impl Definition {
    /// The name of what is defined.
    pub fn name(&self) -> &str {
        match self {
            Self::Function(name, ..) | Self::Plan(name, ..) | Self::Alias(name, ..) => name,
        }
    }
}

impl Operator {
    /// The operator of a token, and how strongly it binds.
    pub fn of(mark: &str) -> Option<(Self, u8)> {
        Some(match mark {
            "or" => (Self::Or, 3),
            "and" => (Self::And, 4),
            "<" => (Self::Less, 6),
            "<=" => (Self::LessOrEqual, 6),
            ">" => (Self::Greater, 6),
            ">=" => (Self::GreaterOrEqual, 6),
            "==" => (Self::Equal, 7),
            "!=" => (Self::NotEqual, 7),
            "<<" => (Self::ShiftLeft, 8),
            ">>" => (Self::ShiftRight, 8),
            "+" => (Self::Plus, 9),
            "-" => (Self::Minus, 9),
            "*" => (Self::Times, 10),
            "/" => (Self::Divide, 10),
            "%" => (Self::Modulo, 10),
            "=~" => (Self::Match, 11),
            "!~" => (Self::NoMatch, 11),
            "in" => (Self::In, 12),
            _ => return None,
        })
    }

    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Match => "=~",
            Self::NoMatch => "!~",
            Self::In => "in",
        }
    }
}
