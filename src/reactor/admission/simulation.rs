//! Whole storms on a virtual clock: 200,000 agents lose their broker at the same moment and come back by the deployed
//! agent's schedule, without resumption, some of them behind common addresses, hostile hosts among them. The room, the
//! slots and the order of the pool are those of production; the comparison serves everybody in the order of arrival.
//!
//! `cargo test --release admission::simulation -- --include-ignored --nocapture` shows the figures, which take a minute;
//! otherwise there are fewer agents and one core. The same seed gives the same storm.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;
use crate::limits::{ACCEPT_BACKLOG, ACCEPT_QUEUE_MAX, ACCEPT_QUEUE_WAIT, HANDSHAKES_IN_FLIGHT_MAX};
use crate::random::Random;

/// Microseconds.
type Micros = u64;

const SECOND: Micros = 1_000_000;

/// The agent's connect timeout.
const CLIENT_TIMEOUT: Micros = 5 * SECOND;

/// Its pauses in milliseconds; from the second on each is up to half a second shorter or longer.
const PAUSES: [u64; 6] = [200, 2_000, 4_000, 8_000, 16_000, 32_000];

/// A handshake takes this much of a core, in microseconds: from a P-256 to an RSA-4096 key of the server.
const COST: (u64, u64) = (400, 1_700);

/// Taking a connection from the kernel, registering and closing it.
const ACCEPT_COST: Micros = 15;

/// Nobody waits for longer than this.
const END: Micros = 600 * SECOND;

/// In which order newcomers are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// As in production.
    Ours,
    /// In the order of arrival, as long as the kernel has room.
    Fifo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Character {
    Agent,
    /// Says hello, which costs most of a handshake, goes away and comes again.
    Hammer,
    /// Connects, says nothing and comes again when it is thrown out.
    Silent,
}

struct Client {
    character: Character,
    source: Source,
    cost: Micros,
    rtt: Micros,
    failures: usize,
    attempt: u32,
    /// When this attempt began.
    since: Micros,
    back: Option<Micros>,
    /// What this attempt has cost so far.
    spent: Micros,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Connect(u32),
    /// The worker has accepted it.
    Arrive(u32, u32),
    /// The client's bytes are there: its hello, or the last message.
    Bytes(u32, u32, u8),
    /// A thread of the pool has done this.
    Done(u32, u32, u8),
    /// The client's patience is over.
    Timeout(u32, u32),
    /// Somebody's time in the room may be over.
    Expiry(usize),
}

enum Room {
    Ours(WaitRoom<(u32, u32)>),
    Fifo(VecDeque<(u32, u32)>),
}

struct Desk {
    room: Room,
    flights: Flights<(u32, u32)>,
    in_flight: usize,
    /// When the worker has accepted all that has come so far.
    accepted_until: Micros,
}

#[derive(Debug, Default)]
struct Outcome {
    back: usize,
    last: Micros,
    median: Micros,
    wasted: usize,
    /// Of the pool and the workers, for agents.
    cpu: Micros,
    /// The sum of the handshakes that succeeded.
    pure: Micros,
    attempts: usize,
}

struct Storm {
    policy: Policy,
    random: Random,
    clients: Vec<Client>,
    desks: Vec<Desk>,
    events: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    number: u64,
    now: Micros,
    idle_threads: usize,
    begun: VecDeque<(u32, u32, u8)>,
    first: VecDeque<(u32, u32, u8)>,
    agents: usize,
    outcome: Outcome,
}

fn moment(at: Micros) -> Moment {
    Moment::from_millis(at / 1000)
}

impl Storm {
    fn new(policy: Policy, seed: u64, cores: usize) -> Self {
        let desk = |_| Desk {
            room: match policy {
                Policy::Ours => Room::Ours(WaitRoom::new(ACCEPT_QUEUE_MAX, ACCEPT_QUEUE_WAIT)),
                Policy::Fifo => Room::Fifo(VecDeque::new()),
            },
            flights: Flights::new(),
            in_flight: 0,
            accepted_until: 0,
        };
        Self {
            policy,
            random: Random::seeded(seed),
            clients: Vec::new(),
            desks: (0..cores).map(desk).collect(),
            events: BinaryHeap::new(),
            number: 0,
            now: 0,
            idle_threads: cores,
            begun: VecDeque::new(),
            first: VecDeque::new(),
            agents: 0,
            outcome: Outcome::default(),
        }
    }

    /// Clients of one kind that share an address.
    fn join(&mut self, count: usize, character: Character, source: Source) {
        for _ in 0..count {
            let (cost, rtt) = (COST.0 + self.random.below(COST.1 - COST.0), 500 + self.random.below(40) * 1_000);
            let id = u32::try_from(self.clients.len()).unwrap();
            let (failures, attempt, since, back, spent) = (0, 0, 0, None, 0);
            self.clients.push(Client { character, source, cost, rtt, failures, attempt, since, back, spent });
            self.agents += usize::from(character == Character::Agent);
            let at = 200_000 + self.random.below(50_000);
            self.at(at, Event::Connect(id));
        }
    }

    fn at(&mut self, at: Micros, event: Event) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, event)));
    }

    fn run(mut self) -> (Outcome, Vec<Client>) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > END || self.outcome.back == self.agents {
                break;
            }
            self.now = at;
            self.happen(event);
        }
        let mut times: Vec<Micros> = self.clients.iter().filter_map(|client| client.back).collect();
        times.sort_unstable();
        self.outcome.last = times.last().copied().unwrap_or(0);
        self.outcome.median = times.get(times.len() / 2).copied().unwrap_or(0);
        (self.outcome, self.clients)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Connect(id) => self.connect(id),
            Event::Arrive(id, attempt) if self.is_current(id, attempt) => self.arrive(id, attempt),
            Event::Bytes(id, attempt, leg) if self.is_current(id, attempt) => {
                let line = if leg == 0 { &mut self.first } else { &mut self.begun };
                line.push_back((id, attempt, leg));
                self.work();
            }
            Event::Done(id, attempt, leg) => {
                self.idle_threads += 1;
                if self.is_current(id, attempt) {
                    self.done(id, attempt, leg);
                }
                self.work();
            }
            Event::Timeout(id, attempt) if self.is_current(id, attempt) => self.fail(id),
            Event::Expiry(desk) => {
                self.expire(desk);
                self.fill(desk);
            }
            Event::Arrive(..) | Event::Bytes(..) | Event::Timeout(..) => {}
        }
    }

    fn is_current(&self, id: u32, attempt: u32) -> bool {
        self.clients[id as usize].attempt == attempt
    }

    fn desk_of(&self, id: u32, attempt: u32) -> usize {
        // As the kernel spreads them: by their ports.
        (id as usize).wrapping_mul(31).wrapping_add(attempt as usize) % self.desks.len()
    }

    fn connect(&mut self, id: u32) {
        let client = &mut self.clients[id as usize];
        (client.attempt, client.since, client.spent) = (client.attempt + 1, self.now, 0);
        let (attempt, is_agent) = (client.attempt, client.character == Character::Agent);
        self.outcome.attempts += usize::from(is_agent);
        self.at(self.now + CLIENT_TIMEOUT, Event::Timeout(id, attempt));
        let desk = self.desk_of(id, attempt);
        let free = self.desks[desk].accepted_until.max(self.now);
        let backlog = (free - self.now) / ACCEPT_COST;
        if backlog > u64::try_from(ACCEPT_BACKLOG).unwrap() {
            // The kernel drops it; the client's kernel tries again.
            return self.at(self.now + SECOND, Event::Arrive(id, attempt));
        }
        self.desks[desk].accepted_until = free + ACCEPT_COST;
        self.outcome.cpu += if is_agent { ACCEPT_COST } else { 0 };
        self.at(free + ACCEPT_COST, Event::Arrive(id, attempt));
    }

    fn arrive(&mut self, id: u32, attempt: u32) {
        let (now, source) = (moment(self.now), self.clients[id as usize].source);
        let desk = self.desk_of(id, attempt);
        let refused = match &mut self.desks[desk].room {
            Room::Ours(room) => room.enter(now, source, (id, attempt)),
            Room::Fifo(line) => {
                line.push_back((id, attempt));
                None
            }
        };
        if let Some((id, attempt)) = refused
            && self.is_current(id, attempt)
        {
            self.fail(id);
        }
        if self.policy == Policy::Ours {
            self.at(self.now + Micros::try_from(ACCEPT_QUEUE_WAIT.as_micros()).unwrap(), Event::Expiry(desk));
        }
        self.fill(desk);
    }

    fn expire(&mut self, desk: usize) {
        let now = moment(self.now);
        let Room::Ours(room) = &mut self.desks[desk].room else { return };
        let expired: Vec<_> = std::iter::from_fn(|| room.expire(now)).collect();
        for (id, attempt) in expired {
            if self.is_current(id, attempt) {
                self.fail(id);
            }
        }
    }

    /// Gives free slots to those whose turn it is.
    fn fill(&mut self, at: usize) {
        loop {
            let clients = &self.clients;
            let is_live = |(id, attempt): (u32, u32)| clients[id as usize].attempt == attempt;
            let desk = &mut self.desks[at];
            if desk.in_flight >= HANDSHAKES_IN_FLIGHT_MAX {
                let Room::Ours(room) = &desk.room else { return };
                let Some(source) = room.next_source() else { return };
                let Some((source, (id, _))) = desk.flights.displaced(moment(self.now), source, is_live) else {
                    return;
                };
                if let Room::Ours(room) = &mut desk.room {
                    room.charge(source);
                }
                self.fail(id);
                continue;
            }
            let next = match &mut desk.room {
                Room::Ours(room) => room.take().map(|(_, next)| next),
                Room::Fifo(line) => line.pop_front(),
            };
            let Some((id, attempt)) = next else { return };
            if !is_live((id, attempt)) {
                // It has hung up behind its hello, which is seen after the answer to that.
                self.first.push_back((id, attempt, 0));
                continue;
            }
            let source = clients[id as usize].source;
            desk.flights.start(moment(self.now), source, (id, attempt), HANDSHAKES_IN_FLIGHT_MAX, is_live);
            desk.in_flight += 1;
            let client = &mut self.clients[id as usize];
            client.spent = 1;
            // The hello has been there since the connection was made.
            let (heard, character) = (self.now.max(client.since + client.rtt), client.character);
            if character != Character::Silent {
                self.at(heard, Event::Bytes(id, attempt, 0));
            }
        }
    }

    /// Gives the threads of the pool what waits, in the order of production.
    fn work(&mut self) {
        while self.idle_threads > 0 {
            let Some((id, attempt, leg)) = self.begun.pop_front().or_else(|| self.first.pop_front()) else { return };
            self.idle_threads -= 1;
            let is_current = self.is_current(id, attempt);
            let client = &mut self.clients[id as usize];
            let cost = if leg == 0 { client.cost * 7 / 10 } else { client.cost * 3 / 10 };
            let is_agent = client.character == Character::Agent;
            if is_current {
                client.spent += cost;
            } else {
                // The client has hung up; nobody knows before the step is done.
                self.outcome.wasted += usize::from(is_agent);
            }
            self.outcome.cpu += if is_agent { cost } else { 0 };
            self.at(self.now + cost, Event::Done(id, attempt, leg));
        }
    }

    fn done(&mut self, id: u32, attempt: u32, leg: u8) {
        let (now, client) = (self.now, &mut self.clients[id as usize]);
        let (character, answered) = (client.character, now + client.rtt);
        match (character, leg) {
            (Character::Agent, 0) => self.at(answered, Event::Bytes(id, attempt, 1)),
            (Character::Agent, _) => {
                client.back = Some(now);
                self.outcome.pure += client.cost;
                self.outcome.back += 1;
                self.release(id);
                self.clients[id as usize].attempt += 1;
            }
            (Character::Hammer | Character::Silent, _) => self.fail(id),
        }
    }

    /// The slot is free for the next one.
    fn release(&mut self, id: u32) {
        let client = &mut self.clients[id as usize];
        if std::mem::take(&mut client.spent) > 0 {
            let desk = self.desk_of(id, self.clients[id as usize].attempt);
            self.desks[desk].in_flight -= 1;
            self.at(self.now, Event::Expiry(desk));
        }
    }

    /// This attempt has come to nothing.
    fn fail(&mut self, id: u32) {
        if self.clients[id as usize].spent > 1 && self.clients[id as usize].character == Character::Agent {
            self.outcome.wasted += 1;
        }
        self.release(id);
        let client = &mut self.clients[id as usize];
        // What is still under way for this attempt finds another number.
        client.attempt += 1;
        let pause = match client.character {
            Character::Hammer => 100_000,
            Character::Silent => 1_000_000,
            Character::Agent => {
                client.failures += 1;
                let pause = PAUSES[client.failures.min(PAUSES.len() - 1)] * 1_000;
                pause - SECOND / 2 + self.random.below(SECOND)
            }
        };
        self.at(self.now + pause, Event::Connect(id));
    }
}

fn address(number: usize) -> Source {
    Source::V4(Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).unwrap()))
}

fn tell(name: &str, outcome: &Outcome) {
    println!(
        "{name}: {} back, half after {:.1} s, the last after {:.1} s; {} attempts, {:.2} % of the handshakes wasted, \
         CPU {:.3} of {:.1} s",
        outcome.back,
        outcome.median as f64 / 1e6,
        outcome.last as f64 / 1e6,
        outcome.attempts,
        100.0 * outcome.wasted as f64 / outcome.back.max(1) as f64,
        outcome.cpu as f64 / outcome.pure.max(1) as f64,
        outcome.pure as f64 / 1e6,
    );
}

/// Three quarters of the agents have an address of their own, the others are behind ten others.
fn fleet(policy: Policy, seed: u64, agents: usize, cores: usize) -> Storm {
    let mut storm = Storm::new(policy, seed, cores);
    for number in 0..agents / 4 * 3 {
        storm.join(1, Character::Agent, address(number));
    }
    for site in 0..10 {
        storm.join(agents / 40, Character::Agent, address(1_000_000 + site));
    }
    storm
}

/// All come back, for hardly more than the handshakes cost, be there hostile hosts among them or not; and what it would be
/// like in the order of arrival.
fn storms(agents: usize, cores: usize) {
    let (ours, _) = fleet(Policy::Ours, 20_261, agents, cores).run();
    tell("newest first", &ours);
    assert_eq!(ours.back, agents);
    assert!(ours.wasted * 50 < ours.back, "{ours:?}");
    assert!(ours.cpu * 10 < ours.pure * 12, "{ours:?}");
    let mut storm = fleet(Policy::Ours, 20_262, agents, cores);
    for host in 0..20 {
        storm.join(3 * cores, Character::Hammer, address(2_000_000 + host));
        storm.join(25 * cores, Character::Silent, address(3_000_000 + host));
    }
    let (hostile, clients) = storm.run();
    tell("with 40 hostile hosts", &hostile);
    assert_eq!(hostile.back, agents);
    assert!(hostile.wasted * 50 < hostile.back, "{hostile:?}");
    assert!(hostile.cpu * 10 < hostile.pure * 12, "{hostile:?}");
    assert!(hostile.last < 3 * ours.last, "{hostile:?}");
    assert!(clients.iter().any(|client| client.character == Character::Hammer && client.attempt > 20));
    let (fifo, _) = fleet(Policy::Fifo, 20_261, agents, cores).run();
    tell("in the order of arrival", &fifo);
    assert!(fifo.wasted * 10 > agents, "{fifo:?}");
}

#[test]
fn all_agents_come_back() {
    storms(8_000, 1);
}

#[test]
#[ignore = "takes a minute"]
fn two_hundred_thousand_agents_come_back() {
    storms(200_000, 8);
}

#[test]
fn the_same_seed_is_the_same_storm() {
    let storm = |seed| {
        let mut storm = Storm::new(Policy::Ours, seed, 1);
        storm.join(5_000, Character::Agent, address(1));
        storm.join(50, Character::Silent, address(2));
        let (outcome, _) = storm.run();
        format!("{outcome:?}")
    };
    assert_eq!(storm(7), storm(7));
    assert_ne!(storm(7), storm(8));
}
