//! From a type's text, as tasks and plans in YAML have it, to a [`Type`].

use std::fmt;

use super::{Aliases, Type};
use crate::limits::TYPE_BYTES_MAX;
use crate::puppet_lang::source::Source;
use crate::puppet_lang::syntax::parse_expression;

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
            Self::TooLarge(what) => write!(f, "{what}; write a simpler type"),
        }
    }
}

/// Parses a type expression.
pub fn parse(text: &str, resolver: Resolver<'_>) -> Result<Type, TypeError> {
    if text.len() > TYPE_BYTES_MAX {
        return Err(TypeError::TooLarge(format!("the type has more than {TYPE_BYTES_MAX} bytes")));
    }
    let source = Source::new("the type", text);
    let expression = parse_expression(&source)
        .map_err(|error| TypeError::Syntax(format!("{} at column {}", error.message, error.column)))?;
    Aliases::new().data_type(&expression, &|name| Some((format!("the file of {name}"), resolver(name)?)))
}
