//! Which nodes of a job wait for which others. A node's turn can come once all those before it have ended well; if one
//! of them ends otherwise, the node is skipped, and so are those after it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{Dispatcher, Now, Output};
use crate::orchestrator::events::Ending;
use crate::orchestrator::model::NodeState;
use crate::orchestrator::store::NodeKey;
use crate::orchestrator::store::order::Wait;

/// The order of a job's nodes, by their positions; only what is still to be decided is in it.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// How many nodes a node waits for.
    waiting: HashMap<u32, usize>,
    /// The nodes that wait for a node.
    dependents: HashMap<u32, Vec<u32>>,
    /// What keeps a node from running for ever.
    blocked: HashMap<u32, Blocked>,
}

/// A node that has ended, but not well.
#[derive(Debug, Clone)]
struct Blocked {
    by: Arc<str>,
    state: NodeState,
}

/// Whether a node may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is before it.
    Free,
    /// Not yet.
    Waits,
    /// Never.
    Blocked,
}

/// What the end of a node means for those that wait for it.
#[derive(Debug, Default)]
pub(super) struct Consequences {
    /// Their turn can come.
    free: Vec<u32>,
    /// They are to be skipped.
    blocked: Vec<u32>,
}

impl Order {
    pub(super) fn new(waits: Vec<Wait>) -> Self {
        let mut order = Self::default();
        for Wait { precedence, ended } in waits {
            *order.waiting.entry(precedence.node).or_default() += 1;
            match ended {
                None => order.dependents.entry(precedence.after).or_default().push(precedence.node),
                Some(ended) => {
                    let blocked = Blocked { by: ended.name.into(), state: ended.state };
                    order.blocked.entry(precedence.node).or_insert(blocked);
                }
            }
        }
        order
    }

    pub(super) fn standing(&self, position: u32) -> Standing {
        match (self.blocked.contains_key(&position), self.waiting.contains_key(&position)) {
            (true, _) => Standing::Blocked,
            (false, true) => Standing::Waits,
            (false, false) => Standing::Free,
        }
    }

    /// A node has ended.
    pub(super) fn ended(&mut self, position: u32, name: &str, state: NodeState) -> Consequences {
        let mut consequences = Consequences::default();
        let Some(dependents) = self.dependents.remove(&position) else { return consequences };
        let by: Arc<str> = name.into();
        for dependent in dependents {
            if state != NodeState::Finished {
                if let Entry::Vacant(vacant) = self.blocked.entry(dependent) {
                    vacant.insert(Blocked { by: by.clone(), state });
                    consequences.blocked.push(dependent);
                }
                continue;
            }
            let left = self.waiting.get_mut(&dependent).expect("a node that waits is counted");
            *left -= 1;
            if *left == 0 {
                self.waiting.remove(&dependent);
                consequences.free.push(dependent);
            }
        }
        consequences
    }

    /// How a node that is skipped ends: for what was before it, or because its job is stopped.
    pub(super) fn skipped(&self, position: u32, name: &str) -> Ending {
        match self.blocked.get(&position) {
            Some(Blocked { by, state }) => Ending::skipped_after(name, by, *state),
            None => Ending::skipped(name),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.dependents.is_empty()
    }
}

impl Dispatcher {
    /// Lets a node that has not started take its turn as soon as it may.
    pub(super) fn line_up(&mut self, key: NodeKey) {
        match self.jobs[&key.job].order.standing(key.position) {
            Standing::Free => self.turns.enqueue(key),
            Standing::Waits => {}
            Standing::Blocked => self.skips.push_back(key),
        }
    }

    /// Lets those that waited for a node take their turns, or has them skipped. Of a job that is stopping all are
    /// skipped already.
    pub(super) fn follow(&mut self, key: NodeKey, consequences: Consequences) {
        if self.jobs.get(&key.job).is_none_or(|job| job.stop.is_some()) {
            return;
        }
        let at = |position| NodeKey { job: key.job, position };
        consequences.free.into_iter().for_each(|position| self.turns.enqueue(at(position)));
        self.skips.extend(consequences.blocked.into_iter().map(at));
    }

    /// Skips a node that has not started, if that has not been done yet.
    pub(super) fn skip(&mut self, now: Now, key: NodeKey, out: &mut Output) {
        let Some(job) = self.jobs.get_mut(&key.job) else { return };
        let Some((name, _)) = job.waiting.remove(&key.position) else { return };
        let ending = job.order.skipped(key.position, &name);
        self.record_end(now, key, &name, ending, out);
    }
}
