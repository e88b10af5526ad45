//! The dispatcher: which request goes to which agent when, and what became of it. PURE: time, message ids and what
//! arrives come in as arguments; what is to be stored and sent goes out in an [`Output`]. LIFECYCLE.md walks through it.
//!
//! The one rule: a transaction is executed at most once, and every node ends exactly once. Agents execute a transaction
//! id once as long as they remember it; the dispatcher sends a request a second time only if the agent has never
//! acknowledged it and says that it knows nothing of it.

mod driver;
mod links;
mod messages;
mod node;
mod order;
#[cfg(test)]
mod simulation;
mod stall;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::value::RawValue;
use uuid::Uuid;

pub use driver::{Command, Driver, DriverParts};
pub use links::Attached;
pub use stop::{Stop, StopAnswer};

use super::concurrency::{Pool, Turns};
use super::events::{self, Action, Ending};
use super::facts::from_task_result;
use super::inventory::{Inventory, LinkIndex};
use super::model::{JobId, JobSpec, JobState, NodeState, Work};
use super::puppet_run::Noop;
use super::store::{Change, FactsChange, NodeKey, UnfinishedJob, UnfinishedNode};
use crate::clock::{Moment, WallTime};
use crate::limits::{DISPATCH_STEP_BYTES_MAX, DISPATCH_STEP_NODES_MAX, START_GRACE};
use links::Link;
use node::{Delivery, RunningNode};
use order::Order;

/// What an operator can set.
#[derive(Debug, Clone)]
pub struct DispatchSettings {
    /// Nodes that run a task at once, over all jobs.
    pub task_concurrency: usize,
    /// Nodes that run Puppet at once, over all jobs.
    pub deploy_concurrency: usize,
    /// Unanswered status requests in a row after which a node is given up.
    pub allowed_status_requests: u32,
    /// Time between status requests to one node.
    pub status_interval: Duration,
}

/// Both clocks, read together.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For deadlines.
    pub moment: Moment,
    /// For people.
    pub wall: WallTime,
}

/// A job that is to be run, or to be run on after a restart.
#[derive(Debug)]
pub struct AcceptedJob {
    /// What is stored of it.
    pub job: UnfinishedJob,
    /// The request's parameters, opened; the error says why they cannot be.
    pub params: Result<Box<RawValue>, String>,
}

/// A message for a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// Over which link.
    pub link: LinkIndex,
    /// PCP v2.
    pub message: Vec<u8>,
}

/// What has to be done, in this order: commit all changes at once, then send.
#[derive(Debug, Default)]
pub struct Output {
    /// For the store.
    pub changes: Vec<Change>,
    /// For brokers.
    pub sends: Vec<Send>,
    /// Number of nodes that have ended.
    pub ended: usize,
}

impl Output {
    /// Bytes of all messages.
    fn bytes(&self) -> usize {
        self.sends.iter().map(|send| send.message.len()).sum()
    }
}

/// The state machine.
pub struct Dispatcher {
    settings: DispatchSettings,
    new_id: Box<dyn FnMut() -> Uuid + std::marker::Send>,
    inventory: Arc<RwLock<Inventory>>,
    links: Vec<Link>,
    jobs: HashMap<JobId, ActiveJob>,
    turns: Turns,
    running: HashMap<NodeKey, RunningNode>,
    /// Running nodes by certificate name.
    by_name: HashMap<Arc<str>, Vec<NodeKey>>,
    transactions: HashMap<Uuid, NodeKey>,
    /// Ids of messages that an error may refer to.
    messages: HashMap<Uuid, NodeKey>,
    alarms: BTreeSet<(Moment, NodeKey)>,
    /// Nodes that are to be skipped: their jobs are stopping, or a node before them has not ended well.
    skips: VecDeque<NodeKey>,
    grace: Grace,
    pace: Pace,
}

/// Whether new nodes are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Yes.
    Go,
    /// No: brokers take too little. Nodes that run are looked after as ever.
    Hold,
}

/// Whether nodes that are not connected are waited for.
#[derive(Debug)]
enum Grace {
    /// Yes, until then; nodes whose turn has come, by name.
    Until(Moment, HashMap<Box<str>, Vec<NodeKey>>),
    /// No.
    Over,
}

/// A job that has not ended.
struct ActiveJob {
    action: Action,
    noop: Noop,
    timeout: Option<u64>,
    params: Result<Box<RawValue>, String>,
    state: JobState,
    stop: Option<Stop>,
    /// Whether its waiting nodes are among those to be skipped.
    is_skipping: bool,
    succeeded: u64,
    unsuccessful: u64,
    /// Nodes that have not ended.
    left: u64,
    /// Nodes that have not started, by position.
    waiting: HashMap<u32, (Arc<str>, Uuid)>,
    order: Order,
}

impl Dispatcher {
    /// A dispatcher that knows of no job and no broker yet.
    pub fn new(
        settings: DispatchSettings,
        inventory: Arc<RwLock<Inventory>>,
        new_id: Box<dyn FnMut() -> Uuid + std::marker::Send>,
        now: Moment,
    ) -> Self {
        Self {
            turns: Turns::new(settings.task_concurrency, settings.deploy_concurrency),
            settings,
            new_id,
            inventory,
            links: Vec::new(),
            jobs: HashMap::new(),
            running: HashMap::new(),
            by_name: HashMap::new(),
            transactions: HashMap::new(),
            messages: HashMap::new(),
            alarms: BTreeSet::new(),
            skips: VecDeque::new(),
            grace: Grace::Until(now + START_GRACE, HashMap::new()),
            pace: Pace::Go,
        }
    }

    /// Takes a job that is in the store: a new one, or one from before a restart.
    pub fn accept(&mut self, now: Now, accepted: AcceptedJob, out: &mut Output) {
        let AcceptedJob { job, params } = accepted;
        let left = u64::try_from(job.nodes.len()).unwrap_or(u64::MAX);
        let stopped = match (job.state, job.is_forced) {
            (JobState::Stopping, true) => Some(Stop::ByForce),
            (JobState::Stopping, false) => Some(Stop::Gently),
            _ => None,
        };
        let JobSpec { work, terms, owner } = job.spec;
        let (pool, no_noop) = match &work {
            Work::Task(_) => (Pool::Tasks, false),
            Work::Deploy(options) => (Pool::PuppetRuns, options.no_noop),
        };
        self.turns.enter(job.id, pool, &owner.login, terms.concurrency);
        let active = ActiveJob {
            action: Action::of(&work),
            noop: Noop { noop: terms.noop, no_noop },
            timeout: terms.timeout,
            params,
            state: job.state,
            stop: stopped,
            is_skipping: false,
            succeeded: job.succeeded,
            unsuccessful: job.unsuccessful,
            left,
            waiting: HashMap::new(),
            order: Order::new(job.waits),
        };
        self.jobs.insert(job.id, active);
        for node in job.nodes {
            self.accept_node(now, job.id, node);
        }
        if stopped.is_some() {
            self.skip_waiting(job.id);
        }
        if left == 0 {
            self.end_job(now, job.id, out);
        }
    }

    fn accept_node(&mut self, now: Now, job: JobId, node: UnfinishedNode) {
        let key = NodeKey { job, position: node.position };
        let name: Arc<str> = node.name.into();
        let Some(start) = node.start else {
            self.jobs.get_mut(&job).expect("just inserted").waiting.insert(node.position, (name, node.transaction));
            self.line_up(key);
            return;
        };
        let delivery = match (node.acknowledged, node.resent) {
            (true, _) => Delivery::Acknowledged,
            (false, true) => Delivery::SentTwice,
            (false, false) => Delivery::Sent,
        };
        let age = u64::try_from(now.wall.as_millis() - start.as_millis()).unwrap_or(0);
        self.add_running(now, key, name.clone(), node.transaction, delivery, Duration::from_millis(age));
        // Links that were up all the time (a dispatcher that takes over) report no arrival.
        if self.link_of(&name).is_some() {
            self.hasten(now.moment, key);
        }
    }

    /// Does what is due: subscriptions, deadlines, status queries, then new nodes. Call it after every batch of input and
    /// no later than [`Self::next_deadline`].
    pub fn turn(&mut self, now: Now, out: &mut Output) {
        self.subscribe_where_due(now, out);
        if let Grace::Until(end, held) = &mut self.grace
            && *end <= now.moment
        {
            let mut held: Vec<NodeKey> = std::mem::take(held).into_values().flatten().collect();
            held.sort_unstable();
            self.grace = Grace::Over;
            held.into_iter().for_each(|node| self.turns.enqueue(node));
        }
        let mut budget = DISPATCH_STEP_NODES_MAX;
        while let Some((_, key)) = self.alarms.first().copied().filter(|(due, _)| *due <= now.moment && budget > 0) {
            budget -= 1;
            self.alarm(now, key, out);
        }
        while budget > 0
            && let Some(key) = self.skips.pop_front()
        {
            budget -= 1;
            self.skip(now, key, out);
        }
        // A request has the job's parameters, which may be megabytes: what does not fit into this step is for the next.
        while budget > 0
            && self.pace == Pace::Go
            && out.bytes() < DISPATCH_STEP_BYTES_MAX
            && let Some(key) = self.turns.take()
        {
            budget -= 1;
            self.consider(now, key, out);
        }
    }

    /// Starts or stops starting new nodes.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// When [`Self::turn`] has something to do even if nothing arrives; in the past if it has something left to do.
    pub fn next_deadline(&self) -> Option<Moment> {
        let grace = match &self.grace {
            Grace::Until(end, _) => Some(*end),
            Grace::Over => None,
        };
        let alarm = self.alarms.first().map(|(due, _)| *due);
        let has_next = !self.skips.is_empty() || (self.pace == Pace::Go && self.turns.has_next());
        let ready = has_next.then(Moment::default);
        self.subscriptions_due().into_iter().chain(grace).chain(alarm).chain(ready).min()
    }

    /// The turn of a waiting node has come: start it, hold it, or give it up.
    fn consider(&mut self, now: Now, key: NodeKey, out: &mut Output) {
        let Some(job) = self.jobs.get(&key.job).filter(|job| job.stop.is_none()) else { return };
        let Some((name, _)) = job.waiting.get(&key.position) else { return };
        let name = name.clone();
        let link = self.link_of(&name);
        if link.is_none()
            && let Grace::Until(_, held) = &mut self.grace
        {
            held.entry((&*name).into()).or_default().push(key);
            return;
        }
        let job = self.jobs.get_mut(&key.job).expect("looked up above");
        let (name, transaction) = job.waiting.remove(&key.position).expect("looked up above");
        if job.state != JobState::Running {
            job.state = JobState::Running;
            out.changes.push(Change::JobEntered { job: key.job, state: JobState::Running, at: now.wall, event: None });
        }
        let reason = match (&job.params, link) {
            (Err(reason), _) => reason.clone(),
            (Ok(_), None) => format!("{name} is not connected to the PCP broker"),
            (Ok(_), Some(link)) => {
                let event = events::started(&job.action, &name, job.noop.noop);
                out.changes.push(Change::NodeStarted { node: key, at: now.wall, event });
                self.add_running(now, key, name, transaction, Delivery::Sent, Duration::ZERO);
                self.send_request(key, link, out);
                return;
            }
        };
        let ending = Ending::errored(&job.action, &name, &reason);
        self.record_end(now, key, &name, ending, out);
    }

    /// Lets the nodes with this name that are held take their turn.
    fn release_held(&mut self, name: &str) {
        let Grace::Until(_, held) = &mut self.grace else { return };
        for key in held.remove(name).unwrap_or_default() {
            self.turns.enqueue(key);
        }
    }

    fn link_of(&self, name: &str) -> Option<LinkIndex> {
        self.inventory.read().unwrap_or_else(PoisonError::into_inner).link_of(name)
    }

    /// Writes down how a node ends, and the job with its last one.
    fn record_end(&mut self, now: Now, key: NodeKey, name: &str, ending: Ending, out: &mut Output) {
        let job = self.jobs.get_mut(&key.job).expect("a node's job lives as long as its nodes");
        match ending.state {
            NodeState::Finished => job.succeeded += 1,
            _ => job.unsuccessful += 1,
        }
        job.left -= 1;
        let consequences = job.order.ended(key.position, name, ending.state);
        out.ended += 1;
        if let (Action::Task(task), NodeState::Finished) = (&job.action, ending.state)
            && let Some(facts) = from_task_result(task, &ending.result)
        {
            out.changes.push(Change::Facts(FactsChange::Facts { node: name.to_owned(), facts, at: now.wall }));
        }
        out.changes.push(ending.into_change(&job.action, key, name, now.wall));
        let is_last = job.left == 0;
        self.follow(key, consequences);
        if is_last {
            self.end_job(now, key.job, out);
        }
    }

    fn end_job(&mut self, now: Now, id: JobId, out: &mut Output) {
        let job = self.jobs.remove(&id).expect("a job ends once");
        self.turns.forget(id);
        let state = match (job.stop, job.unsuccessful) {
            (Some(_), _) => JobState::Stopped,
            (None, 0) => JobState::Finished,
            (None, _) => JobState::Failed,
        };
        let event = Some(events::job_ended(state, job.succeeded, job.unsuccessful));
        out.changes.push(Change::JobEntered { job: id, state, at: now.wall, event });
    }
}
