//! The parser of what files define, functions, plans and type aliases, and of blocks with parameters.

use std::sync::Arc;

use super::ast::{Definition, Expr, File, Kind, Lambda, Parameter};
use super::parser::{Parsed, Parser};
use super::token::TokenKind;

impl Parser<'_> {
    pub(super) fn file(&mut self) -> Parsed<File> {
        let mut definitions = Vec::new();
        let mut statements = Vec::new();
        let at = self.at();
        loop {
            while self.accept(";") {}
            let is_definition = |name: &str| match name {
                "function" | "plan" => matches!(self.second().kind, TokenKind::Name(_)),
                "type" => matches!(self.second().kind, TokenKind::TypeName(_)),
                _ => false,
            };
            match &self.peek().kind {
                TokenKind::End => break,
                TokenKind::Name(name) if is_definition(name) => {
                    let word = name.clone();
                    definitions.push(self.definition(&word)?);
                }
                _ => statements.push(self.statement()?),
            }
        }
        let kind = match statements.len() {
            0 => Kind::Nop,
            1 => return Ok(File { source: self.source.clone(), definitions, body: statements.remove(0) }),
            _ => Kind::Block(statements),
        };
        Ok(File { source: self.source.clone(), definitions, body: Expr { at, kind } })
    }

    fn definition(&mut self, word: &str) -> Parsed<Definition> {
        self.skip();
        let token = self.take();
        let at = token.at;
        match token.kind {
            TokenKind::TypeName(name) => {
                if self.is("[") {
                    return Err((
                        at,
                        "the type alias takes no parameters: a mapping of types is not offered".to_owned(),
                    ));
                }
                self.expect("=", "after the name of the type")?;
                Ok(Definition::Alias(name.into(), Arc::new(self.expression(1)?)))
            }
            TokenKind::Name(name) => {
                let name: Arc<str> = name.trim_start_matches("::").into();
                let opened = self.at();
                let parameters = if self.accept("(") { self.parameters(")", opened)? } else { vec![] };
                let lambda = self.lambda_body(parameters)?;
                Ok(match word {
                    "plan" => Definition::Plan(name, lambda),
                    _ => Definition::Function(name, lambda),
                })
            }
            found => Err((at, format!("expected a name, found {}", found.describe()))),
        }
    }

    /// A block behind a call, if there is one.
    pub(super) fn block(&mut self) -> Parsed<Option<Arc<Lambda>>> {
        let opened = self.at();
        if !self.accept("|") {
            return Ok(None);
        }
        let parameters = self.parameters("|", opened)?;
        self.lambda_body(parameters).map(Some)
    }

    fn lambda_body(&mut self, parameters: Vec<Parameter>) -> Parsed<Arc<Lambda>> {
        let returns = if self.accept(">>") { Some(self.expression(16)?) } else { None };
        let body = self.braced("before the body")?;
        Ok(Arc::new(Lambda { parameters, returns, body, source: self.source.clone() }))
    }

    /// Statements in braces.
    pub(super) fn braced(&mut self, purpose: &str) -> Parsed<Expr> {
        let opened = self.at();
        self.expect("{", purpose)?;
        let statements = self.statements(Some("}"))?;
        self.close("}", opened)?;
        Ok(statements)
    }

    fn parameters(&mut self, closing: &str, opened: u32) -> Parsed<Vec<Parameter>> {
        let mut parameters: Vec<Parameter> = Vec::new();
        while !self.accept(closing) {
            let parameter = self.parameter()?;
            if parameters.iter().any(|other| other.name == parameter.name) {
                return Err((parameter.at, format!("the parameter `${}` is there twice", parameter.name)));
            }
            if let Some(last) = parameters.last().filter(|last| last.takes_rest) {
                return Err((last.at, format!("`*${}` takes all that is left, so it must be the last", last.name)));
            }
            parameters.push(parameter);
            if !self.accept(",") {
                self.close(closing, opened)?;
                break;
            }
        }
        Ok(parameters)
    }

    fn text_from(&self, start: u32) -> std::sync::Arc<str> {
        self.source.text.get(start as usize..self.at() as usize).unwrap_or_default().trim().into()
    }

    fn parameter(&mut self) -> Parsed<Parameter> {
        let is_typed = !self.is("*") && !matches!(self.peek().kind, TokenKind::Variable(_));
        let start = self.at();
        let data_type = if is_typed { Some(self.expression(16)?) } else { None };
        let type_text = data_type.is_some().then(|| self.text_from(start));
        let takes_rest = self.accept("*");
        let at = self.at();
        let TokenKind::Variable(name) = self.peek().kind.clone() else {
            return self.unexpected("a parameter: perhaps a type, then `$` and a name");
        };
        if name.contains("::") || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err((at, format!("`${name}` cannot be a parameter: expected a name without `::`")));
        }
        self.skip();
        let has_default = self.accept("=");
        let start = self.at();
        let default = if has_default { Some(self.expression(1)?) } else { None };
        let default_text = has_default.then(|| self.text_from(start));
        if takes_rest && default.is_some() {
            return Err((at, format!("`*${name}` takes all that is left, so it has no default")));
        }
        Ok(Parameter { name: name.into(), data_type, type_text, default, default_text, takes_rest, at })
    }
}
