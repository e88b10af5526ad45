//! Tokens of the Puppet language.

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub kind: TokenKind,
    /// Its first byte.
    pub at: u32,
    /// The byte behind its last.
    pub end: u32,
    /// White space stands before it, which means something before `[`.
    pub is_spaced: bool,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenKind {
    /// A word in lower case: a keyword, a function's name, or a string without quotes.
    Name(String),
    /// A type's name.
    TypeName(String),
    /// A variable, without the dollar.
    Variable(String),
    Integer(i64),
    Float(f64),
    /// A string without anything to evaluate.
    Text(String),
    /// A string with parts to evaluate.
    Interpolated(Vec<StringPart>),
    /// A regular expression, without the slashes.
    Regex(String),
    /// An operator or a bracket.
    Mark(&'static str),
    /// The end of the text.
    End,
}

/// A part of a string.
#[derive(Debug, Clone, PartialEq)]
pub enum StringPart {
    /// As it is.
    Text(String),
    /// `$name`.
    Variable(String, u32),
    /// `${ ... }`; ends with [`TokenKind::End`].
    Code(Vec<Token>),
}

impl TokenKind {
    /// In an error: what was found.
    pub fn describe(&self) -> String {
        match self {
            Self::Name(name) | Self::TypeName(name) => format!("`{name}`"),
            Self::Variable(name) => format!("`${name}`"),
            Self::Integer(value) => format!("`{value}`"),
            Self::Float(value) => format!("`{value}`"),
            Self::Text(_) | Self::Interpolated(_) => "a string".to_owned(),
            Self::Regex(text) => format!("`/{text}/`"),
            Self::Mark(mark) => format!("`{mark}`"),
            Self::End => "the end".to_owned(),
        }
    }

    /// Whether an operand ends here, so that a slash behind it divides.
    pub fn ends_operand(&self) -> bool {
        match self {
            Self::Mark(mark) => matches!(*mark, ")" | "]" | "|>" | "|>>"),
            Self::Name(name) => {
                !matches!(
                    name.as_str(),
                    "and"
                        | "or"
                        | "in"
                        | "if"
                        | "elsif"
                        | "else"
                        | "unless"
                        | "case"
                        | "default"
                        | "undef"
                        | "true"
                        | "false"
                ) || matches!(name.as_str(), "default" | "undef" | "true" | "false")
            }
            Self::End => false,
            _ => true,
        }
    }
}

/// Longest first.
pub const MARKS: &[&str] = &[
    "<<|", "|>>", "<|", "|>", "<<", ">>", "<=", ">=", "<-", "<~", "=>", "==", "=~", "!=", "!~", "->", "~>", "+=", "-=",
    "+>", "@@", "{", "}", "[", "]", "(", ")", "|", ",", ";", ".", ":", "?", "+", "-", "*", "/", "%", "!", "<", ">",
    "=", "@", "~",
];
