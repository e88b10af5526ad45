//! The agent's threads: one admits tasks, one answers status queries, one ends tasks by order, one per running task, one that watches what an
//! earlier life of the agent left running. They take [`Order`]s and mail replies back; the connection never waits.
//!
//! A task's order of events: claim, metadata on disk, provisional response, process id on disk, process, output and
//! exit code on disk, end in the metadata, claim released, final response. A crash between any two of them is told
//! right by a later status query. (pxp-agent sends the response before it records the end; a query in between finds
//! the transaction running although its result has arrived.)

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::confine::Launcher;
use super::connect::{Executor, Mail};
use super::execute::{WrapperCommand, run_detached, run_directly};
use super::metadata::{Ending, Metadata, REDACTED, StoredStatus, timestamp};
use super::registry::Registry;
use super::reply::{Origin, Reply};
use super::requests::{Mode, Order, QueryOrder, RunOrder};
use super::spool::{self, Claim, Claimed, Process, Spool};
use super::status::{self, Answer};
use super::stop::{self, STOPPED_BEFORE};
use super::task_cache::TaskCache;
use super::transaction::{Kind, Label, TransactionId};
use crate::clock::WallTime;
use crate::limits::{AGENT_ACTION_STACK_BYTES, AGENT_ACTIONS_MAX, AGENT_ORDERS_MAX};
use crate::pxp::status::TransactionStatus;

/// Hands mail to the application; gives it back if the mailbox is full.
pub type Post = Arc<dyn Fn(Mail) -> Result<(), Mail> + Send + Sync>;

/// Time between looks at a process that an earlier life of the agent started.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// All that the threads share.
pub struct Workshop {
    /// Transactions.
    pub spool: Spool,
    /// Task files.
    pub cache: TaskCache,
    /// All actions.
    pub registry: Arc<Registry>,
    /// How to start the execution wrapper.
    pub wrapper: WrapperCommand,
    /// What tasks are held to.
    pub launcher: Option<Launcher>,
    /// Where replies go.
    pub post: Post,
    /// Bytes that the data of a message may have.
    pub data_max: usize,
    /// Age at which transactions are removed; `None` is never.
    pub spool_ttl: Option<Duration>,
    /// Age at which unused task files are removed; `None` is never.
    pub cache_ttl: Option<Duration>,
}

/// Takes orders for the threads, which live as long as the process.
pub struct Threads {
    runs: Sender<Box<RunOrder>>,
    queries: Sender<Box<QueryOrder>>,
    stops: Sender<Box<QueryOrder>>,
    workshop: Arc<Workshop>,
}

impl Threads {
    /// Starts the threads that are always there. Fails if the system gives no thread.
    pub fn start(workshop: Workshop) -> io::Result<Self> {
        let workshop = Arc::new(workshop);
        let (runs, run_orders) = bounded(AGENT_ORDERS_MAX);
        let (queries, query_orders) = bounded(AGENT_ORDERS_MAX);
        let (stops, stop_orders) = bounded(AGENT_ORDERS_MAX);
        let slots = Arc::new(AtomicUsize::new(0));
        spawn("admission", &workshop, move |workshop| admit_all(workshop, &run_orders, &slots))?;
        spawn("queries", &workshop, move |workshop| answer_all(workshop, &query_orders))?;
        spawn("stops", &workshop, move |workshop| stop::end_all(workshop, &stop_orders))?;
        spawn("leftovers", &workshop, |workshop| watch(workshop))?;
        Ok(Self { runs, queries, stops, workshop })
    }
}

impl Executor for Threads {
    fn submit(&self, order: Order) -> Result<(), Order> {
        match order {
            Order::Run(order) => self.runs.try_send(order).map_err(|error| Order::Run(error.into_inner())),
            Order::Query(order) => self.queries.try_send(order).map_err(|error| Order::Query(error.into_inner())),
            Order::Stop(order) => self.stops.try_send(order).map_err(|error| Order::Stop(error.into_inner())),
            Order::Contact(text) => {
                let again = text.clone();
                let note = move |workshop: &Arc<Workshop>| {
                    if let Err(error) = spool::note_contact(workshop.spool.root(), &text) {
                        tracing::warn!("the last contact cannot be written down: {error}; check the spool's disk");
                    }
                };
                spawn("contact", &self.workshop, note).map_err(|_| Order::Contact(again))
            }
            Order::Purge => spawn("purge", &self.workshop, |workshop| purge(workshop)).map_err(|_| Order::Purge),
        }
    }
}

fn spawn(name: &str, workshop: &Arc<Workshop>, work: impl FnOnce(&Arc<Workshop>) + Send + 'static) -> io::Result<()> {
    let workshop = workshop.clone();
    let builder = thread::Builder::new().name(name.into()).stack_size(AGENT_ACTION_STACK_BYTES);
    builder.spawn(move || work(&workshop)).map(drop)
}

/// One of the threads that may run actions; given back when dropped.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(slots: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |taken| (taken < AGENT_ACTIONS_MAX).then_some(taken + 1);
        slots.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(slots.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn admit_all(workshop: &Arc<Workshop>, orders: &Receiver<Box<RunOrder>>, slots: &Arc<AtomicUsize>) {
    for order in orders {
        if let Some(refusal) = admit(workshop, order, slots) {
            workshop.send(refusal);
        }
    }
}

/// Starts a thread for a task, or says why not. What is known already is never started again.
fn admit(workshop: &Arc<Workshop>, order: Box<RunOrder>, slots: &Arc<AtomicUsize>) -> Option<Reply> {
    let RunOrder { origin, mode, .. } = &*order;
    let claim = match mode {
        Mode::Blocking => None,
        Mode::NonBlocking { id, .. } => match workshop.spool.claim(id) {
            Claimed::Known => return Some(origin.provisional()),
            Claimed::Refused => return Some(origin.error(STOPPED_BEFORE)),
            Claimed::New(claim) => Some(claim),
        },
    };
    let Some(slot) = Slot::take(slots) else {
        let text =
            format!("the agent already runs {AGENT_ACTIONS_MAX} actions, its limit; try again when some have ended");
        return Some(origin.error(&text));
    };
    if let Some(claim) = &claim
        && let Err(error) = workshop.spool.create(claim, &metadata(&order))
    {
        return Some(origin.error(&format!("Failed to initialize the metadata file: {error}")));
    }
    let (origin, id) = (origin.clone(), claim.as_ref().map(|claim| claim.id().clone()));
    let started = spawn("action", workshop, move |workshop| {
        let _slot = slot;
        match claim {
            Some(claim) => run_non_blocking(workshop, &order, claim),
            None => run_blocking(workshop, &order),
        }
    });
    let error = started.err()?;
    let text = format!("failed to start action task: {error}");
    if let Some(id) = id {
        workshop.record(&id, &Ending::Invalid(text.clone()));
    }
    Some(origin.error(&text))
}

fn metadata(order: &RunOrder) -> Metadata {
    let Origin { requester, request_id, transaction_id } = order.origin.clone();
    let notify_outcome = !matches!(order.mode, Mode::NonBlocking { notify_outcome: false, .. });
    Metadata {
        requester,
        module: order.entry.module.to_string(),
        action: order.entry.action.to_string(),
        request_params: REDACTED.into(),
        transaction_id,
        request_id,
        notify_outcome,
        start: timestamp(WallTime::now()),
        status: StoredStatus::Running,
        end: None,
        results_are_valid: None,
        results: None,
        execution_error: None,
    }
}

fn run_non_blocking(workshop: &Workshop, order: &RunOrder, claim: Claim) {
    workshop.send(order.origin.provisional());
    let id = claim.id().clone();
    tracing::info!("transaction {id}: running {} for {}", order.work.subject(), order.origin.requester);
    let ending = run_detached(workshop, &id, &order.label(), order);
    workshop.record(&id, &ending);
    // From here on a status query reads the end from the disk.
    drop(claim);
    let notify = !matches!(order.mode, Mode::NonBlocking { notify_outcome: false, .. });
    log_ending(&id, &ending);
    if notify {
        workshop.send(workshop.outcome(order, ending));
    }
}

fn run_blocking(workshop: &Workshop, order: &RunOrder) {
    let ending = run_directly(workshop, &order.label(), order);
    workshop.send(workshop.outcome(order, ending));
}

fn log_ending(id: &TransactionId, ending: &Ending) {
    match ending {
        Ending::Valid(results) => tracing::info!("transaction {id}: ended with exit code {}", results.process.exitcode),
        Ending::TooLarge(size) => {
            tracing::warn!("transaction {id}: ended with {size} bytes of output, too many to send")
        }
        Ending::Invalid(error) | Ending::Undetermined(error) => tracing::warn!("transaction {id}: {error}"),
    }
}

impl Workshop {
    fn outcome(&self, order: &RunOrder, ending: Ending) -> Reply {
        let origin = &order.origin;
        match ending {
            Ending::Valid(results) => origin.response(order.mode.kind(), results.value(), self.data_max),
            Ending::TooLarge(size) => origin.error(&Label::too_large(size, self.data_max)),
            Ending::Invalid(error) => origin.error(&error),
            Ending::Undetermined(error) => origin.error(&order.label().failed(&error)),
        }
    }

    /// Answers how a transaction stands; returns what was answered, unless that was too large.
    pub(super) fn answer_query(&self, order: &QueryOrder) -> Option<TransactionStatus> {
        let QueryOrder { origin, transaction_id } = order;
        match status::query(&self.spool, transaction_id, &self.registry) {
            Answer::Results(results) => {
                let status = results.status;
                self.send(origin.response(Kind::Blocking, results, self.data_max));
                Some(status)
            }
            Answer::TooLarge(size) => {
                self.send(origin.error(&Label::too_large(size, self.data_max)));
                None
            }
        }
    }

    fn record(&self, id: &TransactionId, ending: &Ending) {
        if let Err(error) = self.spool.finish(id, ending) {
            tracing::error!("transaction {id}: its end cannot be recorded: {error}; check the disk of the spool");
        }
    }

    fn send(&self, reply: Reply) {
        if let Err(Mail::Reply(reply)) = (self.post)(Mail::Reply(Box::new(reply))) {
            tracing::warn!("transaction {:?}: a reply is lost, the mailbox is full", reply.transaction_id);
        }
    }
}

fn answer_all(workshop: &Workshop, orders: &Receiver<Box<QueryOrder>>) {
    for order in orders {
        workshop.answer_query(&order);
    }
}

/// Records the ends of transactions that outlived an earlier agent, so that they can be purged without having been
/// asked about. Nobody is told: who wants to know asks.
fn watch(Workshop { spool, registry, .. }: &Workshop) {
    let mut running = spool.leftovers();
    if !running.is_empty() {
        tracing::info!("{} transactions of an earlier agent have no recorded end yet", running.len());
    }
    loop {
        running.retain(|id| match spool.metadata(id) {
            Ok(metadata) if metadata.status == StoredStatus::Running => {
                // What is of another agent's module is left to one that has it.
                registry.output(&metadata.module, &metadata.action).is_some_and(|output| {
                    spool.settle(&metadata, id, output).is_none() && spool.process(id) == Process::Alive
                })
            }
            Ok(_) | Err(_) => false,
        });
        if running.is_empty() {
            return;
        }
        thread::sleep(WATCH_INTERVAL);
    }
}

fn purge(workshop: &Workshop) {
    let now = WallTime::now();
    let transactions = workshop.spool_ttl.map_or(0, |age| workshop.spool.purge(age, now));
    let files = workshop.cache_ttl.map_or(0, |age| workshop.cache.purge(age, now));
    if transactions + files > 0 {
        tracing::info!("removed {transactions} old transactions and {files} old entries of the task cache");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_and_given_back() {
        let slots = Arc::new(AtomicUsize::new(0));
        let mut taken: Vec<Slot> = std::iter::from_fn(|| Slot::take(&slots)).collect();
        assert_eq!(taken.len(), AGENT_ACTIONS_MAX);
        taken.pop();
        assert!(Slot::take(&slots).is_some());
        drop(taken);
        assert_eq!(slots.load(Ordering::Relaxed), 0);
    }
}
