//! How much may be done to tell whether a value is of a type, or a type within another. Aliases that name each other several
//! times have exponentially many ways through them, and those that contain themselves go as deep as the value does.

use std::cell::Cell;

use super::Type;
use super::check::Origin;
use crate::limits::{TYPE_JUDGED_DEPTH_MAX, TYPE_JUDGED_STEPS_MAX};

/// One question, from start to end. Once it is spent, every part of the answer comes at once and none of it counts: what
/// cannot be judged is refused.
#[derive(Debug)]
pub(super) struct Judge {
    pub origin: Origin,
    steps_left: Cell<usize>,
    depth: Cell<usize>,
}

impl Judge {
    pub fn new(origin: Origin) -> Self {
        Self { origin, steps_left: Cell::new(TYPE_JUDGED_STEPS_MAX), depth: Cell::new(0) }
    }

    /// One level deeper, to be left again; false if that is too deep or too much.
    pub fn enter(&self, steps: usize) -> bool {
        if self.depth.get() >= TYPE_JUDGED_DEPTH_MAX {
            self.steps_left.set(0);
        }
        let may = self.spend(steps);
        if may {
            self.depth.set(self.depth.get() + 1);
        }
        may
    }

    /// Back from there, with what was found.
    pub fn leave<T>(&self, found: T) -> T {
        self.depth.set(self.depth.get() - 1);
        found
    }

    /// Takes steps away; false if there are no more of them.
    pub fn spend(&self, steps: usize) -> bool {
        self.steps_left.set(self.steps_left.get().saturating_sub(steps));
        !self.is_spent()
    }

    /// Whether the question cannot be answered.
    pub fn is_spent(&self) -> bool {
        self.steps_left.get() == 0
    }

    /// What is told of a value that cannot be judged.
    pub fn gave_up(&self, expected: &Type) -> String {
        format!(
            "cannot be compared with {expected} within {TYPE_JUDGED_STEPS_MAX} steps and {TYPE_JUDGED_DEPTH_MAX} levels of \
             types: give a smaller value, or make the type simpler"
        )
    }
}
