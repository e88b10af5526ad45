//! What stands between the quotes of a string that is put together from parts.

use super::ast::{Expr, Kind, Part};
use super::parser::{Parsed, Parser};
use super::token::{StringPart, Token, TokenKind};

impl Parser<'_> {
    pub(super) fn parts(&mut self, parts: Vec<StringPart>) -> Parsed<Vec<Part>> {
        parts.into_iter().map(|part| self.part(part)).collect()
    }

    fn part(&mut self, part: StringPart) -> Parsed<Part> {
        match part {
            StringPart::Text(text) => Ok(Part::Text(text.into())),
            StringPart::Variable(name, at) => Ok(Part::Code(Expr { at, kind: Kind::Variable(name.into()) })),
            StringPart::Code(tokens) => {
                if let [Token { kind: TokenKind::Name(name), at, .. }, _] = tokens.as_slice()
                    && !name.contains('-')
                {
                    return Ok(Part::Code(Expr { at: *at, kind: Kind::Variable(name.as_str().into()) }));
                }
                let at = tokens[0].at;
                if tokens.len() == 1 {
                    return Err((at, "expected a variable or an expression between `${` and `}`".to_owned()));
                }
                let mut inner = Parser { source: self.source, tokens, next: 0, depth: self.depth, height: 0 };
                let code = inner.statements(None)?;
                self.height = self.height.max(inner.height);
                Ok(Part::Code(with_variable(code)))
            }
        }
    }
}

/// In a string, the first word of `${name[key].function}` is a variable.
fn with_variable(mut expression: Expr) -> Expr {
    name_to_variable(&mut expression);
    expression
}

fn name_to_variable(first: &mut Expr) {
    let name = match &mut first.kind {
        Kind::Name(name) => name.clone(),
        Kind::Integer(number) if *number >= 0 => number.to_string().into(),
        Kind::Access(inner, _) => return name_to_variable(inner),
        Kind::Call(call) if call.is_chained => return name_to_variable(&mut call.arguments[0]),
        _ => return,
    };
    first.kind = Kind::Variable(name);
}
