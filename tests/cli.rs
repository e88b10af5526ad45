//! The binary as its users meet it: what it prints, and its exit codes (0 well, 1 the work failed, 2 wrong usage or
//! configuration; those that ask the orchestrator have more, see `operator`).

mod fake;
mod generated;
mod operator;
mod terminal;

use std::path::Path;
use std::process::{Command, Output};

fn podium(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_podium")).args(arguments).output().unwrap()
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

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_certificate_s_life() {
    let dir = tempfile::tempdir().unwrap();
    let dir = text(dir.path());
    assert_eq!(code(&podium(&["ca", "init", dir, "--name", "Lab"])), 0);
    let issue = ["ca", "issue", dir, "web1.example.com", "--dns-alt-names", "www,api", "--ip", "10.0.0.1,::1"];
    let issued = podium(&issue);
    assert_eq!(code(&issued), 0, "{}", stderr(&issued));
    assert!(stdout(&issued).contains("private_keys/web1.example.com.pem"), "{}", stdout(&issued));
    let again = podium(&issue);
    assert_eq!(code(&again), 1);
    assert!(
        stderr(&again).contains("web1.example.com has a certificate already; revoke it first"),
        "{}",
        stderr(&again)
    );
    assert_eq!(code(&podium(&["ca", "revoke", dir, "web1.example.com"])), 0);
    let list = stdout(&podium(&["ca", "list", dir]));
    let line = list.lines().find(|line| line.contains("web1.example.com")).unwrap();
    assert!(line.contains("0x0002") && line.contains("revoked"), "{list}");
}

#[test]
fn a_wrong_name_is_refused_with_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let dir = text(dir.path());
    podium(&["ca", "init", dir]);
    let output = podium(&["ca", "issue", dir, "Web1"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("\"Web1\" cannot be a certificate's name: Puppet's certificate names are lower case")
    );
}

#[test]
fn a_server_shows_every_mistake_of_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("podium.conf"), "pcp-broker { worker: 1, idle-timeout: soon }").unwrap();
    let output = podium(&["server", "--config", text(dir.path())]);
    assert_eq!(code(&output), 2);
    let message = stderr(&output);
    for part in [
        "podium.conf: pcp-broker.worker: unknown key; did you mean pcp-broker.workers?",
        "podium.conf: pcp-broker.idle-timeout: \"soon\" is not a duration",
        "global.certs.ssl-cert: value must be defined; give the path of a PEM file",
    ] {
        assert!(message.contains(part), "no \"{part}\" in\n{message}");
    }
}

#[test]
fn quickstart_runs_a_task_on_every_agent_and_cleans_up() {
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_podium"))
        .args(["quickstart", "--agents", "3"])
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    let (printed, complained) = (stdout(&output), stderr(&output));
    assert_eq!(code(&output), 0, "{printed}\n{complained}");
    for agent in ["agent1.quickstart", "agent2.quickstart", "agent3.quickstart"] {
        assert!(printed.contains(agent), "{agent} is missing in\n{printed}");
    }
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().collect();
    assert!(left.is_empty(), "left over: {left:?}");
}

#[test]
fn quickstart_refuses_a_directory_in_use() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let output = podium(&["quickstart", "--dir", text(dir.path())]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("is not empty; give a new directory with --dir"), "{}", stderr(&output));
}

#[test]
fn a_broker_s_configuration_is_checked_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca");
    podium(&["ca", "init", text(&ca)]);
    podium(&["ca", "issue", text(&ca), "broker.example.com"]);
    let conf = dir.path().join("conf.d");
    std::fs::create_dir(&conf).unwrap();
    let webserver = |certificate: &str| {
        let file = |name: &str| ca.join(name).display().to_string();
        let files =
            [file(certificate), file("private_keys/broker.example.com.pem"), file("certs/ca.pem"), file("crl.pem")];
        let [certificate, key, ca, crl] = files;
        let text = format!(
            "webserver: {{ pcp-broker: {{ ssl-port: 8142, client-auth: want, ssl-cert: {certificate:?}, ssl-key: {key:?}
               ssl-ca-cert: {ca:?}, ssl-crl-path: {crl:?} }} }}"
        );
        std::fs::write(conf.join("webserver.conf"), text).unwrap();
    };
    webserver("certs/broker.example.com.pem");
    let broker = "pcp-broker: { controller-uris: [\"wss://orch.example.com:8143/server\"], max-connections: 5000 }
                  jruby-puppet: { max-active-instances: 4 }";
    std::fs::write(conf.join("pcp-broker.conf"), broker).unwrap();
    let check = || podium(&["broker", "--check", "--config", text(dir.path())]);
    let checked = check();
    assert_eq!(code(&checked), 0, "{}", stderr(&checked));
    let shown = stdout(&checked).split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "certs/broker.example.com.pem (broker.example.com)",
        "listener 0.0.0.0:8142, without a client certificate status pages only",
        "PCP v1 /pcp PCP v2 /pcp2",
        "controller wss://orch.example.com:8143/server/server, named pcp://orch.example.com:8143/server",
        "connections_max 5000",
        "file descriptors 5064 for 5000 connections",
    ] {
        assert!(shown.contains(line), "no \"{line}\" in {shown}");
    }
    assert!(stderr(&checked).contains("sections of other services, which are not read: jruby-puppet"));
    // A key that is not the certificate's.
    webserver("certs/ca.pem");
    let checked = check();
    assert_eq!((code(&checked), stdout(&checked).as_str()), (2, ""));
    assert!(stderr(&checked).contains("certs/ca.pem: cannot be used together with the key"), "{}", stderr(&checked));
}
