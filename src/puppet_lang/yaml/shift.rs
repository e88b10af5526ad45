//! Moves a syntax tree from the text that it was parsed from to where that text stands in a file.

use std::sync::Arc;

use crate::puppet_lang::source::Source;
use crate::puppet_lang::syntax::ast::{Callee, Expr, Kind, Lambda, Part};

/// Where things go.
pub struct Shift<'a> {
    pub source: &'a Arc<Source>,
    pub place: &'a dyn Fn(u32) -> u32,
}

impl Shift<'_> {
    pub fn expression(&self, expression: &mut Expr) {
        expression.at = (self.place)(expression.at);
        match &mut expression.kind {
            Kind::Interpolated(parts) => {
                for part in parts {
                    if let Part::Code(code) = part {
                        self.expression(code);
                    }
                }
            }
            Kind::Array(items) | Kind::Block(items) => self.all(items),
            Kind::Hash(entries) => self.pairs(entries),
            Kind::Access(of, keys) => {
                self.expression(of);
                self.all(keys);
            }
            Kind::Call(call) => {
                if let Callee::Type(data_type) = &mut call.callee {
                    self.expression(data_type);
                }
                self.all(&mut call.arguments);
                call.block.iter_mut().for_each(|block| self.lambda(block));
            }
            Kind::Not(inner) | Kind::Minus(inner) | Kind::Splat(inner) | Kind::Parentheses(inner) => {
                self.expression(inner);
            }
            Kind::Binary(_, sides) | Kind::Assign(sides) => {
                self.expression(&mut sides.0);
                self.expression(&mut sides.1);
            }
            Kind::If(branches) => {
                self.expression(&mut branches.condition);
                self.expression(&mut branches.then);
                branches.otherwise.iter_mut().for_each(|otherwise| self.expression(otherwise));
            }
            Kind::Case(case) => {
                self.expression(&mut case.subject);
                for (values, body) in &mut case.options {
                    self.all(values);
                    self.expression(body);
                }
            }
            Kind::Selector(selector) => {
                self.expression(&mut selector.subject);
                self.pairs(&mut selector.options);
            }
            Kind::Catalog(block) => self.all(&mut block.arguments),
            Kind::Nop
            | Kind::Undef
            | Kind::Default
            | Kind::Boolean(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Text(_)
            | Kind::Name(_)
            | Kind::TypeName(_)
            | Kind::Variable(_)
            | Kind::Regex(_) => {}
        }
    }

    fn all(&self, expressions: &mut [Expr]) {
        expressions.iter_mut().for_each(|one| self.expression(one));
    }

    fn pairs(&self, pairs: &mut [(Expr, Expr)]) {
        for (left, right) in pairs {
            self.expression(left);
            self.expression(right);
        }
    }

    fn lambda(&self, lambda: &mut Arc<Lambda>) {
        // Nobody else has a tree that was just parsed.
        let Some(lambda) = Arc::get_mut(lambda) else { return };
        lambda.source = self.source.clone();
        for parameter in &mut lambda.parameters {
            parameter.at = (self.place)(parameter.at);
            parameter.data_type.iter_mut().chain(&mut parameter.default).for_each(|one| self.expression(one));
        }
        lambda.returns.iter_mut().for_each(|one| self.expression(one));
        self.expression(&mut lambda.body);
    }
}
