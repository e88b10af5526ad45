//! Tests only: a shell that records what a core does and lets time pass.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use super::authorize::Policy;
use super::core::{BrokerCore, BrokerMail};
use super::mounts::Mounts;
use super::{Access, Broker, Observer, Outcome};
use crate::clock::Moment;
use crate::link::{
    Application, CertificateAttributes, CertificateId, CloseReason, Dial, Event, Identity, Opcode, Opening, PeerId,
    SendOutcome, Shell, TimerKey,
};

struct Nobody;

impl Observer for Nobody {
    fn outcome(&self, _outcome: Outcome) {}

    fn accessed(&self, _worker: u16, _outcome: Outcome, _access: &Access<'_>) {}

    fn superseded(&self) {}
}

/// What a core has done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Sent(PeerId, Value),
    Closed(Moment, PeerId, u16, String),
}

#[derive(Default)]
pub(super) struct Recorder {
    worker: u16,
    now: Moment,
    pub(super) acts: Vec<Act>,
    timers: BTreeMap<TimerKey, Moment>,
    gone: Vec<PeerId>,
}

impl Shell<BrokerMail> for Recorder {
    fn worker(&self) -> u16 {
        self.worker
    }

    fn remote(&self, _peer: PeerId) -> Option<SocketAddr> {
        None
    }

    fn send(&mut self, to: PeerId, _opcode: Opcode, parts: &[&[u8]]) -> SendOutcome {
        self.acts.push(Act::Sent(to, serde_json::from_slice(&parts.concat()).unwrap()));
        SendOutcome::Sent
    }

    fn close(&mut self, peer: PeerId, code: u16, reason: &str) {
        self.acts.push(Act::Closed(self.now, peer, code, reason.to_owned()));
        self.gone.push(peer);
    }

    fn abort(&mut self, peer: PeerId) {
        self.gone.push(peer);
    }

    fn arm(&mut self, key: TimerKey, at: Moment) {
        self.timers.insert(key, at);
    }

    fn disarm(&mut self, key: TimerKey) {
        self.timers.remove(&key);
    }

    fn mail(&mut self, _worker: u16, mail: BrokerMail) -> Result<(), BrokerMail> {
        Err(mail)
    }

    fn dial(&mut self, _dial: Dial) {}
}

/// A core on one worker of a broker.
pub(super) struct Bench {
    pub(super) core: BrokerCore,
    pub(super) shell: Recorder,
}

/// A broker with so many workers whose only privileged client is `ctl`.
pub(super) fn broker(workers: usize) -> Arc<Broker> {
    Broker::new(workers, Mounts::default(), Policy::new(["ctl"]), Arc::new(Nobody))
}

impl Bench {
    pub(super) fn new(broker: &Arc<Broker>, worker: u16) -> Self {
        let core = BrokerCore::new(broker.clone(), u64::from(worker) + 7);
        Self { core, shell: Recorder { worker, ..Recorder::default() } }
    }

    /// The agent with this number, which is also its slot, generation and certificate.
    pub(super) fn open_agent(&mut self, number: u32) -> PeerId {
        self.open(number, &format!("a{}-{number}", self.shell.worker), "/pcp2/agent")
    }

    pub(super) fn open(&mut self, number: u32, name: &str, path: &str) -> PeerId {
        let peer = PeerId { worker: self.shell.worker, slot: number, generation: number };
        let remote = "127.0.0.1:1".parse().unwrap();
        let attributes = &CertificateAttributes::default();
        let identity = Identity { common_name: name, certificate: certificate(number), attributes };
        self.handle(Event::Opened { peer, opening: Opening { identity, path, remote, dialled: None } });
        peer
    }

    pub(super) fn handle(&mut self, event: Event<'_, BrokerMail>) {
        self.core.handle(self.shell.now, event, &mut self.shell);
        for peer in std::mem::take(&mut self.shell.gone) {
            let event = Event::Closed { peer, reason: CloseReason::Application };
            self.core.handle(self.shell.now, event, &mut self.shell);
        }
    }

    /// Lets time pass until then, timer by timer; returns how many fired.
    pub(super) fn run_until(&mut self, end: u64) -> usize {
        let end = Moment::from_millis(end);
        let mut fired = 0;
        while let Some((&key, &at)) = self.shell.timers.iter().min_by_key(|(_, at)| **at)
            && at <= end
        {
            self.shell.timers.remove(&key);
            self.shell.now = self.shell.now.max(at);
            self.handle(Event::Timer(key));
            fired += 1;
        }
        self.shell.now = end;
        fired
    }

    /// Who was closed when, and with which code.
    pub(super) fn closed(&self) -> Vec<(u64, u32, u16)> {
        let closes = self.shell.acts.iter().filter_map(|act| match act {
            Act::Closed(at, peer, code, _) => Some((at.as_millis(), peer.slot, *code)),
            Act::Sent(..) => None,
        });
        closes.collect()
    }
}

/// The certificate of the client with this number.
pub(super) fn certificate(number: u32) -> CertificateId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    CertificateId(id)
}
