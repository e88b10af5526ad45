//! Tokens of PQL (PuppetDB's query language, query API v4), one at a time: a query's text is the only copy of it.

use super::field::{RawPath, quoted};
use super::tree::Literal;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A word or a path: `and`, `certname`, `facts.os.family`.
    Path(RawPath),
    /// A string or a number.
    Literal(Literal),
    /// `{`, `>=` and the like.
    Sign(&'static str),
    /// Nothing more comes.
    End,
}

/// Signs, the longer before those that they begin with. The last line is of other languages and of no use here.
const SIGNS: [&str; 21] = [
    "!=", "!~", "!", ">=", ">", "<=", "<", "~>", "~", "==", "=", "{", "}", "[", "]", "(", ")", ",", //
    "&&", "||", ";",
];

/// The text behind what has been read.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// At the beginning of a text.
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and the byte where it begins; an error says at which byte it is.
    pub fn next(&mut self) -> Result<(usize, Token), (usize, String)> {
        let rest = self.text[self.at..].trim_start();
        let start = self.text.len() - rest.len();
        let (token, length) = token(rest).map_err(|(offset, what)| (start + offset, what))?;
        self.at = start + length;
        Ok((start, token))
    }

    /// Line and column, both from 1, of a byte.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let before = &self.text[..byte.min(self.text.len())];
        let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

fn token(rest: &str) -> Result<(Token, usize), (usize, String)> {
    let Some(first) = rest.chars().next() else { return Ok((Token::End, 0)) };
    if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    match first {
        '"' => quoted(rest).map(|(text, length)| (text_token(text), length)).map_err(|what| (0, what)),
        '\'' => {
            let end = rest[1..].find('\'').ok_or_else(|| (0, "the string has no end; add a `'`".to_owned()))?;
            Ok((text_token(rest[1..=end].to_owned()), end + 2))
        }
        '-' | '0'..='9' => number(rest).map_err(|what| (0, what)),
        _ if first.is_alphabetic() || first == '_' => {
            RawPath::scan(rest).map(|(path, length)| (Token::Path(path), length))
        }
        _ => Err((0, format!("unexpected `{}`", if first.is_control() { ' ' } else { first }))),
    }
}

fn text_token(text: String) -> Token {
    Token::Literal(Literal::Text(text))
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let is_part = |(at, c): (usize, char)| {
        let after_exponent = at > 0 && rest[..at].ends_with(['e', 'E']);
        c.is_ascii_alphanumeric() || c == '.' || (c == '-' && at == 0) || ("+-".contains(c) && after_exponent)
    };
    let length = rest.char_indices().find(|&part| !is_part(part)).map_or(rest.len(), |(at, _)| at);
    let text = &rest[..length];
    let integer = text.parse().ok().map(Literal::Integer);
    let float = || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Literal::Float);
    match integer.or_else(float) {
        Some(literal) => Ok((Token::Literal(literal), length)),
        None => Err(format!("`{}` is no number; put texts into quotes", super::tree::shortened(text))),
    }
}

impl Token {
    /// How an error calls it.
    pub fn shown(&self) -> String {
        let shortened = super::tree::shortened;
        match self {
            Self::Path(path) => format!("`{}`", shortened(&path.first)),
            Self::Literal(Literal::Text(text)) => format!("the text \"{}\"", shortened(text)),
            Self::Literal(Literal::Integer(number)) => format!("`{number}`"),
            Self::Literal(Literal::Float(number)) => format!("`{number}`"),
            Self::Literal(Literal::Bool(value)) => format!("`{value}`"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".to_owned(),
        }
    }

    /// The word, if it is one.
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Path(path) if path.steps.is_empty() => Some(&path.first),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_with_positions() {
        let text = "a.b[0]>=-1.5e3\n 'x\\y' \"q\\n\" é";
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            let (at, token) = lexer.next().unwrap();
            if token == Token::End {
                break;
            }
            tokens.push((lexer.position(at), token));
        }
        let path = |text: &str| Token::Path(RawPath::whole(text).unwrap());
        let text = |text: &str| Token::Literal(Literal::Text(text.to_owned()));
        assert_eq!(
            tokens,
            [
                ((1, 1), path("a.b[0]")),
                ((1, 7), Token::Sign(">=")),
                ((1, 9), Token::Literal(Literal::Float(-1500.0))),
                ((2, 2), text("x\\y")),
                ((2, 8), text("q\n")),
                ((2, 14), path("é")),
            ]
        );
    }

    #[test]
    fn says_what_is_no_token() {
        for (text, at, what) in [
            ("  'a", 2, "the string has no end; add a `'`"),
            ("\"a\\", 0, "the string has no end; add a `\"`"),
            (
                "\"\\d\"",
                0,
                "the string has an escape or a character that JSON strings cannot have; write `\\\\` for a backslash",
            ),
            ("1x", 0, "`1x` is no number; put texts into quotes"),
            ("1e999", 0, "`1e999` is no number; put texts into quotes"),
            ("@", 0, "unexpected `@`"),
            ("facts.", 6, "a key must follow the dot; put one with other characters into quotes"),
        ] {
            assert_eq!(Lexer::new(text).next(), Err((at, what.to_owned())));
        }
    }
}
