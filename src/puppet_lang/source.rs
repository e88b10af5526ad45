//! A file of code, and errors that show where in it something is wrong, as compilers do.

use std::fmt;
use std::sync::Arc;

/// Characters of a line that an error shows.
const SHOWN_COLUMNS: usize = 120;

/// A file, or another text with code.
#[derive(Debug)]
pub struct Source {
    /// Its path, or what it is.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// A text with the name that errors give it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }

    /// What is wrong at byte `at`.
    pub fn diagnostic(&self, at: u32, message: impl Into<String>) -> Diagnostic {
        let mut at = (at as usize).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |length| at + length);
        Diagnostic {
            message: message.into(),
            file: self.name.clone(),
            line: self.text[..start].bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: self.text[start..at].chars().count() + 1,
            excerpt: self.text[start..end].trim_end_matches('\r').to_owned(),
        }
    }
}

/// An error with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, and what was expected.
    pub message: String,
    /// The file's name.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The whole line.
    pub excerpt: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, file, line, column, excerpt } = self;
        let skipped = if *column > SHOWN_COLUMNS { column - SHOWN_COLUMNS / 2 } else { 0 };
        let shown: String =
            excerpt.chars().skip(skipped).take(SHOWN_COLUMNS).map(|c| if c == '\t' { ' ' } else { c }).collect();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let caret = " ".repeat(column - 1 - skipped);
        write!(f, "{message}\n{margin}--> {file}:{line}:{column}\n{margin} |\n{number} | {shown}\n{margin} | {caret}^")
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_place() {
        let source = Source::new("a.pp", "one\n\tzwö $x = \nthree");
        let shown = source.diagnostic(12, "expected a value").to_string();
        assert_eq!(shown, "expected a value\n --> a.pp:2:8\n  |\n2 |  zwö $x = \n  |        ^");
        assert_eq!(source.diagnostic(u32::MAX, "").line, 3);
        let long = Source::new("b", "x".repeat(500));
        assert!(long.diagnostic(400, "far").to_string().len() < 400);
    }
}
