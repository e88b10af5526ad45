//! The store of a simulated world: it takes every change, and fails at one that must not happen.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::{Change, JobId, JobState, NodeKey, UnfinishedJob, UnfinishedNode};
use crate::orchestrator::model::NodeState;

/// What came of a world.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub finished: u64,
    pub errored: u64,
    pub restarts: u64,
    pub resent: u64,
    /// Brokers that have died.
    pub deaths: u64,
    /// Links that took the place of an older one.
    pub replaced: u64,
}

#[derive(Default)]
pub struct Ledger {
    pub jobs: BTreeMap<JobId, UnfinishedJob>,
    ended_nodes: HashMap<NodeKey, NodeState>,
    pub ended_jobs: HashSet<JobId>,
    pub tally: Tally,
}

impl Ledger {
    fn node(&mut self, key: NodeKey) -> &mut UnfinishedNode {
        let job = self.jobs.get_mut(&key.job).expect("a change of a job that has ended");
        job.nodes.iter_mut().find(|node| node.position == key.position).expect("a change of a node that has ended")
    }

    /// What the store would do, and what it would not notice.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::JobEntered { job, state, .. } if state.is_final() => {
                let ended = self.jobs.remove(&job).expect("a job ends once");
                assert!(ended.nodes.is_empty(), "a job ends after its nodes");
                assert_eq!(state == JobState::Finished, ended.unsuccessful == 0);
                self.ended_jobs.insert(job);
            }
            Change::JobEntered { job, state, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                assert_ne!(job.state, state, "a state is entered once");
                job.state = state;
            }
            Change::NodeStarted { node, at, .. } => {
                let node = self.node(node);
                assert_eq!(node.start, None, "a node starts once");
                node.start = Some(at);
            }
            Change::NodeAcknowledged(node) => self.node(node).acknowledged = true,
            Change::NodeResent(node) => {
                let node = self.node(node);
                assert!(
                    node.start.is_some() && !node.acknowledged && !node.resent,
                    "only a lost request is sent again"
                );
                node.resent = true;
                self.tally.resent += 1;
            }
            Change::NodeEnded { node, state, .. } => {
                assert_eq!(self.ended_nodes.insert(node, state), None, "a node ends once");
                let job = self.jobs.get_mut(&node.job).unwrap();
                job.nodes.retain(|other| other.position != node.position);
                match state {
                    NodeState::Finished => {
                        (job.succeeded, self.tally.finished) = (job.succeeded + 1, self.tally.finished + 1)
                    }
                    _ => (job.unsuccessful, self.tally.errored) = (job.unsuccessful + 1, self.tally.errored + 1),
                }
            }
            _ => {}
        }
    }

    pub fn may_be_sent_again(&self, transaction: &str) -> bool {
        let mut nodes = self.jobs.values().flat_map(|job| &job.nodes);
        nodes.any(|node| node.transaction.to_string() == transaction && !node.acknowledged)
    }

    pub fn check_limit(&self, limit: usize) {
        let running = self.jobs.values().flat_map(|job| &job.nodes).filter(|node| node.start.is_some()).count();
        assert!(running <= limit, "{running} nodes run, {limit} are allowed");
    }
}
