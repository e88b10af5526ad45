//! The parser of `if`, `unless`, `case` and selectors.

use super::ast::{Branches, Case, Expr, Kind, Selector};
use super::parser::{ASSIGNMENT, Parsed, Parser};
use super::token::TokenKind;

impl Parser<'_> {
    pub(super) fn branches(&mut self, is_unless: bool) -> Parsed<Kind> {
        let condition = self.expression(ASSIGNMENT)?;
        let then = self.braced("after the condition")?;
        let at = self.at();
        let otherwise = if self.is_word("else") {
            self.skip();
            Some(self.braced("after `else`")?)
        } else if self.is_word("elsif") && !is_unless {
            self.skip();
            self.depth += 1;
            self.check_height(self.depth)?;
            let kind = self.branches(false)?;
            self.depth -= 1;
            self.height += 1;
            Some(Expr { at, kind })
        } else {
            None
        };
        Ok(Kind::If(Box::new(Branches { condition, is_unless, then, otherwise })))
    }

    pub(super) fn case(&mut self, at: u32) -> Parsed<Kind> {
        let subject = self.expression(ASSIGNMENT)?;
        self.expect("{", "after the value of `case`")?;
        let mut options = Vec::new();
        while !self.accept("}") {
            if self.peek().kind == TokenKind::End {
                return Err((at, "the `case` that begins here has no `}`".to_owned()));
            }
            let option_at = self.at();
            let mut values = vec![self.expression(ASSIGNMENT)?];
            while self.accept(",") && !self.is(":") {
                values.push(self.expression(ASSIGNMENT)?);
            }
            self.expect(":", "after the values of an option")?;
            let is_default = |values: &Vec<Expr>| values.iter().any(|value| matches!(value.kind, Kind::Default));
            if is_default(&values) && options.iter().any(|(values, _)| is_default(values)) {
                return Err((option_at, "this `case` has a `default` already".to_owned()));
            }
            options.push((values, self.braced("after the `:` of an option")?));
        }
        if options.is_empty() {
            return Err((at, "a `case` needs at least one option".to_owned()));
        }
        Ok(Kind::Case(Box::new(Case { subject, options })))
    }

    pub(super) fn selector(&mut self, subject: Expr) -> Parsed<Expr> {
        let at = self.at();
        self.skip();
        let opened = self.at();
        self.expect("{", "after `?`")?;
        let options = self.hash(opened)?;
        if options.is_empty() {
            return Err((opened, "expected at least one option".to_owned()));
        }
        Ok(Expr { at, kind: Kind::Selector(Box::new(Selector { subject, options })) })
    }
}
