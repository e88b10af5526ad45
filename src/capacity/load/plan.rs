//! What a run is to do, in a form that can be handed to another process and stands in the results, and the steps that
//! its scenario is made of.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LoadError;
use crate::limits::{LOAD_CONNECTIONS_MAX, LOAD_FILLING_BYTES_MAX, LOAD_PROCESSES_MAX, LOAD_SLOW_MAX};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Agents that only answer pings
    Idle,
    /// A controller asks, agents answer, at a rate or as fast as it goes
    Request,
    /// One request to all at once, several times
    Fanout,
    /// All agents lose their connection at once and come back
    Storm,
    /// Some agents leave and come back all the time
    Churn,
    /// Some agents do not read while the others are asked
    Slow,
    /// A day in short: idle, requests, churn, a storm at the end
    Mixed,
}

/// What the agents speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// PCP version 1
    V1,
    /// PCP version 2
    V2,
    /// Every other agent speaks version 1
    Both,
}

/// TLS versions that the agents offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum TlsVersions {
    /// 1.2 only, as deployed agents do
    #[value(name = "1.2")]
    #[serde(rename = "1.2")]
    Tls12,
    /// 1.3 only
    #[value(name = "1.3")]
    #[serde(rename = "1.3")]
    Tls13,
    /// What the broker prefers
    #[value(name = "either")]
    #[serde(rename = "either")]
    Either,
}

/// What the agents' key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// ECDSA on P-256: cheap for the machine that plays the fleet
    P256,
    /// RSA with 2048 bits
    Rsa2048,
    /// RSA with 4096 bits, as Puppet makes them
    Rsa4096,
}

/// When agents that have lost their connection try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Reconnect {
    /// As pxp-agent: after 0.2, 2, 4, 8, 16, 32 s, half a second more or less
    Legacy,
    /// At a random moment within 1, 2, 4, 8, 16, 32 s
    Jitter,
}

/// What sets a storm off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StormCause {
    /// The agents drop their connections
    Drop,
    /// Somebody restarts the broker; the run waits for it
    Restart,
}

/// Whether the controller waits for results or for a provisional response first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// `rpc_blocking_request`: one answer
    Blocking,
    /// `rpc_non_blocking_request`: a provisional response and a result
    NonBlocking,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is measured.
    pub scenario: Scenario,
    /// Host of the broker; its certificate must be valid for it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Where the host is.
    pub address: SocketAddr,
    /// Agents.
    pub connections: u32,
    /// Number of the first one, in its name.
    pub first: u32,
    /// What stands before and after the number in a name.
    pub name: (String, String),
    /// What they speak.
    pub protocol: Protocol,
    /// TLS.
    pub tls: TlsVersions,
    /// Their key.
    pub keys: Keys,
    /// Certificate of the CA that signs for them, PEM.
    pub ca_certificate: PathBuf,
    /// Its key, PEM.
    pub ca_key: PathBuf,
    /// When they try again.
    pub reconnect: Reconnect,
    /// What sets a storm off.
    pub storm: StormCause,
    /// Certificate name and client type of the controller; `None` does without one.
    pub controller: Option<(String, String)>,
    /// Kind of the requests.
    pub request: RequestKind,
    /// Requests per second; `None` keeps [`Self::in_flight`] under way.
    pub rate: Option<f64>,
    /// Requests under way at once where there is no rate.
    pub in_flight: u32,
    /// Bytes in the parameters of a request.
    pub request_bytes: usize,
    /// Bytes in the result of an answer.
    pub response_bytes: usize,
    /// Times that all are asked.
    pub rounds: u32,
    /// Agents that leave per second.
    pub churn: f64,
    /// Agents that do not read.
    pub slow: u32,
    /// New connections per second at the start.
    pub ramp: f64,
    /// Time of the scenario's main part.
    pub duration: Duration,
    /// Time for everything.
    pub deadline: Duration,
    /// Time from the start of a dial to the end of its upgrade.
    pub connect_timeout: Duration,
    /// Time between an agent's pings.
    pub ping_interval: Duration,
    /// Threads that play agents, per process; the controller has one more.
    pub threads: u32,
    /// Processes.
    pub processes: u32,
    /// Local addresses to connect from.
    pub sources: Vec<IpAddr>,
    /// Processes whose use of memory and CPU is recorded.
    pub watch: Vec<u32>,
}

/// What the controller does during a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Traffic {
    /// So many requests per second, whatever comes back.
    Open(f64),
    /// So many under way at any time.
    Closed(u32),
}

/// A part of a scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// For a while.
    Hold {
        /// What is asked meanwhile.
        traffic: Option<Traffic>,
        /// Agents that leave per second.
        churn: f64,
        /// Whether those that do not read are there and asked too.
        slow: bool,
        /// How long.
        time: Duration,
    },
    /// One request to every agent, and the wait for the last answer.
    Fanout,
    /// Everybody goes and comes back.
    Storm(StormCause),
}

impl Plan {
    /// Whether all numbers make sense together.
    pub fn check(&self) -> Result<(), LoadError> {
        let refuse = |text: String| Err(LoadError::Usage(text));
        let within = |what: &str, value: f64, low: f64, high: f64| {
            let text = format!("--{what} must be between {low} and {high}, not {value}");
            if (low..=high).contains(&value) { Ok(()) } else { Err(LoadError::Usage(text)) }
        };
        within("connections", self.connections.into(), 1.0, LOAD_CONNECTIONS_MAX.into())?;
        within("processes", self.processes.into(), 1.0, LOAD_PROCESSES_MAX.into())?;
        within("threads", self.threads.into(), 1.0, 256.0)?;
        within("in-flight", self.in_flight.into(), 1.0, 100_000.0)?;
        within("rate", self.rate.unwrap_or(1.0), 0.001, 1_000_000.0)?;
        within("ramp", self.ramp, 0.1, 1_000_000.0)?;
        within("churn", self.churn, 0.0, 100_000.0)?;
        within("rounds", self.rounds.into(), 1.0, 10_000.0)?;
        within("request-bytes", self.request_bytes as f64, 0.0, LOAD_FILLING_BYTES_MAX as f64)?;
        within("response-bytes", self.response_bytes as f64, 0.0, LOAD_FILLING_BYTES_MAX as f64)?;
        if self.first.saturating_add(self.connections) > LOAD_CONNECTIONS_MAX + 1 {
            return refuse(format!("--first-number and --connections reach beyond agent {LOAD_CONNECTIONS_MAX}"));
        }
        if self.processes > self.connections {
            return refuse(format!(
                "{} agents cannot be shared by {} processes: give fewer --processes",
                self.connections, self.processes
            ));
        }
        let most = LOAD_SLOW_MAX.min(self.connections);
        if self.scenario == Scenario::Slow && (self.slow == 0 || self.slow > most) {
            return refuse(format!("--slow must be between 1 and {most}: no more than there are agents that read"));
        }
        if self.controller.is_none() && self.needs_controller() {
            return refuse("this scenario asks agents: it cannot do --without-controller".to_owned());
        }
        let (prefix, suffix) = &self.name;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if let Some(odd) = prefix.chars().chain(suffix.chars()).find(|c| !is_plain(*c)) {
            return refuse(format!("names are lower case letters, digits, - _ and dots: {odd:?} cannot be in one"));
        }
        Ok(())
    }

    fn needs_controller(&self) -> bool {
        matches!(self.scenario, Scenario::Request | Scenario::Fanout | Scenario::Slow | Scenario::Mixed)
    }

    /// The name of an agent, counted from 0 in this plan.
    pub fn name_of(&self, index: u32) -> String {
        format!("{}{:05}{}", self.name.0, self.first + index, self.name.1)
    }

    /// The name of an agent that does not read.
    pub fn slow_name(&self, index: u32) -> String {
        format!("{}-slow{:05}{}", self.name.0, self.first + index, self.name.1)
    }

    /// Whether the agent speaks PCP v1.
    pub fn is_v1(&self, index: u32) -> bool {
        match self.protocol {
            Protocol::V1 => true,
            Protocol::V2 => false,
            Protocol::Both => (self.first + index) % 2 == 1,
        }
    }

    /// Agents that do not read, in this scenario.
    pub fn slow_count(&self) -> u32 {
        if self.scenario == Scenario::Slow { self.slow } else { 0 }
    }

    /// What the controller does where nothing else is said.
    fn traffic(&self) -> Traffic {
        self.rate.map_or(Traffic::Closed(self.in_flight), Traffic::Open)
    }

    /// The steps after all agents are there.
    pub fn steps(&self) -> Vec<(&'static str, Step)> {
        let hold = |traffic, churn, time| Step::Hold { traffic, churn, slow: false, time };
        let part = |tenths: u32| self.duration * tenths / 10;
        match self.scenario {
            Scenario::Idle => vec![("idle", hold(None, 0.0, self.duration))],
            Scenario::Request => vec![("requests", hold(Some(self.traffic()), 0.0, self.duration))],
            Scenario::Fanout => vec![("fan-out", Step::Fanout); self.rounds as usize],
            Scenario::Storm => vec![("storm", Step::Storm(self.storm)), ("afterwards", hold(None, 0.0, part(2)))],
            Scenario::Churn => {
                let traffic = self.rate.filter(|_| self.controller.is_some()).map(Traffic::Open);
                vec![("churn", hold(traffic, self.churn, self.duration))]
            }
            Scenario::Slow => vec![
                ("all read", hold(Some(self.traffic()), 0.0, part(3))),
                ("some do not", Step::Hold { traffic: Some(self.traffic()), churn: 0.0, slow: true, time: part(7) }),
            ],
            Scenario::Mixed => {
                let some = Some(Traffic::Open(self.rate.unwrap_or(50.0)));
                vec![
                    ("night", hold(None, 0.0, part(2))),
                    ("working day", hold(some, 0.0, part(4))),
                    ("comings and goings", hold(some, self.churn, part(2))),
                    ("task on all", Step::Fanout),
                    ("storm", Step::Storm(self.storm)),
                    ("evening", hold(None, 0.0, part(1))),
                ]
            }
        }
    }

    /// What process `index` has to do of it: its agents, and its part of every rate.
    pub fn share(&self, index: u32) -> Self {
        let count = |of: u32| of / self.processes + u32::from(index < of % self.processes);
        let before =
            (0..index).map(|i| self.connections / self.processes + u32::from(i < self.connections % self.processes));
        let part = 1.0 / f64::from(self.processes);
        let controller = self.controller.as_ref().map(|(name, kind)| match index {
            0 => (name.clone(), kind.clone()),
            _ => (name.clone(), format!("{kind}-{}", index + 1)),
        });
        Self {
            connections: count(self.connections),
            first: self.first + before.sum::<u32>(),
            slow: count(self.slow),
            rate: self.rate.map(|rate| rate * part),
            in_flight: count(self.in_flight).max(1),
            churn: self.churn * part,
            ramp: self.ramp * part,
            controller,
            processes: 1,
            watch: Vec::new(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plan that nothing is wrong with.
    pub(in crate::capacity::load) fn plan() -> Plan {
        Plan {
            scenario: Scenario::Request,
            host: "localhost".to_owned(),
            port: 8142,
            address: SocketAddr::from(([127, 0, 0, 1], 8142)),
            connections: 10,
            first: 1,
            name: ("node".to_owned(), ".example".to_owned()),
            protocol: Protocol::Both,
            tls: TlsVersions::Either,
            keys: Keys::P256,
            ca_certificate: "ca.pem".into(),
            ca_key: "ca.key".into(),
            reconnect: Reconnect::Legacy,
            storm: StormCause::Drop,
            controller: Some(("ctl".to_owned(), "controller".to_owned())),
            request: RequestKind::NonBlocking,
            rate: Some(100.0),
            in_flight: 10,
            request_bytes: 100,
            response_bytes: 100,
            rounds: 3,
            churn: 2.0,
            slow: 3,
            ramp: 500.0,
            duration: Duration::from_secs(10),
            deadline: Duration::from_secs(100),
            connect_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(120),
            threads: 1,
            processes: 3,
            sources: Vec::new(),
            watch: vec![1],
        }
    }

    #[test]
    fn shares_are_the_whole() {
        let plan = plan();
        let shares: Vec<Plan> = (0..3).map(|index| plan.share(index)).collect();
        let names: Vec<String> = shares.iter().flat_map(|s| (0..s.connections).map(|i| s.name_of(i))).collect();
        let all: Vec<String> = (0..10).map(|index| plan.name_of(index)).collect();
        assert_eq!(names, all);
        assert_eq!((all[0].as_str(), all[9].as_str()), ("node00001.example", "node00010.example"));
        assert!(shares.iter().zip([true, true, false]).all(|(share, v1)| share.is_v1(0) == v1));
        let rate: f64 = shares.iter().filter_map(|share| share.rate).sum();
        assert!((rate - 100.0).abs() < 1e-6);
        assert_eq!(shares.iter().map(|share| share.slow).sum::<u32>(), 3);
        assert_eq!(shares[2].controller, Some(("ctl".to_owned(), "controller-3".to_owned())));
        assert!(shares.iter().all(|share| share.check().is_ok()));
    }

    #[test]
    fn it_survives_the_way_to_another_process() {
        let plan = plan();
        assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&plan).unwrap()).unwrap(), plan);
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        let refused = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            match plan.check() {
                Err(LoadError::Usage(text)) => text,
                other => panic!("{other:?}"),
            }
        };
        assert!(refused(|plan| plan.connections = 0).starts_with("--connections must be between 1 and 99999, not 0"));
        assert!(refused(|plan| plan.rate = Some(f64::NAN)).starts_with("--rate"));
        assert!(refused(|plan| plan.processes = 11).contains("fewer --processes"));
        assert!(refused(|plan| plan.first = 99_995).contains("beyond agent 99999"));
        assert!(refused(|plan| plan.controller = None).contains("--without-controller"));
        assert!(refused(|plan| plan.name.1 = "/x".to_owned()).contains("'/' cannot be in one"));
        assert!(refused(|plan| (plan.scenario, plan.slow) = (Scenario::Slow, 0)).starts_with("--slow"));
    }
}
