//! Variables and what the last regular expressions matched; blocks with the scope in which they were written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::puppet_lang::syntax::ast::Lambda;
use crate::puppet_lang::value::Value;

/// The variables of a function, plan or block. Those of the blocks around it can be read.
#[derive(Debug)]
pub struct Scope {
    variables: RefCell<BTreeMap<Arc<str>, Value>>,
    /// The parts of the last match; one made by a condition is gone behind it.
    matches: RefCell<Option<Rc<Vec<Value>>>>,
    parent: Option<Rc<Self>>,
}

impl Scope {
    /// A new one.
    pub fn below(parent: Option<Rc<Self>>) -> Rc<Self> {
        Rc::new(Self { variables: RefCell::default(), matches: RefCell::default(), parent })
    }

    pub fn get(&self, name: &str) -> Option<Value> {
        let mut scope = Some(self);
        while let Some(one) = scope {
            if let Some(value) = one.variables.borrow().get(name) {
                return Some(value.clone());
            }
            scope = one.parent.as_deref();
        }
        None
    }

    /// Gives a variable its value, which it keeps.
    pub fn set(&self, name: &Arc<str>, value: Value) -> Result<(), String> {
        if name.contains("::") {
            return Err(format!("`${name}` belongs to another scope and cannot be given a value here"));
        }
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!("`${name}` is set by matches and cannot be given a value"));
        }
        let mut variables = self.variables.borrow_mut();
        if variables.contains_key(name) {
            return Err(format!("the variable `${name}` has a value already, and keeps it; use another name"));
        }
        variables.insert(name.clone(), value);
        Ok(())
    }

    /// Everything that can be read here.
    pub fn all(&self) -> Vec<(Value, Value)> {
        let mut all = BTreeMap::new();
        let mut scope = Some(self);
        while let Some(one) = scope {
            for (name, value) in &*one.variables.borrow() {
                all.entry(name.clone()).or_insert_with(|| value.clone());
            }
            scope = one.parent.as_deref();
        }
        all.into_iter().map(|(name, value)| (Value::String(name), value)).collect()
    }

    /// `$0` is the whole match, `$1` its first group.
    pub fn matched(&self, group: usize) -> Value {
        let mut scope = Some(self);
        while let Some(one) = scope {
            if let Some(groups) = &*one.matches.borrow() {
                return groups.get(group).cloned().unwrap_or(Value::Undef);
            }
            scope = one.parent.as_deref();
        }
        Value::Undef
    }

    pub fn remember_match(&self, groups: Vec<Value>) {
        *self.matches.borrow_mut() = Some(Rc::new(groups));
    }

    /// The match that counts now, to come back to.
    pub fn match_mark(&self) -> Option<Rc<Vec<Value>>> {
        self.matches.borrow().clone()
    }

    pub fn forget_matches(&self, mark: Option<Rc<Vec<Value>>>) {
        *self.matches.borrow_mut() = mark;
    }
}

/// A block that was passed to a call.
#[derive(Debug, Clone)]
pub struct Block {
    pub lambda: Arc<Lambda>,
    pub scope: Rc<Scope>,
}

impl Block {
    /// The fewest and the most arguments.
    pub fn arity(&self) -> (usize, usize) {
        arity(&self.lambda)
    }

    pub fn takes(&self, count: usize) -> bool {
        let (min, max) = self.arity();
        (min..=max).contains(&count)
    }
}

/// The fewest and the most arguments of a function, plan or block.
pub fn arity(lambda: &Lambda) -> (usize, usize) {
    let required = lambda.parameters.iter().rposition(|one| one.default.is_none() && !one.takes_rest);
    let takes_rest = lambda.parameters.last().is_some_and(|one| one.takes_rest);
    (required.map_or(0, |last| last + 1), if takes_rest { usize::MAX } else { lambda.parameters.len() })
}
