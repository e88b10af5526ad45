//! Calls out to whoever runs the evaluation, and the replay of their recorded answers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Control, Evaluator, Failure, Outcome};
use crate::limits::PUPPET_HOST_CALLS_MAX;
use crate::puppet_lang::value::{Literal, Value};

/// A call that the language cannot do by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct HostCall {
    /// Its place in the evaluation: the same in every replay. Calls of parallel branches have numbers of their own, `4.1.0`
    /// for the first call of the second branch of call 4.
    pub id: String,
    /// The function.
    pub function: String,
    /// Its arguments.
    pub arguments: Vec<Value>,
}

impl HostCall {
    /// The call as text, by which a replay knows that it is the same: secrets are not in it.
    pub fn fingerprint(&self) -> String {
        let arguments: Vec<_> = self.arguments.iter().map(|one| Literal(one).to_string()).collect();
        format!("{}({})", self.function, arguments.join(", "))
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It has this value.
    Value(Value),
    /// It has failed.
    Failed(Box<Failure>),
    /// There is no answer yet: the evaluation stops, and starts again from the beginning when there is.
    Waiting,
}

/// Whoever acts for an evaluation.
pub trait Host {
    /// Whether there is a function of this name.
    fn offers(&self, function: &str) -> bool;

    /// Answers a call; the same call has the same answer in every replay once it has one.
    fn call(&mut self, call: HostCall) -> Answer;
}

/// How far an evaluation has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// To its end.
    Finished(Value),
    /// To an error.
    Failed(Box<Failure>),
    /// To calls that have no answer yet; [`Replay::take_waiting`] has them.
    Waiting,
}

/// An answer that was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Of the call that it answers.
    pub fingerprint: String,
    /// The value, or the error.
    pub answer: Result<Value, Box<Failure>>,
}

/// A host that knows recorded answers and gathers the calls that have none.
#[derive(Debug, Default)]
pub struct Replay {
    functions: BTreeSet<String>,
    log: BTreeMap<String, Recorded>,
    waiting: Vec<HostCall>,
}

impl Replay {
    /// One that offers these functions and knows no answers.
    pub fn new<'n>(functions: impl IntoIterator<Item = &'n str>) -> Self {
        Self { functions: functions.into_iter().map(str::to_owned).collect(), ..Self::default() }
    }

    /// Adds the answer to a call.
    pub fn record(&mut self, id: impl Into<String>, recorded: Recorded) {
        self.log.insert(id.into(), recorded);
    }

    /// The calls without an answer that the last evaluation came to.
    pub fn take_waiting(&mut self) -> Vec<HostCall> {
        std::mem::take(&mut self.waiting)
    }
}

impl Host for Replay {
    fn offers(&self, function: &str) -> bool {
        self.functions.contains(function)
    }

    fn call(&mut self, call: HostCall) -> Answer {
        let Some(recorded) = self.log.get(&call.id) else {
            self.waiting.push(call);
            return Answer::Waiting;
        };
        if recorded.fingerprint != call.fingerprint() {
            let message = format!(
                "call {} was `{}` when it was made and is `{}` now: the plan, or a function or type that it uses, has \
                 changed while it ran",
                call.id,
                recorded.fingerprint,
                call.fingerprint()
            );
            return Answer::Failed(Box::new(Failure::new("podium/replay-differs", message)));
        }
        match &recorded.answer {
            Ok(value) => Answer::Value(value.clone()),
            Err(failure) => Answer::Failed(failure.clone()),
        }
    }
}

/// The numbers of calls: one sequence for the plan, and one within each parallel branch.
#[derive(Debug, Default)]
pub struct Numbers {
    branch: String,
    next: u32,
    total: u32,
}

impl Evaluator<'_> {
    fn next_id(&mut self, at: u32) -> Outcome<String> {
        if self.calls.total >= PUPPET_HOST_CALLS_MAX {
            return self
                .fail(at, format!("this has called functions that act more than {PUPPET_HOST_CALLS_MAX} times"));
        }
        self.calls.total += 1;
        let id = format!("{}{}", self.calls.branch, self.calls.next);
        self.calls.next += 1;
        Ok(id)
    }

    /// Calls a function of the host.
    pub fn call_host(&mut self, function: &str, arguments: Vec<Value>, at: u32) -> Outcome {
        let id = self.next_id(at)?;
        match self.host.call(HostCall { id, function: function.to_owned(), arguments }) {
            Answer::Value(value) => self.account(at, value),
            Answer::Failed(mut failure) => {
                let place = self.source.diagnostic(at, failure.message.clone());
                failure.place.get_or_insert(place);
                Err(Control::Failed(failure))
            }
            Answer::Waiting => Err(Control::Waiting),
        }
    }

    /// Evaluates something with call numbers of its own, so that it does not matter how far others have come. `branches` tells
    /// those apart that belong to one call.
    pub fn in_branch<T>(&mut self, call: &str, branch: usize, run: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.calls.branch, format!("{call}.{branch}."));
        let next = std::mem::take(&mut self.calls.next);
        let result = run(self);
        self.calls.branch = outer;
        self.calls.next = next;
        result
    }

    /// A number for a call that has branches.
    pub fn branching_call(&mut self, at: u32) -> Outcome<String> {
        self.next_id(at)
    }
}
