//! What our unit of systemd allows, and what a process started otherwise gets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::host::{Host, Unknown};
use super::{Finding, Role, Severity, Step, Subject, mebibytes};
use crate::capacity::tuning::{UnitLimits, unit_limits};

/// Where units are, what comes first wins.
const DIRECTORIES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// Hard limit of open files that systemd gives to a unit which does not say.
const DESCRIPTORS_DEFAULT: u64 = 524_288;

/// The section `[Service]` of a unit with its drop-ins.
pub(super) struct Unit {
    /// The unit's file.
    path: PathBuf,
    values: BTreeMap<String, String>,
    problems: Vec<Unknown>,
}

impl Unit {
    /// Our unit; `None` if it is not installed.
    pub(super) fn read(host: &Host, role: Role) -> Option<Self> {
        let name = role.unit();
        let path = DIRECTORIES.iter().map(|dir| Path::new(dir).join(name)).find(|path| host.exists(path))?;
        let mut unit = Self { path: path.clone(), values: BTreeMap::new(), problems: Vec::new() };
        // A drop-in's name decides its turn; the same name in an earlier directory hides the later one.
        let mut drop_ins: BTreeMap<String, PathBuf> = BTreeMap::new();
        for dir in DIRECTORIES {
            for path in host.files(&format!("{dir}/{name}.d"), ".conf") {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                drop_ins.entry(name).or_insert(path);
            }
        }
        for path in std::iter::once(path).chain(drop_ins.into_values()) {
            match host.text(&path) {
                Ok(text) => unit.add(&text),
                Err(problem) => unit.problems.push(problem),
            }
        }
        Some(unit)
    }

    fn add(&mut self, text: &str) {
        let mut in_service = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                in_service = line == "[Service]";
            } else if let Some((key, value)) =
                line.split_once('=').filter(|_| in_service && !line.starts_with(['#', ';']))
            {
                self.values.insert(key.trim().to_owned(), value.trim().to_owned());
            }
        }
    }

    /// A key's last value; an empty one takes it back.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// A limit as systemd writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// So much.
    Number(u64),
    /// `infinity`, or not said.
    None,
    /// A share of what the host has.
    Share,
}

/// Of `4096`, `1024:4096`, `2G`, `15%`, `infinity`; `None` if it is none of these.
fn limit(text: &str) -> Option<Limit> {
    let hard = text.rsplit(':').next().unwrap_or(text);
    if hard == "infinity" {
        return Some(Limit::None);
    }
    if hard.ends_with('%') {
        return Some(Limit::Share);
    }
    let units = [("K", 1_u64 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
    let (digits, factor) =
        units.iter().find_map(|(unit, factor)| Some((hard.strip_suffix(unit)?, *factor))).unwrap_or((hard, 1));
    digits.parse::<u64>().ok()?.checked_mul(factor).map(Limit::Number)
}

/// All of them.
pub(super) fn findings(host: &Host, subject: &Subject) -> Vec<Finding> {
    let name = subject.role.unit();
    if !host.has_systemd() {
        let skip = Finding::skip(name, "systemd does not manage this host", "the limits of this process count instead");
        return vec![skip, open_files(host, subject)];
    }
    let Some(unit) = Unit::read(host, subject.role) else {
        let advice = Step::Advice(format!("install tuning/systemd/{name}; see docs/install.md"));
        let why = "only a unit starts the service again, with the limits that it needs";
        let missing = Finding::new(name, Severity::Warn, "not installed", "installed", why, vec![advice]);
        return vec![missing, open_files(host, subject)];
    };
    let why = "the limits below come from this file and its drop-ins";
    let mut findings = match unit.problems.first() {
        None => vec![Finding::ok(name, format!("/{}", unit.path.display()), "installed", why)],
        Some(problem) => vec![Finding::new(name, Severity::Warn, problem, "readable", why, Vec::new())],
    };
    findings.extend(unit_findings(&unit, subject));
    findings
}

fn unit_findings(unit: &Unit, subject: &Subject) -> [Finding; 4] {
    let UnitLimits { descriptors, tasks, memory_bytes } = unit_limits(&subject.plan);
    let (needed, threads) = (subject.plan.budget.descriptors, subject.plan.budget.threads);
    let least = subject.plan.budget.memory_bytes;
    let number = |count: u64| count.to_string();
    [
        bounded(
            unit,
            "LimitNOFILE",
            (needed, descriptors.to_string()),
            DESCRIPTORS_DEFAULT,
            number,
            "a descriptor per agent, those of a storm, and room",
        ),
        bounded(
            unit,
            "TasksMax",
            (threads, tasks.to_string()),
            u64::MAX,
            number,
            "threads of workers, name resolution, API and store",
        ),
        bounded(
            unit,
            "MemoryMax",
            (least, format!("{}M", memory_bytes / (1024 * 1024))),
            u64::MAX,
            mebibytes,
            "the process with its sockets in a storm; beyond it the kernel ends the process",
        ),
        no_core(unit),
    ]
}

/// A key that must allow at least so much.
fn bounded(
    unit: &Unit,
    key: &'static str,
    (least, better): (u64, String),
    default: u64,
    show: fn(u64) -> String,
    why: &str,
) -> Finding {
    let wanted = format!("at least {}", show(least));
    let step = Step::Unit { key, value: better };
    let Some(text) = unit.value(key) else {
        return Finding::judge(default >= least, Severity::Fail, (key, "not set".to_owned(), wanted), why, step);
    };
    match limit(text) {
        Some(Limit::None) => Finding::ok(key, text, wanted, why),
        Some(Limit::Share) => Finding::skip(key, format!("{text}: depends on the host; see the cgroup below"), why),
        Some(Limit::Number(has)) => {
            Finding::judge(has >= least, Severity::Fail, (key, text.to_owned(), wanted), why, step)
        }
        None => Finding::new(key, Severity::Fail, format!("{text:?} is no limit"), wanted, why, vec![step]),
    }
}

fn no_core(unit: &Unit) -> Finding {
    let (key, why) = ("LimitCORE", "a core dump would have the keys of all TLS sessions");
    let value = unit.value(key).unwrap_or("not set");
    let step = Step::Unit { key, value: "0".to_owned() };
    Finding::judge(value == "0", Severity::Warn, (key, value.to_owned(), "0".to_owned()), why, step)
}

/// `/proc/self/limits`: what a process started from here gets.
fn open_files(host: &Host, subject: &Subject) -> Finding {
    let (key, why) = (
        "open files",
        "a descriptor per agent, those of a storm, and room; podium takes all that the hard limit allows",
    );
    let least = subject.plan.budget.descriptors;
    let wanted = format!("at least {least}");
    let path = "proc/self/limits";
    let line = host.text(path).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
        line.map(str::to_owned).ok_or_else(|| host.garbage(path, &text))
    });
    let line = match line {
        Ok(line) => line,
        Err(problem) => return Finding::new(key, Severity::Warn, problem, wanted, why, Vec::new()),
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let hard = match words.get(1) {
        Some(&"unlimited") => u64::MAX,
        Some(word) if word.parse::<u64>().is_ok() => word.parse().unwrap_or_default(),
        _ => return Finding::new(key, Severity::Warn, host.garbage(path, &line), wanted, why, Vec::new()),
    };
    let value = format!("{} soft, {} hard", words[0], words[1]);
    let step = Step::OpenFiles(subject.plan.budget.descriptor_limit);
    Finding::judge(hard >= least, Severity::Fail, (key, value, wanted), why, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_systemd_writes_them() {
        assert_eq!(limit("1024:524288"), Some(Limit::Number(524_288)));
        assert_eq!(limit("2G"), Some(Limit::Number(2 << 30)));
        assert_eq!(limit("infinity"), Some(Limit::None));
        assert_eq!(limit("15%"), Some(Limit::Share));
        for wrong in ["", "many", "-1", "99999999999999T", "G"] {
            assert_eq!(limit(wrong), None, "{wrong}");
        }
    }
}
