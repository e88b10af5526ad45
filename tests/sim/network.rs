//! The simulated world: connections of each worker, mail between workers, a clock, and a shadow of what must be true.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use podium::broker::authorize::{CONTROLLER_ALLOWLIST, Policy};
use podium::broker::controllers::{Controller, Way};
use podium::broker::core::{BrokerCore, BrokerMail};
use podium::broker::mounts::Mounts;
use podium::broker::{Access, Broker, Observer, Outcome};
use podium::clock::Moment;
use podium::link::{Admission, Application, CloseReason, Event, Identity, Opcode, Opening, PeerId, Port, TimerKey};
use podium::pcp::{Outgoing, Version, message_type, translate};
use podium::pxp::message_type as pxp;
use podium::random::Random;

use super::shell::{Pending, Shadow, SimulatedShell, UPDATE_BYTES, Worker};
use super::view::{Seen, View};

const CONTROLLER: &str = "pcp://orch.example.com/orchestrator";
/// Clients that subscribe, besides the controller, each on the next worker and of the other protocol than the one before.
const WATCHERS: usize = 4;

#[derive(Default)]
struct Counts {
    superseded: AtomicUsize,
}

impl Observer for Counts {
    fn outcome(&self, _outcome: Outcome) {}

    fn accessed(&self, _worker: u16, _outcome: Outcome, _access: &Access<'_>) {}

    fn superseded(&self) {
        self.superseded.fetch_add(1, Ordering::Relaxed);
    }
}

/// The controller's end of its link.
#[derive(Default)]
struct Inbox(Mutex<VecDeque<Bytes>>);

struct InboxPort(Arc<Inbox>);

impl Port for InboxPort {
    fn offer(&self, message: Bytes) -> Result<(), Bytes> {
        self.0.0.lock().unwrap().push_back(message);
        Ok(())
    }
}

/// Every other client speaks v1.
fn version(number: usize) -> Version {
    if number.is_multiple_of(2) { Version::V2 } else { Version::V1 }
}

fn watcher(number: usize) -> String {
    format!("pcp://watcher{number}/watcher")
}

pub struct Network {
    random: Random,
    now: Moment,
    cores: Vec<BrokerCore>,
    workers: Vec<Worker>,
    shadow: Shadow,
    inbox: Arc<Inbox>,
    controller: Arc<Controller>,
    counts: Arc<Counts>,
    broker: Arc<Broker>,
    agents: usize,
    messages: u64,
    refused: usize,
}

impl Network {
    pub fn new(seed: u64, workers: usize, agents: usize) -> Self {
        let counts = Arc::new(Counts::default());
        // All may talk to all here: the more goes to and fro, the more can go wrong.
        let watchers = (0..WATCHERS).map(|number| format!("watcher{number}"));
        let names: Vec<String> = (0..agents).map(|number| format!("node{number}")).chain(watchers).collect();
        let policy = Policy::new(names.iter().map(String::as_str));
        let mut broker = Broker::new(workers, Mounts::default(), policy, counts.clone());
        Arc::get_mut(&mut broker).unwrap().update_bytes_max = UPDATE_BYTES;
        let inbox = Arc::new(Inbox::default());
        let controller = Arc::new(Controller {
            uri: CONTROLLER.into(),
            way: Way::Port(Box::new(InboxPort(inbox.clone()))),
            allowlist: CONTROLLER_ALLOWLIST.map(Box::from).to_vec(),
        });
        broker.controllers.link(controller.clone());
        let mut network = Self {
            random: Random::seeded(seed),
            now: Moment::from_millis(0),
            cores: (0..workers).map(|index| BrokerCore::new(broker.clone(), seed ^ index as u64)).collect(),
            workers: (0..workers).map(|_| Worker::default()).collect(),
            shadow: Shadow::default(),
            inbox,
            controller,
            counts,
            broker,
            agents,
            refused: 0,
            messages: 0,
        };
        network.shadow.views.insert(CONTROLLER.to_owned(), View::default());
        network.controller_subscribes();
        for number in 0..WATCHERS {
            network.watcher_connects(number);
        }
        network
    }

    /// One random happening.
    pub fn step(&mut self) {
        match self.random.index(100) {
            0..15 => self.connect(),
            15..22 => self.drop_connection(),
            22..55 => self.agent_sends(),
            55..65 => self.controller_sends(),
            65..70 => self.deliver_late_close(),
            70..95 => self.deliver_mail(),
            95 if self.random.percent(20) => self.watcher_subscribes(),
            _ => self.pass_time(),
        }
        self.read_inbox();
    }

    /// Lets everything under way arrive.
    pub fn settle(&mut self) {
        for _ in 0..5 {
            while self.workers.iter().any(|worker| !worker.mail.is_empty() || !worker.closing.is_empty()) {
                self.deliver_mail();
                self.deliver_late_close();
            }
            self.now = self.now + Duration::from_secs(2);
            self.fire_timers();
        }
        self.read_inbox();
    }

    /// What must hold once nothing is under way.
    pub fn check_settled(&self) {
        let truth: BTreeSet<String> = self.shadow.newest.keys().cloned().collect();
        for (uri, view) in &self.shadow.views {
            assert!(view.subscribed);
            assert_eq!(view.believed, truth, "the view of {uri}");
            assert!(view.splits > 10, "too few split updates to prove anything: {}", view.splits);
        }
        assert_eq!(self.broker.directory.len(), truth.len() + WATCHERS);
        let lost: Vec<_> = self.shadow.pending.keys().collect();
        assert!(lost.is_empty(), "messages neither delivered nor returned: {lost:?}");
        assert!(self.shadow.delivered > 100 && self.shadow.returned > 10, "the run was too quiet to prove anything");
        let superseded = self.counts.superseded.load(Ordering::Relaxed);
        assert!(superseded > 10);
        assert!(self.refused <= superseded / 4, "refusals are for storms: {} of {superseded}", self.refused);
        for (uri, peer) in &self.shadow.newest {
            assert_eq!(self.broker.directory.locate(uri), Some(*peer));
        }
        let open: usize = self.workers.iter().map(|worker| worker.open.len()).sum();
        assert_eq!(open, truth.len() + WATCHERS, "every superseded connection was dropped");
    }

    pub fn summary(&self) -> (usize, usize, usize, BTreeSet<String>) {
        let believed = self.shadow.views[CONTROLLER].believed.clone();
        (self.shadow.delivered, self.shadow.returned, self.shadow.pending.len(), believed)
    }

    fn connect(&mut self) {
        let number = self.random.index(self.agents);
        let (name, version) = (format!("node{number}"), version(number));
        let index = self.random.index(self.workers.len());
        let opening = Opening {
            identity: Identity::named(&name),
            path: if version == Version::V1 { "/pcp" } else { "/pcp2/agent" },
            remote: "127.0.0.1:1".parse().unwrap(),
            dialled: None,
        };
        let held = self.shadow.newest.contains_key(&format!("pcp://{name}/agent"));
        match self.cores[index].admit(self.now, &opening) {
            Admission::Accept => {}
            // Too many have taken this name from each other in a short time.
            Admission::Refuse { status: 503, .. } if held => return self.refused += 1,
            refused => panic!("{refused:?}"),
        }
        let uri = format!("pcp://{name}/agent");
        let peer = self.workers[index].enter(index, &uri, version);
        self.shadow.newest.insert(uri, peer);
        self.handle(index, Event::Opened { peer, opening });
    }

    fn watcher_connects(&mut self, number: usize) {
        let (name, version) = (format!("watcher{number}"), version(number));
        let opening = Opening {
            identity: Identity::named(&name),
            path: if version == Version::V1 { "/pcp/watcher" } else { "/pcp2/watcher" },
            remote: "127.0.0.1:1".parse().unwrap(),
            dialled: None,
        };
        let (index, uri) = (number % self.workers.len(), watcher(number));
        let peer = self.workers[index].enter(index, &uri, version);
        self.handle(index, Event::Opened { peer, opening });
        self.shadow.views.insert(uri, View::default());
        self.subscribe(number);
    }

    /// A subscription in the place of the one before; nothing of that one may follow.
    fn watcher_subscribes(&mut self) {
        let number = self.random.index(WATCHERS);
        self.subscribe(number);
    }

    fn subscribe(&mut self, number: usize) {
        let (index, uri) = (number % self.workers.len(), watcher(number));
        let (peer, _, version) = self.workers[index].open.values().find(|(_, open, _)| *open == uri).cloned().unwrap();
        self.shadow.views.get_mut(&uri).unwrap().subscribed = false;
        // The answer may be refused like any other message.
        while !self.shadow.views[&uri].subscribed {
            let request = Outgoing {
                id: &self.next_id(),
                message_type: message_type::INVENTORY_REQUEST,
                target: Some(podium::pcp::SERVER_URI),
                sender: Some(&uri),
                in_reply_to: None,
                data: Some(serde_json::json!({"query": ["pcp://*/agent"], "subscribe": true})),
            };
            self.say(index, peer, version, &request);
        }
    }

    fn say<T: serde::Serialize>(&mut self, index: usize, peer: PeerId, version: Version, message: &Outgoing<'_, T>) {
        let (opcode, payload) = match version {
            Version::V1 => {
                let mut payload = Vec::new();
                translate::to_v1(message, &mut payload);
                (Opcode::Binary, payload)
            }
            Version::V2 => (Opcode::Text, message.encode()),
        };
        self.handle(index, Event::Message { peer, opcode, payload: &payload });
    }

    fn drop_connection(&mut self) {
        let index = self.random.index(self.workers.len());
        let open: Vec<u32> = self.workers[index]
            .open
            .iter()
            .filter(|(_, open)| open.1.ends_with("/agent"))
            .map(|(slot, _)| *slot)
            .collect();
        if open.is_empty() {
            return;
        }
        let slot = open[self.random.index(open.len())];
        let (peer, ..) = self.workers[index].open.remove(&slot).unwrap();
        self.workers[index].closing.push(peer);
    }

    fn deliver_late_close(&mut self) {
        let index = self.random.index(self.workers.len());
        let count = self.workers[index].closing.len();
        if count == 0 {
            return;
        }
        let peer = self.workers[index].closing.swap_remove(self.random.index(count));
        self.shadow.newest.retain(|_, newest| *newest != peer);
        // Whoever waits for an answer over this connection will not get it.
        self.shadow.pending.retain(|_, pending| pending.sender != peer);
        self.handle(index, Event::Closed { peer, reason: CloseReason::Lost });
        self.workers[index].free_slots.push(peer.slot);
    }

    fn agent_sends(&mut self) {
        let index = self.random.index(self.workers.len());
        let open: Vec<(PeerId, String, Version)> =
            self.workers[index].open.values().filter(|open| open.1.ends_with("/agent")).cloned().collect();
        if open.is_empty() {
            return;
        }
        let (peer, uri, version) = open[self.random.index(open.len())].clone();
        // To one of the other protocol.
        let other = self.random.index(self.agents / 2) * 2 + usize::from(version == Version::V2);
        let target = format!("pcp://node{other}/agent");
        let id = self.next_id();
        // In v1 there is always a sender.
        let sender = (version == Version::V1 || self.random.percent(50)).then_some(&*uri);
        let data = "x".repeat(self.random.index(200));
        let message = Outgoing {
            id: &id,
            message_type: pxp::NON_BLOCKING_RESPONSE,
            target: Some(&target),
            sender,
            in_reply_to: None,
            data: Some(&data),
        };
        // What a superseded connection still says is ignored by its worker, so nothing is owed for it.
        if self.shadow.newest.get(&uri) == Some(&peer) {
            let pending = Pending { target: target.clone(), data: data.clone(), sender: peer };
            self.shadow.pending.insert(id.clone(), pending);
        }
        self.say(index, peer, version, &message);
    }

    fn controller_sends(&mut self) {
        let target = format!("pcp://node{}/agent", self.random.index(self.agents));
        let id = self.next_id();
        let message = Outgoing {
            id: &id,
            message_type: pxp::NON_BLOCKING_REQUEST,
            target: Some(&target),
            sender: None,
            in_reply_to: None,
            data: Some("run"),
        }
        .encode();
        let nobody = PeerId { worker: u16::MAX, slot: 0, generation: 0 };
        self.shadow.pending.insert(id, Pending { target, data: "run".to_owned(), sender: nobody });
        let mail = BrokerMail::FromController(self.controller.clone(), message.into());
        self.workers[0].mail.push_back(mail);
    }

    fn controller_subscribes(&mut self) {
        let message = Outgoing {
            id: &self.next_id(),
            message_type: message_type::INVENTORY_REQUEST,
            target: None,
            sender: None,
            in_reply_to: None,
            data: Some(serde_json::json!({"query": ["pcp://*/agent"], "subscribe": true})),
        }
        .encode();
        let mail = BrokerMail::FromController(self.controller.clone(), message.into());
        self.workers[0].mail.push_back(mail);
    }

    fn deliver_mail(&mut self) {
        let index = self.random.index(self.workers.len());
        if let Some(mail) = self.workers[index].mail.pop_front() {
            self.handle(index, Event::Mail(mail));
        }
    }

    fn pass_time(&mut self) {
        self.now = self.now + Duration::from_millis(self.random.below(700));
        self.fire_timers();
    }

    fn fire_timers(&mut self) {
        for index in 0..self.workers.len() {
            let now = self.now;
            let due: Vec<TimerKey> =
                self.workers[index].timers.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
            for key in due {
                self.workers[index].timers.remove(&key);
                self.handle(index, Event::Timer(key));
            }
        }
    }

    fn handle(&mut self, index: usize, event: Event<'_, BrokerMail>) {
        self.shadow.views.values_mut().for_each(View::happening);
        let mut shell = SimulatedShell {
            index: u16::try_from(index).unwrap(),
            workers: &mut self.workers,
            shadow: &mut self.shadow,
            random: &mut self.random,
        };
        self.cores[index].handle(self.now, event, &mut shell);
    }

    fn read_inbox(&mut self) {
        while let Some(message) = { self.inbox.0.lock().unwrap().pop_front() } {
            let message = Seen::v2(&message);
            match &*message.message_type {
                message_type::ERROR_MESSAGE => self.shadow.returned(message.in_reply_to.as_deref().unwrap()),
                _ => self.shadow.views.get_mut(CONTROLLER).unwrap().told(&message, UPDATE_BYTES),
            }
        }
    }

    fn next_id(&mut self) -> String {
        self.messages += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.messages)
    }
}
