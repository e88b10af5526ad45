//! The kernel's settings that a fleet needs: key, least value, formula, symptom and source. `podium capacity check`
//! compares a host with them, [`super::tuning`] writes them, and `tuning/README.md` has a row for each.

use super::plan::Plan;
use crate::limits;

/// When a setting matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// On every host.
    Always,
    /// Where the kernel tracks connections.
    Tracked,
    /// Where agents are on the host's own network segment.
    SameSegment,
}

/// What happens to a host that has less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Agents are refused or lost.
    Breaks,
    /// A storm takes longer.
    Slows,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// With dots, as sysctl has it.
    pub key: &'static str,
    /// The least that is enough.
    pub least: u64,
    /// What the files of `tuning/` set; never less than any kernel's default. `None` where that depends on the host.
    pub written: Option<u64>,
    /// The kernel's default.
    pub default: &'static str,
    /// How `least` is reckoned.
    pub formula: String,
    /// When it matters.
    pub applies: Applies,
    /// What less of it does.
    pub shortage: Shortage,
    /// How an operator sees that it is wrong.
    pub symptom: &'static str,
    /// Where that is documented.
    pub source: &'static str,
}

/// Pages of the kernel.
const PAGE: u64 = 4_096;

/// The most connections that any kernel tracks by default.
const CONNTRACK_DEFAULT_MAX: u64 = 262_144;

const IP_SYSCTL: &str = "Documentation/networking/ip-sysctl.rst";

/// All of them for a plan's broker, of whose agents so many are on the same network segment.
pub fn settings(plan: &Plan, same_segment: u64) -> Vec<Setting> {
    let mut settings = vec![nr_open(plan), file_max(plan)];
    settings.extend(queues());
    settings.extend([tcp_mem(plan), conntrack(plan)]);
    settings.extend(neighbours(same_segment));
    settings
}

fn nr_open(plan: &Plan) -> Setting {
    let default = 1_048_576;
    let least = plan.budget.descriptor_limit;
    Setting {
        key: "fs.nr_open",
        least,
        written: (least > default).then_some(least),
        default: "1048576",
        formula: "LimitNOFILE".to_owned(),
        applies: Applies::Always,
        shortage: Shortage::Breaks,
        symptom: "the unit does not start with a higher LimitNOFILE",
        source: "Documentation/admin-guide/sysctl/fs.rst",
    }
}

fn file_max(plan: &Plan) -> Setting {
    Setting {
        key: "fs.file-max",
        least: 2 * plan.budget.descriptor_limit,
        written: None,
        default: "by memory, or no limit",
        formula: "2 x LimitNOFILE".to_owned(),
        applies: Applies::Always,
        shortage: Shortage::Breaks,
        symptom: "VFS: file-max limit reached, in the kernel log",
        source: "Documentation/admin-guide/sysctl/fs.rst",
    }
}

/// The queues of new connections, of which more than the listener asks for has no effect.
fn queues() -> [Setting; 3] {
    let backlog = u64::from(limits::ACCEPT_BACKLOG.unsigned_abs());
    let queue = |key, default, symptom| Setting {
        key,
        least: backlog,
        written: Some(backlog),
        default,
        formula: "limits::ACCEPT_BACKLOG, what each listener asks for".to_owned(),
        applies: Applies::Always,
        shortage: Shortage::Slows,
        symptom,
        source: IP_SYSCTL,
    };
    [
        queue(
            "net.core.somaxconn",
            "4096; 128 before Linux 5.4",
            "ListenOverflows in nstat grows; agents time out after a restart",
        ),
        queue("net.ipv4.tcp_max_syn_backlog", "128 to 4096, by memory", "TCPReqQFullDrop in nstat grows"),
        Setting {
            key: "net.ipv4.tcp_syncookies",
            least: 1,
            written: Some(1),
            default: "1",
            formula: "on".to_owned(),
            applies: Applies::Always,
            shortage: Shortage::Slows,
            symptom: "TCPReqQFullDrop in nstat grows in a storm: attempts are lost instead of answered",
            source: IP_SYSCTL,
        },
    ]
}

fn tcp_mem(plan: &Plan) -> Setting {
    Setting {
        key: "net.ipv4.tcp_mem",
        least: plan.budget.socket_buffer_bytes.div_ceil(PAGE),
        written: None,
        default: "by memory: 9 % of it",
        formula: "third value: pages of a message to and one from every agent at once".to_owned(),
        applies: Applies::Always,
        shortage: Shortage::Breaks,
        symptom: "TCP: out of memory -- consider tuning tcp_mem, in the kernel log",
        source: IP_SYSCTL,
    }
}

fn conntrack(plan: &Plan) -> Setting {
    let least = 2 * plan.share + 4_096;
    Setting {
        key: "net.netfilter.nf_conntrack_max",
        least,
        written: Some(least.next_power_of_two().max(CONNTRACK_DEFAULT_MAX)),
        default: "by memory, up to 262144",
        formula: "2 x agents + 4096: an old and a new connection of each".to_owned(),
        applies: Applies::Tracked,
        shortage: Shortage::Breaks,
        symptom: "nf_conntrack: table full, dropping packet, in the kernel log",
        source: "Documentation/networking/nf_conntrack-sysctl.rst",
    }
}

/// The table of neighbours: for IPv4 and IPv6 the same.
fn neighbours(agents: u64) -> Vec<Setting> {
    let rows = [
        ("net.ipv4.neigh.default.gc_thresh1", "net.ipv6.neigh.default.gc_thresh1", agents / 2, 128, "128"),
        ("net.ipv4.neigh.default.gc_thresh2", "net.ipv6.neigh.default.gc_thresh2", agents, 512, "512"),
        ("net.ipv4.neigh.default.gc_thresh3", "net.ipv6.neigh.default.gc_thresh3", 2 * agents, 1_024, "1024"),
    ];
    let formulas = ["1/2 x agents on the segment", "agents on the segment", "2 x agents on the segment"];
    let setting = |key: &'static str, (least, default, text): (u64, u64, &'static str), formula: &str| Setting {
        key,
        least,
        written: Some(least.next_power_of_two().max(default)),
        default: text,
        formula: formula.to_owned(),
        applies: Applies::SameSegment,
        shortage: if key.ends_with('3') { Shortage::Breaks } else { Shortage::Slows },
        symptom: if key.ends_with('3') {
            "neighbour: arp_cache: neighbor table overflow!, in the kernel log"
        } else {
            "address resolution for agents that have not been silent for long"
        },
        source: "arp(7)",
    };
    rows.iter()
        .zip(formulas)
        .flat_map(|((v4, v6, least, default, text), formula)| {
            [*v4, *v6].map(|key| setting(key, (*least, *default, *text), formula))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::fleet::{Brokers, Fleet};
    use crate::capacity::plan::plan;

    fn written(agents: u64, key: &str) -> Option<u64> {
        let plan = plan(&Fleet { brokers: Brokers::Count(1), ..Fleet::of(agents, 4) });
        settings(&plan, agents).into_iter().find(|setting| setting.key == key).unwrap().written
    }

    #[test]
    fn nothing_is_written_that_could_be_less_than_a_default() {
        assert_eq!(written(1_000, "fs.nr_open"), None);
        assert_eq!(written(1_000_000, "fs.nr_open"), Some(2_097_152));
        assert_eq!(written(50_000, "fs.file-max"), None);
        assert_eq!(written(1_000, "net.netfilter.nf_conntrack_max"), Some(262_144));
        assert_eq!(written(10, "net.ipv4.neigh.default.gc_thresh3"), Some(1_024));
    }

    #[test]
    fn neighbours_follow_the_agents_of_the_segment() {
        let of = |key: &str| written(10_000, key);
        assert_eq!(of("net.ipv4.neigh.default.gc_thresh1"), Some(8_192));
        assert_eq!(of("net.ipv6.neigh.default.gc_thresh2"), Some(16_384));
        assert_eq!(of("net.ipv6.neigh.default.gc_thresh3"), Some(32_768));
    }

    #[test]
    fn queues_are_as_long_as_the_listener_asks() {
        assert_eq!(written(50_000, "net.core.somaxconn"), Some(4_096));
    }
}
