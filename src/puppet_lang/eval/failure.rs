//! How an evaluation ends early.

use std::fmt;

use crate::puppet_lang::source::Diagnostic;
use crate::puppet_lang::value::{Hash, Value};

/// The result of evaluating something.
pub type Outcome<T = Value> = Result<T, Control>;

/// Why something has no value, or not the usual one.
#[derive(Debug)]
pub enum Control {
    /// An error.
    Failed(Box<Failure>),
    /// `next`: the value of the innermost block.
    Next(Value),
    /// `break`: the end of an iteration.
    Break(u32),
    /// `return`: the value of the function or plan.
    Return(Value),
    /// A call to the host has no answer yet.
    Waiting,
}

/// An error of an evaluation, which plans see as an `Error`.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What went wrong.
    pub message: String,
    /// What kind of error it is, for programs.
    pub kind: String,
    /// More, for programs.
    pub details: Hash,
    /// A word for the error, if it has one.
    pub issue_code: Option<String>,
    /// Where in which file.
    pub place: Option<Diagnostic>,
}

impl Failure {
    /// An error without a place.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: kind.into(), details: Hash::default(), issue_code: None, place: None }
    }

    /// As plans see it.
    pub fn to_value(&self) -> Value {
        let issue_code = self.issue_code.as_ref().map_or(Value::Undef, |code| Value::from(code.as_str()));
        Value::object(
            "Error",
            [
                ("msg", Value::from(self.message.as_str())),
                ("kind", Value::from(self.kind.as_str())),
                ("details", Value::Hash(self.details.clone().into())),
                ("issue_code", issue_code),
            ],
        )
    }

    /// From an `Error`, or a hash like it.
    pub fn from_error(attributes: &Hash) -> Self {
        let text =
            |names: &[&str]| names.iter().find_map(|name| attributes.get_text(name)?.as_text().map(str::to_owned));
        Self {
            message: text(&["msg", "message"]).unwrap_or_else(|| "the error has no message".to_owned()),
            kind: text(&["kind"]).unwrap_or_else(|| "puppetlabs.tasks/evaluation-error".to_owned()),
            details: match attributes.get_text("details") {
                Some(Value::Hash(details)) => (**details).clone(),
                _ => Hash::default(),
            },
            issue_code: text(&["issue_code"]),
            place: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}"),
            None => f.write_str(&self.message),
        }
    }
}
