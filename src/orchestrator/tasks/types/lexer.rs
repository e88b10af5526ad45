//! Tokens of type expressions and of files that define a type alias.

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A type's name: `String`, `Stdlib::Port`.
    Name(String),
    /// A bare word: `default`, `type`, an unquoted string.
    Word(String),
    /// A quoted string.
    Text(String),
    /// A regular expression, without the slashes.
    Regex(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// `[`, `]`, `{`, `}`, `,` or `=`.
    Mark(char),
    /// `=>`.
    Arrow,
}

/// Splits `text`; the error says at which byte it is not understood.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = skip_blank(rest);
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let (token, length) = match first {
            '[' | ']' | '{' | '}' | ',' => (Token::Mark(first), 1),
            '=' if rest.starts_with("=>") => (Token::Arrow, 2),
            '=' => (Token::Mark('='), 1),
            '\'' | '"' => quoted(rest, first).ok_or_else(|| unclosed("string", text, rest))?,
            '/' => regex(rest).ok_or_else(|| unclosed("regular expression", text, rest))?,
            '-' | '+' | '0'..='9' => number(rest).ok_or_else(|| format!("`{}` is not a number", word(rest)))?,
            'A'..='Z' | 'a'..='z' | '_' | ':' => {
                let word = word(rest);
                let is_name = word.trim_start_matches(':').starts_with(|first: char| first.is_ascii_uppercase());
                let token = if is_name { Token::Name } else { Token::Word };
                (token(word.trim_start_matches("::").to_owned()), word.len())
            }
            other => return Err(format!("unexpected `{other}` at byte {}", text.len() - rest.len())),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn unclosed(what: &str, text: &str, rest: &str) -> String {
    format!("the {what} that begins at byte {} has no end", text.len() - rest.len())
}

/// Skips white space and comments.
fn skip_blank(mut rest: &str) -> &str {
    loop {
        rest = rest.trim_start();
        match rest.strip_prefix('#') {
            Some(comment) => rest = comment.find('\n').map_or("", |end| &comment[end..]),
            None => return rest,
        }
    }
}

fn word(rest: &str) -> &str {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.' | '+');
    &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
}

fn quoted(rest: &str, quote: char) -> Option<(Token, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                escaped if escaped == '\\' || escaped == quote => text.push(escaped),
                'n' if quote == '"' => text.push('\n'),
                't' if quote == '"' => text.push('\t'),
                's' if quote == '"' => text.push(' '),
                other => text.extend(['\\', other]),
            },
            _ if c == quote => return Some((Token::Text(text), at + 1)),
            _ => text.push(c),
        }
    }
    None
}

fn regex(rest: &str) -> Option<(Token, usize)> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '/' => return Some((Token::Regex(rest[1..at].to_owned()), at + 1)),
            _ => {}
        }
    }
    None
}

fn number(rest: &str) -> Option<(Token, usize)> {
    let sign_length = usize::from(rest.starts_with(['-', '+']));
    let digits = word(&rest[sign_length..]);
    let text = &rest[..sign_length + digits.len()];
    // The library would take a second sign.
    let hexadecimal = digits.strip_prefix("0x").filter(|digits| !digits.starts_with(['-', '+']));
    let hexadecimal = hexadecimal.and_then(|digits| i64::from_str_radix(digits, 16).ok());
    let token = match hexadecimal {
        Some(value) => Token::Integer(if text.starts_with('-') { value.checked_neg()? } else { value }),
        None => match text.parse() {
            Ok(value) => Token::Integer(value),
            Err(_) => Token::Float(text.parse().ok().filter(|value: &f64| value.is_finite())?),
        },
    };
    Some((token, text.len()))
}
