//! The measured constants of the capacity model, each with its source. Nothing else in the program has figures of its own
//! about what an agent, a handshake or a line costs; `docs/capacity.md` says how to measure them again.

use std::fmt;

use crate::limits;

/// TLS version of the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsVersion {
    /// What deployed agents of Puppet speak.
    #[value(name = "1.2")]
    V12,
    /// What `podium agent` speaks.
    #[value(name = "1.3")]
    V13,
}

/// Keys of server, agents and CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Keys {
    /// ECDSA P-256.
    P256,
    /// RSA of 2,048 bits.
    Rsa2048,
    /// RSA of 4,096 bits, what Puppet makes.
    Rsa4096,
}

/// What keeps the TLS state of an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsSession {
    /// rustls, for the connection's whole life.
    Rustls,
    /// Only keys and sequence numbers after the handshake.
    Compact,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        })
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "p256",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa4096 => "rsa4096",
        })
    }
}

impl fmt::Display for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustls => "rustls",
            Self::Compact => "compact",
        })
    }
}

/// How far a figure can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// A limit of the program, or a default of what it works with.
    Limit,
    /// Measured on the hardware of [`HARDWARE`], or on what the source names.
    Measured,
    /// Reckoned from measured figures, or from documents.
    Estimated,
}

impl Basis {
    /// As the tables have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Limit => "exact",
            Self::Measured => "measured",
            Self::Estimated => "estimated",
        }
    }
}

/// One constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constant {
    /// The figure, in the unit that its name tells.
    pub value: u64,
    /// How far it can be trusted.
    pub basis: Basis,
    /// Where it comes from: a command, a limit or a document.
    pub source: &'static str,
}

const fn limit(value: u64, source: &'static str) -> Constant {
    Constant { value, basis: Basis::Limit, source }
}

const fn measured(value: u64, source: &'static str) -> Constant {
    Constant { value, basis: Basis::Measured, source }
}

const fn estimated(value: u64, source: &'static str) -> Constant {
    Constant { value, basis: Basis::Estimated, source }
}

/// Where the figures were measured unless their source says otherwise.
pub const HARDWARE: &str = "2 cores of an Intel Xeon at 2.8 GHz (virtual), 23 GB, Linux 6.18, Debian 12, 2026-11-22";

/// Bytes in the process for one idle, associated agent, by TLS version, keys and setting of `tls-session`.
const AGENT_BYTES: &[(TlsVersion, Keys, TlsSession, Constant)] = &[
    (TlsVersion::V12, Keys::P256, TlsSession::Rustls, measured(4_325, BENCH_RUSTLS)),
    (TlsVersion::V13, Keys::P256, TlsSession::Rustls, measured(4_619, BENCH_RUSTLS)),
    (TlsVersion::V12, Keys::Rsa2048, TlsSession::Rustls, estimated(5_673, LESS_THAN_RSA4096)),
    (TlsVersion::V13, Keys::Rsa2048, TlsSession::Rustls, estimated(5_846, LESS_THAN_RSA4096)),
    (TlsVersion::V12, Keys::Rsa4096, TlsSession::Rustls, measured(6_185, BENCH_RUSTLS)),
    (TlsVersion::V13, Keys::Rsa4096, TlsSession::Rustls, measured(6_358, BENCH_RUSTLS)),
    (TlsVersion::V12, Keys::P256, TlsSession::Compact, estimated(755, AS_RSA4096)),
    (TlsVersion::V13, Keys::P256, TlsSession::Compact, estimated(757, AS_RSA4096)),
    (TlsVersion::V12, Keys::Rsa2048, TlsSession::Compact, estimated(755, AS_RSA4096)),
    (TlsVersion::V13, Keys::Rsa2048, TlsSession::Compact, estimated(757, AS_RSA4096)),
    (TlsVersion::V12, Keys::Rsa4096, TlsSession::Compact, measured(755, BENCH_COMPACT)),
    (TlsVersion::V13, Keys::Rsa4096, TlsSession::Compact, measured(757, BENCH_COMPACT)),
];

const BENCH_COMPACT: &str = "cargo bench --bench memory -- --connections 19000 --keys rsa4096";
const BENCH_RUSTLS: &str = "cargo bench --bench memory -- --connections 5000 --tls-session rustls";
const LESS_THAN_RSA4096: &str =
    "the figure of rsa4096 less 512 bytes: key and signature of one certificate are 256 bytes shorter each";
const AS_RSA4096: &str = "as with rsa4096: compact keeps no certificate";

/// What an idle agent costs in the process.
pub fn agent_bytes(tls: TlsVersion, keys: Keys, session: TlsSession) -> Constant {
    let row = AGENT_BYTES.iter().find(|row| (row.0, row.1, row.2) == (tls, keys, session));
    row.expect("the table has a row for every combination; a test holds it to that").3
}

/// Bytes of slab memory that the kernel needs for one idle socket: TCP, inode, file, epoll.
pub const SOCKET_BYTES: Constant = estimated(
    limits::SOCKET_BYTES as u64,
    "sizes of the kernel's objects for a socket without data, Linux 6.18: /proc/slabinfo",
);

/// Resident bytes of the process without agents.
pub const PROCESS_BYTES: Constant = measured(20_000_000, "grep VmRSS /proc/PID/status, podium server");

/// Bytes of one handshake under way.
pub const HANDSHAKE_BYTES: Constant = estimated(10_240, "limits::HANDSHAKES_IN_FLIGHT_MAX: about 10 KB each");

/// Descriptors besides those of connections.
pub const DESCRIPTORS_BESIDE: Constant =
    limit(limits::DESCRIPTORS_BESIDE_CONNECTIONS as u64, "limits::DESCRIPTORS_BESIDE_CONNECTIONS; 29 are in use idle");

/// Microseconds of one core, on the server's side, for a full handshake with mutual TLS, by the server's key.
pub const fn handshake_micros(keys: Keys) -> Constant {
    match keys {
        Keys::P256 => measured(300, HANDSHAKE),
        Keys::Rsa2048 => {
            estimated(700, "between P-256 and RSA-4096: a signature of RSA-2048 costs a sixth of one of RSA-4096")
        }
        Keys::Rsa4096 => measured(3_400, STORM),
    }
}

const HANDSHAKE: &str = "cargo bench --bench handshake";
const STORM: &str = "podium capacity load storm -n 19000 --watch-pid PID, broker and CA with RSA-4096: CPU of all that an agent's \
                     return costs; half of it on processors with AVX-512 IFMA";

/// Microseconds of one core for a handshake that resumes a session of TLS 1.3. Agents of Puppet never resume.
pub const RESUMED_HANDSHAKE_MICROS: Constant = measured(150, HANDSHAKE);

/// Microseconds of one core for a message that is routed: received, decrypted, judged, encrypted and sent.
pub const MESSAGE_MICROS: Constant =
    measured(14, "cargo bench --bench peers, a busy broker; one that sleeps between messages needs up to 90 for each");

/// Bytes of a line in the access log of messages.
pub const ACCESS_LOG_LINE_BYTES: Constant =
    measured(241, "a text line with a name of 20 characters; cargo test capacity::model");

/// Bytes in the database for one node of one job, without what its result has beyond 100 bytes.
pub const NODE_RUN_BYTES: Constant = measured(729, "a job of 1,000 nodes in SQLite; cargo test capacity::model");

/// Bytes in the database for one job besides its nodes, and once more per node for its name in the scope.
pub const JOB_BYTES: Constant = estimated(4_096, "a page of SQLite: rows of jobs, job_status and their events");

/// Messages through the broker for one node of one job: request, acknowledgement, result.
pub const MESSAGES_PER_RUN: Constant = estimated(3, "rpc_non_blocking_request, provisional response, response");

/// Seconds after which the legacy agent gives an attempt up, and how the fleet as a whole comes back.
pub const RECONNECT: Constant =
    estimated(5, "connect timeout of pxp-agent; flows of agents in a simulation, src/capacity/reconnect.rs");

/// Seconds between the pings of an idle agent.
pub const PING_SECONDS: Constant = limit(120, "ping-interval of pxp-agent and podium agent");

#[cfg(test)]
mod tests;
