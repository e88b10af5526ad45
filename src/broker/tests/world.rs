//! Several cores with a shell that only records, mail between them, and a clock: for tests of what workers do together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Counter;
use crate::broker::authorize::{CONTROLLER_ALLOWLIST, Policy};
use crate::broker::core::{BrokerCore, BrokerMail};
use crate::broker::links::{Expected, LinkSettings};
use crate::broker::mounts::Mounts;
use crate::broker::{Broker, links};
use crate::clock::Moment;
use crate::config::settings::BrokerUri;
use crate::link::{
    Admission, Application, CloseReason, Dial, DialError, DialTag, Event, Identity, Opcode, Opening, PeerId,
    SendOutcome, Shell, TimerKey,
};

pub const GRACE: Duration = Duration::from_secs(90);

/// What one worker's shell holds.
#[derive(Default)]
pub struct Desk {
    index: u16,
    pub open: BTreeMap<u32, PeerId>,
    pub sent: Vec<(PeerId, Value)>,
    pub closed: Vec<(PeerId, u16, String)>,
    pub mail: VecDeque<BrokerMail>,
    pub dials: Vec<Dial>,
    /// Connections that take nothing but the broker's own errors.
    pub full: BTreeSet<PeerId>,
    /// Whether other workers' mailboxes are full, except for what must not be lost.
    pub jammed: bool,
    closing: VecDeque<PeerId>,
    timers: BTreeMap<TimerKey, Moment>,
    connections: u32,
}

pub struct World {
    pub broker: Arc<Broker>,
    pub cores: Vec<BrokerCore>,
    pub desks: Vec<Desk>,
    pub now: Moment,
}

impl World {
    /// A broker that is to dial these hosts and has begun to.
    pub fn new(workers: u16, hosts: &[&str], seed: u64) -> Self {
        let broker = Broker::new(workers.into(), Mounts::default(), Policy::new(["ctl"]), Arc::new(Counter::default()));
        let expected = |host: &&str| Expected {
            uri: controller_uri(host).into(),
            address: BrokerUri { host: (*host).to_owned(), port: 8143, path: "/server/server".to_owned() },
        };
        let settings = LinkSettings {
            expected: hosts.iter().map(expected).collect(),
            allowlist: CONTROLLER_ALLOWLIST.map(Box::from).to_vec(),
            grace_period: GRACE,
        };
        let core = |index| {
            let core = BrokerCore::new(broker.clone(), seed ^ u64::from(index));
            if index == links::WORKER { core.with_links(settings.clone()) } else { core }
        };
        let mut world = Self {
            cores: (0..workers).map(core).collect(),
            desks: (0..workers).map(|index| Desk { index, ..Desk::default() }).collect(),
            broker,
            now: Moment::from_millis(0),
        };
        world.handle(0, Event::Mail(BrokerMail::DialControllers));
        world
    }

    /// A client asks to be let in; the reason if it is refused.
    pub fn connect(&mut self, worker: u16, name: &str) -> Result<PeerId, (u16, &'static str)> {
        let opening = opening(name, None);
        match self.cores[usize::from(worker)].admit(self.now, &opening) {
            Admission::Accept => Ok(self.open(worker, opening)),
            Admission::Refuse { status, reason } => Err((status, reason)),
        }
    }

    fn open(&mut self, worker: u16, opening: Opening<'_>) -> PeerId {
        let desk = &mut self.desks[usize::from(worker)];
        desk.connections += 1;
        let peer = PeerId { worker, slot: desk.connections, generation: desk.connections };
        desk.open.insert(peer.slot, peer);
        self.handle(worker, Event::Opened { peer, opening });
        peer
    }

    /// The attempt to dial this host that is under way.
    pub fn dialled(&mut self, host: &str) -> Option<Dial> {
        let index = self.desks[0].dials.iter().position(|dial| *dial.host == *host)?;
        Some(self.desks[0].dials.remove(index))
    }

    /// The attempt succeeds.
    pub fn link(&mut self, host: &str) -> PeerId {
        let dial = self.dialled(host).expect("it is being dialled");
        self.open(0, opening(host, Some(dial.tag)))
    }

    /// The attempt fails.
    pub fn fail(&mut self, host: &str) {
        let dial = self.dialled(host).expect("it is being dialled");
        let error = DialError { kind: "refused", message: format!("wss://{host}: nothing listens there") };
        self.handle(0, Event::DialFailed { tag: dial.tag, error });
    }

    /// The connection is lost.
    pub fn lose(&mut self, peer: PeerId) {
        if self.desks[usize::from(peer.worker)].open.remove(&peer.slot).is_some() {
            self.handle(peer.worker, Event::Closed { peer, reason: CloseReason::Lost });
        }
    }

    pub fn say(&mut self, peer: PeerId, message: &Value) {
        self.say_raw(peer, Opcode::Text, message.to_string().as_bytes());
    }

    pub fn say_raw(&mut self, peer: PeerId, opcode: Opcode, payload: &[u8]) {
        self.handle(peer.worker, Event::Message { peer, opcode, payload });
    }

    /// What has been sent to a connection since the last time.
    pub fn heard(&mut self, peer: PeerId) -> Vec<Value> {
        self.deliver_mail();
        let desk = &mut self.desks[usize::from(peer.worker)];
        let (heard, others) = std::mem::take(&mut desk.sent).into_iter().partition(|(to, _)| *to == peer);
        desk.sent = others;
        heard.into_iter().map(|(_, message)| message).collect()
    }

    pub fn deliver_mail(&mut self) {
        while let Some(worker) = (0..).zip(&self.desks).find(|(_, desk)| !desk.mail.is_empty()).map(|(index, _)| index)
        {
            self.deliver_one(worker);
        }
    }

    pub fn deliver_one(&mut self, worker: u16) {
        if let Some(mail) = self.desks[usize::from(worker)].mail.pop_front() {
            self.handle(worker, Event::Mail(mail));
        }
    }

    /// Time passes; every timer fires at its moment.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, worker, key)) = self.next_timer().filter(|(at, ..)| *at <= end) {
            self.now = self.now.max(at);
            self.desks[usize::from(worker)].timers.remove(&key);
            self.handle(worker, Event::Timer(key));
            self.deliver_mail();
        }
        self.now = end;
    }

    fn next_timer(&self) -> Option<(Moment, u16, TimerKey)> {
        let timers = (0..)
            .zip(&self.desks)
            .flat_map(|(index, desk)| desk.timers.iter().map(move |(key, at)| (*at, index, *key)));
        timers.min()
    }

    /// How long it takes until the host is dialled again.
    pub fn pause_before_dial(&mut self, host: &str) -> Duration {
        let start = self.now;
        while !self.desks[0].dials.iter().any(|dial| *dial.host == *host) {
            let (at, ..) = self.next_timer().expect("somebody will dial");
            self.pass(at.since(self.now));
        }
        self.now.since(start)
    }

    pub fn clients(&self) -> usize {
        let closable = |desk: &Desk| desk.open.len();
        self.desks.iter().map(closable).sum::<usize>() - self.broker.controllers.count()
    }

    pub fn handle(&mut self, worker: u16, event: Event<'_, BrokerMail>) {
        let (core, desk) = (&mut self.cores[usize::from(worker)], &mut self.desks[usize::from(worker)]);
        let mut shell = DeskShell { desk, outbox: Vec::new() };
        core.handle(self.now, event, &mut shell);
        let mut outbox = std::mem::take(&mut shell.outbox);
        while let Some(peer) = shell.desk.closing.pop_front() {
            core.handle(self.now, Event::Closed { peer, reason: CloseReason::Application }, &mut shell);
            outbox.append(&mut shell.outbox);
        }
        for (to, mail) in outbox {
            self.desks[usize::from(to)].mail.push_back(mail);
        }
    }
}

pub fn controller_uri(host: &str) -> String {
    format!("pcp://{host}:8143/server")
}

fn opening(name: &str, dialled: Option<DialTag>) -> Opening<'_> {
    let path = if dialled.is_some() { "/server/server" } else { "/pcp2/agent" };
    Opening { identity: Identity::named(name), path, remote: "127.0.0.1:1".parse().unwrap(), dialled }
}

struct DeskShell<'a> {
    desk: &'a mut Desk,
    outbox: Vec<(u16, BrokerMail)>,
}

impl Shell<BrokerMail> for DeskShell<'_> {
    fn worker(&self) -> u16 {
        self.desk.index
    }

    fn remote(&self, _peer: PeerId) -> Option<SocketAddr> {
        None
    }

    fn send(&mut self, to: PeerId, opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        assert_eq!((to.worker, opcode), (self.desk.index, Opcode::Text));
        if self.desk.open.get(&to.slot) != Some(&to) {
            return SendOutcome::Gone;
        }
        let message: Value = serde_json::from_slice(&parts.concat()).unwrap();
        let is_error = message["message_type"].as_str().unwrap().ends_with("/error_message");
        if self.desk.full.contains(&to) && !is_error {
            return SendOutcome::Full;
        }
        self.desk.sent.push((to, message));
        SendOutcome::Sent
    }

    fn close(&mut self, peer: PeerId, code: u16, reason: &str) {
        self.abort(peer);
        self.desk.closed.push((peer, code, reason.to_owned()));
    }

    fn abort(&mut self, peer: PeerId) {
        if self.desk.open.get(&peer.slot) == Some(&peer) {
            self.desk.open.remove(&peer.slot);
            self.desk.closing.push_back(peer);
        }
    }

    fn arm(&mut self, key: TimerKey, at: Moment) {
        self.desk.timers.insert(key, at);
    }

    fn disarm(&mut self, key: TimerKey) {
        self.desk.timers.remove(&key);
    }

    fn mail(&mut self, worker: u16, mail: BrokerMail) -> Result<(), BrokerMail> {
        if self.desk.jammed && matches!(mail, BrokerMail::Deliver { .. }) {
            return Err(mail);
        }
        self.outbox.push((worker, mail));
        Ok(())
    }

    fn dial(&mut self, dial: Dial) {
        self.desk.dials.push(dial);
    }
}
