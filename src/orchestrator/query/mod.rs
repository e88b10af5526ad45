//! Queries over what this server knows of its nodes, for sites without PuppetDB: the part of PuppetDB's query API v4 that
//! chooses nodes, in both of its forms, PQL and the AST. Both are read into the same tree, which is evaluated over
//! [`NodeView`]s. Every error says what, where and what to do.
//!
//! A condition about facts of a node whose facts have never been stored is neither true nor false, and neither is its
//! negation: such a node is chosen only if the rest of the query says so. The same goes for the extensions of a
//! certificate that this server has not seen. Nobody wants a task to run on a machine of which nothing is known.

mod ast;
mod evaluate;
mod field;
mod lexer;
mod pattern;
mod pql;
#[cfg(test)]
mod print;
mod rows;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;

use serde_json::Value;

pub use evaluate::{NodeView, decided};
pub use field::{Field, Step};
pub use pattern::Pattern;
pub use rows::{Cell, Row, any_value};
pub use tree::{Comparison, Query, shortened};

use super::model::{Refusal, RefusalKind};

/// Why a query cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    place: Place,
    message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// The query as a whole.
    Whole,
    /// In a text, both from 1.
    Position { line: usize, column: usize },
    /// In a tree: the indexes that lead there, `[2][1]`.
    Tree(String),
}

impl QueryError {
    /// About the query as a whole.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { place: Place::Whole, message: message.into() }
    }

    const fn at_position(line: usize, column: usize, message: String) -> Self {
        Self { place: Place::Position { line, column }, message }
    }

    const fn in_tree(path: String, message: String) -> Self {
        Self { place: Place::Tree(path), message }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.message;
        match &self.place {
            Place::Whole => write!(f, "The query cannot be answered: {message}."),
            Place::Position { line, column } => {
                write!(f, "The query is not understood at line {line}, column {column}: {message}.")
            }
            Place::Tree(path) => write!(f, "The query is not understood at query{path}: {message}."),
        }
    }
}

impl std::error::Error for QueryError {}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Self::new(RefusalKind::QueryError, error.to_string())
    }
}

impl Query {
    /// Reads a query that names nodes: a string is PQL, an array the AST form.
    pub fn parse(query: &Value) -> Result<Self, QueryError> {
        let query = match query {
            Value::String(text) => pql::parse(text)?,
            tree @ Value::Array(_) => ast::parse(tree)?,
            _ => return Err(QueryError::new("it must be a string with PQL or an array with a syntax tree")),
        };
        query.check_names_nodes().map_err(QueryError::new)?;
        Ok(query)
    }
}
