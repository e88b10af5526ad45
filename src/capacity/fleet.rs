//! The fleet that a plan is made for.

use super::model::{Keys, TlsSession, TlsVersion};
use crate::limits;

/// Agents of one plan, at most: 100 brokers at their limit.
pub const AGENTS_MAX: u64 = 100 * limits::CONNECTIONS_MAX as u64;

/// Brokers of one plan, at most: as many as may link to a server.
pub const BROKERS_MAX: u64 = limits::BROKERS_MAX as u64;

/// Cores of one host, at most.
pub const CORES_MAX: u64 = 1_024;

/// Messages per second of one plan, at most.
pub const RATE_MAX: u64 = 10_000_000;

/// Jobs of a day, nodes of them, days and bytes of results, at most: so that no product of them overflows.
pub const JOBS_MAX: u64 = 1_000_000;

/// Days that are planned for, at most: a hundred years.
pub const DAYS_MAX: u64 = 36_500;

/// How many brokers the agents are spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brokers {
    /// As few as are back within [`Fleet::reconnect_seconds`].
    Auto,
    /// So many.
    Count(u64),
}

impl std::str::FromStr for Brokers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u64>() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(count) if (1..=BROKERS_MAX).contains(&count) => Ok(Self::Count(count)),
            _ => Err(format!(
                "give \"auto\" or a number from 1 to {BROKERS_MAX}, as many as one server takes links from"
            )),
        }
    }
}

/// What the operator has or wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// Agents, all together.
    pub agents: u64,
    /// Their TLS version.
    pub tls: TlsVersion,
    /// Keys of the certificates.
    pub keys: Keys,
    /// The setting `tls-session`.
    pub session: TlsSession,
    /// Messages per second, all together.
    pub rate: u64,
    /// Bytes of one.
    pub message_bytes: u64,
    /// Cores of each broker's host.
    pub cores: u64,
    /// How many brokers.
    pub brokers: Brokers,
    /// Time in which all agents should be back.
    pub reconnect_seconds: u64,
    /// Jobs of a day.
    pub jobs_per_day: u64,
    /// Nodes of each; `None` is all agents.
    pub nodes_per_job: Option<u64>,
    /// Bytes of one node's result.
    pub result_bytes: u64,
    /// Days that the access log is kept.
    pub log_days: u64,
    /// Days of jobs that the disk must have room for; jobs are never removed.
    pub job_days: u64,
}

impl Fleet {
    /// A fleet as Puppet makes it, and a quiet day.
    pub fn of(agents: u64, cores: u64) -> Self {
        Self {
            agents,
            tls: TlsVersion::V12,
            keys: Keys::Rsa4096,
            session: TlsSession::Compact,
            rate: 100,
            message_bytes: 1_024,
            cores,
            brokers: Brokers::Auto,
            reconnect_seconds: 60,
            jobs_per_day: 24,
            nodes_per_job: None,
            result_bytes: 1_024,
            log_days: 14,
            job_days: 365,
        }
    }

    /// Threads that move messages: one per core, at least two.
    pub fn workers(&self) -> u64 {
        self.cores.max(2)
    }

    /// Messages per second of a broker with so many of the agents.
    pub fn share_of_rate(&self, share: u64) -> u64 {
        (self.rate * share).div_ceil(self.agents.max(1))
    }

    /// Agents of each of so many brokers.
    pub fn share(&self, brokers: u64) -> u64 {
        self.agents.div_ceil(brokers.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_counted_or_left_to_the_plan() {
        assert_eq!("auto".parse(), Ok(Brokers::Auto));
        assert_eq!("3".parse(), Ok(Brokers::Count(3)));
        for wrong in ["0", "65", "-1", "many", ""] {
            let refusal = wrong.parse::<Brokers>().unwrap_err();
            assert!(refusal.contains("\"auto\" or a number from 1 to 64"), "{wrong}: {refusal}");
        }
    }

    #[test]
    fn shares_are_rounded_up() {
        assert_eq!(Fleet::of(10, 1).share(3), 4);
        assert_eq!(Fleet::of(10, 1).share(0), 10);
        assert_eq!(Fleet::of(10, 1).workers(), 2);
    }
}
