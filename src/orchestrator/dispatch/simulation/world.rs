//! The world around the dispatcher: a store that checks every change, a broker, a network, agents.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::*;
use crate::orchestrator::model::NodeState;
use crate::pcp::Envelope;
use crate::pxp::status::execution_error;
use crate::random::Random;

/// The longest that a task takes.
pub const TASK_SECONDS_MAX: Duration = Duration::from_secs(40);

const BROKER: &str = "pcp://broker/server";

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Messages are lost and doubled.
    pub network: bool,
    /// Agents disconnect and come back, some never.
    pub agents: bool,
    /// Agents forget transactions early, but none that the orchestrator has not seen acknowledged: no protocol could
    /// tell such a one from a request that never arrived.
    pub spools: bool,
    /// The dispatcher is killed.
    pub restarts: bool,
}

impl Faults {
    pub const NONE: Self = Self { network: false, agents: false, spools: false, restarts: false };
    pub const ALL: Self = Self { network: true, agents: true, spools: true, restarts: true };
}

/// What came of a world.
#[derive(Debug, Default)]
pub struct Tally {
    pub finished: u64,
    pub errored: u64,
    pub restarts: u64,
    pub resent: u64,
}

enum Happening {
    /// At the agent with this index.
    AtAgent(usize, Vec<u8>),
    /// From the broker or an agent.
    AtOrchestrator(Vec<u8>),
    /// The task of a transaction ends.
    TaskEnds(usize, String),
    /// The agent forgets a transaction.
    Purge(usize, String),
    /// The agent's connection changes.
    Connection(usize, bool),
    Kill,
}

#[derive(Default)]
struct Agent {
    is_connected: bool,
    /// Transactions: whether the task has ended.
    spool: HashMap<String, bool>,
}

#[derive(Default)]
struct Ledger {
    jobs: BTreeMap<JobId, UnfinishedJob>,
    ended_nodes: HashMap<NodeKey, NodeState>,
    ended_jobs: HashSet<JobId>,
    tally: Tally,
}

pub struct World {
    pub random: Random,
    pub now: Moment,
    seed: u64,
    faults: Faults,
    limit: usize,
    dispatcher: Dispatcher,
    ledger: Ledger,
    agents: Vec<Agent>,
    happenings: BTreeMap<(Moment, u64), Happening>,
    count: u64,
    executions: HashMap<String, u32>,
}

fn dispatcher(random: &mut Random, limit: usize, now: Moment) -> Dispatcher {
    let settings = DispatchSettings {
        uri: "pcp://orch/orchestrator".to_owned(),
        concurrency: limit,
        allowed_status_requests: 35,
        status_interval: Duration::from_secs(12),
    };
    let brokers = vec![BROKER.to_owned()];
    let inventory = Arc::new(RwLock::new(Inventory::new(brokers.clone(), vec![])));
    let mut ids = Random::seeded(random.next_u64());
    let new_id = move || Uuid::from_u64_pair(ids.next_u64(), ids.next_u64());
    Dispatcher::new(settings, brokers, inventory, Box::new(new_id), now)
}

impl World {
    pub fn new(seed: u64, agents: usize, limit: usize, faults: Faults) -> Self {
        let mut random = Random::seeded(seed);
        let now = Moment::from_millis(1_000);
        let mut world = Self {
            dispatcher: dispatcher(&mut random, limit, now),
            random,
            now,
            seed,
            faults,
            limit,
            ledger: Ledger::default(),
            agents: (0..agents).map(|_| Agent { is_connected: true, ..Agent::default() }).collect(),
            happenings: BTreeMap::new(),
            count: 0,
            executions: HashMap::new(),
        };
        if faults.agents {
            (0..agents).for_each(|agent| world.plan_disconnect(agent));
        }
        if faults.restarts {
            for _ in 0..3 {
                let at = world.random.below(300_000);
                world.plan(at, Happening::Kill);
            }
        }
        world
    }

    pub fn job(&mut self, id: i64, names: &[String]) {
        let nodes = names.iter().zip(0..).map(|(name, position)| UnfinishedNode {
            position,
            name: name.clone(),
            transaction: Uuid::from_u64_pair(self.random.next_u64(), self.random.next_u64()),
            start: None,
            acknowledged: false,
            resent: false,
        });
        let job = UnfinishedJob {
            id: JobId(id),
            state: JobState::Ready,
            task: "demo".to_owned(),
            noop: false,
            timeout: None,
            payload: vec![],
            succeeded: 0,
            unsuccessful: 0,
            nodes: nodes.collect(),
        };
        self.ledger.jobs.insert(job.id, job.clone());
        self.act(|dispatcher, now, out| dispatcher.accept(now, accepted(job), out));
    }

    pub fn has_ended(&self, job: i64) -> bool {
        self.ledger.ended_jobs.contains(&JobId(job))
    }

    pub fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    pub fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        while !self.ledger.jobs.is_empty() {
            assert!(self.now < end, "seed {}: jobs {:?} do not end", self.seed, self.ledger.jobs.keys());
            self.step();
        }
    }

    /// Goes to the next thing that happens.
    pub fn step(&mut self) {
        let next = self.happenings.first_key_value().map(|((at, _), _)| *at);
        let due = self.dispatcher.next_deadline();
        self.now = next.into_iter().chain(due).min().expect("something always happens").max(self.now);
        while let Some(entry) = self.happenings.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let happening = entry.remove();
            self.happen(happening);
        }
        self.act(|_, _, _| {});
    }

    fn plan(&mut self, millis: u64, happening: Happening) {
        self.count += 1;
        self.happenings.insert((self.now + Duration::from_millis(millis), self.count), happening);
    }

    fn plan_disconnect(&mut self, agent: usize) {
        let at = self.random.below(200_000);
        self.plan(at, Happening::Connection(agent, false));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::AtOrchestrator(message) => {
                self.act(|dispatcher, now, out| _ = dispatcher.receive(now, 0, &message, out));
            }
            Happening::AtAgent(agent, message) => self.at_agent(agent, &message),
            Happening::TaskEnds(agent, transaction) => {
                self.agents[agent].spool.insert(transaction.clone(), true);
                if self.faults.spools && self.random.percent(30) {
                    self.plan(5_000, Happening::Purge(agent, transaction.clone()));
                }
                let results = json!({"exitcode": 0, "stdout": "done"});
                let data = json!({"transaction_id": transaction, "results": results});
                self.agent_says(agent, "rpc_non_blocking_response", &data);
            }
            Happening::Purge(agent, transaction) => {
                if !self.ledger.may_be_sent_again(&transaction) {
                    self.agents[agent].spool.remove(&transaction);
                }
            }
            Happening::Connection(agent, is_connected) => self.connection(agent, is_connected),
            Happening::Kill => self.restart(),
        }
    }

    fn connection(&mut self, agent: usize, is_connected: bool) {
        self.agents[agent].is_connected = is_connected;
        let change = if is_connected { 1 } else { -1 };
        let data = json!({"changes": [{"client": format!("pcp://n{agent}/agent"), "change": change}]});
        self.deliver(500, BROKER, "inventory_update", None, &data);
        if is_connected && self.random.percent(50) {
            self.plan_disconnect(agent);
        } else if !is_connected && !self.random.percent(5) {
            let away = self.random.below(120_000);
            self.plan(away, Happening::Connection(agent, true));
        }
    }

    /// The dispatcher is gone, with what was on its way to it; another one starts from what is stored.
    fn restart(&mut self) {
        self.ledger.tally.restarts += 1;
        self.happenings.retain(|_, happening| !matches!(happening, Happening::AtOrchestrator(_)));
        self.dispatcher = dispatcher(&mut self.random, self.limit, self.now);
        for job in self.ledger.jobs.clone().into_values() {
            self.act(|dispatcher, now, out| dispatcher.accept(now, accepted(job), out));
        }
    }

    /// As the driver does it: input, turn, commit, send. A kill may come before the commit, or before all is sent.
    fn act(&mut self, action: impl FnOnce(&mut Dispatcher, Now, &mut Output)) {
        let wall = WallTime::from_millis(i64::try_from(self.now.as_millis()).unwrap());
        let now = Now { moment: self.now, wall };
        let mut out = Output::default();
        action(&mut self.dispatcher, now, &mut out);
        self.dispatcher.turn(now, &mut out);
        let is_killed = self.faults.restarts && !out.changes.is_empty() && self.random.below(200) == 0;
        if is_killed && self.random.percent(50) {
            return self.restart();
        }
        out.changes.into_iter().for_each(|change| self.ledger.apply(change));
        self.ledger.check_limit(self.limit);
        let sent = if is_killed { self.random.below(out.sends.len() as u64 + 1) } else { u64::MAX };
        for send in out.sends.into_iter().take(usize::try_from(sent).unwrap()) {
            self.at_broker(send.message);
        }
        if is_killed {
            self.restart();
        }
    }

    fn at_broker(&mut self, message: Vec<u8>) {
        let envelope = Envelope::decode(&message).unwrap();
        let Some(name) = envelope.target.as_deref().and_then(|uri| uri.strip_prefix("pcp://n")) else {
            let connected = self.agents.iter().enumerate().filter(|(_, agent)| agent.is_connected);
            let uris: Vec<String> = connected.map(|(index, _)| format!("pcp://n{index}/agent")).collect();
            return self.deliver(1, BROKER, "inventory_response", None, &json!({"uris": uris}));
        };
        let agent: usize = name.strip_suffix("/agent").unwrap().parse().unwrap();
        if !self.agents.get(agent).is_some_and(|agent| agent.is_connected) {
            let id = envelope.id.to_string();
            return self.deliver(1, BROKER, "error_message", Some(&id), &"Not connected.".into());
        }
        if !(self.faults.network && self.random.percent(10)) {
            self.plan(20, Happening::AtAgent(agent, message));
        }
    }

    fn at_agent(&mut self, agent: usize, message: &[u8]) {
        if !self.agents[agent].is_connected {
            return;
        }
        let envelope = Envelope::decode(message).unwrap();
        let data: Value = envelope.data_as().unwrap();
        let transaction = data["transaction_id"].as_str().unwrap().to_owned();
        if data["module"] == "status" {
            let asked = data["params"]["transaction_id"].as_str().unwrap();
            let results = match self.agents[agent].spool.get(asked) {
                None => json!({"status": "unknown", "stdout": execution_error("found no results directory")}),
                Some(false) => json!({"status": "running"}),
                Some(true) => json!({"status": "success", "exitcode": 0, "stdout": "done"}),
            };
            let mut results = results;
            results["transaction_id"] = asked.into();
            let answer = json!({"transaction_id": transaction, "results": results});
            return self.agent_says(agent, "rpc_blocking_response", &answer);
        }
        if !self.agents[agent].spool.contains_key(&transaction) {
            self.agents[agent].spool.insert(transaction.clone(), false);
            *self.executions.entry(transaction.clone()).or_default() += 1;
            let time = self.random.below(u64::try_from(TASK_SECONDS_MAX.as_millis()).unwrap());
            self.plan(time, Happening::TaskEnds(agent, transaction.clone()));
        }
        self.agent_says(agent, "rpc_provisional_response", &json!({"transaction_id": transaction}));
    }

    fn agent_says(&mut self, agent: usize, message_type: &str, data: &Value) {
        if !self.agents[agent].is_connected || (self.faults.network && self.random.percent(15)) {
            return;
        }
        let copies = if self.faults.network && self.random.percent(10) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = 20 + self.random.below(if self.faults.network { 3_000 } else { 50 });
            self.deliver(delay, &format!("pcp://n{agent}/agent"), message_type, None, data);
        }
    }

    fn deliver(&mut self, delay: u64, sender: &str, message_type: &str, reply: Option<&str>, data: &Value) {
        let message_type = format!("http://puppetlabs.com/{message_type}");
        let outgoing = Outgoing {
            id: "1-1-1-1-1",
            message_type: &message_type,
            target: None,
            sender: Some(sender),
            in_reply_to: reply,
            data: Some(data),
        };
        self.plan(delay, Happening::AtOrchestrator(outgoing.encode()));
    }

    /// After the run: what holds whatever happened.
    pub fn check(&self) -> Tally {
        let seed = self.seed;
        assert!(self.executions.values().all(|count| *count == 1), "seed {seed}: a transaction ran twice");
        assert_eq!(self.dispatcher.turns.running(), 0, "seed {seed}: slots are taken by nobody");
        let leftovers =
            (self.dispatcher.running.len(), self.dispatcher.transactions.len(), self.dispatcher.alarms.len());
        assert_eq!((leftovers, self.dispatcher.messages.len(), self.dispatcher.by_name.len()), ((0, 0, 0), 0, 0));
        let Tally { finished, errored, restarts, resent } = self.ledger.tally;
        Tally { finished, errored, restarts, resent }
    }
}

fn accepted(job: UnfinishedJob) -> AcceptedJob {
    AcceptedJob { job, params: Ok(RawValue::from_string("{}".to_owned()).unwrap()) }
}

impl Ledger {
    fn node(&mut self, key: NodeKey) -> &mut UnfinishedNode {
        let job = self.jobs.get_mut(&key.job).expect("a change of a job that has ended");
        job.nodes.iter_mut().find(|node| node.position == key.position).expect("a change of a node that has ended")
    }

    /// What the store would do, and what it would not notice.
    fn apply(&mut self, change: Change) {
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

    fn may_be_sent_again(&self, transaction: &str) -> bool {
        let mut nodes = self.jobs.values().flat_map(|job| &job.nodes);
        nodes.any(|node| node.transaction.to_string() == transaction && !node.acknowledged)
    }

    fn check_limit(&self, limit: usize) {
        let running = self.jobs.values().flat_map(|job| &job.nodes).filter(|node| node.start.is_some()).count();
        assert!(running <= limit, "{running} nodes run, {limit} are allowed");
    }
}
