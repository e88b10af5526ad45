//! Seeded simulation of controllers whose links fail, come back and are lost with messages under way, while agents come
//! and go on three workers. What must hold is kept apart from the broker, in `Shadow`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use super::message;
use super::world::{GRACE, World, controller_uri};
use crate::broker::state::BrokerState;
use crate::link::PeerId;
use crate::random::Random;

const WORKERS: u16 = 3;
const HOSTS: [&str; 2] = ["one", "two"];
const AGENTS: usize = 40;

/// A message that somebody has sent.
struct Letter {
    from: PeerId,
    /// Which of the sender's messages.
    number: u64,
    delivered: u32,
    returned: u32,
}

/// What a controller believes.
#[derive(Default)]
struct View {
    /// The request that it waits for or has the answer of.
    asked: bool,
    believed: Option<BTreeSet<String>>,
}

#[derive(Default)]
struct Shadow {
    letters: HashMap<String, Letter>,
    /// By receiver and sender: the number of the last message.
    last: HashMap<(PeerId, PeerId), u64>,
    views: HashMap<PeerId, View>,
    links: Vec<(&'static str, PeerId)>,
    /// The agents that are connected, by name.
    agents: HashMap<String, PeerId>,
    delivered: usize,
    returned: usize,
    evicted: usize,
}

struct Simulation {
    world: World,
    random: Random,
    shadow: Shadow,
    numbers: u64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self {
            world: World::new(WORKERS, &HOSTS, seed),
            random: Random::seeded(seed),
            shadow: Shadow::default(),
            numbers: 0,
        }
    }

    fn step(&mut self) {
        match self.random.index(100) {
            0..12 => self.connect(),
            12..17 => self.lose_agent(),
            17..24 => self.dial_ends(),
            24..26 => self.lose_link(),
            26..30 => self.subscribe(),
            30..50 => self.controller_asks(),
            50..75 => self.agent_answers(),
            75..95 => self.deliver(),
            95..99 => self.pass(Duration::from_millis(700)),
            // Long enough for the grace to be over now and then.
            _ => self.pass(GRACE / 2),
        }
        self.read();
    }

    fn worker(&mut self) -> u16 {
        u16::try_from(self.random.below(WORKERS.into())).unwrap()
    }

    fn deliver(&mut self) {
        let worker = self.worker();
        self.world.deliver_one(worker);
    }

    fn connect(&mut self) {
        let name = format!("node{}", self.random.index(AGENTS));
        let worker = self.worker();
        if self.shadow.agents.contains_key(&name) {
            return;
        }
        let connected = self.world.connect(worker, &name);
        assert_eq!(connected.is_ok(), !self.shadow.links.is_empty(), "{connected:?}");
        if let Ok(peer) = connected {
            self.shadow.agents.insert(name, peer);
        }
    }

    fn agent(&mut self) -> Option<(String, PeerId)> {
        let name = format!("node{}", self.random.index(AGENTS));
        self.shadow.agents.get(&name).map(|peer| (name, *peer))
    }

    fn lose_agent(&mut self) {
        if let Some((name, peer)) = self.agent() {
            self.world.lose(peer);
            self.shadow.agents.remove(&name);
        }
    }

    fn dial_ends(&mut self) {
        let host = *self.random.pick(&HOSTS);
        if !self.world.desks[0].dials.iter().any(|dial| *dial.host == *host) {
            return;
        }
        if self.random.percent(30) {
            self.world.fail(host);
        } else {
            let peer = self.world.link(host);
            self.shadow.links.push((host, peer));
            self.shadow.views.insert(peer, View::default());
        }
    }

    fn link(&mut self) -> Option<(&'static str, PeerId)> {
        let count = self.shadow.links.len();
        (count > 0).then(|| self.shadow.links[self.random.index(count)])
    }

    fn lose_link(&mut self) {
        let Some((_, peer)) = self.link() else { return };
        self.read();
        self.world.lose(peer);
        self.shadow.links.retain(|(_, other)| *other != peer);
        self.shadow.views.remove(&peer);
    }

    fn subscribe(&mut self) {
        let Some((_, peer)) = self.link() else { return };
        let mut request = message("inventory_request", "pcp:///server");
        request["data"] = json!({"query": ["pcp://*/agent"], "subscribe": true});
        self.read();
        self.shadow.views.insert(peer, View { asked: true, believed: None });
        self.world.desks[0].full.clear();
        self.world.say(peer, &request);
    }

    fn controller_asks(&mut self) {
        let Some((_, peer)) = self.link() else { return };
        let target = format!("pcp://node{}/agent", self.random.index(AGENTS));
        self.send(peer, "rpc_non_blocking_request", &target);
    }

    fn agent_answers(&mut self) {
        let Some((_, peer)) = self.agent() else { return };
        let target = controller_uri(self.random.pick::<&str>(&HOSTS));
        self.send(peer, "rpc_non_blocking_response", &target);
    }

    fn send(&mut self, from: PeerId, kind: &str, target: &str) {
        self.numbers += 1;
        let mut letter = message(kind, target);
        let id = format!("00000000-0000-4000-8000-{:012x}", self.numbers);
        letter["id"] = json!(id);
        let entry = Letter { from, number: self.numbers, delivered: 0, returned: 0 };
        self.shadow.letters.insert(id, entry);
        // The receiver is now and then too slow.
        if let Some((_, slow)) = self.link().filter(|_| self.random.percent(5)) {
            self.world.desks[0].full.insert(slow);
        }
        self.world.say(from, &letter);
        if self.random.percent(50) {
            self.world.desks[0].full.clear();
        }
        let worker = self.worker();
        self.world.desks[usize::from(worker)].jammed = self.random.percent(30);
    }

    fn pass(&mut self, time: Duration) {
        self.world.pass(time);
    }

    /// Looks at everything that was sent, and forgets the agents that the broker has closed.
    fn read(&mut self) {
        for worker in 0..usize::from(WORKERS) {
            for (to, message) in std::mem::take(&mut self.world.desks[worker].sent) {
                self.shadow.heard(to, &message);
            }
            for (peer, code, _) in std::mem::take(&mut self.world.desks[worker].closed) {
                assert_eq!(code, 1011);
                assert!(self.shadow.links.is_empty(), "closed although a controller is there");
                self.shadow.agents.retain(|_, agent| *agent != peer);
                self.shadow.evicted += 1;
            }
        }
    }

    fn settle(&mut self) {
        self.world.desks[0].full.clear();
        self.world.desks.iter_mut().for_each(|desk| desk.jammed = false);
        self.world.deliver_mail();
        for _ in 0..3 {
            self.pass(Duration::from_secs(2));
            self.read();
        }
    }

    fn check(&self) {
        let shadow = &self.shadow;
        let truth: BTreeSet<String> = shadow.agents.keys().map(|name| format!("pcp://{name}/agent")).collect();
        for view in shadow.views.values().filter(|view| view.asked) {
            assert_eq!(view.believed.as_ref(), Some(&truth), "a subscriber's view");
        }
        let alive = |peer: &PeerId| {
            shadow.links.iter().any(|(_, link)| link == peer) || shadow.agents.values().any(|agent| agent == peer)
        };
        for (id, letter) in shadow.letters.iter().filter(|(_, letter)| alive(&letter.from)) {
            assert_eq!(letter.delivered + letter.returned, 1, "{id} was lost");
        }
        let running = self.world.broker.state() == BrokerState::Running;
        assert_eq!(running, !shadow.links.is_empty());
        assert_eq!(self.world.broker.controllers.count(), shadow.links.len());
        assert_eq!(self.world.broker.directory.len(), truth.len());
    }
}

impl Shadow {
    fn heard(&mut self, to: PeerId, message: &Value) {
        let text = |key: &str| message[key].as_str().unwrap();
        match text("message_type").rsplit('/').next().unwrap() {
            "inventory_response" => {
                let uris = message["data"]["uris"].as_array().unwrap().iter();
                let view = self.views.get_mut(&to).unwrap();
                view.believed = Some(uris.map(|uri| uri.as_str().unwrap().to_owned()).collect());
            }
            "inventory_update" => {
                let view = self.views.get_mut(&to).unwrap();
                let believed = view.believed.as_mut().expect("an update before the response");
                for change in message["data"]["changes"].as_array().unwrap() {
                    let client = change["client"].as_str().unwrap();
                    let is_news = match change["change"].as_i64().unwrap() {
                        1 => believed.insert(client.to_owned()),
                        _ => believed.remove(client),
                    };
                    assert!(is_news, "a lost or repeated change of {client}");
                }
            }
            "error_message" => {
                let letter = self.letters.get_mut(text("in_reply_to")).unwrap();
                assert_eq!(letter.from, to, "told to another than the sender");
                letter.returned += 1;
                self.returned += 1;
                assert_eq!((letter.delivered, letter.returned), (0, 1));
            }
            _ => {
                let letter = self.letters.get_mut(text("id")).unwrap();
                letter.delivered += 1;
                self.delivered += 1;
                assert_eq!((letter.delivered, letter.returned), (1, 0));
                let last = self.last.insert((to, letter.from), letter.number);
                assert!(last < Some(letter.number), "out of order");
            }
        }
    }
}

fn run(seed: u64) -> (usize, usize, usize) {
    let mut simulation = Simulation::new(seed);
    for _ in 0..4_000 {
        simulation.step();
        if simulation.random.percent(1) {
            simulation.settle();
            simulation.check();
        }
    }
    simulation.settle();
    simulation.check();
    (simulation.shadow.delivered, simulation.shadow.returned, simulation.shadow.evicted)
}

#[test]
fn links_come_and_go_and_nothing_is_lost_twice_or_untold() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        run(seed.parse().expect("SIM_SEED is a number"));
        return;
    }
    let seeds = std::env::var("SIM_SEEDS").map_or(10, |count| count.parse().expect("SIM_SEEDS is a number"));
    let mut sums = (0, 0, 0);
    for seed in 0..seeds {
        println!("replay with SIM_SEED={seed}");
        let (delivered, returned, evicted) = run(seed);
        sums = (sums.0 + delivered, sums.1 + returned, sums.2 + evicted);
    }
    assert!(sums.0 > 1_000 && sums.1 > 1_000 && sums.2 > 20, "too quiet to prove anything: {sums:?}");
}
