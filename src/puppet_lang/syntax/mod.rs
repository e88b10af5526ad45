//! From text to syntax tree (Puppet language specification, "Lexical Structure" and "Grammar").

pub(super) mod ast;
mod choices;
mod definitions;
mod heredoc;
mod lexer;
mod offered;
mod parser;
mod strings;
mod token;

pub(super) use offered::problems;
pub(super) use parser::{parse_expression, parse_file, parse_statements};
