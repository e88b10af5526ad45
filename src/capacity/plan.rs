//! A plan: what each broker's host needs for a fleet, line by line, each with its formula and the constants behind it.
//! Pure arithmetic; the constants are those of [`super::model`].

mod lines;

use super::fleet::{Brokers, Fleet};
use super::model::{self, Basis, Constant};
use super::reconnect::{self, Reconnect};
use crate::limits;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bytes of each day.
    BytesPerDay,
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Seconds of one core.
    CoreSeconds,
    /// A share of all cores in thousandths.
    Permille,
    /// Per second.
    PerSecond,
}

impl Unit {
    /// For programs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::BytesPerDay => "bytes per day",
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::CoreSeconds => "core seconds",
            Self::Permille => "permille of all cores",
            Self::PerSecond => "per second",
        }
    }
}

/// Parts of a plan, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// How the agents are spread.
    Brokers,
    /// Memory.
    Memory,
    /// File descriptors and ports.
    Descriptors,
    /// Processor and time.
    Processor,
    /// Disk.
    Disk,
}

impl Section {
    /// As the tables have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Brokers => "brokers",
            Self::Memory => "memory of one broker",
            Self::Descriptors => "descriptors and ports of one broker",
            Self::Processor => "processor of one broker",
            Self::Disk => "disk",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Where it stands.
    pub section: Section,
    /// For programs.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    /// The figure; `None` if there is no answer.
    pub value: Option<f64>,
    /// What it counts.
    pub unit: Unit,
    /// How it is reckoned, with the numbers put in.
    pub formula: String,
    /// What it is reckoned from.
    pub constants: Vec<Constant>,
}

impl Line {
    /// As good as the worst of its constants.
    pub fn basis(&self) -> Basis {
        self.constants.iter().map(|constant| constant.basis).max().unwrap_or(Basis::Limit)
    }
}

/// What one broker's host needs, and all of them together.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// For whom.
    pub fleet: Fleet,
    /// Brokers, the server itself included if it is the only one.
    pub brokers: u64,
    /// Agents of each.
    pub share: u64,
    /// How they come back.
    pub reconnect: Reconnect,
    /// The figures.
    pub budget: Budget,
    /// All lines.
    pub lines: Vec<Line>,
}

/// Figures of one broker that a host is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of the process with everybody idle.
    pub idle_user_bytes: u64,
    /// Bytes of idle sockets in the kernel.
    pub idle_kernel_bytes: u64,
    /// Bytes of handshakes under way, process and kernel.
    pub handshake_bytes: u64,
    /// Bytes of a message for every agent that waits at once, in the process.
    pub queue_bytes: u64,
    /// Bytes of socket buffers at that moment.
    pub socket_buffer_bytes: u64,
    /// What the host should have.
    pub memory_bytes: u64,
    /// What the process and its sockets cannot exceed by the limits of the program.
    pub memory_bound_bytes: u64,
    /// Descriptors at once.
    pub descriptors: u64,
    /// `LimitNOFILE`.
    pub descriptor_limit: u64,
    /// Threads.
    pub threads: u64,
    /// Bytes of access logs in a day, over all brokers.
    pub log_bytes_per_day: u64,
    /// Bytes by which the database grows in a day.
    pub store_bytes_per_day: u64,
    /// Bytes of disk over the time that is planned for.
    pub disk_bytes: u64,
}

/// Makes the plan.
pub fn plan(fleet: &Fleet) -> Plan {
    let brokers = match fleet.brokers {
        Brokers::Count(count) => count,
        Brokers::Auto => enough_brokers(fleet),
    };
    let share = fleet.share(brokers);
    let reconnect = come_back(fleet, share);
    let budget = budget(fleet, share);
    let lines = lines::all(fleet, brokers, share, reconnect, &budget);
    Plan { fleet: fleet.clone(), brokers, share, reconnect, budget, lines }
}

/// As few as have all agents back in time and none beyond its limit; the most there may be if even those do not.
fn enough_brokers(fleet: &Fleet) -> u64 {
    let suffices = |brokers: &u64| {
        let share = fleet.share(*brokers);
        let in_time =
            || come_back(fleet, share).seconds.is_some_and(|seconds| seconds <= fleet.reconnect_seconds as f64);
        share <= limits::CONNECTIONS_MAX as u64 && in_time()
    };
    (1..super::fleet::BROKERS_MAX).find(suffices).unwrap_or(super::fleet::BROKERS_MAX)
}

fn come_back(fleet: &Fleet, share: u64) -> Reconnect {
    let broker = reconnect::Broker {
        handshakes_per_second: handshakes_per_second(fleet),
        waiting_room: (fleet.workers() * limits::ACCEPT_QUEUE_MAX as u64) as f64,
    };
    reconnect::simulate(share, broker)
}

/// Full handshakes that all cores together make.
fn handshakes_per_second(fleet: &Fleet) -> f64 {
    fleet.cores as f64 * 1e6 / model::handshake_micros(fleet.keys).value as f64
}

/// Connections besides those of agents that a storm may have: in a handshake, or waiting for one.
pub(super) fn storm_connections(fleet: &Fleet) -> u64 {
    fleet.workers() * (limits::HANDSHAKES_IN_FLIGHT_MAX + limits::ACCEPT_QUEUE_MAX) as u64
}

/// Bytes that peers can make the program hold by the limits of each worker.
pub(super) fn bounds(fleet: &Fleet) -> u64 {
    let worker = limits::WORKER_QUEUE_BYTES_MAX + limits::WORKER_PARTIAL_BYTES_MAX + limits::MAILBOX_BYTES_MAX;
    fleet.workers() * worker as u64
}

/// Bytes of whole pages.
fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(4096) * 4096
}

fn budget(fleet: &Fleet, share: u64) -> Budget {
    let agent = model::agent_bytes(fleet.tls, fleet.keys, fleet.session).value;
    let socket = model::SOCKET_BYTES.value;
    let in_flight = fleet.workers() * limits::HANDSHAKES_IN_FLIGHT_MAX as u64;
    let storm = storm_connections(fleet);
    let idle_user_bytes = model::PROCESS_BYTES.value + share * agent;
    let idle_kernel_bytes = share * socket;
    let handshake_bytes = in_flight.min(share) * model::HANDSHAKE_BYTES.value + storm.min(share) * socket;
    let queue_bytes = (share * fleet.message_bytes).min(fleet.workers() * limits::WORKER_QUEUE_BYTES_MAX as u64);
    // A message to and one from every agent; the kernel keeps whole pages.
    let socket_buffer_bytes = 2 * share * pages(fleet.message_bytes.min(u64::from(u32::MAX)));
    let used = idle_user_bytes + idle_kernel_bytes + handshake_bytes + queue_bytes + socket_buffer_bytes;
    let descriptors = share + storm + model::DESCRIPTORS_BESIDE.value + limits::API_CONNECTIONS_MAX as u64;
    Budget {
        idle_user_bytes,
        idle_kernel_bytes,
        handshake_bytes,
        queue_bytes,
        socket_buffer_bytes,
        memory_bytes: used + used / 4,
        memory_bound_bytes: used + bounds(fleet),
        descriptors,
        descriptor_limit: (descriptors + descriptors / 10).next_power_of_two(),
        threads: fleet.workers() * (1 + limits::RESOLVERS_MAX as u64) + THREADS_BESIDE,
        log_bytes_per_day: log_bytes_per_day(fleet),
        store_bytes_per_day: store_bytes_per_day(fleet),
        disk_bytes: log_bytes_per_day(fleet)
            .saturating_mul(fleet.log_days)
            .saturating_add(store_bytes_per_day(fleet).saturating_mul(fleet.job_days)),
    }
}

/// Threads besides workers and those that resolve names for them: API, store, dispatcher, logs, signals, handshakes.
const THREADS_BESIDE: u64 = 64;

/// Nodes that run something in a day. What follows from it stops at the largest number there is.
fn runs_per_day(fleet: &Fleet) -> u64 {
    fleet.jobs_per_day * fleet.nodes_per_job.unwrap_or(fleet.agents)
}

fn messages_per_day(fleet: &Fleet) -> u64 {
    runs_per_day(fleet).saturating_mul(model::MESSAGES_PER_RUN.value)
}

fn log_bytes_per_day(fleet: &Fleet) -> u64 {
    messages_per_day(fleet).saturating_mul(model::ACCESS_LOG_LINE_BYTES.value)
}

fn store_bytes_per_day(fleet: &Fleet) -> u64 {
    let run = model::NODE_RUN_BYTES.value + fleet.result_bytes;
    runs_per_day(fleet).saturating_mul(run).saturating_add(fleet.jobs_per_day * model::JOB_BYTES.value)
}

#[cfg(test)]
mod tests;
