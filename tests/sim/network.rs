//! The simulated world: connections of each worker, mail between workers, a clock, and a shadow of what must be true.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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
use podium::link::{
    Admission, Application, CloseReason, Dial, Event, Identity, Opcode, Opening, PeerId, Port, SendOutcome, Shell,
    TimerKey,
};
use podium::pcp::message::{InventoryResponse, InventoryUpdate};
use podium::pcp::{Envelope, Outgoing, message_type};
use podium::pxp::message_type as pxp;
use podium::random::Random;

const CONTROLLER: &str = "pcp://orch.example.com/orchestrator";
/// Mail that fits into a worker's mailbox; small, so that it overflows now and then.
const MAILBOX: usize = 40;

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

/// What one worker's shell holds.
#[derive(Default)]
struct Worker {
    /// Open connections by slot: id and URI.
    open: BTreeMap<u32, (PeerId, String)>,
    mail: VecDeque<BrokerMail>,
    /// Connections whose Closed event is still to come, because a socket tells late.
    closing: Vec<PeerId>,
    timers: BTreeMap<TimerKey, Moment>,
    next_slot: u32,
    free_slots: Vec<u32>,
    generation: u32,
}

/// What is known to be true, kept apart from the broker.
#[derive(Default)]
struct Shadow {
    /// The newest connection of each URI.
    newest: HashMap<String, PeerId>,
    /// Messages sent and not yet accounted for: id to target and sender's connection.
    pending: HashMap<String, (String, PeerId)>,
    delivered: usize,
    returned: usize,
    /// What the controller believes after its response and updates.
    believed: BTreeSet<String>,
    responses: usize,
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
        let names: Vec<String> = (0..agents).map(|number| format!("node{number}")).collect();
        let policy = Policy::new(names.iter().map(String::as_str));
        let broker = Broker::new(workers, Mounts::default(), policy, counts.clone());
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
        network.controller_subscribes();
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
            70..96 => self.deliver_mail(),
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
        assert_eq!(self.shadow.believed, truth, "the subscriber's view");
        assert_eq!(self.broker.directory.len(), truth.len());
        assert!(self.shadow.pending.is_empty(), "messages neither delivered nor returned: {:?}", self.shadow.pending);
        assert!(self.shadow.delivered > 100 && self.shadow.returned > 10, "the run was too quiet to prove anything");
        let superseded = self.counts.superseded.load(Ordering::Relaxed);
        assert!(superseded > 10);
        assert!(self.refused <= superseded / 4, "refusals are for storms: {} of {superseded}", self.refused);
        for (uri, peer) in &self.shadow.newest {
            assert_eq!(self.broker.directory.locate(uri), Some(*peer));
        }
        let open: usize = self.workers.iter().map(|worker| worker.open.len()).sum();
        assert_eq!(open, truth.len(), "every superseded connection was dropped");
    }

    pub fn summary(&self) -> (usize, usize, usize, BTreeSet<String>) {
        (self.shadow.delivered, self.shadow.returned, self.shadow.pending.len(), self.shadow.believed.clone())
    }

    fn connect(&mut self) {
        let name = format!("node{}", self.random.index(self.agents));
        let index = self.random.index(self.workers.len());
        let opening = Opening {
            identity: Identity::named(&name),
            path: "/pcp2/agent",
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
        let worker = &mut self.workers[index];
        let slot = worker.free_slots.pop().unwrap_or_else(|| {
            worker.next_slot += 1;
            worker.next_slot
        });
        worker.generation += 1;
        let peer = PeerId { worker: u16::try_from(index).unwrap(), slot, generation: worker.generation };
        let uri = format!("pcp://{name}/agent");
        worker.open.insert(slot, (peer, uri.clone()));
        self.shadow.newest.insert(uri, peer);
        self.handle(index, Event::Opened { peer, opening });
    }

    fn drop_connection(&mut self) {
        let index = self.random.index(self.workers.len());
        let open: Vec<u32> = self.workers[index].open.keys().copied().collect();
        if open.is_empty() {
            return;
        }
        let slot = open[self.random.index(open.len())];
        let (peer, _) = self.workers[index].open.remove(&slot).unwrap();
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
        self.shadow.pending.retain(|_, (_, sender)| *sender != peer);
        self.handle(index, Event::Closed { peer, reason: CloseReason::Lost });
        self.workers[index].free_slots.push(peer.slot);
    }

    fn agent_sends(&mut self) {
        let index = self.random.index(self.workers.len());
        let open: Vec<(PeerId, String)> = self.workers[index].open.values().cloned().collect();
        if open.is_empty() {
            return;
        }
        let (peer, uri) = open[self.random.index(open.len())].clone();
        let target = format!("pcp://node{}/agent", self.random.index(self.agents));
        let id = self.next_id();
        let sender = self.random.percent(50).then_some(&*uri);
        let message = Outgoing {
            id: &id,
            message_type: pxp::NON_BLOCKING_RESPONSE,
            target: Some(&target),
            sender,
            in_reply_to: None,
            data: Some("x".repeat(self.random.index(200))),
        }
        .encode();
        // What a superseded connection still says is ignored by its worker, so nothing is owed for it.
        if self.shadow.newest.get(&uri) == Some(&peer) {
            self.shadow.pending.insert(id, (target, peer));
        }
        self.handle(index, Event::Message { peer, opcode: Opcode::Text, payload: &message });
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
        self.shadow.pending.insert(id, (target, nobody));
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
        let mut shell = SimulatedShell {
            index: u16::try_from(index).unwrap(),
            workers: &mut self.workers,
            shadow: &mut self.shadow,
            random: &mut self.random,
        };
        self.cores[index].handle(self.now, event, &mut shell);
    }

    /// The controller believes what the broker tells it, and complains if it is told something twice.
    fn read_inbox(&mut self) {
        while let Some(message) = { self.inbox.0.lock().unwrap().pop_front() } {
            let envelope = Envelope::decode(&message).unwrap();
            match &*envelope.message_type {
                message_type::INVENTORY_RESPONSE => {
                    let response: InventoryResponse<'_> = envelope.data_as().unwrap();
                    self.shadow.believed = response.uris.iter().map(ToString::to_string).collect();
                    self.shadow.responses += 1;
                }
                message_type::INVENTORY_UPDATE => {
                    assert_eq!(self.shadow.responses, 1, "an update before the response");
                    let update: InventoryUpdate<'_> = envelope.data_as().unwrap();
                    for change in update.changes {
                        let told_something_new = match change.change {
                            1 => self.shadow.believed.insert(change.client.to_string()),
                            _ => self.shadow.believed.remove(&*change.client),
                        };
                        assert!(told_something_new, "a lost or repeated change of {}", change.client);
                    }
                }
                message_type::ERROR_MESSAGE => self.shadow.returned(envelope.in_reply_to.as_deref().unwrap()),
                other => panic!("the controller was sent {other}"),
            }
        }
    }

    fn next_id(&mut self) -> String {
        self.messages += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.messages)
    }
}

impl Shadow {
    fn returned(&mut self, id: &str) {
        if self.pending.remove(id).is_some() {
            self.returned += 1;
        }
    }
}

struct SimulatedShell<'a> {
    index: u16,
    workers: &'a mut Vec<Worker>,
    shadow: &'a mut Shadow,
    random: &'a mut Random,
}

impl SimulatedShell<'_> {
    fn worker(&mut self) -> &mut Worker {
        &mut self.workers[usize::from(self.index)]
    }
}

impl Shell<BrokerMail> for SimulatedShell<'_> {
    fn worker(&self) -> u16 {
        self.index
    }

    fn send(&mut self, to: PeerId, _opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        assert_eq!(to.worker, self.index, "a worker sends on its own connections only");
        let Some((peer, uri)) = self.worker().open.get(&to.slot).filter(|(peer, _)| *peer == to).cloned() else {
            return SendOutcome::Gone;
        };
        let message = parts.concat();
        let envelope = Envelope::decode(&message).unwrap();
        if envelope.message_type == message_type::ERROR_MESSAGE {
            self.shadow.returned(envelope.in_reply_to.as_deref().unwrap());
            return SendOutcome::Sent;
        }
        if self.random.percent(3) {
            return SendOutcome::Full;
        }
        assert_eq!(envelope.target.as_deref(), Some(&*uri), "delivered to a wrong connection");
        assert_eq!(self.shadow.newest.get(&uri), Some(&peer), "delivered to a stale connection");
        assert!(envelope.sender.is_some(), "delivered without a sender");
        if self.shadow.pending.remove(&*envelope.id).is_some() {
            self.shadow.delivered += 1;
        }
        SendOutcome::Sent
    }

    fn close(&mut self, peer: PeerId, code: u16, _reason: &str) {
        panic!("nothing in this world deserves close {code} of {peer}");
    }

    fn abort(&mut self, peer: PeerId) {
        if self.worker().open.get(&peer.slot).is_some_and(|(open, _)| *open == peer) {
            self.worker().open.remove(&peer.slot);
            self.worker().closing.push(peer);
        }
    }

    fn arm(&mut self, key: TimerKey, at: Moment) {
        self.worker().timers.insert(key, at);
    }

    fn disarm(&mut self, key: TimerKey) {
        self.worker().timers.remove(&key);
    }

    fn mail(&mut self, worker: u16, mail: BrokerMail) -> Result<(), BrokerMail> {
        let mailbox = &mut self.workers[usize::from(worker)].mail;
        // An answer to a lost message may itself be lost when the mailbox is full; this world spares it, so that every
        // message can be accounted for.
        if mailbox.len() >= MAILBOX && !matches!(mail, BrokerMail::Undeliverable { .. }) {
            return Err(mail);
        }
        mailbox.push_back(mail);
        Ok(())
    }

    fn dial(&mut self, dial: Dial) {
        panic!("the broker dialled {dial:?}");
    }
}
