//! The arguments that describe a fleet, for `podium capacity plan` and `check`.

use crate::capacity::fleet::{self, Brokers, Fleet};
use crate::capacity::model::{Keys, TlsSession, TlsVersion};
use crate::cli::output::Failure;
use crate::limits;

/// The fleet besides its number of agents.
#[derive(Debug, clap::Args)]
pub(super) struct FleetArguments {
    /// TLS version of the agents; pxp-agent speaks 1.2
    #[arg(long, value_enum, default_value = "1.2")]
    tls: TlsVersion,
    /// Keys of the certificates; Puppet makes rsa4096
    #[arg(long, value_enum, default_value = "rsa4096")]
    keys: Keys,
    /// The setting tls-session
    #[arg(long, value_enum, default_value = "compact")]
    tls_session: TlsSession,
    /// Messages per second, all together
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=fleet::RATE_MAX))]
    rate: u64,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 1024,
        value_parser = clap::value_parser!(u64).range(1..=limits::MESSAGE_BYTES_MAX as u64))]
    message_size: u64,
    /// Cores of each broker's host; those of this one if not given
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=fleet::CORES_MAX))]
    cores: Option<u64>,
    /// Brokers that the agents are spread over: a number, or auto; auto for a plan, 1 for a check, if not given
    #[arg(long)]
    brokers: Option<Brokers>,
    /// Seconds in which all agents should be back after a restart; decides how many brokers auto is
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    reconnect_within: u64,
    /// Jobs of a day
    #[arg(long, value_name = "JOBS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(0..=fleet::JOBS_MAX))]
    jobs_per_day: u64,
    /// Nodes of a job; all agents if not given
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u64).range(0..=limits::JOB_NODES_MAX as u64))]
    nodes_per_job: Option<u64>,
    /// Bytes of one node's result
    #[arg(long, value_name = "BYTES", default_value_t = 1024,
        value_parser = clap::value_parser!(u64).range(0..=limits::MESSAGE_BYTES_MAX as u64))]
    result_size: u64,
    /// Days that the access log is kept
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u64).range(0..=fleet::DAYS_MAX))]
    log_days: u64,
    /// Days of jobs that the disk must have room for
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u64).range(0..=fleet::DAYS_MAX))]
    job_days: u64,
}

impl FleetArguments {
    /// So many agents on hosts with so many cores and so many brokers, if the arguments do not say.
    pub(super) fn fleet(&self, agents: u64, cores: u64, brokers: Brokers) -> Result<Fleet, Failure> {
        let fleet = Fleet {
            agents,
            tls: self.tls,
            keys: self.keys,
            session: self.tls_session,
            rate: self.rate,
            message_bytes: self.message_size,
            cores: self.cores.unwrap_or(cores).clamp(1, fleet::CORES_MAX),
            brokers: self.brokers.unwrap_or(brokers),
            reconnect_seconds: self.reconnect_within,
            jobs_per_day: self.jobs_per_day,
            nodes_per_job: self.nodes_per_job,
            result_bytes: self.result_size,
            log_days: self.log_days,
            job_days: self.job_days,
        };
        if let Some(nodes) = fleet.nodes_per_job.filter(|nodes| *nodes > fleet.agents) {
            return Err(Failure::Usage(format!(
                "--nodes-per-job {nodes}: there are only {} agents; give fewer nodes, or leave it out for all of them",
                fleet.agents
            )));
        }
        Ok(fleet)
    }
}
