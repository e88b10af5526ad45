//! Hosts made of files: a good one, a bad one, one that cannot be read, one of garbage, a container.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::script::{is_ready, script};
use super::*;
use crate::ca::{AltNames, Authority, KeyType};
use crate::capacity::fleet::{Brokers, Fleet};
use crate::capacity::plan::plan;

/// A host in a directory of its own.
struct Fake {
    dir: tempfile::TempDir,
}

const GOOD: &[(&str, &str)] = &[
    ("proc/sys/fs/nr_open", "1048576\n"),
    ("proc/sys/fs/file-max", "9223372036854775807\n"),
    ("proc/sys/net/core/somaxconn", "4096\n"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "4096\n"),
    ("proc/sys/net/ipv4/tcp_syncookies", "1\n"),
    ("proc/sys/net/ipv4/tcp_mem", "92040\t122721\t184080\n"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("proc/sys/net/ipv4/ip_local_reserved_ports", "\n"),
    ("proc/sys/net/ipv4/neigh/default/gc_thresh1", "128\n"),
    ("proc/sys/net/ipv4/neigh/default/gc_thresh2", "512\n"),
    ("proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024\n"),
    ("proc/sys/vm/overcommit_memory", "0\n"),
    (
        "proc/net/route",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\neth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n",
    ),
    ("proc/meminfo", "MemTotal:        8000000 kB\nCommitLimit:     4000000 kB\nCommitted_AS:     400000 kB\n"),
    ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n"),
    ("proc/self/status", "Name:\tpodium\nCpus_allowed_list:\t0-3\n"),
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 524288               files\n",
    ),
    ("proc/self/cgroup", "0::/user.slice\n"),
    ("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n"),
    ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
    ("sys/fs/cgroup/system.slice/podium-server.service/memory.max", "max\n"),
    ("sys/fs/cgroup/system.slice/podium-server.service/pids.max", "4915\n"),
    ("sys/fs/cgroup/system.slice/podium-server.service/cpu.max", "max 100000\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ("run/systemd/system/x", ""),
    ("run/systemd/timesync/synchronized", ""),
    (
        "etc/systemd/system/podium-server.service",
        "[Unit]\nLimitNOFILE=1\n[Service]\n# LimitNOFILE=2\nLimitNOFILE=131072\nLimitCORE=0\n",
    ),
    ("var/lib/podium/x", ""),
];

impl Fake {
    fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn good() -> Self {
        let fake = Self::empty();
        GOOD.iter().for_each(|(path, text)| fake.put(path, text));
        fake
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }

    fn check(&self, subject: &Subject) -> Vec<Finding> {
        check(&Host::at(self.dir.path()), subject)
    }
}

/// 10,000 agents of a server with four cores. No disk of a test is too small for it.
fn subject() -> Subject {
    let fleet = Fleet { brokers: Brokers::Count(1), jobs_per_day: 0, ..Fleet::of(10_000, 4) };
    Subject {
        role: Role::Server,
        plan: plan(&fleet),
        same_segment: None,
        pem_files: Vec::new(),
        data_dir: "/var/lib/podium".into(),
        now: WallTime::now(),
    }
}

fn find<'a>(findings: &'a [Finding], key: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.key == key).unwrap_or_else(|| panic!("no {key} in {findings:#?}"))
}

/// The severity of one finding after one file has changed.
fn after(path: &str, text: &str, key: &str) -> Severity {
    let fake = Fake::good();
    fake.put(path, text);
    find(&fake.check(&subject()), key).severity
}

#[test]
fn a_good_host_has_nothing_to_do() {
    let findings = Fake::good().check(&subject());
    let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.severity > Severity::Skip).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(is_ready(&findings));
    assert!(!script(&findings, Role::Server).contains("sysctl -w"));
    for key in ["net.netfilter.nf_conntrack_max", "net.ipv6.neigh.default.gc_thresh3", "certificates"] {
        assert_eq!(find(&findings, key).severity, Severity::Skip, "{key}");
    }
}

#[test]
fn every_shortage_is_found() {
    use Severity::{Fail, Warn};
    let sys = |key: &str| format!("proc/sys/{key}");
    let unit = "etc/systemd/system/podium-server.service.d/50.conf";
    let cases = [
        (sys("fs/nr_open"), "1024", "fs.nr_open", Fail),
        (sys("fs/file-max"), "65535", "fs.file-max", Fail),
        (sys("net/core/somaxconn"), "128", "net.core.somaxconn", Warn),
        (sys("net/ipv4/tcp_max_syn_backlog"), "1024", "net.ipv4.tcp_max_syn_backlog", Warn),
        (sys("net/ipv4/tcp_syncookies"), "0", "net.ipv4.tcp_syncookies", Warn),
        (sys("net/ipv4/tcp_mem"), "10 20 30", "net.ipv4.tcp_mem", Fail),
        (sys("net/netfilter/nf_conntrack_max"), "8192", "net.netfilter.nf_conntrack_max", Fail),
        (sys("net/ipv4/neigh/default/gc_thresh3"), "256", "net.ipv4.neigh.default.gc_thresh3", Fail),
        (sys("net/ipv4/neigh/default/gc_thresh2"), "16", "net.ipv4.neigh.default.gc_thresh2", Warn),
        (sys("net/ipv4/ip_local_port_range"), "1024 65535", "net.ipv4.ip_local_port_range", Warn),
        (sys("vm/overcommit_memory"), "2", "vm.overcommit_memory", Fail),
        ("proc/meminfo".into(), "MemTotal: 100000 kB", "memory", Fail),
        ("proc/swaps".into(), "Filename\n/dev/sda2 partition 1 0 -2\n", "swap", Warn),
        ("proc/self/status".into(), "Cpus_allowed_list:\t0\n", "cores", Warn),
        ("sys/fs/cgroup/system.slice/memory.max".into(), "1048576\n", "cgroup memory.max", Fail),
        ("sys/fs/cgroup/system.slice/podium-server.service/pids.max".into(), "10\n", "cgroup pids.max", Fail),
        ("sys/fs/cgroup/system.slice/podium-server.service/cpu.max".into(), "50000 100000\n", "cgroup cpu.max", Warn),
        (unit.into(), "[Service]\nLimitNOFILE=1024\n", "LimitNOFILE", Fail),
        (unit.into(), "[Service]\nTasksMax=10\n", "TasksMax", Fail),
        (unit.into(), "[Service]\nMemoryMax=64M\n", "MemoryMax", Fail),
        (unit.into(), "[Service]\nMemoryMax=plenty\n", "MemoryMax", Fail),
        (unit.into(), "[Service]\nLimitCORE=infinity\n", "LimitCORE", Warn),
    ];
    for (path, text, key, severity) in cases {
        assert_eq!(after(&path, text, key), severity, "{path}: {text}");
    }
}

#[test]
fn what_protects_is_seen() {
    use Severity::Ok;
    let ports = ("proc/sys/net/ipv4/ip_local_port_range", "proc/sys/net/ipv4/ip_local_reserved_ports");
    let fake = Fake::good();
    fake.put(ports.0, "1024 65535");
    fake.put(ports.1, "22,8140-8143\n");
    fake.put("proc/swaps", "Filename\n/dev/dm-1 partition 1 0 -2\n/dev/zram0 partition 1 0 -2\n");
    fake.put("sys/block/dm-1/dm/uuid", "CRYPT-LUKS2-0123\n");
    let findings = fake.check(&subject());
    assert_eq!(find(&findings, "net.ipv4.ip_local_port_range").severity, Ok);
    assert_eq!(find(&findings, "swap").severity, Ok);
    fake.put("proc/swaps", "Filename\n/dev/sda2 partition 1 0 -2\n");
    fake.put("usr/lib/systemd/system/podium-server.service.d/90.conf", "[Service]\nMemorySwapMax=0\n");
    assert_eq!(find(&fake.check(&subject()), "swap").severity, Ok);
}

#[test]
fn neighbours_count_where_agents_can_be_neighbours() {
    let key = "net.ipv4.neigh.default.gc_thresh3";
    let fake = Fake::good();
    let by_routes = fake.check(&subject());
    assert!(find(&by_routes, key).why.contains("at most 254: the routes without a gateway have 254 addresses"));
    let given = fake.check(&Subject { same_segment: Some(5_000), ..subject() });
    assert_eq!(find(&given, key).severity, Severity::Fail);
    assert!(find(&given, key).why.contains("5000 by --same-segment"));
    fake.put("proc/net/route", "no routes here");
    assert!(find(&fake.check(&subject()), key).why.contains("all of them"));
}

#[test]
fn drop_ins_come_in_the_order_of_their_names_and_an_empty_value_takes_back() {
    let fake = Fake::good();
    let dir = "systemd/system/podium-server.service.d";
    fake.put(&format!("usr/lib/{dir}/10.conf"), "[Service]\nLimitNOFILE=10\n");
    fake.put(&format!("etc/{dir}/20.conf"), "[Service]\nLimitNOFILE=20\n");
    assert_eq!(find(&fake.check(&subject()), "LimitNOFILE").value, "20");
    fake.put(&format!("etc/{dir}/30.conf"), "[Service]\nLimitNOFILE=\n");
    let findings = fake.check(&subject());
    assert_eq!(
        (find(&findings, "LimitNOFILE").value.as_str(), find(&findings, "LimitNOFILE").severity),
        ("not set", Severity::Ok)
    );
}

#[test]
fn an_empty_host_and_one_of_garbage_are_told_file_by_file() {
    for fake in [Fake::empty(), garbage()] {
        let findings = fake.check(&subject());
        for key in ["fs.nr_open", "net.ipv4.tcp_mem", "memory", "vm.overcommit_memory", "cores"] {
            let finding = find(&findings, key);
            assert_eq!(finding.severity, Severity::Warn, "{key}");
            assert!(finding.value.contains("not there") || finding.value.contains("not understood"), "{finding:?}");
        }
    }
}

/// Every file of the good host, with something else in it.
fn garbage() -> Fake {
    let fake = Fake::empty();
    GOOD.iter().for_each(|(path, _)| fake.put(path, "\u{fffd}\0 -1 99999999999999999999999 = [x"));
    fake
}

#[test]
fn a_container_has_no_unit_and_no_clock_of_its_own() {
    let fake = Fake::good();
    fake.remove("run/systemd");
    fake.remove("etc");
    fake.remove("sys/fs/cgroup/system.slice");
    fake.put(".dockerenv", "");
    fake.put("proc/self/cgroup", "0::/\n");
    fake.put("sys/fs/cgroup/memory.max", "67108864\n");
    fake.put("proc/self/limits", "Max open files            1024                 4096                 files\n");
    let findings = fake.check(&subject());
    assert_eq!(find(&findings, "podium-server.service").severity, Severity::Skip);
    assert_eq!(find(&findings, "clock").severity, Severity::Skip);
    let open = find(&findings, "open files");
    assert_eq!((open.severity, open.value.as_str()), (Severity::Fail, "1024 soft, 4096 hard"));
    assert_eq!(find(&findings, "cgroup memory.max").severity, Severity::Fail);
    assert!(script(&findings, Role::Server).contains("podium hard nofile 32768"));
}

#[test]
fn a_unit_that_is_not_installed_and_a_clock_that_nobody_keeps_are_findings() {
    let fake = Fake::good();
    fake.remove("etc");
    fake.remove("run/systemd/timesync");
    let findings = fake.check(&subject());
    assert_eq!(find(&findings, "podium-server.service").severity, Severity::Warn);
    assert_eq!(find(&findings, "clock").severity, Severity::Warn);
}

#[test]
fn a_file_that_is_a_directory_or_closed_is_not_passed_over() {
    let fake = Fake::good();
    fake.remove("proc/sys/fs/nr_open");
    fake.put("proc/sys/fs/nr_open/x", "");
    let closed = fake.path("proc/sys/fs/file-max");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let findings = fake.check(&subject());
    assert!(find(&findings, "fs.nr_open").value.contains("not a file"));
    // Root may read what is closed to everybody.
    let finding = find(&findings, "fs.file-max");
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root || finding.value.contains("cannot be read"), "{finding:?}");
}

#[test]
fn a_disk_that_will_not_last_fails() {
    let fleet = Fleet { brokers: Brokers::Count(1), jobs_per_day: 10_000, ..Fleet::of(100_000, 4) };
    let subject = Subject { plan: plan(&fleet), ..subject() };
    assert_eq!(find(&Fake::good().check(&subject), "free disk").severity, Severity::Fail);
}

/// Findings of this test's certificates so many days from now.
fn in_days(fake: &Fake, files: &[&Path], days: i64) -> Vec<Finding> {
    let now = WallTime::from_millis(WallTime::now().as_millis() + days * 24 * 3_600_000);
    let pem_files = files.iter().map(|file| Path::new("/").join(file.strip_prefix(fake.dir.path()).unwrap())).collect();
    fake.check(&Subject { pem_files, now, ..subject() })
}

#[test]
fn certificates_are_watched_until_they_end() {
    let fake = Fake::good();
    let authority = Authority::create(&fake.path("ssl"), "Lab", KeyType::P256).unwrap();
    let issued = authority.issue("server.example.com", &AltNames::default()).unwrap();
    let files = [issued.certificate.as_path(), issued.ca.as_path(), issued.crl.as_path()];
    let severity = |days: i64, what: &str| {
        let findings = in_days(&fake, &files, days);
        findings.iter().find(|finding| finding.key.contains(what)).unwrap().severity
    };
    let (leaf, ca, list) = ("CN=server.example.com", "ca.pem: CN=Lab", "CRL of CN=Lab");
    assert_eq!([leaf, ca, list].map(|what| severity(0, what)), [Severity::Ok; 3]);
    assert_eq!([leaf, ca, list].map(|what| severity(100_000, what)), [Severity::Fail, Severity::Fail, Severity::Warn]);
    assert_eq!(severity(-100, leaf), Severity::Fail);
    fake.put("ssl/bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    fake.put("ssl/none.pem", "nothing\n");
    for (file, part) in [("bad.pem", "unreadable"), ("none.pem", "neither"), ("missing.pem", "not there")] {
        let findings = in_days(&fake, &[&fake.path(&format!("ssl/{file}"))], 0);
        let finding = findings.iter().find(|finding| finding.key.contains(file)).unwrap();
        assert_eq!(finding.severity, Severity::Fail, "{file}");
        assert!(finding.value.contains(part), "{finding:?}");
    }
}
