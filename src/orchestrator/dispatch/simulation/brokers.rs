//! The brokers of a simulated world. They die and come back, their links break with or without the orchestrator's noticing,
//! they notice late that an agent has left, and tell what they know in batches.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::{Attached, Dispatcher};
use super::world::{Faults, Happening, Way, World};

/// One broker.
pub struct Broker {
    is_up: bool,
    /// Number of its newest link, if that is up.
    pub link: Option<u64>,
    is_subscribed: bool,
    /// Agents that it takes to be connected; some have left without its noticing.
    present: BTreeSet<usize>,
    /// Changes that it has not told yet.
    untold: Vec<(usize, i8)>,
}

impl Broker {
    /// It runs, with these agents.
    pub fn new(present: BTreeSet<usize>) -> Self {
        Self { is_up: true, link: None, is_subscribed: false, present, untold: vec![] }
    }

    pub fn has(&self, agent: usize) -> bool {
        self.present.contains(&agent)
    }

    /// The answer to an inventory request.
    pub fn subscribe(&mut self) -> Vec<String> {
        self.is_subscribed = true;
        self.untold.clear();
        self.present.iter().map(|agent| format!("pcp://n{agent}/agent")).collect()
    }
}

pub fn uri(broker: usize) -> String {
    format!("pcp://broker{broker}/server")
}

impl World {
    pub fn plan_broker_faults(&mut self) {
        for broker in 0..self.brokers.len() {
            for happening in [Happening::BrokerDies, Happening::LinkBreaks, Happening::LinkBreaks] {
                let at = self.random.below(300_000);
                self.plan(at, happening(broker));
            }
        }
        for agent in 0..self.agents.len() {
            let at = self.random.below(300_000);
            self.plan(at, Happening::Moves(agent));
        }
    }

    pub fn moves(&mut self, agent: usize) {
        self.disconnect(agent);
        let (delay, to) = (self.random.below(2_000), self.random.index(self.brokers.len()));
        self.plan(delay, Happening::Connects(agent, to));
    }

    pub fn disconnect(&mut self, agent: usize) {
        if let Some(broker) = self.agents[agent].at.take() {
            let late = if self.faults.brokers { self.random.below(5_000) } else { 0 };
            self.plan(late, Happening::Notices(broker, agent));
        }
    }

    /// Returns whether it did; otherwise it tries another.
    pub fn connect(&mut self, agent: usize, to: usize) -> bool {
        if !self.brokers[to].is_up {
            let another = self.random.index(self.brokers.len());
            self.plan(1_000, Happening::Connects(agent, another));
            return false;
        }
        self.disconnect(agent);
        self.agents[agent].at = Some(to);
        self.brokers[to].present.insert(agent);
        self.will_tell(to, agent, 1);
        true
    }

    pub fn notice(&mut self, broker: usize, agent: usize) {
        if self.agents[agent].at != Some(broker) && self.brokers[broker].present.remove(&agent) {
            self.will_tell(broker, agent, -1);
        }
    }

    fn will_tell(&mut self, broker: usize, agent: usize, change: i8) {
        if self.brokers[broker].untold.is_empty() {
            let tick = self.random.below(1_000);
            self.plan(tick, Happening::Tells(broker));
        }
        self.brokers[broker].untold.push((agent, change));
    }

    pub fn tell(&mut self, broker: usize) {
        let untold = std::mem::take(&mut self.brokers[broker].untold);
        if untold.is_empty() || !self.brokers[broker].is_subscribed {
            return;
        }
        let change =
            |(agent, change): &(usize, i8)| json!({"client": format!("pcp://n{agent}/agent"), "change": change});
        let changes: Vec<_> = untold.iter().map(change).collect();
        self.deliver(1, broker, None, "inventory_update", None, &json!({"changes": changes}));
    }

    pub fn broker_dies(&mut self, broker: usize) {
        self.ledger.tally.deaths += 1;
        self.break_link(broker);
        self.brokers[broker] = Broker { is_up: false, ..Broker::new(BTreeSet::new()) };
        for agent in 0..self.agents.len() {
            if self.agents[agent].at.take_if(|at| *at == broker).is_some() {
                let (delay, to) = (self.random.below(20_000), self.random.index(self.brokers.len()));
                self.plan(delay, Happening::Connects(agent, to));
            }
        }
        let away = 1_000 + self.random.below(60_000);
        self.plan(away, Happening::BrokerStarts(broker));
    }

    pub fn broker_starts(&mut self, broker: usize) {
        self.brokers[broker].is_up = true;
        self.plan(200, Happening::LinkUp(broker));
    }

    /// The orchestrator notices at once, or only when the link has been silent for long.
    pub fn break_link(&mut self, broker: usize) {
        let Some(number) = self.brokers[broker].link.take() else { return };
        let noticed = if self.random.percent(50) { self.random.below(2_000) } else { 45_000 };
        self.plan(noticed, Happening::LinkLost(Way { broker, number }));
        let redial = 200 + self.random.below(3_000);
        self.plan(redial, Happening::LinkUp(broker));
    }

    pub fn link_up(&mut self, broker: usize) {
        if !self.brokers[broker].is_up || self.brokers[broker].link.is_some() {
            return;
        }
        self.links_made += 1;
        let number = self.links_made;
        let now = self.both_clocks();
        let link = match self.dispatcher.attach(now, &uri(broker)) {
            Attached::New(link) => link,
            Attached::Replacing { link, older } => {
                self.ledger.tally.replaced += 1;
                let at = self.ways.values_mut().find(|index| **index == link).expect("a link that is replaced");
                *at = older;
                link
            }
        };
        self.ways.insert(Way { broker, number }, link);
        let state = &mut self.brokers[broker];
        (state.link, state.is_subscribed) = (Some(number), false);
        state.untold.clear();
        self.act(|_, _, _| {});
    }

    pub fn link_lost(&mut self, way: Way) {
        if let Some(link) = self.ways.remove(&way) {
            self.act(|dispatcher: &mut Dispatcher, now, out| dispatcher.lose_link(now, link, out));
        }
    }

    /// Nothing more goes wrong; after a while the orchestrator knows where everybody is.
    pub fn check_settled(&mut self) {
        self.faults = Faults::NONE;
        self.happenings.retain(|_, happening| !happening.is_fault());
        self.advance(std::time::Duration::from_secs(250));
        for (agent, state) in self.agents.iter().enumerate() {
            let way = state.at.map(|broker| Way { broker, number: self.brokers[broker].link.expect("it is linked") });
            let expected = way.map(|way| self.ways[&way]);
            assert_eq!(self.dispatcher.link_of(&format!("n{agent}")), expected, "seed {}: n{agent}", self.seed);
        }
        assert_eq!(self.ways.len(), self.brokers.len(), "seed {}: links that nobody has", self.seed);
    }
}
