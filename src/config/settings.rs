//! The typed settings of each subcommand. The keys follow Puppet Enterprise's files where it has them: `global`,
//! `webserver`, `pcp-broker`, `orchestrator` for the server, pxp-agent's names for the agent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::authorization::ClientAccess;
use super::database::DatabaseSettings;
use crate::tunnel::ProxyUri;

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

/// An access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// What is written.
    pub level: AccessLevel,
    /// `None` is standard error.
    pub file: Option<PathBuf>,
    /// How lines look.
    pub format: AccessFormat,
}

/// What an access log has lines of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessLevel {
    /// Nothing.
    Off,
    /// What was refused.
    Warn,
    /// Everything.
    Info,
}

/// How the lines of an access log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// As the reference's.
    Text,
    /// One JSON object each.
    Json,
}

/// Whether agents must show a certificate in the TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No handshake without one.
    Need,
    /// Without one there are the status pages and nothing else.
    Want,
}

/// Who protects the records of a broker's clients once they have shaken hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsSessions {
    /// rustls, from the beginning to the end.
    Rustls,
    /// Our record layer, which takes a twentieth of the memory.
    #[default]
    Compact,
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
    /// Below which paths its services are.
    pub mounts: MountSettings,
    /// Threads; 0 is one per core, at least two.
    pub workers: usize,
    /// Most connections at once; 0 is [`crate::limits::CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// Who gets through the TLS handshake.
    pub client_auth: ClientAuth,
    /// What protects records after the handshake.
    pub tls_sessions: TlsSessions,
    /// One line per message.
    pub message_log: AccessLogSettings,
    /// One line per HTTP request.
    pub request_log: AccessLogSettings,
    /// Largest message that a client may send, in bytes.
    pub message_bytes_max: usize,
    /// A connection without a frame for this long is closed.
    pub idle_timeout: Duration,
    /// Who decides what clients may send, besides this server itself.
    pub access: ClientAccess,
    /// Orchestrators that the broker dials.
    pub controllers: ControllerSettings,
    /// How often certificate, CA and CRL files are looked at.
    pub certificate_check_period: Duration,
    /// Pause between two connections that are closed because of their certificates.
    pub expired_throttle: Duration,
    /// Time for clients to be sent away when the process stops.
    pub drain_timeout: Duration,
}

/// Paths on the broker's listener, without a slash at the end; none is below another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSettings {
    /// PCP v1; `None` if it is not spoken.
    pub v1: Option<String>,
    /// PCP v2; `None` if it is not spoken.
    pub v2: Option<String>,
    /// The status service.
    pub status: String,
    /// The metrics service.
    pub metrics: String,
}

impl Default for MountSettings {
    fn default() -> Self {
        Self {
            v1: Some("/pcp".to_owned()),
            v2: Some("/pcp2".to_owned()),
            status: "/status".to_owned(),
            metrics: "/metrics".to_owned(),
        }
    }
}

/// The orchestrators of a compile-node broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerSettings {
    /// Where they are; no two have the same authority.
    pub uris: Vec<ControllerUri>,
    /// Message types that they may send; `None` is the reference's list.
    pub allowlist: Option<Vec<String>>,
    /// Time without any of them after which all clients are closed.
    pub grace_period: Duration,
}

/// `wss://host:port/path` of an orchestrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerUri {
    /// Host and port as they were written: what the orchestrator's PCP URI is made of.
    pub authority: String,
    /// Where it is, with the path that is asked for: `/server/server` for `wss://host:8143/server`.
    pub address: BrokerUri,
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
    /// Where jobs are kept; `None` is SQLite in the data directory.
    pub database: Option<DatabaseSettings>,
    /// Holds `environments/`, Puppet's `codedir`.
    pub code_dir: PathBuf,
    /// Nodes that run a task at once, over all jobs.
    pub task_concurrency: usize,
    /// Nodes that run Puppet at once, over all jobs.
    pub deploy_concurrency: usize,
    /// Unanswered status requests after which a node is given up.
    pub allowed_status_requests: u32,
    /// Time between status requests to one node.
    pub status_interval: Duration,
    /// Seconds that a task may take on a node if the command does not say.
    pub default_task_timeout: Option<Duration>,
    /// Seconds that a Puppet run may take on a node if the command does not say.
    pub default_deploy_timeout: Option<Duration>,
    /// Users, tokens, and what is noted of what they do.
    pub access: AccessSettings,
    /// Certificate names of the brokers on compile nodes that may link.
    pub brokers: Vec<String>,
    /// How long jobs are kept after their end; `None` is for ever.
    pub keep_jobs: Option<Duration>,
    /// Holds `<environment>.json`, which say whose Puppet runs come after whose.
    pub graph_dir: Option<PathBuf>,
    /// Bytes that must be free on the disk of the data directory for a job to be accepted.
    pub disk_reserve: u64,
    /// Whom events are posted to.
    pub webhooks: WebhookSettings,
    /// Where environments and tasks come from.
    pub code_source: CodeSource,
    /// Answers queries for nodes and knows the reports of Puppet runs.
    pub puppetdb: Option<ServiceSettings>,
    /// Where node groups are; here if there is none.
    pub classifier: Option<ServiceSettings>,
    /// Scheduled jobs, and what is kept about use.
    pub schedules: ScheduleSettings,
}

/// Whom events are posted to; which webhooks there are is in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookSettings {
    /// File with the CAs that are trusted; `None` is the system's.
    pub ca: Option<PathBuf>,
    /// Whether they may be on this host.
    pub loopback: bool,
}

/// Scheduled jobs, and what is kept about use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// What becomes of runs whose time was while nobody was there to start them.
    pub missed: MissedRuns,
    /// Whether `GET /scheduled_jobs` and `DELETE /scheduled_jobs/:id` are there.
    pub v1_api: bool,
    /// Days of which figures of use are kept.
    pub usage_days: u32,
}

/// What becomes of runs that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedRuns {
    /// One run makes up for all of them, at once.
    RunOnce,
    /// The next regular one is waited for.
    Skip,
}

/// Where environments and tasks come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeSource {
    /// [`OrchestratorSettings::code_dir`].
    Directory,
    /// A Puppet Server.
    PuppetServer(ServiceSettings),
}

/// A service that is asked over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Name or address, also what the service's certificate must be valid for.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Time for name, TCP and TLS.
    pub connect_timeout: Duration,
    /// Time for a whole request.
    pub request_timeout: Duration,
}

/// Who gets in, and what is noted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// Life of a token if the login does not say.
    pub token_lifetime: Duration,
    /// Longest life of a token.
    pub token_lifetime_max: Duration,
    /// Wrong passwords in a row that lock a user; 0 is never.
    pub failed_logins_max: u32,
    /// How long a lock holds after the last wrong password; `None` is until somebody ends it.
    pub lockout: Option<Duration>,
    /// File with the names of certificates that need no token.
    pub certificate_allowlist: Option<PathBuf>,
    /// The audit log; `None` is standard error.
    pub audit_log: Option<PathBuf>,
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
    /// Through which brokers are connected to.
    pub broker_proxy: Option<ProxyUri>,
    /// Which version of PCP is spoken.
    pub pcp_version: PcpVersion,
    /// A line for each message that comes, in this file.
    pub access_log: Option<PathBuf>,
    /// Where our process id is written.
    pub pidfile: Option<PathBuf>,
    /// Whether the process leaves the terminal it was started from.
    pub daemonize: bool,
    /// Through which primaries are connected to.
    pub primary_proxy: Option<ProxyUri>,
    /// Servers that task files are downloaded from, in order.
    pub primaries: Vec<PrimaryUri>,
    /// Results and metadata of transactions.
    pub spool_dir: PathBuf,
    /// Downloaded task files.
    pub cache_dir: PathBuf,
    /// Programs that are modules.
    pub modules_dir: PathBuf,
    /// Their configuration.
    pub modules_config_dir: PathBuf,
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
    /// What tasks, commands and scripts are held to.
    pub tasks: TaskSettings,
}

/// What the processes of tasks are held to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskSettings {
    /// Whose rights they have, by name or number.
    pub user: Option<String>,
    /// Their nice value.
    pub nice: Option<i32>,
    /// Their umask.
    pub umask: Option<u32>,
    /// The directory of their cgroup.
    pub cgroup: Option<PathBuf>,
}

/// A version of PCP, with what only it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PcpVersion {
    /// 1.0: binary messages after an association.
    One {
        /// Time for the broker's answer to the association.
        association_timeout: Duration,
        /// After which messages say that they have expired.
        message_ttl: Duration,
    },
    /// 2.0.
    Two,
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
