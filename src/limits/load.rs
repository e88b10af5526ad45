//! Limits of the simulated fleet.

use std::time::Duration;

/// Agents of one run, all processes together: five digits of their names, and 128 bytes each of the parent's memory.
pub const LOAD_CONNECTIONS_MAX: u32 = 99_999;

/// Processes of one run; 64 of 1,500 agents each are more than one machine carries.
pub const LOAD_PROCESSES_MAX: u32 = 64;

/// Requests under way at once; further ones wait for their turn, and their time goes on.
pub const LOAD_PENDING_MAX: usize = 1_000_000;

/// Seconds that are kept of a run: a day.
pub const LOAD_SAMPLES_MAX: usize = 86_400;

/// Bytes of a line from one of our own processes: its histograms have a pair of numbers for each of at most 60,000
/// buckets.
pub const LOAD_LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of a request's or answer's filling: what an agent takes, without its envelope.
pub const LOAD_FILLING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Source addresses that are kept of `--from`: 65,534 are a network of 16 bits.
pub const LOAD_SOURCES_MAX: usize = 65_534;

/// Longest time that is measured; what takes longer counts as this.
pub const LOAD_LATENCY_MAX: Duration = Duration::from_secs(3_600);

/// Requests that are sent, or connections that are dialled, before others have their turn.
pub const LOAD_SLICE: usize = 256;

/// Readers that do not read; each is a socket of its own, opened one after the other.
pub const LOAD_SLOW_MAX: u32 = 1_000;

/// Attempts to connect under way at the start of a run, per thread: with more of them a busy machine spends its time on
/// handshakes that time out. A storm has no such bound.
pub const LOAD_RAMP_IN_FLIGHT: u32 = 128;
