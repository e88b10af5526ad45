//! Memory, swap, huge pages and overcommitment.

use super::host::{Host, Unknown};
use super::unit::Unit;
use super::{Finding, Severity, Step, Subject, mebibytes};

/// Address space that the allocator may reserve without using it.
const RESERVED: u64 = 1024 * 1024 * 1024;

/// All of them.
pub(super) fn findings(host: &Host, subject: &Subject) -> Vec<Finding> {
    vec![total(host, subject), swap(host, subject), huge_pages(host), overcommit(host, subject)]
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(host: &Host, name: &str) -> Result<u64, Unknown> {
    let path = "proc/meminfo";
    let text = host.field(path, name)?;
    let number = text.strip_suffix("kB").and_then(|number| number.trim().parse::<u64>().ok());
    number.and_then(|kibibytes| kibibytes.checked_mul(1024)).ok_or_else(|| host.garbage(path, &text))
}

fn total(host: &Host, subject: &Subject) -> Finding {
    let (key, why) =
        ("memory", "process, sockets, handshakes and messages of the plan, and a quarter for the rest of the host");
    let wanted = mebibytes(subject.plan.budget.memory_bytes);
    match meminfo(host, "MemTotal") {
        Ok(total) => {
            let holds = total >= subject.plan.budget.memory_bytes;
            let advice = Step::Advice("more memory, or more brokers: podium capacity plan".to_owned());
            Finding::judge(holds, Severity::Fail, (key, mebibytes(total), wanted), why, advice)
        }
        Err(problem) => Finding::new(key, Severity::Warn, problem, wanted, why, Vec::new()),
    }
}

fn swap(host: &Host, subject: &Subject) -> Finding {
    let (key, why) = ("swap", "keys of TLS sessions are in memory and must not reach a disk in the clear");
    let wanted = "none, or encrypted, or MemorySwapMax=0 for the unit";
    let text = match host.text("proc/swaps") {
        Ok(text) => text,
        // A kernel without swap has no such file.
        Err(Unknown::Missing(_)) => return Finding::ok(key, "none", wanted, why),
        Err(problem) => return Finding::new(key, Severity::Warn, problem, wanted, why, Vec::new()),
    };
    let devices: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let open: Vec<&str> = devices.iter().copied().filter(|device| !is_safe(host, device)).collect();
    if devices.is_empty() {
        return Finding::ok(key, "none", wanted, why);
    }
    if open.is_empty() {
        return Finding::ok(key, format!("{}: encrypted or in memory", devices.join(", ")), wanted, why);
    }
    let unit = Unit::read(host, subject.role);
    if unit.is_some_and(|unit| unit.value("MemorySwapMax") == Some("0")) {
        return Finding::ok(key, format!("{}; MemorySwapMax=0", open.join(", ")), wanted, why);
    }
    let fix = vec![Step::Unit { key: "MemorySwapMax", value: "0".to_owned() }];
    Finding::new(key, Severity::Warn, format!("{}: not known to be encrypted", open.join(", ")), wanted, why, fix)
}

/// Compressed memory, or a device of dm-crypt.
fn is_safe(host: &Host, device: &str) -> bool {
    let name = device.rsplit('/').next().unwrap_or(device);
    let uuid = host.text(format!("sys/block/{name}/dm/uuid"));
    name.starts_with("zram") || uuid.is_ok_and(|uuid| uuid.starts_with("CRYPT-"))
}

fn huge_pages(host: &Host) -> Finding {
    let (key, why) = ("huge pages", "podium does without them whatever the host says (prctl); nothing to do");
    match host.text("sys/kernel/mm/transparent_hugepage/enabled") {
        Ok(text) => {
            let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(chosen, _)| chosen);
            Finding::ok(key, chosen.unwrap_or("not understood"), "anything", why)
        }
        Err(Unknown::Missing(_)) => Finding::ok(key, "not in this kernel", "anything", why),
        Err(problem) => Finding::skip(key, problem, why),
    }
}

fn overcommit(host: &Host, subject: &Subject) -> Finding {
    let (key, why) = ("vm.overcommit_memory", "the allocator reserves address space that it does not use");
    let wanted = "0 or 1";
    let mode = match host.numbers("proc/sys/vm/overcommit_memory") {
        Ok(numbers) => numbers[0],
        Err(problem) => return Finding::new(key, Severity::Warn, problem, wanted, why, Vec::new()),
    };
    if mode != 2 {
        return Finding::ok(key, mode, wanted, why);
    }
    let left = meminfo(host, "CommitLimit").and_then(|limit| Ok(limit.saturating_sub(meminfo(host, "Committed_AS")?)));
    let needed = subject.plan.budget.memory_bound_bytes + RESERVED;
    let wanted = format!("0 or 1, or {} that may be committed", mebibytes(needed));
    match left {
        Ok(left) => {
            let value = format!("2, {} may still be committed", mebibytes(left));
            let step = Step::Sysctl { key: key.to_owned(), value: "0".to_owned() };
            Finding::judge(left >= needed, Severity::Fail, (key, value, wanted), why, step)
        }
        Err(problem) => Finding::new(key, Severity::Warn, problem, wanted, why, Vec::new()),
    }
}
