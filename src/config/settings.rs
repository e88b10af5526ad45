//! The typed settings of each subcommand. The keys follow Puppet Enterprise's files where it has them: `global`,
//! `webserver`, `pcp-broker`, `orchestrator` for the server, pxp-agent's names for the agent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the certificates are, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePaths {
    /// Our certificate, with intermediates if there are any.
    pub certificate: PathBuf,
    /// Our private key, unencrypted.
    pub key: PathBuf,
    /// The CAs we trust, intermediates included.
    pub ca: PathBuf,
    /// Their CRLs; without it nothing is checked for revocation.
    pub crl: Option<PathBuf>,
}

/// What to log and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Least severe level that is written.
    pub level: LogLevel,
    /// `None` is standard error.
    pub file: Option<PathBuf>,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What an operator must act on.
    Error,
    /// What may need action.
    Warn,
    /// What happened.
    Info,
    /// How.
    Debug,
    /// Every step.
    Trace,
}

/// `podium server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Of this host.
    pub certificates: CertificatePaths,
    /// What to log and where.
    pub log: LogSettings,
    /// The broker.
    pub broker: BrokerSettings,
    /// The API's address, port 8143.
    pub api_listen: SocketAddr,
    /// The orchestrator.
    pub orchestrator: OrchestratorSettings,
}

/// The broker's part of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Address for agents, port 8142.
    pub listen: SocketAddr,
    /// Threads; 0 is one per core, at least two.
    pub workers: usize,
    /// Most connections at once; 0 is [`crate::limits::CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// Largest message in bytes.
    pub message_bytes_max: usize,
    /// A connection without a frame for this long is closed.
    pub idle_timeout: Duration,
    /// Certificate names that may ask for the inventory and give orders to agents, besides this server itself.
    pub privileged_clients: Vec<String>,
    /// Orchestrators that the broker dials.
    pub controllers: ControllerSettings,
    /// How often certificate, CA and CRL files are looked at.
    pub certificate_check_period: Duration,
    /// Pause between two connections that are closed because of their certificates.
    pub expired_throttle: Duration,
    /// Time for clients to be sent away when the process stops.
    pub drain_timeout: Duration,
}

/// The orchestrators of a compile-node broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerSettings {
    /// Where they are, with the path that is asked for: `/server/server` for `wss://host:8143/server`.
    pub uris: Vec<BrokerUri>,
    /// Message types that they may send; `None` is the reference's list.
    pub allowlist: Option<Vec<String>>,
    /// Time without any of them after which all clients are closed.
    pub grace_period: Duration,
}

/// `podium broker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerNodeSettings {
    /// Of this host.
    pub certificates: CertificatePaths,
    /// What to log and where.
    pub log: LogSettings,
    /// The broker.
    pub broker: BrokerSettings,
}

/// The orchestrator's part of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrchestratorSettings {
    /// Database, keys, first password.
    pub data_dir: PathBuf,
    /// Holds `environments/`, Puppet's `codedir`.
    pub code_dir: PathBuf,
    /// Nodes that run at once over all jobs.
    pub task_concurrency: usize,
    /// Unanswered status requests after which a node is given up.
    pub allowed_status_requests: u32,
    /// Time between status requests to one node.
    pub status_interval: Duration,
    /// Seconds that a task may take on a node if the command does not say.
    pub default_task_timeout: Option<Duration>,
    /// Life of a token if the login does not say.
    pub token_lifetime: Duration,
    /// Longest life of a token.
    pub token_lifetime_max: Duration,
}

/// `podium agent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Of this host.
    pub certificates: CertificatePaths,
    /// What to log and where.
    pub log: LogSettings,
    /// Brokers in order of preference.
    pub brokers: Vec<BrokerUri>,
    /// Servers that task files are downloaded from, in order.
    pub primaries: Vec<PrimaryUri>,
    /// Results and metadata of transactions.
    pub spool_dir: PathBuf,
    /// Downloaded task files.
    pub cache_dir: PathBuf,
    /// Time for one attempt to connect.
    pub connection_timeout: Duration,
    /// Time between our pings.
    pub ping_interval: Duration,
    /// Time to connect for a download.
    pub download_connect_timeout: Duration,
    /// Time for a whole download.
    pub download_timeout: Duration,
    /// Age at which spool directories are removed; `None` is never.
    pub spool_ttl: Option<Duration>,
    /// Age at which cached files are removed; `None` is never.
    pub cache_ttl: Option<Duration>,
    /// Largest `data` that is sent, in bytes.
    pub message_bytes_max: usize,
}

/// `wss://host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUri {
    /// Name or address, also what the broker's certificate must be valid for.
    pub host: String,
    /// 443 if the URI has none.
    pub port: u16,
    /// Path with the client type appended: `/pcp2/agent`.
    pub path: String,
}

/// `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryUri {
    /// Name or address, also what the server's certificate must be valid for.
    pub host: String,
    /// 8140 if the URI has none.
    pub port: u16,
}
