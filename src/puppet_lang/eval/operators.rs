//! Operators with two operands, and the minus before one (Puppet language specification, "Expressions").

use std::cmp::Ordering;
use std::rc::Rc;

use super::conditions::captures;
use super::{Evaluator, Outcome, Scope};
use crate::puppet_lang::pattern::Pattern;
use crate::puppet_lang::syntax::ast::{Expr, Operator};
use crate::puppet_lang::types::Type;
use crate::puppet_lang::value::{Hash, SemVerRange, Value};

const SECOND: f64 = 1e9;

impl Evaluator<'_> {
    pub(super) fn binary(
        &mut self,
        operator: Operator,
        operands: &(Expr, Expr),
        at: u32,
        scope: &Rc<Scope>,
    ) -> Outcome {
        let left = self.eval(&operands.0, scope)?;
        match operator {
            Operator::And if !left.is_true() => return Ok(Value::Boolean(false)),
            Operator::Or if left.is_true() => return Ok(Value::Boolean(true)),
            _ => {}
        }
        let right = self.eval(&operands.1, scope)?;
        Ok(match operator {
            Operator::And | Operator::Or => Value::Boolean(right.is_true()),
            Operator::Equal => Value::Boolean(left.equals(&right)),
            Operator::NotEqual => Value::Boolean(!left.equals(&right)),
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                Value::Boolean(self.ordered(operator, &left, &right, at)?)
            }
            Operator::In => Value::Boolean(self.is_in(&left, &right, scope)),
            Operator::Match => Value::Boolean(self.match_operator(&left, &right, at, scope)?),
            Operator::NoMatch => Value::Boolean(!self.match_operator(&left, &right, at, scope)?),
            _ => {
                self.spend(at, left.weight() + right.weight())?;
                let value = self.combined(operator, &left, &right);
                return self.at(at, value);
            }
        })
    }

    fn combined(&self, operator: Operator, left: &Value, right: &Value) -> Result<Value, String> {
        match (operator, left, right) {
            (Operator::Plus, Value::Array(items), _) => Ok(concatenated(items, right)),
            (Operator::Plus, Value::Hash(hash), _) => merged(hash, right),
            (Operator::ShiftLeft, Value::Array(items), _) => {
                Ok(Value::array(items.iter().cloned().chain([right.clone()])))
            }
            (Operator::Minus, Value::Array(items), _) => Ok(without(items, right)),
            (Operator::Minus, Value::Hash(hash), _) => Ok(without_keys(hash, right)),
            _ => calculated(operator, left, right),
        }
    }

    pub(super) fn negated(&mut self, inner: &Expr, at: u32, scope: &Rc<Scope>) -> Outcome {
        let value = self.eval(inner, scope)?;
        let negated = match value {
            Value::Integer(value) => value.checked_neg().map(Value::Integer).ok_or_else(overflow),
            Value::Float(value) => Ok(Value::Float(-value)),
            Value::Timespan(value) => Ok(Value::Timespan(-value)),
            other => Err(not_applicable("-", &other)),
        };
        self.at(at, negated)
    }

    fn ordered(&self, operator: Operator, left: &Value, right: &Value, at: u32) -> Outcome<bool> {
        if let (Value::Type(left), Value::Type(right)) = (left, right) {
            let (wide, narrow, may_be_same) = match operator {
                Operator::Less => (right, left, false),
                Operator::LessOrEqual => (right, left, true),
                Operator::Greater => (left, right, false),
                _ => (left, right, true),
            };
            return Ok(wide.includes(narrow) && (may_be_same || !narrow.includes(wide)));
        }
        if matches!(left, Value::Type(_)) {
            return Ok(false);
        }
        match left.order(right) {
            Some(order) => Ok(match operator {
                Operator::Less => order == Ordering::Less,
                Operator::LessOrEqual => order != Ordering::Greater,
                Operator::Greater => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }),
            None => self.fail(
                at,
                format!("`{}` cannot compare {} with {}", operator.text(), described(left), described(right)),
            ),
        }
    }

    fn match_operator(&mut self, left: &Value, right: &Value, at: u32, scope: &Rc<Scope>) -> Outcome<bool> {
        let pattern = match right {
            Value::Type(data_type) => return Ok(data_type.accepts(left)),
            Value::SemVerRange(range) => {
                return Ok(match left {
                    Value::SemVer(version) => range.includes(version),
                    Value::SemVerRange(other) => range == other,
                    _ => return self.fail(at, format!("`=~` expects a version on its left, got {}", described(left))),
                });
            }
            Value::SemVer(version) => {
                return Ok(match left {
                    Value::String(text) => SemVerRange::parse(text).is_some_and(|range| range.includes(version)),
                    Value::SemVer(_) => left.equals(right),
                    _ => return self.fail(at, format!("`=~` expects a version on its left, got {}", described(left))),
                });
            }
            Value::Regexp(pattern) => pattern.clone(),
            Value::String(text) => self.at(at, Pattern::new(text))?,
            other => {
                return self.fail(at, format!("`=~` expects a regular expression or a type, got {}", described(other)));
            }
        };
        let Value::String(text) = left else {
            return self.fail(at, format!("`=~` expects a string on its left, got {}", described(left)));
        };
        let found = captures(&pattern, text);
        let is_match = found.is_some();
        if let Some(groups) = found {
            scope.remember_match(groups);
        }
        Ok(is_match)
    }

    fn is_in(&mut self, left: &Value, right: &Value, scope: &Rc<Scope>) -> bool {
        match (left, right) {
            (Value::String(part), Value::String(text)) => text.to_lowercase().contains(&part.to_lowercase()),
            (Value::Regexp(pattern), Value::String(text)) => self.remembers(pattern, text, scope),
            (_, Value::Array(items)) => items.iter().any(|item| self.is_item(left, item, scope)),
            (_, Value::Hash(hash)) => hash.iter().any(|(key, _)| self.is_item(left, key, scope)),
            (_, Value::Object(object)) => match object.attributes.get_text("results") {
                Some(Value::Array(results)) => results.iter().any(|item| item.equals(left)),
                _ => false,
            },
            _ => false,
        }
    }

    fn is_item(&mut self, left: &Value, item: &Value, scope: &Rc<Scope>) -> bool {
        match (left, item) {
            (Value::Regexp(pattern), Value::String(text)) => self.remembers(pattern, text, scope),
            (Value::Type(data_type), _) => data_type.accepts(item),
            _ => left.equals(item),
        }
    }

    fn remembers(&mut self, pattern: &Pattern, text: &str, scope: &Rc<Scope>) -> bool {
        let found = captures(pattern, text);
        let is_match = found.is_some();
        if let Some(groups) = found {
            scope.remember_match(groups);
        }
        is_match
    }
}

fn overflow() -> String {
    "the result does not fit into 64 bits".to_owned()
}

fn described(value: &Value) -> String {
    Type::of(value).generalized().to_string()
}

fn not_applicable(operator: &str, value: &Value) -> String {
    format!("`{operator}` is not applicable to {}", described(value))
}

fn concatenated(items: &[Value], right: &Value) -> Value {
    let items = items.iter().cloned();
    match right {
        Value::Array(more) => Value::array(items.chain(more.iter().cloned())),
        Value::Hash(hash) => {
            Value::array(items.chain(hash.iter().map(|(key, value)| Value::array([key.clone(), value.clone()]))))
        }
        other => Value::array(items.chain([other.clone()])),
    }
}

fn merged(hash: &Hash, right: &Value) -> Result<Value, String> {
    let entries = hash.iter().cloned();
    match right {
        Value::Hash(more) => Ok(Value::hash(entries.chain(more.iter().cloned()))),
        Value::Array(items) => match pairs(items) {
            Some(pairs) => Ok(Value::hash(entries.chain(pairs))),
            None => Err("`+` expects an array of pairs beside a hash, or one with an even number of items".to_owned()),
        },
        other => Err(not_applicable("+", other)),
    }
}

/// Keys and values of an array of pairs, or of one in which they alternate.
pub(in crate::puppet_lang) fn pairs(items: &[Value]) -> Option<Vec<(Value, Value)>> {
    let pair = |item: &Value| match item {
        Value::Array(pair) if pair.len() == 2 => Some((pair[0].clone(), pair[1].clone())),
        _ => None,
    };
    let all_pairs: Option<Vec<_>> = items.iter().map(pair).collect();
    all_pairs.or_else(|| {
        items.len().is_multiple_of(2).then(|| items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    })
}

fn without(items: &[Value], right: &Value) -> Value {
    let removed: Hash = match right {
        Value::Array(more) => more.iter().map(|item| (item.clone(), Value::Undef)).collect(),
        Value::Hash(hash) => {
            hash.iter().map(|(key, value)| (Value::array([key.clone(), value.clone()]), Value::Undef)).collect()
        }
        other => [(other.clone(), Value::Undef)].into_iter().collect(),
    };
    Value::array(items.iter().filter(|item| removed.get(item).is_none()).cloned())
}

fn without_keys(hash: &Hash, right: &Value) -> Value {
    let removed: Hash = match right {
        Value::Array(keys) => keys.iter().map(|key| (key.clone(), Value::Undef)).collect(),
        Value::Hash(other) => (**other).clone(),
        other => [(other.clone(), Value::Undef)].into_iter().collect(),
    };
    Value::hash(hash.iter().filter(|(key, _)| removed.get(key).is_none()).cloned())
}

/// Numbers, and points and lengths of time.
fn calculated(operator: Operator, left: &Value, right: &Value) -> Result<Value, String> {
    match (left, right) {
        (Value::Integer(a), Value::Integer(b)) => integers(operator, *a, *b),
        (Value::Integer(_) | Value::Float(_), Value::Integer(_) | Value::Float(_)) => {
            floats(operator, number(left), number(right))
        }
        (Value::Timestamp(_) | Value::Timespan(_), _) | (_, Value::Timestamp(_) | Value::Timespan(_)) => {
            times(operator, left, right)
        }
        (Value::Integer(_) | Value::Float(_), other) | (other, _) => Err(not_applicable(operator.text(), other)),
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Integer(value) => *value as f64,
        Value::Float(value) => *value,
        _ => 0.0,
    }
}

fn integers(operator: Operator, a: i64, b: i64) -> Result<Value, String> {
    let result = match operator {
        Operator::Plus => a.checked_add(b),
        Operator::Minus => a.checked_sub(b),
        Operator::Times => a.checked_mul(b),
        Operator::Divide | Operator::Modulo if b == 0 => return Err("division by zero".to_owned()),
        // Towards smaller numbers, as Ruby does.
        Operator::Divide => a.checked_div(b).map(|q| if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q }),
        Operator::Modulo => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
        Operator::ShiftLeft => return shifted(a, b),
        Operator::ShiftRight => return shifted(a, b.saturating_neg()),
        _ => None,
    };
    result.map(Value::Integer).ok_or_else(overflow)
}

fn shifted(value: i64, by: i64) -> Result<Value, String> {
    let steps = u32::try_from(by.unsigned_abs().min(127)).unwrap_or(127);
    let wide = if by >= 0 { i128::from(value).checked_mul(1_i128.checked_shl(steps).unwrap_or(0)) } else { None };
    match (by >= 0, value) {
        (true, 0) => Ok(Value::Integer(0)),
        (true, _) if steps >= 64 => Err(overflow()),
        (true, _) => wide.and_then(|wide| i64::try_from(wide).ok()).map(Value::Integer).ok_or_else(overflow),
        (false, _) => Ok(Value::Integer(value >> steps.min(63))),
    }
}

fn floats(operator: Operator, a: f64, b: f64) -> Result<Value, String> {
    let result = match operator {
        Operator::Plus => a + b,
        Operator::Minus => a - b,
        Operator::Times => a * b,
        Operator::Divide if b == 0.0 => return Err("division by zero".to_owned()),
        Operator::Divide => a / b,
        _ => return Err(format!("`{}` is not applicable to Float", operator.text())),
    };
    if result.is_finite() { Ok(Value::Float(result)) } else { Err("the result is not a finite number".to_owned()) }
}

fn times(operator: Operator, left: &Value, right: &Value) -> Result<Value, String> {
    let span = |value: &Value| match value {
        Value::Timespan(span) => Some(*span),
        Value::Integer(_) | Value::Float(_) => Some((number(value) * SECOND) as i128),
        _ => None,
    };
    let found = match (operator, left, right) {
        (Operator::Minus, Value::Timestamp(a), Value::Timestamp(b)) => a.checked_sub(*b).map(Value::Timespan),
        (Operator::Plus, Value::Timestamp(time), other) | (Operator::Plus, other, Value::Timestamp(time)) => {
            span(other).and_then(|span| time.checked_add(span)).map(Value::Timestamp)
        }
        (Operator::Minus, Value::Timestamp(time), other) => {
            span(other).and_then(|span| time.checked_sub(span)).map(Value::Timestamp)
        }
        (Operator::Plus, a, b) => span(a).zip(span(b)).and_then(|(a, b)| a.checked_add(b)).map(Value::Timespan),
        (Operator::Minus, a, b) => span(a).zip(span(b)).and_then(|(a, b)| a.checked_sub(b)).map(Value::Timespan),
        (Operator::Times, Value::Timespan(span), Value::Integer(_) | Value::Float(_)) => {
            Some(Value::Timespan((*span as f64 * number(right)) as i128))
        }
        (Operator::Times, Value::Integer(_) | Value::Float(_), Value::Timespan(span)) => {
            Some(Value::Timespan((*span as f64 * number(left)) as i128))
        }
        (Operator::Divide, Value::Timespan(a), Value::Timespan(b)) if *b != 0 => {
            Some(Value::Float(*a as f64 / *b as f64))
        }
        (Operator::Divide, Value::Timespan(span), Value::Integer(_) | Value::Float(_)) if number(right) != 0.0 => {
            Some(Value::Timespan((*span as f64 / number(right)) as i128))
        }
        _ => None,
    };
    found.ok_or_else(|| {
        format!("`{}` is not applicable to {} and {}", operator.text(), described(left), described(right))
    })
}
