//! Limits of the control group (cgroup v2) that the service is in, or would be in if it were started from here: the
//! least of the group and all above it.

use super::host::{Host, Unknown};
use super::{Finding, Severity, Step, Subject, mebibytes};

const ROOT: &str = "sys/fs/cgroup";

/// All of them.
pub(super) fn findings(host: &Host, subject: &Subject) -> Vec<Finding> {
    let why = "limits of containers and slices hold beside those of the unit";
    if !host.exists(format!("{ROOT}/cgroup.controllers")) {
        return vec![Finding::skip("cgroup", "no cgroup v2 here; limits of v1 are not looked at", why)];
    }
    let group = match group(host, subject) {
        Ok(group) => group,
        Err(problem) => return vec![Finding::new("cgroup", Severity::Warn, problem, "", why, Vec::new())],
    };
    vec![
        bounded(host, &group, ("cgroup memory.max", "memory.max"), subject.plan.budget.memory_bytes, mebibytes),
        bounded(host, &group, ("cgroup pids.max", "pids.max"), subject.plan.budget.threads, |count| count.to_string()),
        processor(host, &group, subject.plan.fleet.cores),
    ]
}

/// The service's group below the root, or that of this process.
fn group(host: &Host, subject: &Subject) -> Result<String, Unknown> {
    let service = format!("system.slice/{}", subject.role.unit());
    if host.exists(format!("{ROOT}/{service}")) {
        return Ok(service);
    }
    let path = "proc/self/cgroup";
    let text = host.text(path)?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = own.filter(|group| !group.split('/').any(|part| part == ".."));
    own.map(str::to_owned).ok_or_else(|| host.garbage(path, &text))
}

/// The group's file and those of all groups above it, the root included.
fn files(group: &str, name: &str) -> Vec<String> {
    let mut files = vec![format!("{ROOT}/{name}")];
    let mut path = ROOT.to_owned();
    for part in group.split('/').filter(|part| !part.is_empty()) {
        path = format!("{path}/{part}");
        files.push(format!("{path}/{name}"));
    }
    files
}

/// The texts of those files that there are; the root has none.
fn texts(host: &Host, group: &str, name: &str) -> Result<Vec<(String, String)>, Unknown> {
    let mut texts = Vec::new();
    for file in files(group, name) {
        match host.text(&file) {
            Ok(text) => texts.push((file, text.trim().to_owned())),
            Err(Unknown::Missing(_)) => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(texts)
}

fn bounded(host: &Host, group: &str, (key, name): (&str, &str), least: u64, show: fn(u64) -> String) -> Finding {
    let why = format!("/{group} and the groups above it; beyond it the kernel refuses, or ends the process");
    let wanted = format!("at least {}", show(least));
    let smallest = texts(host, group, name).and_then(|texts| {
        let mut smallest = u64::MAX;
        for (file, text) in texts.iter().filter(|(_, text)| text != "max") {
            smallest = smallest.min(text.parse().map_err(|_| host.garbage(file, text))?);
        }
        Ok(smallest)
    });
    match smallest {
        Ok(u64::MAX) => Finding::ok(key, "no limit", wanted, why),
        Ok(smallest) => {
            let advice = format!("raise it where the container or slice is defined; {name} of /{group} or above");
            Finding::judge(smallest >= least, Severity::Fail, (key, show(smallest), wanted), &why, Step::Advice(advice))
        }
        Err(problem) => Finding::new(key, Severity::Warn, problem, wanted, why, Vec::new()),
    }
}

/// `cpu.max`: microseconds of processor in a period.
fn processor(host: &Host, group: &str, cores: u64) -> Finding {
    let key = "cgroup cpu.max";
    let why = "handshakes of a storm need all the cores of the plan; a group that has used its share stands still";
    let wanted = format!("{cores} cores");
    let smallest = texts(host, group, "cpu.max").and_then(|texts| {
        let mut smallest = f64::INFINITY;
        for (file, text) in &texts {
            let (quota, period) = text.split_once(' ').ok_or_else(|| host.garbage(file, text))?;
            if quota != "max" {
                let parsed = quota.parse::<u64>().ok().zip(period.parse::<u64>().ok().filter(|period| *period > 0));
                let (quota, period) = parsed.ok_or_else(|| host.garbage(file, text))?;
                smallest = smallest.min(quota as f64 / period as f64);
            }
        }
        Ok(smallest)
    });
    match smallest {
        Ok(f64::INFINITY) => Finding::ok(key, "no limit", wanted, why),
        Ok(has) => {
            let advice =
                Step::Advice(format!("give the container or slice {cores} cores, or plan with fewer: --cores"));
            Finding::judge(has >= cores as f64, Severity::Warn, (key, format!("{has:.1} cores"), wanted), why, advice)
        }
        Err(problem) => Finding::new(key, Severity::Warn, problem, wanted, why, Vec::new()),
    }
}
