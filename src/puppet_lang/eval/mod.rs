//! Evaluation: expressions, scopes, calls, and the calls out to a host, which may stop it until there is an answer. See
//! LIFECYCLE.md.

mod access;
mod calls;
mod conditions;
mod failure;
mod host;
mod operators;
mod scope;

use std::rc::Rc;
use std::sync::Arc;

pub use failure::Failure;
pub(super) use failure::{Control, Outcome};
pub use host::{Answer, Host, HostCall, Progress, Recorded, Replay};
pub(super) use operators::pairs;
pub(super) use scope::{Block, Scope};

use super::environment::Environment;
use super::pattern::Pattern;
use super::source::Source;
use super::syntax::ast::{CatalogBlock, Expr, Kind, Lambda, Part};
use super::types::Type;
use super::value::Value;
use crate::limits::{PUPPET_CALL_DEPTH_MAX, PUPPET_STEPS_MAX, PUPPET_VALUE_BYTES_MAX, PUPPET_VALUE_DEPTH_MAX};

/// One evaluation, from the first expression to the end or to where it waits.
pub(super) struct Evaluator<'e> {
    pub environment: &'e Environment,
    pub host: &'e mut dyn Host,
    /// The file of what is being evaluated.
    pub source: Arc<Source>,
    pub calls: host::Numbers,
    steps: u64,
    bytes: u64,
    depth: usize,
}

impl<'e> Evaluator<'e> {
    pub fn new(environment: &'e Environment, host: &'e mut dyn Host, source: Arc<Source>) -> Self {
        Self { environment, host, source, calls: host::Numbers::default(), steps: 0, bytes: 0, depth: 0 }
    }

    /// The value of an expression.
    pub fn eval(&mut self, expression: &Expr, scope: &Rc<Scope>) -> Outcome {
        self.step(expression.at)?;
        if self.depth >= PUPPET_CALL_DEPTH_MAX {
            return self.fail(
                expression.at,
                format!("this is evaluated within more than {PUPPET_CALL_DEPTH_MAX} others: does a function call itself without end?"),
            );
        }
        self.depth += 1;
        let value = self.eval_kind(expression, scope);
        self.depth -= 1;
        self.account(expression.at, value?)
    }

    /// Counts a step towards the limit.
    pub fn step(&mut self, at: u32) -> Outcome<()> {
        self.steps += 1;
        if self.steps > PUPPET_STEPS_MAX {
            return self
                .fail(at, format!("this has taken more than {PUPPET_STEPS_MAX} steps: does it go on without end?"));
        }
        Ok(())
    }

    /// Counts what a value takes towards the limit, and refuses it if it is nested too deep.
    pub fn account(&mut self, at: u32, value: Value) -> Outcome {
        self.spend(at, value.weight())?;
        if value.depth() > PUPPET_VALUE_DEPTH_MAX {
            return self.fail(at, format!("arrays and hashes are nested more than {PUPPET_VALUE_DEPTH_MAX} deep"));
        }
        Ok(value)
    }

    /// Counts bytes that are about to be used.
    pub fn spend(&mut self, at: u32, bytes: u64) -> Outcome<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > PUPPET_VALUE_BYTES_MAX {
            return self.fail(at, format!("the values take more than {PUPPET_VALUE_BYTES_MAX} bytes together"));
        }
        Ok(())
    }

    /// An error at a place of the current file.
    pub fn fail<T>(&self, at: u32, message: impl Into<String>) -> Outcome<T> {
        let message = message.into();
        let mut failure = Failure::new("puppetlabs.tasks/evaluation-error", message.clone());
        failure.place = Some(self.source.diagnostic(at, message));
        Err(Control::Failed(Box::new(failure)))
    }

    /// An outcome of something that knows no place.
    pub fn at<T>(&self, at: u32, result: Result<T, String>) -> Outcome<T> {
        result.or_else(|message| self.fail(at, message))
    }

    fn eval_kind(&mut self, expression: &Expr, scope: &Rc<Scope>) -> Outcome {
        let at = expression.at;
        Ok(match &expression.kind {
            Kind::Nop | Kind::Undef => Value::Undef,
            Kind::Default => Value::Default,
            Kind::Boolean(value) => Value::Boolean(*value),
            Kind::Integer(value) => Value::Integer(*value),
            Kind::Float(value) => Value::Float(*value),
            Kind::Text(text) | Kind::Name(text) => Value::String(text.clone()),
            Kind::Regex(text) => Value::Regexp(self.at(at, Pattern::new(text))?),
            Kind::Variable(name) => return self.variable(name, at, scope),
            Kind::TypeName(name) => self.named_type(name, &[], at)?.into(),
            Kind::Parentheses(inner) => return self.eval(inner, scope),
            Kind::Interpolated(parts) => return self.interpolated(parts, at, scope),
            Kind::Array(items) => Value::array(self.arguments(items, scope)?),
            Kind::Hash(entries) => return self.hash(entries, scope),
            Kind::Access(of, keys) => return self.access(of, keys, at, scope),
            Kind::Call(call) => return self.call(call, at, scope),
            Kind::Not(inner) => Value::Boolean(!self.eval(inner, scope)?.is_true()),
            Kind::Minus(inner) => return self.negated(inner, at, scope),
            Kind::Splat(inner) => return self.splat(inner, scope),
            Kind::Binary(operator, operands) => return self.binary(*operator, operands, at, scope),
            Kind::Assign(sides) => return self.assign(sides, scope),
            Kind::Block(statements) => return self.statements(statements, scope),
            Kind::If(branches) => return self.branches(branches, scope),
            Kind::Case(case) => return self.case(case, scope),
            Kind::Selector(selector) => return self.selector(selector, at, scope),
            Kind::Catalog(block) => return self.catalog(block, at, scope),
        })
    }

    fn statements(&mut self, statements: &[Expr], scope: &Rc<Scope>) -> Outcome {
        let mut last = Value::Undef;
        for statement in statements {
            last = self.eval(statement, scope)?;
        }
        Ok(last)
    }

    fn interpolated(&mut self, parts: &[Part], at: u32, scope: &Rc<Scope>) -> Outcome {
        use std::fmt::Write;
        let mut text = String::new();
        for part in parts {
            let before = text.len();
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Code(code) => {
                    let value = self.eval(code, scope)?;
                    write!(text, "{value}").unwrap_or_default();
                }
            }
            self.spend(at, (text.len() - before) as u64)?;
        }
        Ok(text.into())
    }

    /// The values of expressions, those with a `*` before them one by one.
    pub fn arguments(&mut self, expressions: &[Expr], scope: &Rc<Scope>) -> Outcome<Vec<Value>> {
        let mut values = Vec::with_capacity(expressions.len());
        for expression in expressions {
            let value = self.eval(expression, scope)?;
            match (&expression.kind, value) {
                (Kind::Splat(_), Value::Array(items)) => {
                    self.spend(expression.at, items.len() as u64 * 8)?;
                    values.extend(items.iter().cloned());
                }
                (_, value) => values.push(value),
            }
        }
        Ok(values)
    }

    fn hash(&mut self, entries: &[(Expr, Expr)], scope: &Rc<Scope>) -> Outcome {
        let mut hash = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.eval(key, scope)?;
            hash.push((key, self.eval(value, scope)?));
        }
        Ok(Value::hash(hash))
    }

    fn splat(&mut self, inner: &Expr, scope: &Rc<Scope>) -> Outcome {
        Ok(match self.eval(inner, scope)? {
            Value::Undef => Value::array([]),
            Value::Hash(hash) => {
                Value::array(hash.iter().map(|(key, value)| Value::array([key.clone(), value.clone()])))
            }
            Value::Array(items) => Value::Array(items),
            other => Value::array([other]),
        })
    }

    fn variable(&mut self, name: &Arc<str>, at: u32, scope: &Rc<Scope>) -> Outcome {
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return Ok(scope.matched(name.parse().unwrap_or(usize::MAX)));
        }
        let name = name.strip_prefix("::").unwrap_or(name);
        match scope.get(name) {
            Some(value) => Ok(value),
            None => self.fail(at, format!("the variable `${name}` is not known here; give it a value before this")),
        }
    }

    /// A type by its name and arguments.
    pub fn named_type(&mut self, name: &str, arguments: &[Value], at: u32) -> Outcome<Type> {
        let found = self.environment.data_type(name, arguments);
        self.at(at, found.map_err(|error| error.to_string()))
    }

    /// The value of a type's expression.
    pub fn type_of(&mut self, expression: &Expr, scope: &Rc<Scope>) -> Outcome<Arc<Type>> {
        match self.eval(expression, scope)? {
            Value::Type(found) => Ok(found),
            other => self.fail(expression.at, format!("expected a type, got {}", Type::of(&other))),
        }
    }

    fn assign(&mut self, sides: &(Expr, Expr), scope: &Rc<Scope>) -> Outcome {
        let (target, value) = sides;
        let value = self.eval(value, scope)?;
        self.assign_to(target, &value, scope)?;
        Ok(value)
    }

    fn assign_to(&mut self, target: &Expr, value: &Value, scope: &Rc<Scope>) -> Outcome<()> {
        match (&target.kind, value) {
            (Kind::Variable(name), _) => {
                let problem = scope.set(name, value.clone()).err();
                self.at(target.at, problem.map_or(Ok(()), Err))
            }
            (Kind::Array(targets), Value::Array(values)) => {
                if targets.len() != values.len() {
                    let message = format!("{} variables cannot take {} values", targets.len(), values.len());
                    return self.fail(target.at, message);
                }
                targets.iter().zip(values.iter()).try_for_each(|(target, value)| self.assign_to(target, value, scope))
            }
            (Kind::Array(targets), Value::Hash(hash)) => targets.iter().try_for_each(|target| {
                let Kind::Variable(name) = &target.kind else {
                    return self.fail(target.at, "expected the name of a variable");
                };
                match hash.get_text(name) {
                    Some(value) => self.assign_to(target, value, scope),
                    None => self.fail(target.at, format!("the hash has no key `{name}`")),
                }
            }),
            _ => self.fail(target.at, "only variables, or an array of them, can be given a value"),
        }
    }

    /// `apply(...) { code }` goes to the host with the variables that the code may use.
    fn catalog(&mut self, block: &CatalogBlock, at: u32, scope: &Rc<Scope>) -> Outcome {
        let mut arguments = self.arguments(&block.arguments, scope)?;
        arguments.push(Value::hash([
            (Value::from("code"), Value::String(block.code.clone())),
            (Value::from("variables"), Value::hash(scope.all())),
        ]));
        self.call_host("apply", arguments, at)
    }

    /// The body of a function or block with its arguments, in a scope of its own below `parent`.
    pub fn enter(&mut self, lambda: &Arc<Lambda>, arguments: Vec<Value>, parent: Rc<Scope>) -> Outcome {
        let scope = Scope::below(Some(parent));
        let caller = std::mem::replace(&mut self.source, lambda.source.clone());
        let result = self.bind(lambda, arguments, &scope).and_then(|()| self.eval(&lambda.body, &scope));
        let result = match (result, &lambda.returns) {
            (Ok(value) | Err(Control::Next(value)), Some(returns)) => self.check_returned(returns, value, &scope),
            (Err(Control::Next(value)), None) => Ok(value),
            (other, _) => other,
        };
        self.source = caller;
        result
    }

    fn check_returned(&mut self, returns: &Expr, value: Value, scope: &Rc<Scope>) -> Outcome {
        let expected = self.type_of(returns, scope)?;
        match expected.problem(&value) {
            None => Ok(value),
            Some(problem) => self.fail(returns.at, format!("value returned {problem}")),
        }
    }
}
