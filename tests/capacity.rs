//! `podium capacity plan` and `check` as their users meet them, and the scripts around them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn podium(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podium")).arg("capacity").args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_plan_is_printed_for_people_and_for_programs() {
    let arguments =
        ["plan", "--agents", "20000", "--cores", "2", "--keys", "rsa4096", "--tls", "1.3", "--brokers", "1"];
    let table = podium(&arguments);
    assert_eq!(code(&table), 0, "{}", stderr(&table));
    for part in ["20000 agents, TLS 1.3, rsa4096 keys", "LimitNOFILE", "a model fitted to measured runs", "SOURCES"] {
        assert!(stdout(&table).contains(part), "no {part} in\n{}", stdout(&table));
    }
    let json = podium(&[&arguments[..], &["--format", "json"]].concat());
    let plan: Value = serde_json::from_slice(&json.stdout).unwrap();
    let lines = plan["lines"].as_array().unwrap();
    let line = |key: &str| lines.iter().find(|line| line["key"] == key).unwrap();
    assert_eq!(line("memory_kernel")["value"], 20_000.0 * 4_096.0);
    assert_eq!(line("memory_user")["basis"], "measured");
}

#[test]
fn wrong_arguments_say_what_is_right() {
    let cases = [
        (&["plan"][..], "--agents"),
        (&["plan", "--agents", "0"], "1..=10000000"),
        (&["plan", "--agents", "many"], "invalid digit"),
        (&["plan", "--agents", "10", "--tls", "1.1"], "possible values: 1.2, 1.3"),
        (&["plan", "--agents", "10", "--keys", "dsa"], "p256, rsa2048, rsa4096"),
        (&["plan", "--agents", "10", "--brokers", "65"], "\"auto\" or a number from 1 to 64"),
        (&["plan", "--agents", "10", "--nodes-per-job", "11"], "there are only 10 agents"),
        (&["check", "--root", "/nowhere/at/all"], "/nowhere/at/all: not a directory"),
        (&["check", "--role", "agent"], "possible values: server, broker"),
        (&["check", "--config", "/nowhere/at/all"], "/nowhere/at/all"),
    ];
    for (arguments, part) in cases {
        let output = podium(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{arguments:?}: no {part} in {}", stderr(&output));
    }
}

/// A host that is ready for some hundreds of agents, in a directory.
fn host(somaxconn: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("proc/sys/fs/nr_open", "1048576"),
        ("proc/sys/fs/file-max", "1048576"),
        ("proc/sys/net/core/somaxconn", somaxconn),
        ("proc/sys/net/ipv4/tcp_max_syn_backlog", "4096"),
        ("proc/sys/net/ipv4/tcp_syncookies", "1"),
        ("proc/sys/net/ipv4/tcp_mem", "92040 122721 184080"),
        ("proc/sys/net/ipv4/ip_local_port_range", "32768 60999"),
        ("proc/sys/vm/overcommit_memory", "0"),
        ("proc/net/route", "Iface\tDestination\n"),
        ("proc/meminfo", "MemTotal: 8000000 kB\n"),
        ("proc/self/status", "Cpus_allowed_list: 0-1\n"),
        ("proc/self/limits", "Max open files  1024  524288  files\n"),
        (".dockerenv", ""),
    ];
    files.iter().for_each(|(path, text)| put(dir.path(), path, text));
    dir
}

fn check(root: &Path, more: &[&str]) -> Output {
    let fixed = ["check", "--root", root.to_str().unwrap(), "--agents", "500", "--jobs-per-day", "0"];
    podium(&[&fixed[..], more].concat())
}

#[test]
fn a_check_ends_with_what_it_has_found() {
    let ready = host("4096");
    let output = check(ready.path(), &[]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    put(ready.path(), "proc/sys/fs/nr_open", "1024");
    let output = check(ready.path(), &["--format", "json"]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ready"], false);
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["key"] == "fs.nr_open").unwrap();
    assert_eq!((&finding["severity"], &finding["value"]), (&"fail".into(), &"1024".into()));
    assert!(finding["fix"][0].as_str().unwrap().starts_with("sysctl -w"), "{finding}");
}

/// The script is run with `/etc` somewhere else and a `sysctl` that only writes down what it is told.
#[test]
fn the_fix_script_does_what_it_says_and_may_be_run_again() {
    let host = host("128");
    let output = check(host.path(), &["--fix-script"]);
    assert_eq!(code(&output), 0, "a short queue is a warning");
    let sandbox = tempfile::tempdir().unwrap();
    let script = stdout(&output).replace("/etc/", &format!("{}/etc/", sandbox.path().display()));
    put(sandbox.path(), "fix.sh", &script);
    put(sandbox.path(), "bin/sysctl", "#!/bin/sh\necho \"$@\" >> \"$0.said\"\n");
    assert!(Command::new("chmod").arg("+x").arg(sandbox.path().join("bin/sysctl")).status().unwrap().success());
    let path = format!("{}:{}", sandbox.path().join("bin").display(), std::env::var("PATH").unwrap());
    for _ in 0..2 {
        let run = Command::new("sh").arg(sandbox.path().join("fix.sh")).env("PATH", &path).output().unwrap();
        assert!(run.status.success(), "{script}\n{}", stderr(&run));
    }
    let read = |name: &str| std::fs::read_to_string(sandbox.path().join(name)).unwrap();
    assert_eq!(read("etc/sysctl.d/60-podium-check.conf"), "net.core.somaxconn = 4096\n");
    assert_eq!(read("bin/sysctl.said"), "-w net.core.somaxconn=4096\n".repeat(2));
}

#[test]
fn certificates_come_from_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let ssl = dir.path().join("ssl");
    let ca = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_podium")).arg("ca").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    };
    ca(&["init", ssl.to_str().unwrap(), "--name", "Lab"]);
    ca(&["issue", ssl.to_str().unwrap(), "orch.example.com"]);
    let file = |name: &str| format!("{:?}", ssl.join(name).display().to_string());
    let configuration = format!(
        "global.certs {{ ssl-cert: {}, ssl-key: {}, ssl-ca-cert: {}, ssl-crl-path: {} }}\npcp-broker.max-connections: 700\n",
        file("certs/orch.example.com.pem"),
        file("private_keys/orch.example.com.pem"),
        file("certs/ca.pem"),
        file("crl.pem")
    );
    put(dir.path(), "podium.conf", &configuration);
    let output = podium(&["check", "--config", dir.path().to_str().unwrap()]);
    let shown = stdout(&output);
    for part in ["700 agents", "CN=orch.example.com", "CRL of CN=Lab", "days left"] {
        assert!(shown.contains(part), "no {part} in\n{shown}\n{}", stderr(&output));
    }
    put(dir.path(), "podium.conf", "pcp-broker.workers: many\n");
    let output = podium(&["check", "--config", dir.path().to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("pcp-broker.workers"), "{}", stderr(&output));
}

#[test]
fn a_host_s_files_are_written_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("mine");
    let output = podium(&["plan", "--agents", "23000", "--cores", "4", "--write-tuning", target.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let drop_in = std::fs::read_to_string(target.join("systemd/podium-broker.service.d/50-capacity.conf")).unwrap();
    assert!(drop_in.contains("[Service]\nLimitNOFILE=32768\n") || drop_in.contains("LimitNOFILE=65536"), "{drop_in}");
}
