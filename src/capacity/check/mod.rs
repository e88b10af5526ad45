//! A host compared with a plan: what it has, what it should have, why, and how to get there. Everything is read from files
//! below a root directory, so that a test can make a host; nothing is changed.

mod certificates;
mod group;
pub mod host;
mod kernel;
mod memory;
pub mod script;
mod unit;

use std::path::PathBuf;

use crate::capacity::plan::Plan;
use crate::clock::WallTime;
use host::Host;

/// What runs on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// `podium server`
    Server,
    /// `podium broker`
    Broker,
}

impl Role {
    /// The unit's name.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Server => "podium-server.service",
            Self::Broker => "podium-broker.service",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Not looked at; the value says why.
    Skip,
    /// Works, and will be slow, or is a risk.
    Warn,
    /// Will not work.
    Fail,
}

impl Severity {
    /// The word in tables and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// A step towards a host that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A key of the kernel, now and after each boot.
    Sysctl {
        /// With dots.
        key: String,
        /// One or more numbers.
        value: String,
    },
    /// A key in the drop-in of our unit.
    Unit {
        /// As systemd calls it.
        key: &'static str,
        /// As systemd writes it.
        value: String,
    },
    /// Open files of a service that systemd does not start.
    OpenFiles(u64),
    /// What no script should do.
    Advice(String),
}

impl Step {
    /// For people.
    pub fn text(&self, role: Role) -> String {
        match self {
            Self::Sysctl { key, value } => {
                format!("sysctl -w \"{key}={value}\", and in /etc/sysctl.d/60-podium-check.conf")
            }
            Self::Unit { key, value } => format!("{key}={value} in a drop-in of {}", role.unit()),
            Self::OpenFiles(limit) => format!("podium - nofile {limit} in /etc/security/limits.d/podium.conf"),
            Self::Advice(advice) => advice.clone(),
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// What the host has.
    pub value: String,
    /// What it should have.
    pub wanted: String,
    /// Why.
    pub why: String,
    /// What to do; empty if there is nothing to do.
    pub fix: Vec<Step>,
}

impl Finding {
    /// All well.
    fn ok(key: &str, value: impl ToString, wanted: impl ToString, why: impl ToString) -> Self {
        Self::new(key, Severity::Ok, value, wanted, why, Vec::new())
    }

    /// Not looked at.
    fn skip(key: &str, value: impl ToString, why: impl ToString) -> Self {
        Self::new(key, Severity::Skip, value, "", why, Vec::new())
    }

    fn new(
        key: &str,
        severity: Severity,
        value: impl ToString,
        wanted: impl ToString,
        why: impl ToString,
        fix: Vec<Step>,
    ) -> Self {
        Self {
            key: key.to_owned(),
            severity,
            value: value.to_string(),
            wanted: wanted.to_string(),
            why: why.to_string(),
            fix,
        }
    }

    /// `severity` and `fix` if it does not hold, else all well.
    fn judge(
        holds: bool,
        severity: Severity,
        (key, value, wanted): (&str, String, String),
        why: &str,
        fix: Step,
    ) -> Self {
        if holds { Self::ok(key, value, wanted, why) } else { Self::new(key, severity, value, wanted, why, vec![fix]) }
    }
}

/// What the host is compared with.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What runs there.
    pub role: Role,
    /// How much of it.
    pub plan: Plan,
    /// Agents on the host's own network segment; `None` is what its routes allow.
    pub same_segment: Option<u64>,
    /// PEM files with certificates and revocation lists.
    pub pem_files: Vec<PathBuf>,
    /// Where database or logs grow.
    pub data_dir: PathBuf,
    /// The time of the wall clock.
    pub now: WallTime,
}

/// Looks at everything.
pub fn check(host: &Host, subject: &Subject) -> Vec<Finding> {
    let mut findings = kernel::findings(host, subject);
    findings.extend(memory::findings(host, subject));
    findings.extend(unit::findings(host, subject));
    findings.extend(group::findings(host, subject));
    findings.push(cores(host, subject));
    findings.push(clock(host));
    findings.push(disk(host, subject));
    findings.extend(certificates::findings(host, subject));
    findings
}

fn cores(host: &Host, subject: &Subject) -> Finding {
    let why = "handshakes of all agents at once after a restart";
    let (plan, within) = (&subject.plan, subject.plan.fleet.reconnect_seconds);
    let cores = match host.cores() {
        Ok(cores) => cores,
        Err(problem) => return Finding::new("cores", Severity::Warn, problem, plan.fleet.cores, why, Vec::new()),
    };
    let back = plan.reconnect.seconds;
    let value = match back {
        Some(seconds) => format!("{cores}; with {} all agents are back in {seconds:.0} s", plan.fleet.cores),
        None => format!("{cores}; with {} not all agents are back in an hour", plan.fleet.cores),
    };
    let holds = cores >= plan.fleet.cores && back.is_some_and(|seconds| seconds <= within as f64);
    let wanted = format!("{}, and all back within {within} s", plan.fleet.cores);
    let advice = "more cores, an ECDSA certificate for the server, or more brokers: podium capacity plan".to_owned();
    Finding::judge(holds, Severity::Warn, ("cores", value, wanted), why, Step::Advice(advice))
}

/// Files that say that somebody keeps the clock right.
const CLOCK_KEEPERS: [(&str, &str); 5] = [
    ("run/systemd/timesync/synchronized", "systemd-timesyncd is synchronized"),
    ("run/chrony/chronyd.pid", "chronyd runs"),
    ("run/chronyd.pid", "chronyd runs"),
    ("run/ntpd.pid", "ntpd runs"),
    ("run/openntpd.pid", "openntpd runs"),
];

fn clock(host: &Host) -> Finding {
    let why = "certificates and revocation lists are judged by this host's clock, times of jobs come from it";
    let wanted = "kept by a time service";
    if let Some((_, keeper)) = CLOCK_KEEPERS.iter().find(|(file, _)| host.exists(file)) {
        return Finding::ok("clock", keeper, wanted, why);
    }
    if host.is_container() {
        return Finding::skip("clock", "a container: its host keeps the clock", why);
    }
    let advice = "run chronyd or systemd-timesyncd; timedatectl shows what there is".to_owned();
    Finding::new("clock", Severity::Warn, "no time service found", wanted, why, vec![Step::Advice(advice)])
}

/// Days of growth that must fit at least.
const DISK_DAYS_MIN: u64 = 7;

fn disk(host: &Host, subject: &Subject) -> Finding {
    let (key, why) = ("free disk", "without room no job is accepted, and the access log loses lines");
    let budget = &subject.plan.budget;
    let store = |days: u64| match subject.role {
        Role::Server => budget.store_bytes_per_day.saturating_mul(days),
        Role::Broker => 0,
    };
    let fleet = &subject.plan.fleet;
    let each = budget.log_bytes_per_day.div_ceil(subject.plan.brokers.max(1));
    let log = |days: u64| each.saturating_mul(days);
    let wanted = log(fleet.log_days).saturating_add(store(fleet.job_days));
    let least = log(DISK_DAYS_MIN.min(fleet.log_days)).saturating_add(store(DISK_DAYS_MIN.min(fleet.job_days)));
    let dir = subject.data_dir.display();
    match host.free_bytes(&subject.data_dir) {
        Ok((place, free)) => {
            let severity = if free < least { Severity::Fail } else { Severity::Warn };
            let value = format!("{} at {}", mebibytes(free), place.display());
            let advice = format!("a larger disk at {dir}, fewer days of logs, or smaller results");
            Finding::judge(free >= wanted, severity, (key, value, mebibytes(wanted)), why, Step::Advice(advice))
        }
        Err(problem) => Finding::new(key, Severity::Warn, problem, mebibytes(wanted), why, Vec::new()),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}

#[cfg(test)]
mod tests;
