//! Regular expressions: Ruby's syntax put into that of our engine, which has no look-around and no back references and in
//! exchange takes a time that the text's length bounds.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::limits::TYPE_REGEX_BYTES_MAX;

/// A regular expression.
#[derive(Debug)]
pub struct Pattern {
    /// As it was written.
    pub text: String,
    /// For the engine.
    pub compiled: Regex,
}

impl Pattern {
    /// Compiles it; the error says what cannot be had.
    pub fn new(text: &str) -> Result<Arc<Self>, String> {
        let builder = || RegexBuilder::new(&translated(text)).multi_line(true).size_limit(TYPE_REGEX_BYTES_MAX).build();
        match builder() {
            Ok(compiled) => Ok(Arc::new(Self { text: text.to_owned(), compiled })),
            Err(error) => {
                let cause = error.to_string();
                let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(format!("the pattern /{text}/ cannot be checked by this server: {cause}"))
            }
        }
    }
}

/// `\Z`, `\h`, `\0`, `(?<name>` and `{,n}` are Ruby's alone, and `(?m)` means there what `(?s)` means here.
fn translated(ruby: &str) -> String {
    let mut ours = String::with_capacity(ruby.len());
    let mut in_class = false;
    let mut chars = ruby.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' {
            match chars.next() {
                Some('Z') => ours.push_str(r"(?:\n?\z)"),
                Some('h') if in_class => ours.push_str("0-9a-fA-F"),
                Some('h') => ours.push_str("[0-9a-fA-F]"),
                Some('H') => ours.push_str("[^0-9a-fA-F]"),
                Some('0') => ours.push_str(r"\x00"),
                Some('e') => ours.push_str(r"\x1B"),
                // Ruby's classes are those of ASCII.
                Some('d') => ours.push_str(if in_class { "0-9" } else { "[0-9]" }),
                Some('w') => ours.push_str(if in_class { "a-zA-Z0-9_" } else { "[a-zA-Z0-9_]" }),
                Some('s') => ours.push_str(if in_class { r" \t\r\n\x0B\x0C" } else { r"[ \t\r\n\x0B\x0C]" }),
                Some('D') => ours.push_str("[^0-9]"),
                Some('W') => ours.push_str("[^a-zA-Z0-9_]"),
                Some('S') => ours.push_str(r"[^ \t\r\n\x0B\x0C]"),
                // An escaped letter or sign without a meaning is itself.
                Some(escaped) if !escaped.is_ascii_alphanumeric() && !regex_syntax_escapes(escaped) => {
                    ours.push(escaped);
                }
                Some(escaped) => ours.extend(['\\', escaped]),
                None => ours.push('\\'),
            }
            continue;
        }
        match c {
            '[' if in_class && chars.peek() != Some(&':') => {
                ours.push_str("\\[");
                continue;
            }
            '[' if in_class => {
                // `[:alpha:]` within a class has an end of its own.
                ours.push('[');
                for c in chars.by_ref() {
                    ours.push(c);
                    if c == ']' {
                        break;
                    }
                }
                continue;
            }
            '[' => in_class = true,
            ']' => in_class = false,
            // Set operations that Ruby does not have.
            '~' | '-' | '&' if in_class && chars.peek() == Some(&c) => ours.push('\\'),
            _ => {}
        }
        ours.push(c);
        if c == '[' && chars.peek() == Some(&'^') {
            ours.extend(chars.next());
        }
        if c == '{' && !in_class && chars.peek() == Some(&',') {
            ours.push('0');
        }
    }
    options(&ours)
}

fn regex_syntax_escapes(c: char) -> bool {
    r"\.+*?()|[]{}^$#&-~/".contains(c) && c != '/'
}

/// Ruby's `(?mix-mix:` has `m` for what is `s` here.
fn options(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("(?") {
        let (before, behind) = rest.split_at(at + 2);
        out.push_str(before);
        let length = behind.bytes().take_while(|byte| matches!(byte, b'm' | b'i' | b'x' | b'-')).count();
        let is_options = length > 0 && matches!(behind.as_bytes().get(length), Some(b':' | b')'));
        let (flags, after) = behind.split_at(if is_options { length } else { 0 });
        // `-mix` turns off what is not on, and what is on here and means something else must stay.
        let flags = flags.strip_suffix('-').unwrap_or(flags);
        out.push_str(&flags.replace('m', "s"));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_what_ruby_means() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().compiled.is_match(text);
        assert!(matches(r"\A\h+\Z", "bf0\n"));
        assert!(matches(r"^a$", "b\na\nc"));
        assert!(!matches(r"a.b", "a\nb"));
        assert!(matches(r"(?m-ix:a.b)", "a\nb"));
        assert!(matches(r"[\w\-\/]+", "a-/"));
        assert!(!matches(r"\A\d\z", "\u{663}"));
        assert!(matches(r"[[:alpha:]\d]", "1"));
        assert!(matches(r"[a[]", "["));
        assert!(matches(r"\A[a-z]+={,2}[{,]\z", "abc=={"));
        assert!(matches("\\\"\\'\\ ", "\"' "));
        assert!(Pattern::new("(?=x)").is_err() && Pattern::new("a{1000}{1000}").is_err());
    }
}
