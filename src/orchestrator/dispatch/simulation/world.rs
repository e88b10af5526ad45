//! The world around the dispatcher: brokers, a network, agents, and the driver's steps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::brokers::{Broker, uri};
use super::ledger::{Ledger, Tally};
use super::*;
use crate::orchestrator::model::{JobSpec, Scope, Subject};
use crate::orchestrator::store::order::{Precedence, Wait};
use crate::pcp::{Envelope, Outgoing};
use crate::pxp::status::execution_error;
use crate::random::Random;

/// The longest that a task takes.
pub const TASK_SECONDS_MAX: Duration = Duration::from_secs(40);

/// Brokers of a world.
const BROKERS: usize = 3;

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
    /// Brokers and their links die and come back; agents move between brokers, which notice late.
    pub brokers: bool,
}

impl Faults {
    pub const NONE: Self = Self { network: false, agents: false, spools: false, restarts: false, brokers: false };
    pub const ALL: Self = Self { network: true, agents: true, spools: true, restarts: true, brokers: true };
}

/// One link of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Way {
    pub broker: usize,
    pub number: u64,
}

pub enum Happening {
    /// At the agent with this index.
    AtAgent(usize, Vec<u8>),
    /// From the broker or an agent.
    AtOrchestrator(Way, Vec<u8>),
    /// The task of a transaction ends, by itself or not.
    TaskEnds(usize, String, Task),
    /// The agent forgets a transaction.
    Purge(usize, String),
    /// The agent's connection ends.
    Disconnects(usize),
    /// The agent connects to a broker.
    Connects(usize, usize),
    /// The agent goes to another broker.
    Moves(usize),
    /// The broker notices that the agent has left.
    Notices(usize, usize),
    /// The broker tells the changes of its inventory.
    Tells(usize),
    BrokerDies(usize),
    BrokerStarts(usize),
    LinkBreaks(usize),
    LinkUp(usize),
    /// The orchestrator notices that a link is gone.
    LinkLost(Way),
    Kill,
    /// A job is stopped.
    Stop(i64, Stop),
}

impl Happening {
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Disconnects(_) | Self::Moves(_) | Self::BrokerDies(_) | Self::LinkBreaks(_) | Self::Kill)
    }
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Running,
    Done,
    Killed,
}

impl Task {
    fn results(self) -> Value {
        match self {
            Self::Running => json!({"status": "running"}),
            Self::Done => json!({"status": "success", "exitcode": 0, "stdout": "done"}),
            Self::Killed => json!({"status": "failure", "exitcode": 15}),
        }
    }
}

#[derive(Default)]
pub struct Agent {
    /// The broker to which it is connected.
    pub at: Option<usize>,
    /// Transactions.
    spool: HashMap<String, Task>,
}

pub struct World {
    pub random: Random,
    pub now: Moment,
    pub seed: u64,
    pub faults: Faults,
    limit: usize,
    pub dispatcher: Dispatcher,
    pub ledger: Ledger,
    pub agents: Vec<Agent>,
    pub brokers: Vec<Broker>,
    pub links_made: u64,
    /// The links that the dispatcher knows, and by which index.
    pub ways: HashMap<Way, LinkIndex>,
    pub happenings: BTreeMap<(Moment, u64), Happening>,
    count: u64,
    executions: HashMap<String, u32>,
}

/// Every other agent is one of ours.
pub const fn ends_tasks(agent: usize) -> bool {
    agent.is_multiple_of(2)
}

fn dispatcher(random: &mut Random, limit: usize, now: Moment) -> Dispatcher {
    let settings = DispatchSettings {
        task_concurrency: limit,
        deploy_concurrency: 2,
        allowed_status_requests: 35,
        status_interval: Duration::from_secs(12),
    };
    let inventory = Arc::new(RwLock::new(Inventory::new(vec![])));
    let mut ids = Random::seeded(random.next_u64());
    let new_id = move || Uuid::from_u64_pair(ids.next_u64(), ids.next_u64());
    Dispatcher::new(settings, inventory, Box::new(new_id), now)
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
            agents: (0..agents).map(|agent| Agent { at: Some(agent % BROKERS), ..Agent::default() }).collect(),
            brokers: vec![],
            links_made: 0,
            ways: HashMap::new(),
            happenings: BTreeMap::new(),
            count: 0,
            executions: HashMap::new(),
        };
        for broker in 0..BROKERS {
            let present: BTreeSet<usize> = (0..agents).filter(|agent| agent % BROKERS == broker).collect();
            world.brokers.push(Broker::new(present));
            world.link_up(broker);
        }
        if faults.agents {
            (0..agents).for_each(|agent| world.plan_disconnect(agent));
        }
        if faults.brokers {
            world.plan_broker_faults();
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
        self.job_in_order(id, names, &[]);
    }

    /// A job in which some nodes run after others.
    pub fn job_in_order(&mut self, id: i64, names: &[String], order: &[Precedence]) {
        let random = &mut self.random;
        let transaction = |name: &String| (name.clone(), Uuid::from_u64_pair(random.next_u64(), random.next_u64()));
        let spec = JobSpec::of_task("demo", Scope::Nodes(vec![]), Subject::default());
        let mut job = UnfinishedJob::new(JobId(id), spec, names.iter().map(transaction));
        job.waits = order.iter().copied().map(Wait::new).collect();
        self.ledger.jobs.insert(job.id, job.clone());
        self.act(|dispatcher, now, out| dispatcher.accept(now, accepted(job), out));
    }

    pub fn has_ended(&self, job: i64) -> bool {
        self.ledger.ended_jobs.contains(&JobId(job))
    }

    pub fn is_stopping(&self, job: i64) -> bool {
        self.ledger.jobs.get(&JobId(job)).is_some_and(|job| job.state == JobState::Stopping)
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

    /// A random order of so many nodes, in no relation to their positions.
    pub fn random_order(&mut self, nodes: u32) -> Vec<Precedence> {
        let mut rank: Vec<u32> = (0..nodes).collect();
        for last in (1..rank.len()).rev() {
            rank.swap(last, self.random.index(last + 1));
        }
        let mut order = BTreeSet::new();
        for later in 1..rank.len() {
            for _ in 0..self.random.below(3) {
                order.insert(Precedence { node: rank[later], after: rank[self.random.index(later)] });
            }
        }
        order.into_iter().collect()
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

    pub fn plan(&mut self, millis: u64, happening: Happening) {
        self.count += 1;
        self.happenings.insert((self.now + Duration::from_millis(millis), self.count), happening);
    }

    fn plan_disconnect(&mut self, agent: usize) {
        let at = self.random.below(200_000);
        self.plan(at, Happening::Disconnects(agent));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::AtOrchestrator(way, message) => {
                if let Some(link) = self.ways.get(&way).copied() {
                    self.act(|dispatcher, now, out| _ = dispatcher.receive(now, link, &message, out));
                }
            }
            Happening::AtAgent(agent, message) => self.at_agent(agent, &message),
            Happening::TaskEnds(agent, transaction, how) => {
                match self.agents[agent].spool.get_mut(&transaction) {
                    Some(task) if *task == Task::Running => *task = how,
                    _ => return,
                }
                if self.faults.spools && self.random.percent(30) {
                    self.plan(5_000, Happening::Purge(agent, transaction.clone()));
                }
                let exitcode = if how == Task::Killed { 15 } else { 0 };
                let results = json!({"exitcode": exitcode, "stdout": "done"});
                let data = json!({"transaction_id": transaction, "results": results});
                self.agent_says(agent, "rpc_non_blocking_response", &data);
            }
            Happening::Purge(agent, transaction) => {
                if !self.ledger.may_be_sent_again(&transaction) {
                    self.agents[agent].spool.remove(&transaction);
                }
            }
            Happening::Disconnects(agent) => {
                self.disconnect(agent);
                if !self.random.percent(5) {
                    let (away, to) = (self.random.below(120_000), self.random.index(BROKERS));
                    self.plan(away, Happening::Connects(agent, to));
                }
            }
            Happening::Connects(agent, broker) => {
                if self.connect(agent, broker) && self.faults.agents && self.random.percent(50) {
                    self.plan_disconnect(agent);
                }
            }
            Happening::Moves(agent) => self.moves(agent),
            Happening::Notices(broker, agent) => self.notice(broker, agent),
            Happening::Tells(broker) => self.tell(broker),
            Happening::BrokerDies(broker) => self.broker_dies(broker),
            Happening::BrokerStarts(broker) => self.broker_starts(broker),
            Happening::LinkBreaks(broker) => self.break_link(broker),
            Happening::LinkUp(broker) => self.link_up(broker),
            Happening::LinkLost(way) => self.link_lost(way),
            Happening::Kill => self.restart(),
            Happening::Stop(job, stop) => {
                self.act(|dispatcher, now, out| _ = dispatcher.stop(now, JobId(job), stop, out))
            }
        }
    }

    /// The dispatcher is gone, with what was on its way to it; another one starts from what is stored.
    fn restart(&mut self) {
        self.ledger.tally.restarts += 1;
        let is_lost =
            |happening: &Happening| matches!(happening, Happening::AtOrchestrator(..) | Happening::LinkLost(_));
        self.happenings.retain(|_, happening| !is_lost(happening));
        self.dispatcher = dispatcher(&mut self.random, self.limit, self.now);
        self.ways.clear();
        for broker in 0..self.brokers.len() {
            self.brokers[broker].link = None;
            let redial = 200 + self.random.below(2_000);
            self.plan(redial, Happening::LinkUp(broker));
        }
        for job in self.ledger.jobs.clone().into_values() {
            self.act(|dispatcher, now, out| dispatcher.accept(now, accepted(job), out));
        }
    }

    pub fn both_clocks(&self) -> Now {
        Now { moment: self.now, wall: WallTime::from_millis(i64::try_from(self.now.as_millis()).unwrap()) }
    }

    /// As the driver does it: input, turn, commit, send. A kill may come before the commit, or before all is sent.
    pub fn act(&mut self, action: impl FnOnce(&mut Dispatcher, Now, &mut Output)) {
        let now = self.both_clocks();
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
            // What goes into a link that is dead, noticed or not, is lost.
            let way = self.ways.iter().find(|(_, link)| **link == send.link).map(|(way, _)| *way);
            if let Some(way) = way.filter(|way| self.brokers[way.broker].link == Some(way.number)) {
                self.at_broker(way.broker, send.message);
            }
        }
        if is_killed {
            self.restart();
        }
    }

    fn at_broker(&mut self, broker: usize, message: Vec<u8>) {
        let envelope = Envelope::decode(&message).unwrap();
        assert_eq!(envelope.sender, None, "brokers refuse other senders than the one that they put in");
        let Some(name) = envelope.target.as_deref().and_then(|uri| uri.strip_prefix("pcp://n")) else {
            let uris = self.brokers[broker].subscribe();
            return self.deliver(1, broker, None, "inventory_response", None, &json!({"uris": uris}));
        };
        let agent: usize = name.strip_suffix("/agent").unwrap().parse().unwrap();
        if !self.brokers[broker].has(agent) {
            let id = envelope.id.to_string();
            return self.deliver(1, broker, None, "error_message", Some(&id), &"Not connected.".into());
        }
        let is_there = self.agents[agent].at == Some(broker);
        if is_there && !(self.faults.network && self.random.percent(10)) {
            self.plan(20, Happening::AtAgent(agent, message));
        }
    }

    fn at_agent(&mut self, agent: usize, message: &[u8]) {
        if self.agents[agent].at.is_none() {
            return;
        }
        let envelope = Envelope::decode(message).unwrap();
        let data: Value = envelope.data_as().unwrap();
        let transaction = data["transaction_id"].as_str().unwrap().to_owned();
        let is_stop = data["module"] == "podium";
        if is_stop && !ends_tasks(agent) {
            let error =
                json!({"transaction_id": transaction, "id": "1-1-1-1-1", "description": "unknown module: podium"});
            return self.agent_says(agent, "rpc_error_message", &error);
        }
        if is_stop || data["module"] == "status" {
            let asked = data["params"]["transaction_id"].as_str().unwrap();
            let mut results = match self.agents[agent].spool.get(asked) {
                None => json!({"status": "unknown", "stdout": execution_error("found no results directory")}),
                Some(task) => task.results(),
            };
            if is_stop {
                self.plan(500, Happening::TaskEnds(agent, asked.to_owned(), Task::Killed));
            }
            results["transaction_id"] = asked.into();
            let answer = json!({"transaction_id": transaction, "results": results});
            return self.agent_says(agent, "rpc_blocking_response", &answer);
        }
        if !self.agents[agent].spool.contains_key(&transaction) {
            self.agents[agent].spool.insert(transaction.clone(), Task::Running);
            *self.executions.entry(transaction.clone()).or_default() += 1;
            let time = self.random.below(u64::try_from(TASK_SECONDS_MAX.as_millis()).unwrap());
            self.plan(time, Happening::TaskEnds(agent, transaction.clone(), Task::Done));
        }
        self.agent_says(agent, "rpc_provisional_response", &json!({"transaction_id": transaction}));
    }

    fn agent_says(&mut self, agent: usize, message_type: &str, data: &Value) {
        let Some(broker) = self.agents[agent].at else { return };
        if self.faults.network && self.random.percent(15) {
            return;
        }
        let copies = if self.faults.network && self.random.percent(10) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = 20 + self.random.below(if self.faults.network { 3_000 } else { 50 });
            self.deliver(delay, broker, Some(agent), message_type, None, data);
        }
    }

    /// Something from a broker, or from an agent through it, on its way over the broker's link.
    pub fn deliver(
        &mut self,
        delay: u64,
        broker: usize,
        agent: Option<usize>,
        message_type: &str,
        reply: Option<&str>,
        data: &Value,
    ) {
        let Some(number) = self.brokers[broker].link else { return };
        let message_type = format!("http://puppetlabs.com/{message_type}");
        let sender = agent.map_or_else(|| uri(broker), |agent| format!("pcp://n{agent}/agent"));
        let outgoing = Outgoing {
            id: "1-1-1-1-1",
            message_type: &message_type,
            target: None,
            sender: Some(&sender),
            in_reply_to: reply,
            data: Some(data),
        };
        self.plan(delay, Happening::AtOrchestrator(Way { broker, number }, outgoing.encode()));
    }

    /// After the run: what holds whatever happened.
    pub fn check(&self) -> Tally {
        let seed = self.seed;
        assert!(self.executions.values().all(|count| *count == 1), "seed {seed}: a transaction ran twice");
        assert!(self.dispatcher.turns.is_idle(), "seed {seed}: slots are taken by nobody");
        let leftovers =
            (self.dispatcher.running.len(), self.dispatcher.transactions.len(), self.dispatcher.alarms.len());
        assert_eq!((leftovers, self.dispatcher.messages.len(), self.dispatcher.by_name.len()), ((0, 0, 0), 0, 0));
        assert!(self.dispatcher.links.len() <= 4 * BROKERS, "seed {seed}: {} places", self.dispatcher.links.len());
        self.ledger.tally
    }
}

fn accepted(job: UnfinishedJob) -> AcceptedJob {
    AcceptedJob { job, params: Ok(RawValue::from_string("{}".to_owned()).unwrap()) }
}
