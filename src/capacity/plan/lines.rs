//! The lines of a plan, section by section.

use super::{Budget, Line, Section, Unit};
use crate::capacity::fleet::Fleet;
use crate::capacity::model::{self, Basis, Constant};
use crate::capacity::reconnect::Reconnect;
use crate::limits;

/// All of them in order.
pub(super) fn all(fleet: &Fleet, brokers: u64, share: u64, reconnect: Reconnect, budget: &Budget) -> Vec<Line> {
    let mut lines = spread(fleet, brokers, share);
    lines.extend(memory(fleet, share, budget));
    lines.extend(descriptors(fleet, share, budget));
    lines.extend(processor(fleet, share, reconnect));
    lines.extend(disk(fleet, budget));
    lines
}

/// A limit of the program as a constant of a line.
const fn limit(value: usize, source: &'static str) -> Constant {
    Constant { value: value as u64, basis: Basis::Limit, source }
}

const IN_FLIGHT: Constant = limit(limits::HANDSHAKES_IN_FLIGHT_MAX, "limits::HANDSHAKES_IN_FLIGHT_MAX");
const ROOM: Constant = limit(limits::ACCEPT_QUEUE_MAX, "limits::ACCEPT_QUEUE_MAX");
const QUEUE: Constant = limit(limits::WORKER_QUEUE_BYTES_MAX, "limits::WORKER_QUEUE_BYTES_MAX");
const PARTIAL: Constant = limit(limits::WORKER_PARTIAL_BYTES_MAX, "limits::WORKER_PARTIAL_BYTES_MAX");
const MAILBOX: Constant = limit(limits::MAILBOX_BYTES_MAX, "limits::MAILBOX_BYTES_MAX");
const API: Constant = limit(limits::API_CONNECTIONS_MAX, "limits::API_CONNECTIONS_MAX");
const CONNECTIONS: Constant = limit(limits::CONNECTIONS_MAX, "limits::CONNECTIONS_MAX");

/// Agents of one address behind a balancer: the ports that Linux gives out by default.
const PORTS: Constant =
    Constant { value: 28_232, basis: Basis::Limit, source: "net.ipv4.ip_local_port_range, 32768 to 60999" };

fn line(
    section: Section,
    (key, name): (&'static str, &'static str),
    (value, unit): (u64, Unit),
    formula: String,
    constants: &[Constant],
) -> Line {
    Line { section, key, name, value: Some(value as f64), unit, formula, constants: constants.to_vec() }
}

fn spread(fleet: &Fleet, brokers: u64, share: u64) -> Vec<Line> {
    let why = match fleet.brokers {
        super::Brokers::Auto => {
            format!(
                "the fewest with all agents back in {} s and at most {} each",
                fleet.reconnect_seconds, CONNECTIONS.value
            )
        }
        super::Brokers::Count(_) => "as given".to_owned(),
    };
    let handshake = model::handshake_micros(fleet.keys);
    let agents = fleet.agents;
    vec![
        line(
            Section::Brokers,
            ("brokers", "brokers"),
            (brokers, Unit::Count),
            why,
            &[handshake, model::RECONNECT, CONNECTIONS],
        ),
        line(
            Section::Brokers,
            ("agents_per_broker", "agents of each"),
            (share, Unit::Count),
            format!("{agents} agents / {brokers}, rounded up"),
            &[],
        ),
    ]
}

fn memory(fleet: &Fleet, share: u64, budget: &Budget) -> Vec<Line> {
    let section = Section::Memory;
    let agent = model::agent_bytes(fleet.tls, fleet.keys, fleet.session);
    let (base, socket, handshake) = (model::PROCESS_BYTES, model::SOCKET_BYTES, model::HANDSHAKE_BYTES);
    let (workers, message) = (fleet.workers(), fleet.message_bytes);
    let bytes = |value| (value, Unit::Bytes);
    vec![
        line(
            section,
            ("memory_user", "process, all idle"),
            bytes(budget.idle_user_bytes),
            format!("{} + {share} agents x {} B", base.value, agent.value),
            &[base, agent],
        ),
        line(
            section,
            ("memory_kernel", "kernel, all idle"),
            bytes(budget.idle_kernel_bytes),
            format!("{share} sockets x {} B", socket.value),
            &[socket],
        ),
        line(
            section,
            ("memory_handshakes", "handshakes of a storm"),
            bytes(budget.handshake_bytes),
            format!(
                "{workers} workers x ({} x {} B + ({0} + {}) sockets x {} B), as far as there are agents",
                IN_FLIGHT.value, handshake.value, ROOM.value, socket.value
            ),
            &[IN_FLIGHT, ROOM, handshake, socket],
        ),
        line(
            section,
            ("memory_queues", "a message for each agent waits"),
            bytes(budget.queue_bytes),
            format!("{share} x {message} B, at most {workers} workers x {} B", QUEUE.value),
            &[QUEUE],
        ),
        line(
            section,
            ("memory_socket_buffers", "socket buffers at that moment"),
            bytes(budget.socket_buffer_bytes),
            format!("2 x {share} x {message} B in whole pages of 4096 B"),
            &[],
        ),
        line(
            section,
            ("memory_host", "memory the host should have"),
            bytes(budget.memory_bytes),
            "1.25 x the sum of these, for page cache and other processes".to_owned(),
            &[agent, socket, handshake],
        ),
        line(
            section,
            ("memory_bound", "never more than (MemoryMax)"),
            bytes(budget.memory_bound_bytes),
            format!("the sum + {workers} workers x ({} + {} + {}) B", QUEUE.value, PARTIAL.value, MAILBOX.value),
            &[agent, QUEUE, PARTIAL, MAILBOX],
        ),
    ]
}

fn descriptors(fleet: &Fleet, share: u64, budget: &Budget) -> Vec<Line> {
    let section = Section::Descriptors;
    let beside = model::DESCRIPTORS_BESIDE;
    let workers = fleet.workers();
    vec![
        line(
            section,
            ("descriptors", "file descriptors"),
            (budget.descriptors, Unit::Count),
            format!(
                "{share} agents + {workers} workers x ({} + {}) + {} API + {}",
                IN_FLIGHT.value, ROOM.value, API.value, beside.value
            ),
            &[beside, IN_FLIGHT, ROOM, API],
        ),
        line(
            section,
            ("descriptor_limit", "LimitNOFILE"),
            (budget.descriptor_limit, Unit::Count),
            "the power of two above 1.1 x that".to_owned(),
            &[beside],
        ),
        line(
            section,
            ("listening_ports", "listening ports"),
            (2, Unit::Count),
            "8142 for agents, 8143 for the API and brokers; a compile node's broker has the first only".to_owned(),
            &[],
        ),
        line(
            section,
            ("balancer_addresses", "addresses of a balancer in front"),
            (share.div_ceil(PORTS.value), Unit::Count),
            format!("{share} agents / {} ports of one address; none without a balancer", PORTS.value),
            &[PORTS],
        ),
    ]
}

fn processor(fleet: &Fleet, share: u64, reconnect: Reconnect) -> Vec<Line> {
    let section = Section::Processor;
    let (full, resumed) = (model::handshake_micros(fleet.keys), model::RESUMED_HANDSHAKE_MICROS);
    let (message, ping) = (model::MESSAGE_MICROS, model::PING_SECONDS);
    let cores = fleet.cores;
    let seconds = |micros: u64| (share * micros).div_ceil(1_000_000);
    let pings = share.div_ceil(ping.value);
    let busy = (fleet.share_of_rate(share) + pings) * message.value;
    let mut back = line(
        section,
        ("reconnect_seconds", "all agents back after a restart"),
        (0, Unit::Seconds),
        format!(
            "simulated: attempts of 5 s, pauses 0.2, 2, 4 ... 32 s; {cores} cores / {} us; {:.1} attempts per agent",
            full.value, reconnect.attempts
        ),
        &[full, model::RECONNECT, ROOM],
    );
    back.value = reconnect.seconds;
    vec![
        line(
            section,
            ("handshake_core_seconds", "full handshakes of all agents"),
            (seconds(full.value), Unit::CoreSeconds),
            format!("{share} agents x {} us ({} key of the server)", full.value, fleet.keys),
            &[full],
        ),
        back,
        line(
            section,
            ("resumed_core_seconds", "if all of them could resume"),
            (seconds(resumed.value), Unit::CoreSeconds),
            format!("{share} agents x {} us; TLS 1.3 only, agents of Puppet never do", resumed.value),
            &[resumed],
        ),
        line(
            section,
            ("pings_per_second", "pings of idle agents"),
            (pings, Unit::PerSecond),
            format!("{share} agents / {} s", ping.value),
            &[ping],
        ),
        line(
            section,
            ("messages_permille", "messages and pings, of all cores"),
            ((busy).div_ceil(cores * 1_000), Unit::Permille),
            format!(
                "({} messages/s + {pings} pings/s) x {} us / {cores} cores",
                fleet.share_of_rate(share),
                message.value
            ),
            &[message],
        ),
    ]
}

fn disk(fleet: &Fleet, budget: &Budget) -> Vec<Line> {
    let section = Section::Disk;
    let (text, run, job) = (model::ACCESS_LOG_LINE_BYTES, model::NODE_RUN_BYTES, model::JOB_BYTES);
    let per_run = model::MESSAGES_PER_RUN;
    let (jobs, nodes) = (fleet.jobs_per_day, fleet.nodes_per_job.unwrap_or(fleet.agents));
    vec![
        line(
            section,
            ("access_log_per_day", "log of messages, level info"),
            (super::log_bytes_per_day(fleet), Unit::BytesPerDay),
            format!("{jobs} jobs x {nodes} nodes x {} messages x {} B; over all brokers", per_run.value, text.value),
            &[text, per_run],
        ),
        line(
            section,
            ("store_per_day", "database"),
            (super::store_bytes_per_day(fleet), Unit::BytesPerDay),
            format!(
                "{jobs} jobs x ({} B + {nodes} nodes x ({} + {} B of result))",
                job.value, run.value, fleet.result_bytes
            ),
            &[run, job],
        ),
        line(
            section,
            ("disk", "both, as long as they are kept"),
            (budget.disk_bytes, Unit::Bytes),
            format!("{} days of log, {} days of jobs, which are never removed", fleet.log_days, fleet.job_days),
            &[text, run, job],
        ),
    ]
}
