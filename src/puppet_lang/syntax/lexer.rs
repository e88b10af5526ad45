//! From text to tokens (Puppet language specification, "Lexical Structure"): words, numbers, strings with interpolation,
//! regular expressions. Heredocs are in `heredoc`.

use super::heredoc::Pending;
use super::token::{MARKS, StringPart, Token, TokenKind};
use crate::limits::{PUPPET_NESTING_MAX, PUPPET_SOURCE_BYTES_MAX};

/// What is wrong, and at which byte.
pub type LexError = (u32, String);

/// All tokens of `text`, the last one [`TokenKind::End`].
pub fn tokens(text: &str) -> Result<Vec<Token>, LexError> {
    if text.len() > PUPPET_SOURCE_BYTES_MAX {
        return Err((0, format!("the text has more than {PUPPET_SOURCE_BYTES_MAX} bytes; split it")));
    }
    let mut lexer = Lexer { text, at: 0, after_heredocs: None, depth: 0 };
    lexer.run(None)
}

/// Escapes that a string knows besides its own quote.
#[derive(Debug, Clone, Copy)]
pub struct Escapes<'a> {
    /// The letters: some of `t n r s u L $`.
    pub letters: &'a str,
    /// Whether a backslash before a backslash is one.
    pub backslash: bool,
}

const DOUBLE_QUOTED: Escapes<'static> = Escapes { letters: "tnrsu$'\"", backslash: true };

pub(super) struct Lexer<'a> {
    pub text: &'a str,
    pub at: usize,
    /// Where lines go on behind the bodies of this line's heredocs.
    pub after_heredocs: Option<usize>,
    depth: usize,
}

impl<'a> Lexer<'a> {
    pub fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub fn error<T>(&self, at: usize, what: impl Into<String>) -> Result<T, LexError> {
        Err((position(at), what.into()))
    }

    /// Reads up to the end, or for interpolated code that began at `opened` up to its closing brace.
    fn run(&mut self, opened: Option<usize>) -> Result<Vec<Token>, LexError> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut braces = 0_usize;
        loop {
            let is_spaced = self.skip_blank()? || tokens.is_empty();
            let start = self.at;
            let Some(first) = self.rest().chars().next() else {
                return match opened {
                    Some(opened) => self.error(opened, "the `${` that begins here has no `}`"),
                    None => {
                        tokens.push(Token {
                            kind: TokenKind::End,
                            at: position(start),
                            end: position(start),
                            is_spaced,
                        });
                        Ok(tokens)
                    }
                };
            };
            if opened.is_some() && first == '}' && braces == 0 {
                self.at += 1;
                tokens.push(Token { kind: TokenKind::End, at: position(start), end: position(self.at), is_spaced });
                return Ok(tokens);
            }
            let kind = self.token(first, tokens.last().map(|token| &token.kind))?;
            match kind {
                TokenKind::Mark("{") => braces += 1,
                TokenKind::Mark("}") => braces = braces.saturating_sub(1),
                _ => {}
            }
            tokens.push(Token { kind, at: position(start), end: position(self.at), is_spaced });
        }
    }

    /// Skips white space and comments; tells whether there was any.
    fn skip_blank(&mut self) -> Result<bool, LexError> {
        let start = self.at;
        loop {
            let rest = self.rest();
            match rest.as_bytes().first() {
                Some(b'\n') => self.at = self.after_heredocs.take().unwrap_or(self.at + 1),
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'#') => self.at += rest.find('\n').unwrap_or(rest.len()),
                Some(b'/') if rest.starts_with("/*") => match rest.find("*/") {
                    Some(length) => self.at += length + 2,
                    None => return self.error(self.at, "the comment that begins here has no `*/`"),
                },
                _ if rest.starts_with('\u{a0}') || rest.starts_with('\u{feff}') => {
                    self.at += rest.chars().next().map_or(0, char::len_utf8);
                }
                _ => return Ok(self.at > start),
            }
        }
    }

    fn token(&mut self, first: char, previous: Option<&TokenKind>) -> Result<TokenKind, LexError> {
        match first {
            'a'..='z' | 'A'..='Z' | '_' => self.word(),
            ':' if self.rest().starts_with("::") => self.word(),
            '0'..='9' => self.number(),
            '$' => self.variable(),
            '\'' => self.single_quoted(),
            '"' => self.double_quoted(),
            '@' if self.rest()[1..].trim_start_matches([' ', '\t']).starts_with('(') => self.heredoc(),
            '/' if !previous.is_some_and(TokenKind::ends_operand) => match regex(self.rest()) {
                Some((text, length)) => {
                    self.at += length;
                    Ok(TokenKind::Regex(text))
                }
                None => self.mark(),
            },
            _ => self.mark(),
        }
    }

    fn mark(&mut self) -> Result<TokenKind, LexError> {
        match MARKS.iter().find(|mark| self.rest().starts_with(**mark)) {
            Some(mark) => {
                self.at += mark.len();
                Ok(TokenKind::Mark(mark))
            }
            None => {
                let found = self.rest().chars().next().unwrap_or_default();
                self.error(self.at, format!("the character `{found}` means nothing here"))
            }
        }
    }

    fn word(&mut self) -> Result<TokenKind, LexError> {
        let start = self.at;
        let (mut is_name, mut is_type) = (true, true);
        loop {
            self.at += if self.rest().starts_with("::") { 2 } else { 0 };
            let segment = segment(self.rest(), true);
            match segment.as_bytes().first() {
                Some(b'A'..=b'Z') => is_name = false,
                Some(b'a'..=b'z' | b'_') => is_type = false,
                _ => return self.error(start, "expected a name after `::`"),
            }
            // A hyphen is part of a bare word, and of no type's name.
            self.at += if is_name { segment.len() } else { segment.find('-').unwrap_or(segment.len()) };
            if !self.rest().starts_with("::") || !is_segment_start(self.rest().as_bytes().get(2)) {
                break;
            }
        }
        let word = self.text[start..self.at].to_owned();
        match (is_name, is_type) {
            (true, _) => Ok(TokenKind::Name(word)),
            (_, true) => Ok(TokenKind::TypeName(word.trim_start_matches("::").to_owned())),
            _ => self.error(start, format!("`{word}` mixes a name in lower case with a type's name")),
        }
    }

    fn number(&mut self) -> Result<TokenKind, LexError> {
        let start = self.at;
        let bytes = self.rest().as_bytes();
        let mut length = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let is_hexadecimal = bytes.get(1).is_some_and(|byte| matches!(byte, b'x' | b'X'));
        let digit_at = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
        if !is_hexadecimal {
            if bytes.get(length) == Some(&b'.') && digit_at(length + 1) {
                length += 1;
                length += bytes[length..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            }
            let has_exponent = matches!(bytes[length - 1], b'e' | b'E') && bytes.get(length) == Some(&b'-');
            if has_exponent && digit_at(length + 1) {
                length += 1;
                length += bytes[length..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            }
        }
        let text = &self.rest()[..length];
        match number(text) {
            Some(kind) => {
                self.at += length;
                Ok(kind)
            }
            None => self.error(start, format!("`{text}` is not a number, or does not fit into 64 bits")),
        }
    }

    fn variable(&mut self) -> Result<TokenKind, LexError> {
        match variable_name(&self.rest()[1..]) {
            Some(name) => {
                self.at += 1 + name.len();
                Ok(TokenKind::Variable(name.to_owned()))
            }
            None => self.error(self.at, "expected the name of a variable after `$`: a letter in lower case first"),
        }
    }

    fn single_quoted(&mut self) -> Result<TokenKind, LexError> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((index, c)) = chars.next() {
            match c {
                '\'' => {
                    self.at += index + 1;
                    return Ok(TokenKind::Text(text));
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('\\' | '\''))) => text.push(escaped),
                    Some((_, other)) => text.extend(['\\', other]),
                    None => break,
                },
                _ => text.push(c),
            }
        }
        self.error(start, "the string that begins here has no closing `'`")
    }

    fn double_quoted(&mut self) -> Result<TokenKind, LexError> {
        let start = self.at;
        self.at += 1;
        let parts = self.parts(None, 0, DOUBLE_QUOTED, true)?;
        if !self.rest().starts_with('"') {
            return self.error(start, "the string that begins here has no closing `\"`");
        }
        self.at += 1;
        Ok(string(parts))
    }

    /// The parts of a string from here to its quote, or to `end`; `margin` characters are taken off each line.
    pub fn parts(
        &mut self,
        end: Option<&Pending>,
        margin: usize,
        escapes: Escapes<'_>,
        is_interpolated: bool,
    ) -> Result<Vec<StringPart>, LexError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        self.skip_margin(end, margin);
        while end.map_or(self.at < self.text.len(), |end| self.at < end.end) {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else { break };
            match c {
                '"' if end.is_none() => break,
                '\\' => self.escape(escapes, &mut text)?,
                '$' if is_interpolated => self.interpolation(&mut parts, &mut text)?,
                _ => {
                    text.push(c);
                    self.at += c.len_utf8();
                }
            }
            if rest.starts_with('\n') || rest.starts_with("\\\n") {
                self.skip_margin(end, margin);
            }
        }
        if !text.is_empty() {
            parts.push(StringPart::Text(text));
        }
        Ok(parts)
    }

    fn skip_margin(&mut self, end: Option<&Pending>, margin: usize) {
        let blank = self.rest().bytes().take(margin).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.at = end.map_or(self.at + blank, |end| (self.at + blank).min(end.end));
    }

    fn escape(&mut self, escapes: Escapes<'_>, text: &mut String) -> Result<(), LexError> {
        let at = self.at;
        let Some(c) = self.rest()[1..].chars().next() else {
            self.at += 1;
            text.push('\\');
            return Ok(());
        };
        self.at += 1 + c.len_utf8();
        match c {
            '\\' if escapes.backslash => text.push('\\'),
            '\n' if escapes.letters.contains('L') => {}
            '\r' if escapes.letters.contains('L') && self.rest().starts_with('\n') => self.at += 1,
            'u' if escapes.letters.contains('u') => text.push(self.unicode(at)?),
            _ if !escapes.letters.contains(c) || c == 'L' => text.extend(['\\', c]),
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            's' => text.push(' '),
            other => text.push(other),
        }
        Ok(())
    }

    fn unicode(&mut self, at: usize) -> Result<char, LexError> {
        let rest = self.rest();
        let (digits, length) = match rest.strip_prefix('{') {
            Some(braced) => {
                let digits = braced.split('}').next().filter(|digits| digits.len() < braced.len()).unwrap_or_default();
                (digits, digits.len() + 2)
            }
            None => (rest.get(..4).unwrap_or_default(), 4),
        };
        let is_hexadecimal = (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal).and_then(char::from_u32);
        match code {
            Some(c) => {
                self.at += length;
                Ok(c)
            }
            None => self.error(at, "expected four hexadecimal digits after `\\u`, or up to six in braces"),
        }
    }

    fn interpolation(&mut self, parts: &mut Vec<StringPart>, text: &mut String) -> Result<(), LexError> {
        let start = self.at;
        let rest = &self.rest()[1..];
        let part = if rest.starts_with('{') {
            self.depth += 1;
            if self.depth > PUPPET_NESTING_MAX {
                return self
                    .error(start, format!("strings within strings are nested more than {PUPPET_NESTING_MAX} deep"));
            }
            self.at += 2;
            let code = self.run(Some(start))?;
            self.depth -= 1;
            StringPart::Code(code)
        } else if let Some(name) = variable_name(rest) {
            self.at += 1 + name.len();
            StringPart::Variable(name.to_owned(), position(start))
        } else {
            text.push('$');
            self.at += 1;
            return Ok(());
        };
        if !text.is_empty() {
            parts.push(StringPart::Text(std::mem::take(text)));
        }
        parts.push(part);
        Ok(())
    }
}

/// A string of `parts`: a plain one if there is nothing to evaluate.
pub fn string(mut parts: Vec<StringPart>) -> TokenKind {
    match parts.as_mut_slice() {
        [] => TokenKind::Text(String::new()),
        [StringPart::Text(text)] => TokenKind::Text(std::mem::take(text)),
        _ => TokenKind::Interpolated(parts),
    }
}

pub fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn is_segment_start(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
}

/// Letters, digits and underscores, and hyphens within if wanted.
fn segment(text: &str, has_hyphens: bool) -> &str {
    if !is_segment_start(text.as_bytes().first()) {
        return "";
    }
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (has_hyphens && *byte == b'-');
    let length = text.bytes().take_while(is_part).count();
    text[..length].trim_end_matches('-')
}

/// The name of a variable, or the number of a match variable, at the beginning of `text`.
fn variable_name(text: &str) -> Option<&str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 {
        return Some(&text[..digits]);
    }
    let mut length = if text.starts_with("::") { 2 } else { 0 };
    loop {
        let segment = segment(&text[length..], false);
        if !segment.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') {
            return None;
        }
        length += segment.len();
        let next = text[length..].strip_prefix("::").and_then(|next| next.bytes().next());
        if !next.is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Some(&text[..length]);
        }
        length += 2;
    }
}

/// A number as the language writes it: decimal, octal with a leading zero, hexadecimal, or a float.
fn number(text: &str) -> Option<TokenKind> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        return i64::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal).map(TokenKind::Integer);
    }
    if is_digits(text) {
        let radix = if text.len() > 1 && text.starts_with('0') { 8 } else { 10 };
        return i64::from_str_radix(text, radix).ok().map(TokenKind::Integer);
    }
    let (mantissa, exponent) =
        text.split_once(['e', 'E']).map_or((text, "0"), |(mantissa, exponent)| (mantissa, exponent));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_float = is_digits(whole) && is_digits(fraction) && is_digits(exponent.strip_prefix('-').unwrap_or(exponent));
    text.parse().ok().filter(|value: &f64| is_float && value.is_finite()).map(TokenKind::Float)
}

/// A regular expression on one line and its length with both slashes.
fn regex(rest: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                '/' => text.push('/'),
                '\n' => return None,
                escaped => text.extend(['\\', escaped]),
            },
            '/' => return Some((text, at + 1)),
            '\n' => return None,
            _ => text.push(c),
        }
    }
    None
}
