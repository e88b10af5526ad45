//! `podium agent` as it stands in for an old agent: PCP v1, everything through a proxy, flags, a real Puppet.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::lab::{Lab, lossy};

const NAME: &str = "node.example.test";

/// An HTTP proxy; returns its port and how many connections it has made.
fn proxy() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, made) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = made.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let count = count.clone();
            thread::spawn(move || pass(client, &count));
        }
    });
    (port, made)
}

fn pass(mut client: TcpStream, count: &AtomicUsize) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).unwrap();
    let authority = text.strip_prefix("CONNECT ").and_then(|rest| rest.split_whitespace().next()).unwrap();
    let Ok(server) = TcpStream::connect(authority) else { return };
    count.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let ways = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
    for (mut from, mut to) in ways {
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

/// Changes the file of the agent, which exists already.
fn configure(lab: &Lab, more: &Value) {
    let path = format!("agents/{NAME}/pxp-agent.conf");
    lab.connect_agent_to(NAME, &[lab.broker_port]);
    let mut settings: Value = serde_json::from_slice(&fs::read(lab.path(&path)).unwrap()).unwrap();
    settings["logfile"] = "-".into();
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    lab.write(&path, &settings.to_string());
}

fn check(lab: &Lab, more: &[&str]) -> Output {
    let config = lab.path(&format!("agents/{NAME}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_podium"));
    command.args(["agent", "check", "--config"]).arg(config).args(more).output().unwrap()
}

#[test]
fn an_agent_of_pcp_v1_works_through_proxies() {
    let mut lab = Lab::new(&[NAME]);
    lab.write_task("hello.sh", "#!/bin/sh\necho hello\n");
    lab.start_server();
    let ((broker_proxy, to_broker), (file_proxy, to_files)) = (proxy(), proxy());
    let log = lab.path("pcp-access.log");
    configure(
        &lab,
        &json!({
            "broker-ws-uris": [format!("wss://localhost:{}/pcp", lab.broker_port)],
            "pcp-version": "1", "log-pcp-access": true, "pcp-access-logfile": log,
            "broker-ws-proxy": format!("http://127.0.0.1:{broker_proxy}"),
            "master-proxy": format!("127.0.0.1:{file_proxy}"),
        }),
    );
    lab.start_agent(NAME);
    lab.wait_connected(&[NAME]);
    let output = lab.client(&["task", "run", "demo::hello", "--nodes", NAME], "");
    assert!(output.status.success(), "{}\n{}", lossy(&output.stdout), lab.log(&format!("agent-{NAME}")));
    assert_eq!((to_broker.load(Ordering::Relaxed), to_files.load(Ordering::Relaxed)), (1, 1));
    let access = fs::read_to_string(log).unwrap();
    let kinds: Vec<&str> = access.lines().filter_map(|line| line.split(' ').nth(5)?.rsplit('/').next()).collect();
    assert_eq!(kinds[..2], ["associate_response", "rpc_non_blocking_request"], "{access}");

    let checked = check(&lab, &[]);
    let page = lossy(&checked.stdout);
    for line in ["ok   certificate", "ok   broker", "ok   file server", "ok   transactions       1 ended, 0 running"] {
        assert!(page.contains(line), "{line}:\n{page}\n{}", lossy(&checked.stderr));
    }
    assert!(page.contains("last contact") && page.contains("connected to wss://localhost"), "{page}");
    let checked = check(&lab, &["--broker-ws-uri", "wss://localhost:1/"]);
    let page = lossy(&checked.stdout);
    assert!(!checked.status.success() && page.contains("BAD  broker"), "{page}");
}

/// What Puppet applies without a server: a catalog from its cache, with the certificates of the laboratory.
fn puppet(lab: &Lab, made: &Path) {
    let certificates = lab.certificates(NAME);
    let at = |name: &str| lab.path("puppet").join(name);
    for directory in ["ssl/certs", "ssl/private_keys", "var/client_data/catalog"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    fs::copy(certificates.ca, at("ssl/certs/ca.pem")).unwrap();
    fs::copy(certificates.crl, at("ssl/crl.pem")).unwrap();
    fs::copy(certificates.certificate, at(&format!("ssl/certs/{NAME}.pem"))).unwrap();
    fs::copy(certificates.key, at(&format!("ssl/private_keys/{NAME}.pem"))).unwrap();
    let here = at("").display().to_string();
    let settings = [("certname", NAME), ("server", "127.0.0.1"), ("serverport", "1"), ("pluginsync", "false")];
    let mut text = String::from("[main]\nuse_cached_catalog=true\nreport=true\n");
    for (name, value) in settings {
        text += &format!("{name}={value}\n");
    }
    for (name, place) in [("ssldir", "ssl"), ("vardir", "var"), ("statedir", "var/state"), ("rundir", "run")] {
        text += &format!("{name}={here}{place}\n");
    }
    for place in ["logdir", "publicdir", "codedir"] {
        text += &format!("{place}={here}{place}\n");
    }
    fs::write(at("puppet.conf"), text).unwrap();
    let script = format!("#!/bin/sh\nsubcommand=$1\nshift\nexec /usr/bin/puppet $subcommand --confdir {here} \"$@\"\n");
    fs::write(at("puppet"), script).unwrap();
    fs::set_permissions(at("puppet"), fs::Permissions::from_mode(0o755)).unwrap();
    let file = format!("File[{}]", made.display());
    let resource = |kind: &str, of: &str, title: &str, parameters: Value| json!({"type": of, "title": title, "tags": ["class"], "exported": false, "kind": kind, "parameters": parameters});
    let catalog = json!({
        "tags": ["settings"], "name": NAME, "version": 1, "code_id": null, "catalog_format": 2,
        "catalog_uuid": "1f14b16c-4bee-4c7b-b4c7-2f29d071b59d", "environment": "production", "classes": ["settings"],
        "resources": [
            resource("compilable_type", "Stage", "main", json!({})),
            resource("class", "Class", "Settings", json!({})),
            resource("class", "Class", "main", json!({})),
            resource("compilable_type", "File", &made.display().to_string(), json!({"content": "made"})),
        ],
        "edges": [{"source": "Stage[main]", "target": "Class[main]"}, {"source": "Class[main]", "target": file}],
    });
    fs::write(at(&format!("var/client_data/catalog/{NAME}.json")), catalog.to_string()).unwrap();
    let configuration = json!({"puppet_bin": at("puppet")});
    lab.write("modules-conf/pxp-module-puppet.conf", &configuration.to_string());
}

#[test]
fn a_real_puppet_runs_on_demand() {
    if !Path::new("/usr/bin/puppet").exists() {
        println!("skipped: there is no /usr/bin/puppet");
        return;
    }
    let mut lab = Lab::new(&[NAME]);
    let made = lab.path("made");
    puppet(&lab, &made);
    lab.start_server();
    configure(&lab, &json!({"modules-config-dir": lab.path("modules-conf")}));
    lab.start_agent(NAME);
    lab.wait_connected(&[NAME]);
    let output = lab.client(&["job", "run", "--nodes", NAME, "--format", "json"], "");
    let told = format!("{}\n{}", lossy(&output.stdout), lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{}", lab.log(&format!("agent-{NAME}")));
    assert_eq!(fs::read_to_string(&made).unwrap(), "made", "{told}");
    let spool = lab.path(&format!("agents/{NAME}/spool"));
    let metadata =
        fs::read_dir(spool).unwrap().flatten().find_map(|entry| fs::read(entry.path().join("metadata")).ok());
    let metadata: Value = serde_json::from_slice(&metadata.unwrap()).unwrap();
    let results = &metadata["results"];
    assert_eq!(
        (&metadata["module"], &results["status"]),
        (&json!("pxp-module-puppet"), &json!("changed")),
        "{results}"
    );
    assert_eq!((&results["metrics"]["changed"], &results["exitcode"]), (&json!(1), &json!(0)), "{results}");
    assert!(results["metrics"]["corrective_change"].is_number(), "{results}");
    assert!(results["transaction_uuid"].as_str().is_some_and(|uuid| uuid.len() == 36), "{results}");
}
