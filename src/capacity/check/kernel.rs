//! The kernel's keys against those of [`super::super::settings`], and ports.

use super::host::Host;
use super::{Finding, Severity, Step, Subject};
use crate::capacity::settings::{Applies, Setting, Shortage, settings};

const PORTS: [(u64, &str); 2] = [(8142, "agents"), (8143, "the API")];

/// All of them.
pub(super) fn findings(host: &Host, subject: &Subject) -> Vec<Finding> {
    let (segment, decision) = same_segment(host, subject);
    let settings = settings(&subject.plan, segment);
    let mut findings: Vec<Finding> = settings.iter().map(|setting| finding(host, setting, &decision)).collect();
    findings.push(ports(host));
    findings
}

/// Agents on the host's network segment, and how that was decided.
fn same_segment(host: &Host, subject: &Subject) -> (u64, String) {
    if let Some(agents) = subject.same_segment {
        return (agents, format!("{agents} by --same-segment"));
    }
    match host.text("proc/net/route").ok().and_then(|table| on_link_addresses(&table)) {
        Some(addresses) => {
            let agents = addresses.min(subject.plan.share);
            (agents, format!("at most {agents}: the routes without a gateway have {addresses} addresses"))
        }
        None => (subject.plan.share, "all of them: /proc/net/route cannot be read; give --same-segment".to_owned()),
    }
}

/// Addresses of all networks that are reached without a gateway, from `/proc/net/route`.
fn on_link_addresses(table: &str) -> Option<u64> {
    let mut lines = table.lines();
    lines.next()?.starts_with("Iface").then_some(())?;
    lines.try_fold(0_u64, |sum, line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let hex = |index: usize| u32::from_str_radix(words.get(index)?, 16).ok();
        let (gateway, mask) = (hex(2)?, hex(7)?);
        // The bytes of a mask are in the network's order, its bits can be counted in any. Two addresses are no hosts.
        let addresses = (1_u64 << mask.count_zeros()).saturating_sub(2);
        Some(if gateway == 0 { sum.saturating_add(addresses) } else { sum })
    })
}

fn finding(host: &Host, setting: &Setting, decision: &str) -> Finding {
    let path = format!("proc/sys/{}", setting.key.replace('.', "/"));
    let why = match setting.applies {
        Applies::SameSegment => format!("{}; agents on this segment: {decision}", setting.formula),
        _ => setting.formula.clone(),
    };
    let wanted = format!("at least {}", setting.least);
    if setting.applies != Applies::Always && !host.exists(&path) {
        return Finding::skip(setting.key, "not in this kernel", why);
    }
    let severity = match setting.shortage {
        Shortage::Breaks => Severity::Fail,
        Shortage::Slows => Severity::Warn,
    };
    let numbers = match host.numbers(&path) {
        Ok(numbers) => numbers,
        Err(problem) => return Finding::new(setting.key, Severity::Warn, problem, wanted, why, Vec::new()),
    };
    let has = numbers[numbers.len() - 1];
    if has >= setting.least {
        return Finding::ok(setting.key, has, wanted, why);
    }
    // Of several numbers the last is the limit; the others stay.
    let mut better = numbers.clone();
    better.pop();
    better.push(setting.written.unwrap_or(setting.least).max(setting.least));
    let value = better.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    let why = format!("{why}; otherwise: {}", setting.symptom);
    Finding::new(setting.key, severity, has, wanted, why, vec![Step::Sysctl { key: setting.key.to_owned(), value }])
}

/// Our ports must not be given to connections that somebody on this host opens.
fn ports(host: &Host) -> Finding {
    let (key, why) =
        ("net.ipv4.ip_local_port_range", "a port of ours that an outgoing connection has is not free at a start");
    let range = match host.numbers("proc/sys/net/ipv4/ip_local_port_range").as_deref() {
        Ok([first, last]) => *first..=*last,
        Ok(_) => return Finding::new(key, Severity::Warn, "not two numbers", "", why, Vec::new()),
        Err(problem) => return Finding::new(key, Severity::Warn, problem, "", why, Vec::new()),
    };
    let reserved = host.text("proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    let free = |port: u64| !range.contains(&port) || is_in_list(port, &reserved);
    let value = format!("{} to {}", range.start(), range.end());
    let wanted = PORTS.map(|(port, what)| format!("without {port} ({what})")).join(", ");
    let ours = PORTS.map(|(port, _)| port.to_string()).join(",");
    let list = reserved.trim();
    let all = if list.is_empty() { ours } else { format!("{list},{ours}") };
    let step = Step::Sysctl { key: "net.ipv4.ip_local_reserved_ports".to_owned(), value: all };
    Finding::judge(PORTS.iter().all(|(port, _)| free(*port)), Severity::Warn, (key, value, wanted), why, step)
}

/// Whether `1,5-7` names a number.
fn is_in_list(number: u64, list: &str) -> bool {
    list.trim().split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((first.parse::<u64>(), last.parse::<u64>()), (Ok(first), Ok(last)) if (first..=last).contains(&number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_tell_how_many_neighbours_there_may_be() {
        let heading = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let default = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let local = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(on_link_addresses(&[heading, default, local].concat()), Some(254));
        assert_eq!(on_link_addresses(heading), Some(0));
        assert_eq!(on_link_addresses(&[heading, "eth0\tx\n"].concat()), None);
        assert_eq!(on_link_addresses(""), None);
    }

    #[test]
    fn ports_in_lists() {
        assert!(is_in_list(8142, "22,8140-8143\n"));
        assert!(!is_in_list(8142, ""));
        assert!(!is_in_list(8142, "8143,x-y,-"));
    }
}
