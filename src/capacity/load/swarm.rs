//! The agents of one worker: each connects, associates, answers and comes back when it has lost its connection. What an
//! agent is beside its connection are 24 bytes here and 4 for its slot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::LoadError;
use super::controller::Controller;
use super::ledger::{Ledger, bump, drop_one};
use super::messages::{self, Replies, Transaction};
use super::plan::{Plan, Traffic};
use super::schedule::{OpenLoop, pause};
use crate::clock::Moment;
use crate::limits::{LOAD_RAMP_IN_FLIGHT, LOAD_SLICE};
use crate::link::{
    Admission, Application, CloseReason, Dial, DialError, DialTag, Event, Opcode, Opening, PeerId, SendOutcome, Shell,
    TimerKey,
};
use crate::pcp::message::AssociateResponse;
use crate::pcp::{Envelope, Version, message_type as pcp};
use crate::pxp::message_type as pxp;
use crate::random::Random;

/// What workers are told.
#[derive(Debug, Clone)]
pub enum Mail {
    /// Everybody connects, spread over this time.
    Connect(Duration),
    /// So many of this worker's agents leave per second, and come back.
    Churn(f64),
    /// All drop their connections and come back.
    Drop,
    /// Nobody comes back any more.
    Quiet,
    /// The controller connects.
    Control,
    /// The controller asks from now on, or stops asking.
    Ask(Option<Traffic>),
    /// The controller asks everybody once.
    AskAll,
    /// The controller also asks these, which do not read, and expects nothing of them.
    Slow(Arc<[String]>),
    /// The controller stops waiting for answers.
    Forget,
}

/// What runs on a worker: the controller on the first, agents on the others.
pub enum Worker {
    /// One client that asks.
    Controller(Controller),
    /// Clients that answer.
    Agents(Agents),
}

impl Application for Worker {
    type Mail = Mail;

    fn admit(&mut self, _now: Moment, _opening: &Opening<'_>) -> Admission {
        // Only asked for connections that others make, and there is no listener.
        Admission::Refuse { status: 403, reason: "Nobody is expected here." }
    }

    fn handle(&mut self, now: Moment, event: Event<'_, Mail>, shell: &mut dyn Shell<Mail>) {
        match self {
            Self::Controller(controller) => controller.handle(now, event, shell),
            Self::Agents(agents) => agents.handle(now, event, shell),
        }
    }
}

/// The index of nobody.
const NOBODY: u32 = u32::MAX;

/// Timers below this are those of agents, by their place.
const OWN_TIMERS: u64 = 1 << 40;
const CONNECT: TimerKey = TimerKey(OWN_TIMERS);
const CHURN: TimerKey = TimerKey(OWN_TIMERS + 1);
const RETRY: TimerKey = TimerKey(OWN_TIMERS + 2);

/// Dials that are tried again in one turn of the worker: each is a client's hello with its keys, and meanwhile nobody
/// else's handshake goes on. All at once, thousands would time out because of us.
const RETRIES_PER_TURN: usize = 16;

/// Pause of the first connections while there are enough attempts under way.
const RAMP_PAUSE: Duration = Duration::from_millis(5);

/// How an agent stands. Moments are milliseconds in 32 bits: seven weeks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Never connected, or told to stay away.
    Away,
    Dialling,
    /// v1: open, and its request to associate is under way.
    Associating {
        slot: u32,
        generation: u32,
    },
    Associated {
        slot: u32,
        generation: u32,
    },
    Waiting,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    state: State,
    attempts: u8,
    /// When it began to dial.
    dialled: u32,
    /// When it was last connected; 0 if it never was.
    lost: u32,
}

/// Agents of one worker.
pub struct Agents {
    plan: Arc<Plan>,
    ledger: Arc<Ledger>,
    host: Arc<str>,
    /// Paths of v1 and v2.
    paths: [Arc<str>; 2],
    /// Which of the workers with agents this is, and how many there are: every so-many-th agent is here.
    place: (u32, u32),
    members: Vec<Member>,
    /// Whose connection is in a slot of the worker.
    by_slot: Vec<u32>,
    ramp: Option<OpenLoop>,
    ramped: u32,
    /// Attempts under way.
    dialling: u32,
    /// Who is to try again, in order.
    due: VecDeque<u32>,
    churn: Option<OpenLoop>,
    comes_back: bool,
    random: Random,
    replies: Replies,
    out: Vec<u8>,
}

impl Agents {
    /// Every `place.1`-th agent of the plan, beginning with `place.0`.
    pub fn new(plan: Arc<Plan>, ledger: Arc<Ledger>, place: (u32, u32), seed: u64) -> Self {
        let count = plan.connections.saturating_sub(place.0).div_ceil(place.1);
        let member = Member { state: State::Away, attempts: 0, dialled: 0, lost: 0 };
        Self {
            host: plan.host.as_str().into(),
            paths: ["/pcp/agent".into(), "/pcp2/agent".into()],
            place,
            members: vec![member; count as usize],
            by_slot: Vec::new(),
            ramp: None,
            ramped: 0,
            dialling: 0,
            due: VecDeque::new(),
            churn: None,
            comes_back: true,
            random: Random::seeded(seed),
            replies: Replies::new(plan.response_bytes),
            out: Vec::new(),
            plan,
            ledger,
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(NOBODY)
    }

    /// The number of a member in the plan.
    fn number(&self, member: u32) -> u32 {
        self.place.0 + member * self.place.1
    }

    fn member_of(&self, number: u64) -> Option<u32> {
        let number = u32::try_from(number).ok()?.checked_sub(self.place.0)?;
        let member = number / self.place.1;
        (member < self.count()).then_some(member)
    }

    fn version(&self, member: u32) -> Version {
        if self.plan.is_v1(self.number(member)) { Version::V1 } else { Version::V2 }
    }

    fn uri(&self, member: u32) -> String {
        format!("pcp://{}/agent", self.plan.name_of(self.number(member)))
    }

    fn dial(&mut self, now: Moment, member: u32, shell: &mut dyn Shell<Mail>) {
        let path = match self.version(member) {
            Version::V1 => &self.paths[0],
            Version::V2 => &self.paths[1],
        };
        let tag = DialTag(self.number(member).into());
        bump(&self.ledger.counters.dials);
        self.dialling += 1;
        shell.dial(Dial { tag, host: self.host.clone(), port: self.plan.port, path: path.clone() });
        let entry = &mut self.members[member as usize];
        entry.state = State::Dialling;
        entry.dialled = short(now);
    }

    /// Dials those whose turn it is. A slice at a time, so that those who are there can answer.
    fn ramp(&mut self, now: Moment, shell: &mut dyn Shell<Mail>) {
        let Some(mut ramp) = self.ramp else { return };
        for _ in 0..LOAD_SLICE {
            if self.ramped >= self.count() {
                self.ramp = None;
                return;
            }
            if self.dialling >= LOAD_RAMP_IN_FLIGHT {
                self.ramp = Some(ramp);
                return shell.arm(CONNECT, now + RAMP_PAUSE);
            }
            if ramp.take(now).is_none() {
                break;
            }
            if self.members[self.ramped as usize].state == State::Away {
                self.dial(now, self.ramped, shell);
            }
            self.ramped += 1;
        }
        self.ramp = Some(ramp);
        shell.arm(CONNECT, ramp.next());
    }

    fn opened(&mut self, now: Moment, peer: PeerId, opening: &Opening<'_>, shell: &mut dyn Shell<Mail>) {
        let member = opening.dialled.and_then(|tag| self.member_of(tag.0));
        let Some(member) = member.filter(|member| self.members[*member as usize].state == State::Dialling) else {
            return shell.close(peer, 1000, "not needed");
        };
        self.dialling -= 1;
        bump(&self.ledger.counters.opened);
        let dialled = Moment::from_millis(self.members[member as usize].dialled.into());
        self.ledger.times().connect.record(now.since(dialled));
        let (slot, generation) = (peer.slot, peer.generation);
        if self.by_slot.len() <= slot as usize {
            self.by_slot.resize(slot as usize + 1, NOBODY);
        }
        self.by_slot[slot as usize] = member;
        match self.version(member) {
            Version::V2 => self.associated(now, member, slot, generation),
            Version::V1 => {
                self.members[member as usize].state = State::Associating { slot, generation };
                messages::associate(&self.random.uuid(), &self.uri(member), &mut self.out);
                shell.send(peer, Opcode::Binary, &[&self.out]);
            }
        }
    }

    fn associated(&mut self, now: Moment, member: u32, slot: u32, generation: u32) {
        let entry = &mut self.members[member as usize];
        entry.state = State::Associated { slot, generation };
        entry.attempts = 0;
        bump(&self.ledger.counters.connected);
        if entry.lost != 0 {
            self.ledger.times().back.record(now.since(Moment::from_millis(entry.lost.into())));
        }
    }

    /// Whose connection this is.
    fn at(&self, peer: PeerId) -> Option<u32> {
        let member = *self.by_slot.get(peer.slot as usize)?;
        let known = match self.members.get(member as usize)?.state {
            State::Associating { slot, generation } | State::Associated { slot, generation } => (slot, generation),
            State::Away | State::Dialling | State::Waiting => return None,
        };
        (known == (peer.slot, peer.generation)).then_some(member)
    }

    /// The connection of a member is gone or about to be.
    fn leave(&mut self, now: Moment, member: u32, shell: &mut dyn Shell<Mail>) {
        let entry = &mut self.members[member as usize];
        if matches!(entry.state, State::Associated { .. }) {
            entry.lost = short(now).max(1);
            drop_one(&self.ledger.counters.connected);
        }
        self.come_back(now, member, shell);
    }

    fn come_back(&mut self, now: Moment, member: u32, shell: &mut dyn Shell<Mail>) {
        let entry = &mut self.members[member as usize];
        if !self.comes_back {
            entry.state = State::Away;
            return;
        }
        let wait = pause(self.plan.reconnect, entry.attempts, &mut self.random);
        entry.attempts = entry.attempts.saturating_add(1);
        entry.state = State::Waiting;
        shell.arm(TimerKey(member.into()), now + wait);
    }

    /// Dials those whose pause is over.
    fn retry(&mut self, now: Moment, shell: &mut dyn Shell<Mail>) {
        for _ in 0..RETRIES_PER_TURN {
            let Some(member) = self.due.pop_front() else { return };
            let state = self.members.get(member as usize).map(|entry| entry.state);
            if state == Some(State::Waiting) && self.comes_back {
                self.dial(now, member, shell);
            }
        }
        shell.arm(RETRY, now);
    }

    fn dial_failed(&mut self, now: Moment, tag: DialTag, error: &DialError, shell: &mut dyn Shell<Mail>) {
        self.ledger.dial_failed(error.kind, &error.message);
        let Some(member) = self.member_of(tag.0) else { return };
        if self.members[member as usize].state == State::Dialling {
            self.dialling -= 1;
            // The first attempt was the dial itself.
            let entry = &mut self.members[member as usize];
            entry.attempts = entry.attempts.max(1);
            self.come_back(now, member, shell);
        }
    }

    fn message(&mut self, now: Moment, peer: PeerId, opcode: Opcode, payload: &[u8], shell: &mut dyn Shell<Mail>) {
        let Some(member) = self.at(peer) else { return };
        let Ok(envelope) = messages::read(opcode, payload) else { return bump(&self.ledger.counters.unexpected) };
        match &*envelope.message_type {
            pxp::NON_BLOCKING_REQUEST | pxp::BLOCKING_REQUEST => self.answer(peer, member, &envelope, shell),
            pcp::ASSOCIATE_RESPONSE => match envelope.data_as::<AssociateResponse<'_>>() {
                Ok(AssociateResponse { success: true, .. }) => {
                    if let State::Associating { slot, generation } = self.members[member as usize].state {
                        self.associated(now, member, slot, generation);
                    }
                }
                answer => {
                    let reason = answer.ok().and_then(|answer| answer.reason).unwrap_or_default();
                    let why = format!("the broker does not let {} associate: {reason}", self.uri(member));
                    self.ledger.give_up(LoadError::Failed(why));
                }
            },
            _ => bump(&self.ledger.counters.unexpected),
        }
    }

    fn answer(&mut self, peer: PeerId, member: u32, request: &Envelope<'_>, shell: &mut dyn Shell<Mail>) {
        let Ok(Transaction { transaction_id }) = request.data_as() else {
            return bump(&self.ledger.counters.unexpected);
        };
        bump(&self.ledger.counters.received);
        let (version, uri) = (self.version(member), self.uri(member));
        let opcode = messages::opcode(version);
        if request.message_type == pxp::NON_BLOCKING_REQUEST {
            let id = self.random.uuid();
            self.replies.provisional(version, &id, &uri, request, &transaction_id, &mut self.out);
            self.count_reply(shell.send(peer, opcode, &[&self.out]));
        }
        let id = self.random.uuid();
        self.replies.result(version, &id, &uri, request, &transaction_id, &mut self.out);
        self.count_reply(shell.send(peer, opcode, &[&self.out]));
    }

    fn count_reply(&self, outcome: SendOutcome) {
        let counters = &self.ledger.counters;
        bump(if outcome == SendOutcome::Sent { &counters.replies } else { &counters.replies_lost });
    }

    fn peer(&self, member: u32, worker: u16) -> Option<PeerId> {
        match self.members[member as usize].state {
            State::Associated { slot, generation } => Some(PeerId { worker, slot, generation }),
            _ => None,
        }
    }

    /// All lose their connection as if the network had gone: without a word.
    fn drop_all(&mut self, now: Moment, shell: &mut dyn Shell<Mail>) {
        for member in 0..self.count() {
            if let Some(peer) = self.peer(member, shell.worker()) {
                bump(&self.ledger.counters.left);
                self.leave(now, member, shell);
                shell.abort(peer);
            }
        }
    }

    /// Some leave politely, and come back.
    fn churn(&mut self, now: Moment, shell: &mut dyn Shell<Mail>) {
        let Some(mut churn) = self.churn else { return };
        for _ in 0..LOAD_SLICE {
            if churn.take(now).is_none() {
                break;
            }
            let member = self.random.below(self.members.len().max(1) as u64) as u32;
            if let Some(peer) = self.peer(member, shell.worker()) {
                bump(&self.ledger.counters.left);
                self.leave(now, member, shell);
                shell.close(peer, 1000, "");
            }
        }
        self.churn = Some(churn);
        shell.arm(CHURN, churn.next());
    }

    fn mail(&mut self, now: Moment, mail: Mail, shell: &mut dyn Shell<Mail>) {
        match mail {
            Mail::Connect(spread) => {
                let per_second = f64::from(self.count()) / spread.as_secs_f64().max(0.001);
                self.ramp = Some(OpenLoop::new(now, per_second.max(0.001)));
                self.ramp(now, shell);
            }
            Mail::Churn(per_second) if per_second > 0.0 && !self.members.is_empty() => {
                self.churn = Some(OpenLoop::new(now, per_second));
                self.churn(now, shell);
            }
            Mail::Churn(_) => self.churn = None,
            Mail::Drop => self.drop_all(now, shell),
            Mail::Quiet => {
                self.comes_back = false;
                (self.ramp, self.churn) = (None, None);
            }
            Mail::Control | Mail::Ask(_) | Mail::AskAll | Mail::Slow(_) | Mail::Forget => {}
        }
    }

    fn handle(&mut self, now: Moment, event: Event<'_, Mail>, shell: &mut dyn Shell<Mail>) {
        match event {
            Event::Opened { peer, opening } => self.opened(now, peer, &opening, shell),
            Event::Message { peer, opcode, payload } => self.message(now, peer, opcode, payload, shell),
            Event::Closed { peer, reason } => {
                if let Some(member) = self.at(peer) {
                    if !matches!(reason, CloseReason::Shutdown) {
                        bump(&self.ledger.counters.lost);
                    }
                    self.leave(now, member, shell);
                }
            }
            Event::DialFailed { tag, error } => self.dial_failed(now, tag, &error, shell),
            Event::Timer(CONNECT) => self.ramp(now, shell),
            Event::Timer(RETRY) => self.retry(now, shell),
            Event::Timer(CHURN) => self.churn(now, shell),
            Event::Timer(TimerKey(member)) => {
                self.due.push_back(u32::try_from(member).unwrap_or(NOBODY));
                shell.arm(RETRY, now);
            }
            Event::Mail(mail) => self.mail(now, mail, shell),
            Event::Drained { .. } => {}
            Event::Stopping => self.comes_back = false,
        }
    }
}

fn short(now: Moment) -> u32 {
    u32::try_from(now.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_small() {
        assert!(size_of::<Member>() <= 24, "{}", size_of::<Member>());
    }
}
