//! What is wrong with a file before it is evaluated: functions that nobody has, and statements without effect.

use super::ast::{Callee, Definition, Expr, File, Kind, Lambda, Part};
use crate::puppet_lang::functions;
use crate::puppet_lang::source::Diagnostic;

/// Everything that is wrong. `is_known` knows the functions beside those of the table.
pub fn problems(file: &File, is_known: &dyn Fn(&str) -> bool) -> Vec<Diagnostic> {
    let mut check = Check { is_known, found: vec![] };
    for definition in &file.definitions {
        match definition {
            Definition::Function(_, lambda) | Definition::Plan(_, lambda) => check.lambda(lambda),
            Definition::Alias(..) => {}
        }
    }
    check.expression(&file.body);
    check.found.into_iter().map(|(at, message)| file.source.diagnostic(at, message)).collect()
}

struct Check<'a> {
    is_known: &'a dyn Fn(&str) -> bool,
    found: Vec<(u32, String)>,
}

impl Check<'_> {
    fn lambda(&mut self, lambda: &Lambda) {
        for parameter in &lambda.parameters {
            parameter.data_type.iter().chain(&parameter.default).for_each(|one| self.expression(one));
        }
        self.expression(&lambda.body);
    }

    fn all<'e>(&mut self, expressions: impl IntoIterator<Item = &'e Expr>) {
        for expression in expressions {
            self.expression(expression);
        }
    }

    fn expression(&mut self, expression: &Expr) {
        match &expression.kind {
            Kind::Call(call) => {
                match &call.callee {
                    Callee::Name(name) if !call.is_chained && !self.is_offered(name) => {
                        let why = functions::why_not(name);
                        self.found.push((expression.at, format!("there is no function `{name}`: {why}")));
                    }
                    Callee::Name(_) => {}
                    Callee::Type(callee) => self.expression(callee),
                }
                self.all(&call.arguments);
                call.block.iter().for_each(|block| self.lambda(block));
            }
            Kind::Block(statements) => {
                let idle = statements.split_last().map(|(_, before)| before).unwrap_or_default();
                let idle = idle.iter().filter(|statement| is_idle(statement));
                self.found.extend(idle.map(|one| (one.at, "this has no effect: its value is not used".to_owned())));
                self.all(statements);
            }
            Kind::Interpolated(parts) => self.all(parts.iter().filter_map(|part| match part {
                Part::Code(code) => Some(code),
                Part::Text(_) => None,
            })),
            Kind::Array(items) => self.all(items),
            Kind::Hash(entries) => self.all(entries.iter().flat_map(|(key, value)| [key, value])),
            Kind::Access(of, keys) => self.all([&**of].into_iter().chain(keys)),
            Kind::Not(inner) | Kind::Minus(inner) | Kind::Splat(inner) | Kind::Parentheses(inner) => {
                self.expression(inner);
            }
            Kind::Binary(_, operands) => self.all([&operands.0, &operands.1]),
            Kind::Assign(sides) => {
                if !is_target(&sides.0) {
                    let message = "only variables, or an array of them, can be given a value";
                    self.found.push((sides.0.at, message.to_owned()));
                }
                self.expression(&sides.1);
            }
            Kind::If(branches) => {
                self.all([&branches.condition, &branches.then].into_iter().chain(&branches.otherwise));
            }
            Kind::Case(case) => {
                self.expression(&case.subject);
                self.all(case.options.iter().flat_map(|(values, body)| values.iter().chain([body])));
            }
            Kind::Selector(selector) => {
                self.expression(&selector.subject);
                self.all(selector.options.iter().flat_map(|(option, value)| [option, value]));
            }
            Kind::Catalog(block) => self.all(&block.arguments),
            _ => {}
        }
    }

    fn is_offered(&self, name: &str) -> bool {
        functions::find(name).is_some() || (self.is_known)(name)
    }
}

fn is_target(target: &Expr) -> bool {
    match &target.kind {
        Kind::Variable(_) => true,
        Kind::Array(items) => items.iter().all(is_target),
        _ => false,
    }
}

/// Whether an expression does nothing but have a value.
fn is_idle(expression: &Expr) -> bool {
    match &expression.kind {
        Kind::Undef | Kind::Default | Kind::Boolean(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Text(_) => true,
        Kind::Name(_) | Kind::TypeName(_) | Kind::Variable(_) | Kind::Regex(_) => true,
        Kind::Array(items) => items.iter().all(is_idle),
        Kind::Hash(entries) => entries.iter().all(|(key, value)| is_idle(key) && is_idle(value)),
        Kind::Not(inner) | Kind::Minus(inner) | Kind::Splat(inner) | Kind::Parentheses(inner) => is_idle(inner),
        Kind::Binary(_, operands) => is_idle(&operands.0) && is_idle(&operands.1),
        Kind::Access(of, keys) => is_idle(of) && keys.iter().all(is_idle),
        _ => false,
    }
}
