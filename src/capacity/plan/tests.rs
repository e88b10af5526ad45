//! Plans by hand.

use super::*;
use crate::capacity::fleet::{AGENTS_MAX, CORES_MAX, DAYS_MAX, JOBS_MAX, RATE_MAX};
use crate::capacity::model::{Keys, TlsSession, TlsVersion};

fn value(plan: &Plan, key: &str) -> f64 {
    plan.lines.iter().find(|line| line.key == key).unwrap_or_else(|| panic!("no line {key}")).value.unwrap()
}

fn on_one(agents: u64, cores: u64) -> Fleet {
    Fleet { brokers: Brokers::Count(1), ..Fleet::of(agents, cores) }
}

#[test]
fn memory_is_the_sum_of_its_parts() {
    let plan = plan(&on_one(10_000, 2));
    assert_eq!(value(&plan, "memory_user"), 20_000_000.0 + 10_000.0 * 755.0);
    assert_eq!(value(&plan, "memory_kernel"), 10_000.0 * 4_096.0);
    assert_eq!(value(&plan, "memory_handshakes"), 2.0 * (256.0 * 10_240.0 + (256.0 + 4_096.0) * 4_096.0));
    assert_eq!(value(&plan, "memory_queues"), 10_000.0 * 1_024.0);
    assert_eq!(value(&plan, "memory_socket_buffers"), 2.0 * 10_000.0 * 4_096.0);
    let budget = plan.budget;
    let sum = budget.idle_user_bytes
        + budget.idle_kernel_bytes
        + budget.handshake_bytes
        + budget.queue_bytes
        + budget.socket_buffer_bytes;
    assert_eq!(budget.memory_bytes, sum + sum / 4);
    assert_eq!(budget.memory_bound_bytes, sum + 2 * 704 * 1024 * 1024);
}

#[test]
fn descriptors_count_whoever_may_be_there_in_a_storm() {
    let plan = plan(&on_one(10_000, 4));
    assert_eq!(plan.budget.descriptors, 10_000 + 4 * (256 + 4_096) + 64 + 1_024);
    assert_eq!(plan.budget.descriptor_limit, 32_768);
}

#[test]
fn handshakes_cost_what_their_key_costs() {
    let of = |keys| value(&plan(&Fleet { keys, ..on_one(50_000, 8) }), "handshake_core_seconds");
    assert_eq!([Keys::P256, Keys::Rsa2048, Keys::Rsa4096].map(of), [15.0, 35.0, 170.0]);
}

#[test]
fn agents_are_spread_until_they_are_back_in_time() {
    let auto = |agents, seconds| plan(&Fleet { reconnect_seconds: seconds, ..Fleet::of(agents, 2) });
    let (few, many) = (auto(5_000, 60), auto(100_000, 60));
    assert_eq!(few.brokers, 1);
    assert!(many.brokers > 1 && many.share * many.brokers >= 100_000, "{} of {}", many.brokers, many.share);
    assert!(many.reconnect.seconds.unwrap() <= 60.0, "{:?}", many.reconnect);
    let less = plan(&Fleet { brokers: Brokers::Count(many.brokers - 1), ..Fleet::of(100_000, 2) });
    assert!(less.reconnect.seconds.is_none_or(|seconds| seconds > 60.0), "{:?}", less.reconnect);
    let fast = plan(&Fleet { keys: Keys::P256, ..Fleet::of(100_001, 64) });
    assert_eq!(fast.brokers, 2, "one broker has at most 100,000");
}

#[test]
fn the_disk_follows_the_jobs() {
    let fleet = Fleet { jobs_per_day: 10, nodes_per_job: Some(100), result_bytes: 0, ..on_one(1_000, 2) };
    let plan = plan(&fleet);
    let (line, run) = (model::ACCESS_LOG_LINE_BYTES.value, model::NODE_RUN_BYTES.value);
    assert_eq!(value(&plan, "access_log_per_day"), (10 * 100 * 3 * line) as f64);
    assert_eq!(value(&plan, "store_per_day"), (10 * 100 * run + 10 * 4_096) as f64);
}

#[test]
fn a_line_is_as_good_as_its_worst_figure() {
    let basis = |session| {
        let plan = plan(&Fleet { session, ..on_one(100, 2) });
        plan.lines.iter().find(|line| line.key == "memory_user").unwrap().basis()
    };
    assert_eq!(basis(TlsSession::Rustls), Basis::Measured);
    assert_eq!(
        basis(TlsSession::Compact),
        model::agent_bytes(TlsVersion::V12, Keys::Rsa4096, TlsSession::Compact).basis
    );
}

#[test]
fn every_line_has_a_formula_and_a_key_of_its_own() {
    let lines = plan(&Fleet::of(1_000, 2)).lines;
    let mut keys: Vec<&str> = lines.iter().map(|line| line.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), lines.len());
    assert!(lines.iter().all(|line| !line.formula.is_empty()));
    assert!(lines.is_sorted_by_key(|line| line.section));
}

#[test]
fn the_largest_and_the_smallest_do_not_overflow() {
    let largest = Fleet {
        rate: RATE_MAX,
        message_bytes: limits::MESSAGE_BYTES_MAX as u64,
        jobs_per_day: JOBS_MAX,
        result_bytes: limits::MESSAGE_BYTES_MAX as u64,
        log_days: DAYS_MAX,
        job_days: DAYS_MAX,
        ..on_one(AGENTS_MAX, CORES_MAX)
    };
    assert_eq!(plan(&largest).budget.disk_bytes, u64::MAX);
    let smallest = Fleet { rate: 0, message_bytes: 1, jobs_per_day: 0, ..on_one(1, 1) };
    assert_eq!(plan(&smallest).budget.disk_bytes, 0);
}
