//! Which strings of a plan in YAML are code, and their syntax trees, with the places of the file.

use std::sync::Arc;

use super::document::{Content, Node, Style, scalar};
use super::shift::Shift;
use super::{Parsed, call, literal, text};
use crate::puppet_lang::source::Source;
use crate::puppet_lang::syntax::ast::{Expr, Kind, Lambda};
use crate::puppet_lang::syntax::parse_statements;
use crate::puppet_lang::value::Value;

/// A node as an expression: code where its strings are code; keys never are.
pub fn expression(source: &Arc<Source>, node: &Node) -> Parsed<Expr> {
    let at = node.at;
    match &node.content {
        Content::Scalar(style, content) => match style {
            Style::Plain if content.starts_with('$') => code(source, node, content, false),
            Style::Double if content.contains('$') => code(source, node, &requoted(content), false),
            Style::Literal => code(source, node, content, true),
            style => Ok(Expr { at, kind: literal(scalar(*style, content)) }),
        },
        Content::List(items) => {
            let items = items.iter().map(|item| expression(source, item)).collect::<Parsed<_>>()?;
            Ok(Expr { at, kind: Kind::Array(items) })
        }
        Content::Map(entries) => {
            let entry =
                |(key, value): &(super::document::Key, Node)| Ok((text(key.at, &key.text), expression(source, value)?));
            Ok(Expr { at, kind: Kind::Hash(entries.iter().map(entry).collect::<Parsed<_>>()?) })
        }
    }
}

/// A value in which nothing is code.
pub fn constant(at: u32, value: &Value) -> Expr {
    let kind = match value {
        Value::Array(items) => Kind::Array(items.iter().map(|item| constant(at, item)).collect()),
        Value::Hash(entries) => {
            Kind::Hash(entries.iter().map(|(key, value)| (constant(at, key), constant(at, value))).collect())
        }
        other => literal(other.clone()),
    };
    Expr { at, kind }
}

/// An expression with variables of its own.
pub fn enclosed(source: &Arc<Source>, body: Expr) -> Expr {
    let at = body.at;
    let lambda = Lambda { parameters: vec![], returns: None, body, source: source.clone() };
    call(at, "with", vec![], Some(Arc::new(lambda)))
}

/// Code that stands in a node. What it gives to variables nobody else sees.
fn code(source: &Arc<Source>, node: &Node, content: &str, is_block: bool) -> Parsed<Expr> {
    let parsed = parsed(source, node.at, content)?;
    let sets = is_block || matches!(parsed.kind, Kind::Block(_) | Kind::Assign(_));
    Ok(if sets { enclosed(source, parsed) } else { parsed })
}

/// The code of a text that stands at a byte of the file.
pub fn parsed(source: &Arc<Source>, at: u32, content: &str) -> Parsed<Expr> {
    let piece = Source::new(source.name.as_str(), content);
    let lines = Lines::of(&source.text, at, content);
    let place = |at: u32| lines.place(at);
    let mut parsed = parse_statements(&piece).map_err(|(at, message)| (place(at), message))?;
    Shift { source, place: &place }.expression(&mut parsed);
    Ok(parsed)
}

/// The string in double quotes that means the same in the Puppet language: what YAML has unescaped is escaped again, but not
/// the code in it.
pub fn requoted(content: &str) -> String {
    let mut quoted = String::from("\"");
    let mut braces = 0_usize;
    let mut previous = ' ';
    for one in content.chars() {
        match one {
            '{' if braces > 0 || previous == '$' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            '"' | '\\' if braces == 0 => quoted.push('\\'),
            _ => {}
        }
        quoted.push(one);
        previous = one;
    }
    quoted.push('"');
    quoted
}

/// Where the text of a node stands in its file.
struct Lines<'t> {
    at: u32,
    /// The file from the node on.
    file: &'t str,
    content: &'t str,
    /// What every line is indented by.
    indent: usize,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str, at: u32, content: &'t str) -> Self {
        let start = at as usize;
        let indent = start - text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        Self { at, file: &text[start..], content, indent }
    }

    /// Where a byte of the content is. The node begins where the content's first line does that has something in it. If the
    /// two are not the same there, as in folded lines, it is where the node begins.
    fn place(&self, byte: u32) -> u32 {
        let byte = (byte as usize).min(self.content.len());
        let skipped = self.content.len() - self.content.trim_start_matches('\n').len();
        let Some(within) = self.content[..byte].get(skipped..) else { return self.at };
        let line = within.bytes().filter(|byte| *byte == b'\n').count();
        let column = within.len() - within.rfind('\n').map_or(0, |newline| newline + 1);
        let mut start = 0;
        for _ in 0..line {
            match self.file[start..].find('\n') {
                Some(length) => start += length + 1,
                None => return self.at,
            }
        }
        let indent = if line == 0 { 0 } else { self.indent };
        let length = self.file[start..].find('\n').unwrap_or(self.file.len() - start);
        self.at + u32::try_from(start + (indent + column).min(length)).unwrap_or(0)
    }
}
