//! The comment above a plan, with the tags of Puppet Strings: `@summary`, `@param`, `@api private` and `@private true`.

use std::collections::BTreeMap;

use crate::limits::PLAN_DESCRIPTION_BYTES_MAX;

/// What a comment says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comment {
    /// `@summary`, or the text without a tag.
    pub description: String,
    /// `@param` by name.
    pub parameters: BTreeMap<String, String>,
    /// Whether the plan is for other plans only.
    pub private: bool,
}

/// The comment above the first plan of a file.
pub fn of_plan(text: &str) -> Comment {
    let mut block: Vec<&str> = Vec::new();
    let mut is_open = false;
    for line in text.lines().map(str::trim_start) {
        if let Some(comment) = line.strip_prefix('#') {
            if !is_open {
                block.clear();
            }
            is_open = true;
            block.push(comment);
            continue;
        }
        is_open = false;
        if line.strip_prefix("plan").is_some_and(|rest| rest.starts_with([' ', '\t'])) {
            return read(&block);
        }
        if !line.is_empty() {
            block.clear();
        }
    }
    Comment::default()
}

fn read(lines: &[&str]) -> Comment {
    let mut tags: Vec<(&str, String)> = vec![("", String::new())];
    for line in lines {
        let trimmed = line.trim();
        match trimmed.strip_prefix('@') {
            Some(tag) => {
                let (tag, rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
                tags.push((tag, rest.trim().to_owned()));
            }
            None => {
                // What is not indented does not belong to the tag above it.
                let is_more = tags.len() == 1 || trimmed.is_empty() || line.starts_with("  ") || line.starts_with('\t');
                let index = if is_more { tags.len() - 1 } else { 0 };
                let text = &mut tags[index].1;
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(trimmed);
            }
        }
    }
    let mut comment = Comment::default();
    let mut summary = None;
    for (tag, text) in &tags {
        match *tag {
            "summary" => summary = summary.or(Some(text)),
            "param" => {
                let (name, description) = parameter(text);
                comment.parameters.entry(name.to_owned()).or_insert_with(|| bounded(description));
            }
            "api" => comment.private |= text.trim() == "private",
            "private" => comment.private |= !text.trim().eq_ignore_ascii_case("false"),
            _ => {}
        }
    }
    comment.description = bounded(summary.unwrap_or(&tags[0].1));
    comment
}

/// Name and description; types may stand before the name or behind it.
fn parameter(text: &str) -> (&str, &str) {
    let text = without_types(text);
    let (name, description) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (name.trim_start_matches('$'), without_types(description.trim_start()))
}

fn without_types(text: &str) -> &str {
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((types, rest)) if !types.contains('\n') => rest.trim_start_matches(']').trim_start(),
        _ => text,
    }
}

fn bounded(text: &str) -> String {
    let text = text.trim();
    let mut end = text.len().min(PLAN_DESCRIPTION_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comment(description: &str, parameters: &[(&str, &str)], private: bool) -> Comment {
        let parameters = parameters.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Comment { description: description.to_owned(), parameters, private }
    }

    #[test]
    fn tags_and_text() {
        let cases = [
            ("plan a {}", comment("", &[], false)),
            ("# licence\n\n# Does it.\n# Twice.\nplan a() {}", comment("Does it.\nTwice.", &[], false)),
            ("# Old\n$x = 1\nplan a {}", comment("", &[], false)),
            ("# Text\n# @api private\n\nplan a {}", comment("Text", &[], true)),
            ("# @private true\nplan a {}", comment("", &[], true)),
            ("# @private false\nplan a {}", comment("", &[], false)),
        ];
        for (text, expected) in cases {
            assert_eq!(of_plan(text), expected, "{text}");
        }
        let text = "# @summary Rolls\n#   out\n# More\n# @param x\n#   The x\n# @param [Array[String]] y The y\n# @param z [Integer] The z\n\
                    plan a::b (\n) {}";
        let expected = comment("Rolls\nout", &[("x", "The x"), ("y", "The y"), ("z", "The z")], false);
        assert_eq!(of_plan(text), expected);
    }
}
