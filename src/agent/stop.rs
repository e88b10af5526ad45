//! `podium stop`: ends what runs for a transaction. A task that has not begun does not begin; what runs is asked to end
//! (SIGTERM) and, if it does not, ended (SIGKILL), with all processes of the wrapper's session except the wrapper, which
//! writes down the exit code. The answer is that of a status query.

use std::fs;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::process::{Pid, Signal, kill_process};

use super::executor::Workshop;
use super::requests::QueryOrder;
use super::spool::Spool;
use super::transaction::TransactionId;
use crate::limits::{STOP_GRACE, STOP_PATIENCE};
use crate::pxp::status::TransactionStatus;

/// Why a transaction is not run.
pub const STOPPED_BEFORE: &str = "it was stopped before it began";

/// Time between looks at processes that are to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A transaction that is being ended.
struct Condemned {
    id: TransactionId,
    since: Instant,
    asked: bool,
}

impl Condemned {
    fn now(id: TransactionId) -> Self {
        Self { id, since: Instant::now(), asked: false }
    }
}

/// Serves orders until all senders are gone.
pub fn end_all(workshop: &Workshop, orders: &Receiver<Box<QueryOrder>>) {
    let mut condemned: Vec<Condemned> = workshop.spool.condemned().into_iter().map(Condemned::now).collect();
    for Condemned { id, .. } in &condemned {
        tracing::info!("transaction {id}: ended by an order that an earlier agent got");
    }
    loop {
        let order = match condemned.is_empty() {
            true => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => orders.recv_timeout(LOOK_INTERVAL),
        };
        match order {
            Ok(order) => take(workshop, &order, &mut condemned),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        condemned.retain_mut(|one| is_still_there(&workshop.spool, one));
    }
}

fn take(workshop: &Workshop, order: &QueryOrder, condemned: &mut Vec<Condemned>) {
    let id = TransactionId::parse(&order.transaction_id);
    // Before the answer is made: whoever reads that it runs knows that it will not for long.
    if let Some(id) = &id {
        workshop.spool.refuse(id);
    }
    let status = workshop.answer_query(order);
    if let (Some(id), Some(TransactionStatus::Running)) = (id, status)
        && condemned.iter().all(|one| one.id != id)
    {
        tracing::info!("transaction {id}: ended by order of {}", order.origin.requester);
        if let Err(error) = workshop.spool.condemn(&id) {
            tracing::warn!("transaction {id}: a restart of the agent would forget that it is to end: {error}");
        }
        condemned.push(Condemned::now(id));
    }
}

/// Does what is due and tells whether more may be.
fn is_still_there(spool: &Spool, one: &mut Condemned) -> bool {
    let age = one.since.elapsed();
    let Some(leader) = spool.leader(&one.id) else {
        // It may be about to start, and then finds that it may not.
        return spool.is_busy(&one.id) && age < STOP_PATIENCE;
    };
    let members = session(leader);
    let signal = if age >= STOP_GRACE { Some(Signal::KILL) } else { (!one.asked).then_some(Signal::TERM) };
    if let Some(signal) = signal {
        // One that has ended in the meantime is what we want.
        for &member in &members {
            let _ = kill_process(member, signal);
        }
        one.asked |= !members.is_empty();
    }
    if age >= STOP_PATIENCE {
        tracing::warn!("transaction {}: {} processes do not end, not even by force", one.id, members.len());
    }
    age < STOP_PATIENCE
}

/// The processes of a session except its leader.
fn session(leader: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let process = |entry: std::io::Result<fs::DirEntry>| {
        let pid = Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?)?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // State, parent, process group, session: after the name, which may hold anything.
        let session: i32 = stat.rsplit(')').next()?.split_whitespace().nth(3)?.parse().ok()?;
        (session == leader.as_raw_nonzero().get() && pid != leader).then_some(pid)
    };
    entries.filter_map(process).collect()
}
