//! Heredocs: `@("END":syntax/escapes)`, whose body begins on the next line and ends with a line `| - END`.

use super::lexer::{Escapes, LexError, Lexer, string};
use super::token::{StringPart, TokenKind};

/// Where a body ends.
#[derive(Debug)]
pub struct Pending {
    /// Behind the last byte of the text.
    pub end: usize,
}

/// What stands between the parentheses.
struct Head<'a> {
    tag: &'a str,
    is_interpolated: bool,
    escapes: Escapes<'a>,
}

/// The body's lines and what its end mark asks for.
struct Body {
    start: usize,
    end: usize,
    next_line: usize,
    margin: usize,
    trims_newline: bool,
}

impl Lexer<'_> {
    pub(super) fn heredoc(&mut self) -> Result<TokenKind, LexError> {
        let opened = self.at;
        let text = self.text;
        let line = text[opened..].split('\n').next().unwrap_or_default();
        let Some(close) = line.find(')') else { return self.error(opened, "the `@(` that begins here has no `)`") };
        let head = match head(&line[line.find('(').unwrap_or(0) + 1..close]) {
            Ok(head) => head,
            Err(what) => return self.error(opened, what),
        };
        let resume = opened + close + 1;
        let first_line = match self.after_heredocs {
            Some(at) => at,
            None => match self.text[resume..].find('\n') {
                Some(length) => resume + length + 1,
                None => self.text.len(),
            },
        };
        let Some(body) = body(self.text, first_line, head.tag) else {
            return self.error(opened, format!("the heredoc that begins here has no line `| {}`", head.tag));
        };
        self.after_heredocs = None;
        self.at = body.start;
        let end = Pending { end: body.end };
        let mut parts = self.parts(Some(&end), body.margin, head.escapes, head.is_interpolated)?;
        if body.trims_newline
            && let Some(StringPart::Text(text)) = parts.last_mut()
        {
            let kept = text.strip_suffix('\n').map_or(text.len(), |text| text.trim_end_matches('\r').len());
            text.truncate(kept);
        }
        self.after_heredocs = Some(body.next_line);
        self.at = resume;
        Ok(string(parts))
    }
}

fn head(text: &str) -> Result<Head<'_>, String> {
    let (text, letters) = match text.split_once('/') {
        Some((text, "")) => (text, "tnrsuL$"),
        Some((text, letters)) => (text, letters.trim()),
        None => (text, ""),
    };
    if let Some(unknown) = letters.chars().find(|c| !"tnrsuL$".contains(*c)) {
        return Err(format!("`{unknown}` is no escape of heredocs: expected some of `t n r s u L $`"));
    }
    let tag = text.split(':').next().unwrap_or_default().trim();
    let unquoted = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let name = unquoted.unwrap_or(tag).trim();
    if name.is_empty() || name.contains('"') {
        return Err("a heredoc needs a tag between `@(` and `)`, for example `@(END)`".to_owned());
    }
    let escapes = Escapes { letters, backslash: !letters.is_empty() };
    Ok(Head { tag: name, is_interpolated: unquoted.is_some(), escapes })
}

/// The lines from `start` up to the one that ends the heredoc.
fn body(text: &str, start: usize, tag: &str) -> Option<Body> {
    let mut at = start;
    while at < text.len() {
        let length = text[at..].find('\n').map_or(text.len() - at, |length| length + 1);
        if let Some((margin, trims_newline)) = end_mark(&text[at..at + length], tag) {
            return Some(Body { start, end: at, next_line: at + length, margin, trims_newline });
        }
        at += length;
    }
    None
}

/// `| - TAG` with any white space: the margin, and whether the last line break goes.
fn end_mark(line: &str, tag: &str) -> Option<(usize, bool)> {
    let content = line.trim_end().strip_suffix(tag)?;
    let indented = content.trim_start();
    let margin = content.len() - indented.len();
    let (has_margin, rest) = match indented.strip_prefix('|') {
        Some(rest) => (true, rest.trim()),
        None => (false, indented.trim()),
    };
    match rest {
        "" => Some((if has_margin { margin } else { 0 }, false)),
        "-" => Some((if has_margin { margin } else { 0 }, true)),
        _ => None,
    }
}
