//! Regular expressions of authorization rules. They are Java's (`java.util.regex`); what our engine cannot do, or does
//! otherwise, is refused by name, so that no pattern means something else than it says.

use std::iter::Peekable;
use std::str::Chars;

use regex::bytes::{Regex, RegexBuilder};

use crate::limits::AUTHORIZATION_PATTERN_BYTES_MAX;

/// A pattern that is searched for anywhere in a text. As in Java, `\w`, `\d`, `\s`, `\b` and `(?i)` know ASCII only.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Compiles a pattern, or says why it cannot be.
    pub fn new(text: &str) -> Result<Self, String> {
        if let Some(what) = only_in_java(text) {
            return Err(format!("the regular expression /{text}/ has {what}, which this version does not know"));
        }
        let compiled = RegexBuilder::new(text).unicode(false).size_limit(AUTHORIZATION_PATTERN_BYTES_MAX).build();
        compiled.map(Self).map_err(|error| {
            let cause = error.to_string();
            let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the regular expression /{text}/ is not valid: {cause}")
        })
    }

    /// Whether it is found in the text.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }

    /// The number of its capture groups.
    pub(super) fn groups(&self) -> usize {
        self.0.captures_len() - 1
    }

    /// What its groups hold, if it is found in the text.
    pub(super) fn captures(&self, text: &str) -> Option<Vec<Option<String>>> {
        let captures = self.0.captures(text.as_bytes())?;
        let group = |bytes: regex::bytes::Match<'_>| String::from_utf8_lossy(bytes.as_bytes()).into_owned();
        Some(captures.iter().skip(1).map(|found| found.map(group)).collect())
    }
}

/// The first thing in a pattern that is Java's alone, or that our engine takes for something else.
fn only_in_java(text: &str) -> Option<&'static str> {
    let mut chars = text.chars().peekable();
    let mut classes = 0_usize;
    let mut in_quantifier = false;
    while let Some(c) = chars.next() {
        let was_quantifier = std::mem::replace(&mut in_quantifier, false);
        match c {
            '\\' => {
                if let Some(what) = chars.next().and_then(|escaped| escape(escaped, &mut chars)) {
                    return Some(what);
                }
            }
            '[' => {
                if classes > 0 && chars.peek() == Some(&':') {
                    return Some("a POSIX class such as [:alpha:] (write a-zA-Z)");
                }
                classes += 1;
                chars.next_if_eq(&'^');
                chars.next_if_eq(&']');
            }
            ']' if classes > 0 => classes -= 1,
            '-' | '~' if classes > 0 && chars.peek() == Some(&c) => return Some("-- or ~~ in a class (escape them)"),
            _ if classes > 0 => {}
            '(' if chars.next_if_eq(&'?').is_some() => {
                if let Some(what) = group(&mut chars) {
                    return Some(what);
                }
            }
            '+' if was_quantifier => return Some("a possessive quantifier (remove the second +)"),
            '*' | '+' | '?' => in_quantifier = true,
            '{' => {
                if chars.peek() == Some(&',') {
                    return Some("{,n} (write {0,n})");
                }
                while chars.next_if(|c| *c != '}').is_some() {}
                in_quantifier = chars.next().is_some();
            }
            _ => {}
        }
    }
    None
}

fn escape(escaped: char, chars: &mut Peekable<Chars<'_>>) -> Option<&'static str> {
    match escaped {
        '1'..='9' => Some("a back-reference"),
        'k' => Some("a back-reference by name"),
        'Q' | 'E' => Some("a quotation \\Q...\\E (escape the characters)"),
        'p' | 'P' => Some("a character property \\p (write the characters as a class)"),
        'b' if chars.peek() == Some(&'{') => Some("\\b{...}"),
        'G' => Some("\\G"),
        'Z' => Some("\\Z (write $)"),
        'R' | 'X' | 'h' | 'H' | 'v' | 'V' | 'N' | 'c' | 'e' | '0' | '<' | '>' => {
            Some("one of \\R \\X \\h \\H \\v \\V \\N \\c \\e \\0 \\< \\>")
        }
        _ => None,
    }
}

/// What follows `(?`.
fn group(chars: &mut Peekable<Chars<'_>>) -> Option<&'static str> {
    match chars.peek() {
        Some('=' | '!') => return Some("a look-ahead (?= or (?!"),
        Some('>') => return Some("an atomic group (?>"),
        Some('<') => {
            chars.next();
            return matches!(chars.peek(), Some('=' | '!')).then_some("a look-behind (?<= or (?<!");
        }
        _ => {}
    }
    while let Some(flag) = chars.next_if(|c| *c != ')' && *c != ':') {
        if !"imsx-".contains(flag) {
            return Some("a flag other than i, m, s and x");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_searched_anywhere() {
        for (pattern, text, found) in [
            (r"^web\d+$", "web12", true),
            (r"^web\d+$", "xweb12", false),
            ("domain", "www.domain.org", true),
            ("", "anything", true),
            ("(?i)WEB", "a-web-b", true),
            (r"^(?<first>\w+)\.[a-z&&[^b]]", "a.c", true),
            (r"^\w+$", "caf\u{e9}", false),
            (r"(?i)k", "\u{212a}", false),
            (r"[]x]\}+", "]}}", true),
            (r"a{2}?", "caab", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().is_in(text), found, "{pattern} {text}");
        }
    }

    #[test]
    fn what_java_alone_knows_is_refused_by_name() {
        for (pattern, what) in [
            ("a(?=b)", "a look-ahead"),
            ("a(?!b)", "a look-ahead"),
            ("(?<=a)b", "a look-behind"),
            ("(?<!a)b", "a look-behind"),
            ("(?>a)b", "an atomic group"),
            (r"(a)\1", "a back-reference"),
            (r"(?<x>a)\k<x>", "a back-reference by name"),
            ("a*+b", "a possessive quantifier"),
            ("a{2}+b", "a possessive quantifier"),
            (r"\Qa.b\E", "a quotation"),
            (r"\p{Alpha}", "a character property"),
            ("[[:alpha:]]", "a POSIX class"),
            ("[a--b]", "-- or ~~"),
            ("(?u)a", "a flag other than"),
            ("(?P<x>a)", "a flag other than"),
            (r"a\Z", r"\Z (write $)"),
            (r"\<a", r"\< \>"),
            ("a{,2}", "{,n} (write {0,n})"),
        ] {
            let refusal = Pattern::new(pattern).unwrap_err();
            let expected = format!("the regular expression /{pattern}/ has {what}");
            assert!(refusal.starts_with(&expected) || refusal.contains(what), "{refusal}");
            assert!(refusal.ends_with("which this version does not know"), "{refusal}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (pattern, cause) in [
            ("(", "unclosed group"),
            ("[a", "unclosed character class"),
            ("*a", "repetition operator missing expression"),
            ("(a{1000}){1000}", "exceeds size limit"),
            (r"\u00e9[\u20ac]", "Unicode not allowed here"),
        ] {
            let refusal = Pattern::new(pattern).unwrap_err();
            assert!(refusal.starts_with(&format!("the regular expression /{pattern}/ is not valid: ")), "{refusal}");
            assert!(refusal.contains(cause), "{refusal}");
        }
    }

    #[test]
    fn groups_hold_what_they_have_found() {
        let pattern = Pattern::new("^/(pcp)-(broker)|(never)").unwrap();
        assert_eq!(pattern.groups(), 3);
        let held = pattern.captures("/pcp-broker/send").unwrap();
        assert_eq!(held, [Some("pcp".to_owned()), Some("broker".to_owned()), None]);
        assert_eq!(pattern.captures("/status"), None);
    }
}
