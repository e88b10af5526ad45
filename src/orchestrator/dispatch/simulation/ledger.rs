//! The store of a simulated world: it takes every change, and fails at one that must not happen.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::{Change, JobId, JobState, NodeKey, UnfinishedJob, UnfinishedNode};
use crate::orchestrator::model::NodeState;
use crate::orchestrator::store::order::Ended;
use crate::orchestrator::store::order::Wait;

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
    /// Nodes of stopped jobs that were not started.
    pub skipped: u64,
    /// Nodes that were not started because one before them had not ended well.
    pub blocked: u64,
    /// Nodes that were ended by force.
    pub stopped: u64,
    /// Nodes whose agents could not do that.
    pub refused: u64,
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
                let expected = match (ended.state, ended.unsuccessful) {
                    (JobState::Stopping, _) => JobState::Stopped,
                    (_, 0) => JobState::Finished,
                    _ => JobState::Failed,
                };
                assert_eq!(state, expected);
                self.ended_jobs.insert(job);
            }
            Change::JobEntered { job, state, .. } => {
                let job = self.jobs.get_mut(&job).unwrap();
                assert_ne!(job.state, state, "a state is entered once");
                assert_ne!(job.state, JobState::Stopping, "a stop is not taken back");
                job.state = state;
            }
            Change::JobForced(job) => self.jobs.get_mut(&job).unwrap().is_forced = true,
            Change::NodeNoted { .. } => self.tally.refused += 1,
            Change::NodeStarted { node, at, .. } => {
                assert_ne!(self.jobs[&node.job].state, JobState::Stopping, "nothing is started once a stop is stored");
                let waits = |wait: &Wait| wait.precedence.node == node.position;
                assert!(!self.jobs[&node.job].waits.iter().any(waits), "a node starts after those before it");
                let node = self.node(node);
                assert_eq!(node.start, None, "a node starts once");
                node.start = Some(at);
            }
            Change::NodeAcknowledged(node) => self.node(node).acknowledged = true,
            Change::NodeResent(node) => {
                assert_ne!(self.jobs[&node.job].state, JobState::Stopping, "nothing is started once a stop is stored");
                let node = self.node(node);
                assert!(
                    node.start.is_some() && !node.acknowledged && !node.resent,
                    "only a lost request is sent again"
                );
                node.resent = true;
                self.tally.resent += 1;
            }
            Change::NodeEnded { node, state, .. } => self.node_ended(node, state),
            _ => {}
        }
    }

    fn node_ended(&mut self, node: NodeKey, state: NodeState) {
        assert_eq!(self.ended_nodes.insert(node, state), None, "a node ends once");
        let job = self.jobs.get_mut(&node.job).unwrap();
        let ended = job.nodes.iter().position(|other| other.position == node.position).unwrap();
        let name = job.nodes.remove(ended).name;
        let is_blocked = job.waits.iter().any(|wait| wait.precedence.node == node.position && wait.ended.is_some());
        match (state, job.state) {
            (NodeState::Skipped, JobState::Stopping) => {}
            (NodeState::Skipped, _) => assert!(is_blocked, "a node is skipped for a reason"),
            _ => assert!(!is_blocked, "what is after a node that has not ended well is skipped"),
        }
        job.waits.retain(|wait| wait.precedence.node != node.position);
        match state {
            NodeState::Finished => job.waits.retain(|wait| wait.precedence.after != node.position),
            _ => {
                let mut after = job.waits.iter_mut().filter(|wait| wait.precedence.after == node.position);
                after.by_ref().for_each(|wait| wait.ended = Some(Ended { name: name.clone(), state }));
            }
        }
        let is_stopping = job.state == JobState::Stopping;
        match state {
            NodeState::Finished => (job.succeeded, self.tally.finished) = (job.succeeded + 1, self.tally.finished + 1),
            other => {
                job.unsuccessful += 1;
                match other {
                    NodeState::Skipped if is_stopping => self.tally.skipped += 1,
                    NodeState::Skipped => self.tally.blocked += 1,
                    NodeState::Stopped => self.tally.stopped += 1,
                    _ => self.tally.errored += 1,
                }
            }
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
