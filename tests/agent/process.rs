//! The agent as a process of the system: leaving the terminal, pid file, signals, exit codes.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::site::{Site, signal, wait};

fn log(site: &Site) -> String {
    fs::read_to_string(site.path("log")).unwrap_or_default()
}

/// The exit code and what was said of it.
fn end(mut command: Command) -> (Option<i32>, String) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_agent_leaves_its_terminal_and_listens_to_signals() {
    let site = Site::new("foreground: false\n");
    assert!(site.until_connected(|| site.command().status().unwrap()).success());
    let pid: u32 = fs::read_to_string(site.path("pid")).unwrap().trim().parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!((fields[3], fields[4]), (pid.to_string().as_str(), "0"), "a session of its own, no terminal");
    let (code, text) = end(site.command());
    assert_eq!((code, text), (Some(1), format!("Already running with PID={pid}\n")));

    signal(pid, Signal::HUP);
    wait("HUP", || log(&site).contains("certificates read again"));
    fs::rename(site.path("log"), site.path("log.1")).unwrap();
    signal(pid, Signal::USR2);
    signal(pid, Signal::HUP);
    wait("USR2", || log(&site).contains("certificates read again"));
    fs::write(site.path("cert.pem"), "no certificate").unwrap();
    signal(pid, Signal::HUP);
    wait("a bad certificate", || log(&site).contains("certificates stay as they were"));

    signal(pid, Signal::TERM);
    wait("the end", || !site.path("pid").exists() && !fs::exists(format!("/proc/{pid}/fd/0")).unwrap_or(false));
    assert!(log(&site).contains("stopping; running tasks go on"));
}

#[test]
fn exit_codes_tell_what_kind_of_thing_is_wrong() {
    let site = Site::new("");
    let file = site.path("pxp-agent.conf");
    let good = fs::read_to_string(&file).unwrap();
    let with = |more: &str| {
        fs::write(&file, format!("{good}{more}\n")).unwrap();
        end(site.command())
    };
    for (text, expected) in [
        ("task-nice: 20", "must be a whole number from -20 to 19"),
        ("task-umask: \"0888\"", "must be octal digits"),
        ("pcp-version: 3", "must be either '1' or '2'"),
        ("spool: x", "spool"),
    ] {
        let (code, said) = with(text);
        assert_eq!(code, Some(3), "{text}: {said}");
        assert!(said.contains(expected), "{text}: {said}");
    }
    let (code, said) = with("task-user: \"no-such-user\"");
    assert_eq!((code, said.contains("there is no user no-such-user")), (Some(3), true), "{said}");
    let (code, said) = with("task-cgroup: cgroup");
    assert_eq!((code, said.contains("cgroup.procs cannot be opened")), (Some(3), true), "{said}");
    let (code, said) = with("{");
    assert_eq!(code, Some(2), "{said}");
    fs::write(&file, &good).unwrap();
    let mut command = site.command();
    command.arg("--no-such-flag");
    assert_eq!(end(command).0, Some(2));
    fs::write(site.path("key.pem"), "no key").unwrap();
    let (code, said) = end(site.command());
    assert_eq!((code, said.contains("key.pem")), (Some(3), true), "{said}");
    fs::remove_file(&file).unwrap();
    let (code, said) = end(site.command());
    assert_eq!((code, said.contains("file not found")), (Some(2), true), "{said}");
}
