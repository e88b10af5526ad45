//! `if`, `unless`, `case`, selectors, and what it means that an option matches.

use std::rc::Rc;

use super::{Evaluator, Outcome, Scope};
use crate::puppet_lang::pattern::Pattern;
use crate::puppet_lang::syntax::ast::{Branches, Case, Expr, Kind, Selector};
use crate::puppet_lang::value::Value;

impl Evaluator<'_> {
    pub(super) fn branches(&mut self, branches: &Branches, scope: &Rc<Scope>) -> Outcome {
        let mark = scope.match_mark();
        let condition = self.eval(&branches.condition, scope)?.is_true();
        let value = if condition != branches.is_unless {
            self.eval(&branches.then, scope)
        } else {
            branches.otherwise.as_ref().map_or(Ok(Value::Undef), |otherwise| self.eval(otherwise, scope))
        };
        scope.forget_matches(mark);
        value
    }

    pub(super) fn case(&mut self, case: &Case, scope: &Rc<Scope>) -> Outcome {
        let mark = scope.match_mark();
        let subject = self.eval(&case.subject, scope)?;
        let mut fallback = None;
        for (values, body) in &case.options {
            for value in values {
                if matches!(value.kind, Kind::Default) {
                    fallback = Some(body);
                } else if self.option_matches(value, &subject, scope)? {
                    let result = self.eval(body, scope);
                    scope.forget_matches(mark);
                    return result;
                }
            }
        }
        let result = fallback.map_or(Ok(Value::Undef), |body| self.eval(body, scope));
        scope.forget_matches(mark);
        result
    }

    pub(super) fn selector(&mut self, selector: &Selector, at: u32, scope: &Rc<Scope>) -> Outcome {
        let mark = scope.match_mark();
        let subject = self.eval(&selector.subject, scope)?;
        let mut chosen = None;
        for (value, result) in &selector.options {
            if matches!(value.kind, Kind::Default) {
                chosen = chosen.or(Some(result));
            } else if self.option_matches(value, &subject, scope)? {
                chosen = Some(result);
                break;
            }
        }
        let result = match chosen {
            Some(result) => self.eval(result, scope),
            None => {
                self.fail(at, format!("no option of the selector matches {}", super::super::value::Literal(&subject)))
            }
        };
        scope.forget_matches(mark);
        result
    }

    /// An option with a `*` stands for each of its items.
    fn option_matches(&mut self, option: &Expr, subject: &Value, scope: &Rc<Scope>) -> Outcome<bool> {
        let value = self.eval(option, scope)?;
        match (&option.kind, &value) {
            (Kind::Splat(_), Value::Array(items)) => {
                Ok(items.iter().any(|item| self.matches(item, subject, Some(scope))))
            }
            _ => Ok(self.matches(&value, subject, Some(scope))),
        }
    }

    /// Whether `option` of a `case` or selector matches.
    pub fn matches(&mut self, option: &Value, subject: &Value, scope: Option<&Rc<Scope>>) -> bool {
        match (option, subject) {
            (Value::Default, Value::Default) => true,
            (Value::Regexp(pattern), Value::String(text)) => {
                let found = captures(pattern, text);
                let is_match = found.is_some();
                if let (Some(groups), Some(scope)) = (found, scope) {
                    scope.remember_match(groups);
                }
                is_match
            }
            (Value::Regexp(_), _) => false,
            (Value::Type(option), _) => option.accepts(subject),
            (Value::SemVerRange(range), Value::SemVer(version)) => range.includes(version),
            (Value::Array(options), Value::Array(items)) => {
                options.len() == items.len()
                    && options
                        .iter()
                        .zip(items.iter())
                        .all(|(option, item)| matches!(option, Value::Default) || self.matches(option, item, scope))
            }
            (Value::Hash(options), Value::Hash(hash)) => options.iter().all(|(key, option)| {
                hash.get(key)
                    .is_some_and(|value| matches!(option, Value::Default) || self.matches(option, value, scope))
            }),
            _ => option.equals(subject),
        }
    }
}

/// The whole match and its groups.
pub(super) fn captures(pattern: &Pattern, text: &str) -> Option<Vec<Value>> {
    let found = pattern.compiled.captures(text)?;
    let group = |group: Option<regex::Match<'_>>| group.map_or(Value::Undef, |group| Value::from(group.as_str()));
    Some(found.iter().map(group).collect())
}
