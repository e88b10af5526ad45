//! Regular expressions of queries and rules: found anywhere in a text, in time linear in its length whatever they are.

use regex::{Regex, RegexBuilder};

use super::tree::shortened;
use crate::limits::QUERY_PATTERN_BYTES_MAX;

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Pattern {
    /// Compiles it; the error says what to change.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(QUERY_PATTERN_BYTES_MAX).dfa_size_limit(QUERY_PATTERN_BYTES_MAX);
        builder.build().map(Self).map_err(|error| {
            let cause = error.to_string();
            let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the regular expression \"{}\" cannot be used: {cause}", shortened(text))
        })
    }

    /// Whether it is found in the text.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_anywhere_and_refused_with_the_cause() {
        assert!(Pattern::new("b+").unwrap().is_in("abbc"));
        assert!(!Pattern::new("^b").unwrap().is_in("abc"));
        for (text, cause) in [
            ("(", "unclosed group"),
            ("(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
            (r"(a)\1", "backreferences are not supported"),
            ("(a{1000}){1000}", "Compiled regex exceeds size limit of 262144 bytes."),
        ] {
            assert_eq!(
                Pattern::new(text).unwrap_err(),
                format!("the regular expression \"{text}\" cannot be used: {cause}")
            );
        }
    }
}
