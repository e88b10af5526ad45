//! Stopping a job: nobody is started any more, and by force what runs is ended too, where the agent can do that. Both are
//! decided once, stored before they are acknowledged, and go on after a restart.

use uuid::Uuid;

use super::node::{Query, RunningNode, message};
use super::{Dispatcher, Now, Output};
use crate::orchestrator::events::{self, Ending};
use crate::orchestrator::inventory::LinkIndex;
use crate::orchestrator::model::{JobId, JobState, NodeState};
use crate::orchestrator::store::{Change, NodeKey};
use crate::pxp::message_type;
use crate::pxp::request::BlockingRequest;
use crate::pxp::status::StatusQuery;
use crate::pxp::stop;

/// How a job is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// What runs may end by itself.
    Gently,
    /// What runs is ended.
    ByForce,
}

/// Whether a job could be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAnswer {
    /// It is being stopped, by this command or by an earlier one.
    Stopping,
    /// There is no such job, or it has ended.
    NotThere,
}

/// How far we are with ending what runs on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It may go on.
    NotWanted,
    /// The agent is to be told.
    Wanted,
    /// The agent has been told in the message with this id, and has not answered; it is told again with the next query.
    Asked(Uuid),
    /// The agent is ending it.
    Confirmed,
    /// The agent cannot do that.
    Refused,
}

impl RunningNode {
    /// Whether the message with this id tells the agent to end what runs.
    pub(super) fn is_stop(&self, id: &str) -> bool {
        matches!(self.ended, Ended::Asked(asked) if asked.to_string() == id)
    }
}

impl Dispatcher {
    /// Stops a job. Asking again changes nothing, except that force may be added.
    pub fn stop(&mut self, now: Now, id: JobId, stop: Stop, out: &mut Output) -> StopAnswer {
        let Some(job) = self.jobs.get_mut(&id) else { return StopAnswer::NotThere };
        if job.stop.is_none() {
            job.state = JobState::Stopping;
            let event = Some(events::job_stopping());
            out.changes.push(Change::JobEntered { job: id, state: JobState::Stopping, at: now.wall, event });
        }
        let is_new_force = stop == Stop::ByForce && job.stop != Some(Stop::ByForce);
        if is_new_force {
            out.changes.push(Change::JobForced(id));
        }
        job.stop = job.stop.max(Some(stop));
        self.skip_waiting(id);
        if is_new_force {
            let mut running: Vec<NodeKey> = self.running.keys().filter(|key| key.job == id).copied().collect();
            running.sort_unstable();
            for key in running {
                self.running.get_mut(&key).expect("looked up above").ended = Ended::Wanted;
                self.hasten(now.moment, key);
            }
        }
        StopAnswer::Stopping
    }

    /// The nodes of a job that is stopping and that have not started are to be skipped.
    pub(super) fn skip_waiting(&mut self, id: JobId) {
        self.turns.clear(id);
        let job = &mut self.jobs.get_mut(&id).expect("only jobs that have not ended are stopped");
        if std::mem::replace(&mut job.is_skipping, true) {
            return;
        }
        let mut positions: Vec<u32> = job.waiting.keys().copied().collect();
        positions.sort_unstable();
        self.skips.extend(positions.into_iter().map(|position| NodeKey { job: id, position }));
    }

    /// Tells the agent to end what runs, if that is wanted and it has not agreed. Returns whether it has been told: then
    /// it answers as it would answer a status query.
    pub(super) fn tell_to_end(&mut self, key: NodeKey, link: LinkIndex, out: &mut Output) -> bool {
        let node = &self.running[&key];
        if !matches!(node.ended, Ended::Wanted | Ended::Asked(_)) {
            return false;
        }
        let id = self.send_end(key, link, out);
        let node = self.running.get_mut(&key).expect("looked up above");
        let before = std::mem::replace(&mut node.ended, Ended::Asked(id));
        let asked = std::mem::replace(&mut node.query, Query::Asked(id));
        if let Ended::Asked(old) = before {
            self.messages.remove(&old);
        }
        if let Query::Asked(old) = asked {
            self.messages.remove(&old);
        }
        self.messages.insert(id, key);
        true
    }

    /// Tells the agent to end what runs, whatever it may answer.
    pub(super) fn send_end(&mut self, key: NodeKey, link: LinkIndex, out: &mut Output) -> Uuid {
        let id = (self.new_id)();
        let node = &self.running[&key];
        let request = BlockingRequest {
            transaction_id: id.to_string(),
            module: stop::MODULE.to_owned(),
            action: stop::ACTION.to_owned(),
            params: Some(StatusQuery { transaction_id: node.transaction.to_string() }),
        };
        out.sends.push(message(link, id, &node.name, message_type::BLOCKING_REQUEST, request));
        id
    }

    /// The agent ends what runs.
    pub(super) fn will_end(&mut self, key: NodeKey) {
        self.running.get_mut(&key).expect("only running nodes answer").ended = Ended::Confirmed;
    }

    /// The agent cannot end what runs: the node goes on, and says so.
    pub(super) fn cannot_end(&mut self, key: NodeKey, reason: &str, out: &mut Output) {
        self.settle_query(key);
        let node = self.running.get_mut(&key).expect("only running nodes are told to end");
        node.ended = Ended::Refused;
        node.silent_since = None;
        let message = format!(
            "The job was stopped by force, but the agent on {} cannot end what runs ({reason}): it goes on until it ends by \
             itself",
            node.name
        );
        out.changes.push(Change::NodeNoted { node: key, message });
    }

    /// Ends a node by what its agent says that it left. If it was to be ended and has not ended well, that is why: after a
    /// restart nobody knows whether the agent has agreed, and by then it may have done it.
    pub(super) fn end_by_agent(&mut self, now: Now, key: NodeKey, mut ending: Ending, out: &mut Output) {
        let has_failed = matches!(ending.state, NodeState::Failed | NodeState::Errored);
        if has_failed && !matches!(self.running[&key].ended, Ended::NotWanted | Ended::Refused) {
            ending.state = NodeState::Stopped;
            let said = ending.message.take().unwrap_or_default();
            ending.message = Some(format!("Stopped by force. {said}"));
        }
        self.end(now, key, ending, out);
    }
}
