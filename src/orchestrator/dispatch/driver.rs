//! The thread that drives the [`Dispatcher`]: it waits for messages, commands and deadlines, gathers what there is into a
//! batch, commits what the batch changed, and only then sends. It stops by itself if the store fails, except
//! for want of room, which `stall` waits for: sending what is not stored would make a restart run tasks twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};

use super::messages::Received;
use super::stall::{Kept, Resumed};
use super::{AcceptedJob, Attached, Dispatcher, Now, Output, Pace, Send, Stop, StopAnswer};
use crate::clock::{Clock, Moment, WallTime};
use crate::limits::{DISPATCH_BATCH_MESSAGES_MAX, DISPATCH_STEP_BYTES_MAX, ORCHESTRATOR_OUTBOX_MAX};
use crate::orchestrator::BrokerLink;
use crate::orchestrator::bell::Bell;
use crate::orchestrator::disk::Disk;
use crate::orchestrator::inventory::LinkIndex;
use crate::orchestrator::model::JobId;
use crate::orchestrator::reports::{self, Reports};
use crate::orchestrator::store::{Store, StoreError};

/// What the facade tells the dispatcher.
#[derive(Debug)]
pub enum Command {
    /// A job that has just been committed.
    Run(Box<AcceptedJob>),
    /// A job that another server has left.
    TakeOver(Box<AcceptedJob>),
    /// A job is to be stopped; the answer comes when that is stored.
    Stop(JobId, Stop, Sender<StopAnswer>),
    /// A link to a broker that has just come up.
    Attach(BrokerLink),
    /// End.
    Quit,
}

/// What a [`Driver`] is made of.
pub struct DriverParts {
    /// The state machine.
    pub dispatcher: Dispatcher,
    /// Jobs from before the start.
    pub recovered: Vec<AcceptedJob>,
    /// Where changes go.
    pub store: Arc<dyn Store>,
    /// The brokers that are there from the start.
    pub links: Vec<BrokerLink>,
    /// From the facade.
    pub commands: Receiver<Command>,
    /// The clock whose moments the dispatcher has been given.
    pub clock: Clock,
    /// Nodes that have not ended; counted down here.
    pub unfinished_nodes: Arc<AtomicUsize>,
    /// Looks for the reports of Puppet runs, if there is a PuppetDB.
    pub reports: Option<Reports>,
    /// Told when the store has no room.
    pub disk: Arc<Disk>,
    /// Rung after every commit.
    pub bell: Arc<Bell>,
}

/// Time after which a message that a broker had no room for is offered again.
const RETRY: Duration = Duration::from_millis(50);

/// The longest wait, in case a deadline is missed.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The thread's state.
pub struct Driver {
    pub(super) parts: DriverParts,
    /// By the dispatcher's index; `None` where a link was lost.
    links: Vec<Option<BrokerLink>>,
    /// Messages that brokers had no room for, oldest first.
    outbox: VecDeque<(LinkIndex, Bytes)>,
    dropped: Dropped,
    /// To be told once the batch is stored.
    pub(super) answers: Vec<(Sender<StopAnswer>, StopAnswer)>,
    pub(super) is_stopping: bool,
    /// Commands that came while the disk was full.
    pub(super) kept: Kept,
    /// For how long the disk was full: the dispatcher's clock stood still.
    pub(super) stalled: Duration,
}

/// Messages that were of no use since the last warning. Warnings are rare because peers can cause them at will.
#[derive(Debug, Default)]
struct Dropped {
    malformed: u64,
    forged: u64,
    unexpected: u64,
    warned: Option<Moment>,
}

/// What may still be read for a batch. A message's results are held until the batch is committed, and a message may be
/// megabytes.
#[derive(Debug, Clone, Copy)]
struct Room {
    messages: usize,
    bytes: usize,
}

impl Room {
    const fn is_left(self) -> bool {
        self.messages > 0 && self.bytes > 0
    }

    fn spend(&mut self, message: &Bytes) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(message.len());
    }
}

/// The shortest time between warnings about dropped messages.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

impl Dropped {
    fn count(&mut self, now: Moment, received: Received, broker: &str) {
        match received {
            Received::Used | Received::Stale => return,
            Received::Malformed => self.malformed += 1,
            Received::Forged => self.forged += 1,
            Received::Unexpected => self.unexpected += 1,
        }
        if self.warned.is_some_and(|warned| now.since(warned) < WARNING_INTERVAL) {
            return;
        }
        let Self { malformed, forged, unexpected, .. } = *self;
        tracing::warn!(malformed, forged, unexpected, broker, "messages dropped since the last warning");
        *self = Self { warned: Some(now), ..Self::default() };
    }
}

impl Driver {
    pub(super) fn new(parts: DriverParts) -> Self {
        Self {
            parts,
            links: Vec::new(),
            outbox: VecDeque::new(),
            dropped: Dropped::default(),
            answers: Vec::new(),
            is_stopping: false,
            kept: Kept::new(),
            stalled: Duration::ZERO,
        }
    }

    /// Starts the thread.
    pub fn spawn(parts: DriverParts) -> std::io::Result<JoinHandle<()>> {
        let driver = Self::new(parts);
        thread::Builder::new().name("dispatcher".into()).spawn(move || driver.run())
    }

    fn run(mut self) {
        let mut out = Output::default();
        let now = self.now();
        std::mem::take(&mut self.parts.links).into_iter().for_each(|link| self.attach(now, link));
        for job in std::mem::take(&mut self.parts.recovered) {
            self.parts.dispatcher.accept(now, job, &mut out);
        }
        while !self.is_stopping {
            let now = self.now();
            self.gather(now, &mut out);
            self.parts.dispatcher.turn(now, &mut out);
            if let Err(error) = self.carry_out(std::mem::take(&mut out)) {
                tracing::error!(%error, "the dispatcher stops: what happens to jobs cannot be stored any more; restart the server once this is mended");
                return;
            }
            if !self.is_stopping {
                self.wait();
            }
        }
    }

    fn now(&self) -> Now {
        Now { moment: self.moment(), wall: WallTime::now() }
    }

    fn moment(&self) -> Moment {
        Moment::default() + self.parts.clock.now().since(Moment::default() + self.stalled)
    }

    /// Takes what has arrived, up to the size of a batch.
    fn gather(&mut self, now: Now, out: &mut Output) {
        for _ in 0..DISPATCH_BATCH_MESSAGES_MAX {
            match self.next_command() {
                Ok(Command::Run(job)) => self.parts.dispatcher.accept(now, *job, out),
                Ok(Command::TakeOver(job)) => {
                    self.parts.dispatcher.wait_for_arrivals(now);
                    self.parts.dispatcher.accept(now, *job, out);
                }
                Ok(Command::Attach(link)) => self.attach(now, link),
                Err(TryRecvError::Empty) => break,
                Ok(Command::Stop(job, stop, to)) => {
                    let answer = self.parts.dispatcher.stop(now, job, stop, out);
                    self.answers.push((to, answer));
                }
                // All handles are gone without a word: nobody will come back.
                Ok(Command::Quit) | Err(TryRecvError::Disconnected) => {
                    self.is_stopping = true;
                    break;
                }
            }
        }
        let linked = self.links.iter().flatten().count().max(1);
        let share = Room {
            messages: DISPATCH_BATCH_MESSAGES_MAX.div_ceil(linked),
            bytes: DISPATCH_STEP_BYTES_MAX.div_ceil(linked),
        };
        // One batch is one commit, however many brokers there are; in rounds, so that none waits for all of another's.
        let mut room = Room { messages: DISPATCH_BATCH_MESSAGES_MAX, bytes: DISPATCH_STEP_BYTES_MAX };
        loop {
            let before = room.messages;
            for link in 0..self.links.len() {
                self.read(now, link, share, &mut room, out);
            }
            if room.messages == before || !room.is_left() {
                return;
            }
        }
    }

    /// Takes what has arrived over one link, up to its share.
    fn read(&mut self, now: Now, link: LinkIndex, mut share: Room, room: &mut Room, out: &mut Output) {
        while share.is_left() {
            let Some(BrokerLink { from_broker, .. }) = &self.links[link] else { return };
            match from_broker.try_recv() {
                Ok(message) => {
                    share.spend(&message);
                    room.spend(&message);
                    self.receive(now, link, &message, out);
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.lose(now, link, out),
            }
        }
    }

    fn attach(&mut self, now: Now, new: BrokerLink) {
        let attached = self.parts.dispatcher.attach(now, &new.broker_uri);
        tracing::debug!(broker = new.broker_uri, ?attached, "a broker is linked");
        let (link, older) = match attached {
            Attached::New(link) => (link, None),
            Attached::Replacing { link, older } => (link, Some(older)),
        };
        let places = older.map_or(link, |older| older.max(link)) + 1;
        if self.links.len() < places {
            self.links.resize_with(places, || None);
        }
        let replaced = self.links[link].replace(new);
        if let Some(older) = older {
            self.links[older] = replaced;
        }
    }

    fn lose(&mut self, now: Now, link: LinkIndex, out: &mut Output) {
        let Some(lost) = self.links[link].take() else { return };
        if self.parts.dispatcher.is_current(link) {
            tracing::warn!(broker = lost.broker_uri, "the link to a broker is gone, and its nodes with it");
        }
        self.parts.dispatcher.lose_link(now, link, out);
        self.outbox.retain(|(other, _)| *other != link);
    }

    fn receive(&mut self, now: Now, link: LinkIndex, message: &Bytes, out: &mut Output) {
        let received = self.parts.dispatcher.receive(now, link, message, out);
        tracing::trace!(?received, bytes = message.len(), "message from a broker");
        let broker = self.links[link].as_ref().map_or("", |link| &link.broker_uri);
        self.dropped.count(now.moment, received, broker);
    }

    /// Commits, then sends.
    fn carry_out(&mut self, out: Output) -> Result<(), StoreError> {
        let runs = self.parts.reports.as_ref().map(|_| reports::runs_ended(&out.changes));
        if !out.changes.is_empty() {
            match self.commit(out.changes)? {
                Resumed::Stored => self.parts.bell.ring(),
                Resumed::Stopping => return Ok(()),
            }
        }
        if let (Some(reports), Some(runs)) = (&self.parts.reports, runs) {
            reports.look_for(runs);
        }
        // Nobody may be waiting any more, which is fine.
        for (to, answer) in self.answers.drain(..) {
            let _ = to.send(answer);
        }
        self.parts.unfinished_nodes.fetch_sub(out.ended, Ordering::Relaxed);
        for Send { link, message } in out.sends {
            if self.outbox.len() >= ORCHESTRATOR_OUTBOX_MAX {
                tracing::warn!(link, "message dropped: the brokers take too little; status queries will find out");
                continue;
            }
            if self.links.get(link).is_some_and(Option::is_some) {
                self.outbox.push_back((link, message.into()));
            }
        }
        let mut stuck = VecDeque::new();
        let mut is_full = vec![false; self.links.len()];
        for (link, message) in std::mem::take(&mut self.outbox) {
            // What follows a stuck message of the same link waits behind it: a query must not overtake its request.
            let Some(BrokerLink { to_broker, .. }) = &self.links[link] else { continue };
            if is_full[link] {
                stuck.push_back((link, message));
            } else if let Err(message) = to_broker.offer(message) {
                is_full[link] = true;
                stuck.push_back((link, message));
            }
        }
        self.outbox = stuck;
        self.parts.dispatcher.set_pace(self.pace(&is_full));
        Ok(())
    }

    /// One broker that takes nothing does not stop the others, as long as what waits for it is little.
    fn pace(&self, is_full: &[bool]) -> Pace {
        let bytes: usize = self.outbox.iter().map(|(_, message)| message.len()).sum();
        let has_free = self.links.iter().zip(is_full).any(|(link, is_full)| link.is_some() && !is_full);
        if self.outbox.is_empty() || (has_free && bytes < DISPATCH_STEP_BYTES_MAX) { Pace::Go } else { Pace::Hold }
    }

    /// Sleeps until something arrives or is due.
    fn wait(&self) {
        let now = self.moment();
        let due = self.parts.dispatcher.next_deadline().map_or(HEARTBEAT, |due| due.since(now));
        let mut limit = due.min(HEARTBEAT);
        if !self.outbox.is_empty() {
            limit = limit.min(RETRY);
        }
        if !self.kept.is_empty() {
            return;
        }
        let mut select = Select::new();
        select.recv(&self.parts.commands);
        for link in self.links.iter().flatten() {
            select.recv(&link.from_broker);
        }
        // Only that something is ready matters; `gather` finds out what.
        let _ = select.ready_timeout(limit);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::RwLock;

    use crossbeam_channel::unbounded;
    use uuid::Uuid;

    use super::*;
    use crate::limits::BROKER_LINKS_MAX;
    use crate::link::Port;
    use crate::orchestrator::dispatch::DispatchSettings;
    use crate::orchestrator::inventory::Inventory;
    use crate::orchestrator::store::sqlite::SqliteStore;

    struct Nowhere;

    impl Port for Nowhere {
        fn offer(&self, message: Bytes) -> Result<(), Bytes> {
            Err(message)
        }
    }

    pub fn link(broker: usize) -> (Sender<Bytes>, BrokerLink) {
        let (sender, from_broker) = unbounded();
        (
            sender,
            BrokerLink { broker_uri: format!("pcp://b{broker}/server"), to_broker: Box::new(Nowhere), from_broker },
        )
    }

    /// A driver with so many links, and what brokers hold of them.
    fn driver(links: usize) -> (tempfile::TempDir, Driver, Vec<Sender<Bytes>>, Sender<Command>) {
        let dir = tempfile::tempdir().unwrap();
        let settings = DispatchSettings {
            task_concurrency: 1,
            deploy_concurrency: 1,
            allowed_status_requests: 1,
            status_interval: Duration::from_secs(1),
        };
        let (clock, inventory) = (Clock::start(), Arc::new(RwLock::new(Inventory::new(Vec::new()))));
        let (commander, commands) = unbounded();
        let parts = DriverParts {
            dispatcher: Dispatcher::new(settings, inventory, Box::new(Uuid::nil), clock.now()),
            recovered: Vec::new(),
            store: Arc::new(SqliteStore::open(dir.path()).unwrap()),
            links: Vec::new(),
            commands,
            clock,
            unfinished_nodes: Arc::default(),
            reports: None,
            disk: Arc::new(Disk::new(dir.path().to_owned(), 0)),
            bell: Arc::default(),
        };
        let mut driver = Driver::new(parts);
        let mut senders = Vec::new();
        for broker in 0..links {
            let (sender, link) = link(broker);
            driver.attach(driver.now(), link);
            senders.push(sender);
        }
        (dir, driver, senders, commander)
    }

    fn gather(driver: &mut Driver) {
        driver.gather(driver.now(), &mut Output::default());
    }

    #[test]
    fn places_of_links_that_are_gone_make_no_batch_smaller() {
        let (_dir, mut driver, mut brokers, _commander) = driver(BROKER_LINKS_MAX);
        brokers.truncate(1);
        gather(&mut driver);
        for _ in 0..=DISPATCH_BATCH_MESSAGES_MAX {
            brokers[0].send(Bytes::new()).unwrap();
        }
        gather(&mut driver);
        assert_eq!(brokers[0].len(), 1);
    }

    #[test]
    fn large_messages_of_one_broker_make_nobody_wait_and_are_few_in_a_batch() {
        let (_dir, mut driver, brokers, _commander) = driver(3);
        let large = Bytes::from(vec![b'x'; DISPATCH_STEP_BYTES_MAX / 2]);
        for _ in 0..10 {
            brokers[0].send(large.clone()).unwrap();
            brokers[2].send(Bytes::new()).unwrap();
        }
        gather(&mut driver);
        assert_eq!((brokers[0].len(), brokers[2].len()), (8, 0));
    }
}
