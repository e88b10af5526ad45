//! The client that asks: one connection, requests at a fixed rate or with a fixed number under way, and the time until
//! each of them is answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::LoadError;
use super::identity::CONTROLLER;
use super::ledger::{Ledger, bump, drop_one};
use super::messages::{self, Requests, Transaction};
use super::plan::{Plan, Reconnect, Traffic};
use super::schedule::{OpenLoop, pause};
use super::swarm::Mail;
use crate::clock::{Moment, Stopwatch};
use crate::limits::{LOAD_PENDING_MAX, LOAD_SLICE};
use crate::link::{Dial, DialTag, Event, Opcode, Opening, PeerId, SendOutcome, Shell, TimerKey};
use crate::pcp::message::{InventoryResponse, InventoryUpdate};
use crate::pcp::{Envelope, message_type as pcp};
use crate::pxp::message_type as pxp;
use crate::random::Random;

const TAG: DialTag = DialTag(CONTROLLER as u64);
const DIAL: TimerKey = TimerKey(1);
const PUMP: TimerKey = TimerKey(2);

/// The message id of the request for the inventory; its last part is no request's number.
const INVENTORY_ID: &str = "00000000-0000-4000-8000-ffffffffffff";

/// Bytes in each request to an agent that does not read: enough to fill the buffers in between.
const SLOW_FILLING: usize = 64 * 1024;

/// Time between two tries while the connection takes no more.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// The controller of one process.
pub struct Controller {
    plan: Arc<Plan>,
    ledger: Arc<Ledger>,
    /// Its origin is that of the worker's clock.
    watch: Stopwatch,
    uri: String,
    path: Arc<str>,
    peer: Option<PeerId>,
    attempts: u8,
    comes_back: bool,
    requests: Requests,
    slow_requests: Requests,
    slow: Arc<[String]>,
    asking: Asking,
    /// Whom to ask next.
    next: u32,
    pending: Pending,
    random: Random,
    out: Vec<u8>,
}

/// What the controller is doing.
#[derive(Debug, Clone, Copy)]
enum Asking {
    Nothing,
    Open(OpenLoop),
    Closed {
        in_flight: u32,
    },
    /// Everybody once; so many have not been asked yet.
    All {
        left: u32,
        started: Duration,
    },
}

/// Requests under way, by number. Those at the front that are over are forgotten.
#[derive(Debug, Default)]
struct Pending {
    first: u64,
    requests: VecDeque<Option<Request>>,
    open: usize,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
struct Request {
    due: Duration,
    sent: Duration,
}

impl Pending {
    fn push(&mut self, request: Request) {
        self.requests.push_back(Some(request));
        self.open += 1;
    }

    /// The number that the next one gets.
    fn number(&self) -> u64 {
        self.first + self.requests.len() as u64
    }

    fn entry(&mut self, number: u64) -> Option<&mut Option<Request>> {
        self.requests.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn get(&mut self, number: u64) -> Option<Request> {
        *self.entry(number)?
    }

    fn take(&mut self, number: u64) -> Option<Request> {
        let request = self.entry(number)?.take()?;
        self.open -= 1;
        while let Some(None) = self.requests.front() {
            self.requests.pop_front();
            self.first += 1;
        }
        Some(request)
    }

    /// Forgets all; how many were open.
    fn clear(&mut self) -> usize {
        self.first += self.requests.len() as u64;
        self.requests = VecDeque::new();
        std::mem::take(&mut self.open)
    }
}

impl Controller {
    /// A controller that does nothing before it is told to.
    pub fn new(plan: Arc<Plan>, ledger: Arc<Ledger>, watch: Stopwatch, seed: u64) -> Self {
        let (name, kind) = plan.controller.clone().unwrap_or_default();
        let uri = format!("pcp://{name}/{kind}");
        Self {
            requests: Requests::new(plan.request, &uri, plan.request_bytes),
            slow_requests: Requests::new(plan.request, &uri, SLOW_FILLING),
            slow: Arc::new([]),
            path: format!("/pcp2/{kind}").into(),
            uri,
            ledger,
            watch,
            peer: None,
            attempts: 0,
            comes_back: true,
            asking: Asking::Nothing,
            next: 0,
            pending: Pending::default(),
            random: Random::seeded(seed),
            out: Vec::new(),
            plan,
        }
    }

    fn dial(&self, shell: &mut dyn Shell<Mail>) {
        shell.dial(Dial {
            tag: TAG,
            host: self.plan.host.as_str().into(),
            port: self.plan.port,
            path: self.path.clone(),
        });
    }

    fn opened(&mut self, peer: PeerId, opening: &Opening<'_>, shell: &mut dyn Shell<Mail>) {
        if opening.dialled != Some(TAG) || self.peer.is_some() {
            return shell.close(peer, 1000, "not needed");
        }
        self.peer = Some(peer);
        self.attempts = 0;
        bump(&self.ledger.counters.controllers);
        messages::ask_for_inventory(INVENTORY_ID, &self.uri, &mut self.out);
        shell.send(peer, Opcode::Text, &[&self.out]);
    }

    fn come_back(&mut self, now: Moment, shell: &mut dyn Shell<Mail>) {
        if self.comes_back {
            let wait = pause(Reconnect::Legacy, self.attempts, &mut self.random);
            self.attempts = self.attempts.saturating_add(1);
            shell.arm(DIAL, now + wait);
        }
    }

    /// Sends one request that was due at this time. False if the connection does not take it now.
    fn ask(&mut self, due: Duration, shell: &mut dyn Shell<Mail>) -> bool {
        let Some(peer) = self.peer.filter(|_| self.pending.requests.len() < LOAD_PENDING_MAX) else { return false };
        let target = format!("pcp://{}/agent", self.plan.name_of(self.next));
        self.requests.write(&id(self.pending.number()), &target, &mut self.out);
        let sent = self.watch.elapsed();
        if shell.send(peer, Opcode::Text, &[&self.out]) != SendOutcome::Sent {
            return false;
        }
        bump(&self.ledger.counters.sent);
        self.pending.push(Request { due, sent });
        self.next = (self.next + 1) % self.plan.connections;
        if !self.slow.is_empty() {
            let slow = self.random.index(self.slow.len());
            let target = format!("pcp://{}/agent", self.slow[slow]);
            self.slow_requests.write(&self.random.uuid(), &target, &mut self.out);
            if shell.send(peer, Opcode::Text, &[&self.out]) == SendOutcome::Sent {
                bump(&self.ledger.counters.sent_to_slow);
            }
        }
        true
    }

    /// Sends what is due, a slice at a time.
    fn pump(&mut self, now: Moment, shell: &mut dyn Shell<Mail>) {
        let mut room = LOAD_SLICE;
        let mut is_full = false;
        while room > 0 && !is_full {
            room -= 1;
            let asking = match self.asking {
                Asking::Nothing => return,
                Asking::Open(mut open) => {
                    let due = open.next();
                    if due > now {
                        return shell.arm(PUMP, due);
                    }
                    is_full = !self.ask(Duration::from_millis(due.as_millis()), shell);
                    if !is_full {
                        open.take(now);
                    }
                    Asking::Open(open)
                }
                Asking::Closed { in_flight } => {
                    if self.pending.open >= in_flight as usize {
                        return;
                    }
                    is_full = !self.ask(self.watch.elapsed(), shell);
                    self.asking
                }
                Asking::All { left: 0, .. } => return,
                Asking::All { left, started } => {
                    is_full = !self.ask(started, shell);
                    Asking::All { left: left - u32::from(!is_full), started }
                }
            };
            self.asking = asking;
        }
        shell.arm(PUMP, if is_full { now + FULL_PAUSE } else { now });
    }

    fn message(&mut self, now: Moment, opcode: Opcode, payload: &[u8], shell: &mut dyn Shell<Mail>) {
        let Ok(envelope) = messages::read(opcode, payload) else { return bump(&self.ledger.counters.unexpected) };
        let counters = &self.ledger.counters;
        match &*envelope.message_type {
            pxp::PROVISIONAL_RESPONSE => {
                if let Some(request) = number_of(&envelope).and_then(|number| self.pending.get(number)) {
                    bump(&counters.provisional);
                    self.ledger.times().provisional.record(self.watch.elapsed().saturating_sub(request.due));
                }
            }
            pxp::NON_BLOCKING_RESPONSE | pxp::BLOCKING_RESPONSE => {
                if let Some(request) = number_of(&envelope).and_then(|number| self.pending.take(number)) {
                    bump(&counters.answered);
                    let elapsed = self.watch.elapsed();
                    let mut times = self.ledger.times();
                    times.answer.record(elapsed.saturating_sub(request.due));
                    times.service.record(elapsed.saturating_sub(request.sent));
                    drop(times);
                    self.went_on(now, shell);
                }
            }
            pxp::RPC_ERROR => {
                if number_of(&envelope).and_then(|number| self.pending.take(number)).is_some() {
                    bump(&counters.rejected);
                    self.went_on(now, shell);
                }
            }
            pcp::ERROR_MESSAGE => self.error(now, &envelope, shell),
            pcp::INVENTORY_RESPONSE => {
                let count = envelope.data_as::<InventoryResponse<'_>>().map_or(0, |data| data.uris.len() as u64);
                counters.inventory.store(count, Ordering::Relaxed);
            }
            pcp::INVENTORY_UPDATE => {
                if let Ok(update) = envelope.data_as::<InventoryUpdate<'_>>() {
                    let change: i64 = update.changes.iter().map(|change| i64::from(change.change)).sum();
                    // Wrapping, as two's complement adds negative numbers.
                    counters.inventory.fetch_add(change as u64, Ordering::Relaxed);
                }
            }
            _ => bump(&counters.unexpected),
        }
    }

    /// The broker could not do what was asked of it.
    fn error(&mut self, now: Moment, envelope: &Envelope<'_>, shell: &mut dyn Shell<Mail>) {
        let text: String = envelope.data_as().unwrap_or_default();
        let about = envelope.in_reply_to.as_deref().unwrap_or_default();
        if text.contains("not authorized") {
            let why = format!(
                "the broker does not let {} ask agents (\"{text}\"): name its certificate in pcp-broker.privileged-clients, \
                 or allow it in the rules of the broker's authorization",
                self.uri
            );
            self.ledger.give_up(LoadError::Failed(why));
        }
        if about == INVENTORY_ID || number(about).and_then(|number| self.pending.take(number)).is_none() {
            return;
        }
        let counters = &self.ledger.counters;
        bump(if text.starts_with("Not connected") || text.starts_with("not connected") {
            &counters.not_connected
        } else {
            &counters.rejected
        });
        self.went_on(now, shell);
    }

    /// A request is over.
    fn went_on(&mut self, now: Moment, shell: &mut dyn Shell<Mail>) {
        match self.asking {
            Asking::Closed { .. } => self.pump(now, shell),
            Asking::All { left: 0, started } if self.pending.open == 0 => {
                self.asking = Asking::Nothing;
                let took = self.watch.elapsed().saturating_sub(started);
                self.ledger.rounds().push(took.as_secs_f64() * 1000.0);
                bump(&self.ledger.counters.rounds);
            }
            Asking::All { .. } | Asking::Nothing | Asking::Open(_) => {}
        }
    }

    fn mail(&mut self, now: Moment, mail: Mail, shell: &mut dyn Shell<Mail>) {
        match mail {
            Mail::Control => self.dial(shell),
            Mail::Ask(traffic) => {
                self.asking = match traffic {
                    None => Asking::Nothing,
                    Some(Traffic::Open(rate)) => Asking::Open(OpenLoop::new(now, rate)),
                    Some(Traffic::Closed(in_flight)) => Asking::Closed { in_flight },
                };
                self.pump(now, shell);
            }
            Mail::AskAll => {
                self.next = 0;
                self.asking = Asking::All { left: self.plan.connections, started: self.watch.elapsed() };
                self.pump(now, shell);
            }
            Mail::Slow(names) => self.slow = names,
            Mail::Forget => {
                let forgotten = self.pending.clear() as u64;
                self.ledger.counters.unanswered.fetch_add(forgotten, Ordering::Relaxed);
                self.asking = Asking::Nothing;
            }
            Mail::Quiet => self.comes_back = false,
            Mail::Connect(_) | Mail::Churn(_) | Mail::Drop => {}
        }
    }

    /// What happens to the controller's worker.
    pub fn handle(&mut self, now: Moment, event: Event<'_, Mail>, shell: &mut dyn Shell<Mail>) {
        match event {
            Event::Opened { peer, opening } => self.opened(peer, &opening, shell),
            Event::Message { opcode, payload, .. } => self.message(now, opcode, payload, shell),
            Event::Closed { peer, .. } => {
                if self.peer == Some(peer) {
                    self.peer = None;
                    drop_one(&self.ledger.counters.controllers);
                    self.come_back(now, shell);
                }
            }
            Event::DialFailed { error, .. } => {
                self.ledger.dial_failed(error.kind, &error.message);
                self.attempts = self.attempts.max(1);
                self.come_back(now, shell);
            }
            Event::Timer(DIAL) => self.dial(shell),
            Event::Timer(PUMP) => self.pump(now, shell),
            Event::Timer(_) | Event::Drained { .. } => {}
            Event::Mail(mail) => self.mail(now, mail, shell),
            Event::Stopping => self.comes_back = false,
        }
    }
}

/// A request's id, which is also its transaction's.
fn id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn number(id: &str) -> Option<u64> {
    u64::from_str_radix(id.strip_prefix("00000000-0000-4000-8000-")?, 16).ok()
}

fn number_of(envelope: &Envelope<'_>) -> Option<u64> {
    number(&envelope.data_as::<Transaction<'_>>().ok()?.transaction_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_by_their_ids() {
        let mut pending = Pending::default();
        let request = |millis| Request { due: Duration::from_millis(millis), sent: Duration::from_millis(millis) };
        (0..5).for_each(|millis| pending.push(request(millis)));
        assert_eq!(pending.take(3).unwrap().due, Duration::from_millis(3));
        assert!(pending.take(3).is_none() && pending.take(99).is_none());
        assert_eq!((pending.get(4).unwrap().due, pending.requests.len()), (Duration::from_millis(4), 5));
        (0..3).for_each(|number| assert!(pending.take(number).is_some()));
        assert_eq!((pending.requests.len(), pending.number(), pending.open), (1, 5, 1));
        assert_eq!((pending.clear(), pending.number()), (1, 5));
        pending.push(request(9));
        assert!(pending.take(4).is_none() && pending.take(5).is_some());
    }

    #[test]
    fn ids_are_numbers() {
        assert_eq!(number(&id(77)), Some(77));
        assert_eq!((number("x"), number("00000000-0000-4000-8000-")), (None, None));
        assert_eq!(number("00000000-0000-4000-9000-000000000001"), None);
        assert!(uuid::Uuid::parse_str(&id(1 << 40)).is_ok());
    }
}
