//! Calls: of the functions of the table, of those that modules define, of the host's, and of types.

use std::rc::Rc;
use std::sync::Arc;

use super::scope::arity;
use super::{Block, Control, Evaluator, Outcome, Scope};
use crate::puppet_lang::functions::{self, Arguments};
use crate::puppet_lang::syntax::ast::{Call, Callee, Lambda};
use crate::puppet_lang::types::Type;
use crate::puppet_lang::value::Value;

impl Evaluator<'_> {
    pub(super) fn call(&mut self, call: &Call, at: u32, scope: &Rc<Scope>) -> Outcome {
        let values = match &call.callee {
            Callee::Type(data_type) => {
                let data_type = self.eval(data_type, scope)?;
                let mut values = vec![data_type];
                values.extend(self.arguments(&call.arguments, scope)?);
                values
            }
            Callee::Name(_) => self.arguments(&call.arguments, scope)?,
        };
        let block = call.block.as_ref().map(|lambda| Block { lambda: lambda.clone(), scope: scope.clone() });
        let arguments = Arguments { values, block, scope: scope.clone(), at };
        match &call.callee {
            Callee::Type(_) => self.call_named("new", arguments),
            Callee::Name(name) if call.is_chained => self.call_chained(name, arguments),
            Callee::Name(name) => self.call_named(name, arguments),
        }
    }

    /// The receiver's own attributes and functions come first.
    fn call_chained(&mut self, name: &str, arguments: Arguments) -> Outcome {
        if let Some(Value::Object(object)) = arguments.values.first()
            && let Some(found) = functions::of_object(self, &object.clone(), name, &arguments)
        {
            return found;
        }
        self.call_named(name, arguments)
    }

    /// Calls a function by its name.
    pub fn call_named(&mut self, name: &str, mut arguments: Arguments) -> Outcome {
        let at = arguments.at;
        if let Some(function) = functions::find(name) {
            let checked = function.check(&arguments);
            self.at(at, checked)?;
            return (function.run)(self, &mut arguments);
        }
        if let Some(lambda) = self.at(at, self.environment.function(name))? {
            if arguments.block.is_some() {
                return self.fail(at, format!("the function `{name}` takes no block"));
            }
            return self.call_function(name, &lambda, std::mem::take(&mut arguments.values), at);
        }
        if self.host.offers(name) {
            return self.call_host(name, std::mem::take(&mut arguments.values), at);
        }
        self.fail(at, format!("there is no function `{name}`: {}", functions::why_not(name)))
    }

    /// A plan with parameters by name.
    pub fn run_plan(&mut self, name: &str, lambda: &Arc<Lambda>, parameters: &[(String, Value)]) -> Outcome {
        let is_unknown = |given: &&(String, Value)| !lambda.parameters.iter().any(|one| *one.name == *given.0);
        if let Some((unknown, _)) = parameters.iter().find(is_unknown) {
            return self.fail(lambda.body.at, format!("the plan `{name}` has no parameter named '{unknown}'"));
        }
        let scope = Scope::below(None);
        for parameter in &lambda.parameters {
            let given = parameters.iter().find(|(name, _)| **name == *parameter.name).map(|(_, value)| value.clone());
            let value = match (given, &parameter.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.eval(default, &scope)?,
                (None, None) => Value::Undef,
            };
            if let Some(data_type) = &parameter.data_type {
                let data_type = self.type_of(data_type, &scope)?;
                self.check_parameter(&parameter.name, Some(&data_type), &value, parameter.at)?;
            }
            let set = scope.set(&parameter.name, value);
            self.at(parameter.at, set)?;
        }
        self.eval(&lambda.body, &scope)
    }

    /// A function in the Puppet language sees no variables but its own.
    fn call_function(&mut self, name: &str, lambda: &Arc<Lambda>, arguments: Vec<Value>, at: u32) -> Outcome {
        match self.enter(lambda, arguments, Scope::below(None)) {
            Err(Control::Return(value)) => match &lambda.returns {
                Some(returns) => self.check_returned(returns, value, &Scope::below(None)),
                None => Ok(value),
            },
            Err(Control::Break(_)) => self.fail(at, format!("`break` in `{name}` is in no block of an iteration")),
            other => other,
        }
    }

    /// Calls a block; `break` within it goes to whoever iterates.
    /// A block takes no notice of arguments that it has no parameters for.
    pub fn call_block(&mut self, block: &Block, mut arguments: Vec<Value>, at: u32) -> Outcome {
        self.step(at)?;
        arguments.truncate(block.arity().1);
        self.enter(&block.lambda, arguments, block.scope.clone())
    }

    /// Calls a block of an iteration; `None` if it ended the iteration.
    pub fn iterate(&mut self, block: &Block, arguments: Vec<Value>, at: u32) -> Outcome<Option<Value>> {
        match self.call_block(block, arguments, at) {
            Ok(value) => Ok(Some(value)),
            Err(Control::Break(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Gives parameters their values, checked, and defaults.
    pub(super) fn bind(&mut self, lambda: &Lambda, arguments: Vec<Value>, scope: &Rc<Scope>) -> Outcome<()> {
        let (min, max) = arity(lambda);
        let count = arguments.len();
        let place = lambda.parameters.first().map_or(lambda.body.at, |one| one.at);
        if count < min || count > max {
            let expected = match (min, max) {
                (min, max) if min == max => format!("{min}"),
                (min, usize::MAX) => format!("at least {min}"),
                (min, max) => format!("between {min} and {max}"),
            };
            return self.fail(place, format!("expects {expected} arguments, got {count}"));
        }
        let mut arguments = arguments.into_iter();
        for parameter in &lambda.parameters {
            let data_type = parameter.data_type.as_ref().map(|data_type| self.type_of(data_type, scope)).transpose()?;
            let value = if parameter.takes_rest {
                let rest = Value::array(arguments.by_ref());
                let whole =
                    data_type.as_ref().map(|one| Type::Array(one.clone(), crate::puppet_lang::types::Size::ALL));
                self.check_parameter(&parameter.name, whole.as_ref(), &rest, parameter.at)?;
                rest
            } else {
                let value = match (arguments.next(), &parameter.default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => self.eval(default, scope)?,
                    (None, None) => Value::Undef,
                };
                self.check_parameter(&parameter.name, data_type.as_deref(), &value, parameter.at)?;
                value
            };
            let set = scope.set(&parameter.name, value);
            self.at(parameter.at, set)?;
        }
        Ok(())
    }

    fn check_parameter(&self, name: &str, data_type: Option<&Type>, value: &Value, at: u32) -> Outcome<()> {
        match data_type.and_then(|data_type| data_type.problem(value)) {
            Some(problem) => self.fail(at, format!("parameter '{name}' {problem}")),
            None => Ok(()),
        }
    }
}
