//! Certificates that change while everybody is connected: who has to go, who does not notice, what new connections see.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use podium::config::settings::CertificatePaths;
use podium::tls::material::Material;
use rustix::process::Signal;
use rustls::ClientConfig;
use serde_json::{Value, json};

use super::lab::{Lab, SERVER};
use crate::support::fleet::{self, Agent};

const ID: &str = "f93df7fa-5168-4f8d-a7b5-180d46019213";
const CTL: &str = "ctl.example.test";

/// How the server learns of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Signal,
    Look,
}

/// A started server for these clients, which looks at its files very often or never.
fn lab(clients: &[&str], cause: Cause) -> Lab {
    let mut lab = Lab::new(clients);
    let period = if cause == Cause::Look { "100ms" } else { "1d" };
    lab.write(
        "server/clients.conf",
        &format!("pcp-broker {{ privileged-clients: [{CTL}], crl-check-period: {period}, drain-timeout: 5s }}"),
    );
    lab.start_server();
    lab
}

fn config(lab: &Lab, name: &str) -> Arc<ClientConfig> {
    let files = lab.certificates(name);
    let path = PathBuf::from;
    let paths = CertificatePaths {
        certificate: path(files.certificate),
        key: path(files.key),
        ca: path(files.ca),
        crl: Some(path(files.crl)),
    };
    Material::load(&paths).unwrap().client_config().unwrap()
}

fn connect(lab: &Lab, name: &str) -> io::Result<Agent> {
    Agent::connect(SocketAddr::from(([127, 0, 0, 1], lab.broker_port)), config(lab, name))
}

fn send(agent: &mut Agent, kind: &str, data: Option<Value>) -> Value {
    let mut message =
        json!({"id": ID, "message_type": format!("http://puppetlabs.com/{kind}"), "target": "pcp:///server"});
    if let Some(data) = data {
        message["data"] = data;
    }
    agent.send(message.to_string().as_bytes()).unwrap();
    receive(agent)
}

fn receive(agent: &mut Agent) -> Value {
    serde_json::from_slice(&agent.receive().unwrap()).unwrap()
}

/// Its connection is the one that it was, and the broker knows it.
fn is_well(agent: &mut Agent) -> bool {
    send(agent, "associate_request", None)["data"]["success"] == true
}

fn one_of_three_is_revoked(cause: Cause) {
    let (a, b, c, late) = ("a.example.test", "b.example.test", "c.example.test", "late.example.test");
    let lab = lab(&[a, b, c, late, CTL], cause);
    let [mut first, mut second, mut third] = [a, b, c].map(|name| connect(&lab, name).unwrap());
    let mut watcher = connect(&lab, CTL).unwrap();
    let query = json!({"query": ["pcp://*/agent"], "subscribe": true});
    let answer = send(&mut watcher, "inventory_request", Some(query));
    assert_eq!(answer["data"]["uris"].as_array().unwrap().len(), 4, "{answer}");
    lab.revoke(b);
    if cause == Cause::Signal {
        lab.signal_server(Signal::HUP);
    }
    assert_eq!(second.wait_close().unwrap(), (1012, "CRL reloaded".to_owned()));
    let update = receive(&mut watcher);
    assert_eq!(update["data"]["changes"], json!([{"client": "pcp://b.example.test/agent", "change": -1}]));
    assert!(connect(&lab, b).is_err(), "a revoked certificate was let in");
    assert!(is_well(&mut first) && is_well(&mut third));
    let _late = connect(&lab, late).unwrap();
    // The next thing that the watcher hears of: nobody else has gone, not even for a moment.
    let update = receive(&mut watcher);
    assert_eq!(update["data"]["changes"], json!([{"client": "pcp://late.example.test/agent", "change": 1}]));
}

#[test]
fn a_revoked_client_goes_after_a_signal_and_nobody_else() {
    one_of_three_is_revoked(Cause::Signal);
}

#[test]
fn a_revoked_client_goes_when_the_file_has_changed() {
    one_of_three_is_revoked(Cause::Look);
}

#[test]
fn new_connections_see_a_new_certificate_and_old_ones_stay() {
    let name = "a.example.test";
    let lab = lab(&[name, "b.example.test"], Cause::Signal);
    let mut old = connect(&lab, name).unwrap();
    lab.revoke(SERVER);
    lab.issue_server();
    lab.signal_server(Signal::HUP);
    lab.wait("the certificate to be read", || lab.log("server").contains("were read again"));
    let mut new = connect(&lab, "b.example.test").unwrap();
    assert_ne!(old.server_certificate(), new.server_certificate());
    assert!(is_well(&mut old) && is_well(&mut new));
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let (a, b) = ("a.example.test", "b.example.test");
    let lab = lab(&[a, b], Cause::Look);
    let mut old = connect(&lab, a).unwrap();
    let whole = std::fs::read_to_string(lab.path("ca/crl.pem")).unwrap();
    let client = config(&lab, b);
    lab.write("ca/crl.pem", &whole[..whole.len() / 2]);
    let message = format!("certificates stay as they were: {}: ", lab.path("ca/crl.pem").display());
    // It is tried again every time, because whoever writes may not be done.
    lab.wait("two attempts", || lab.log("server").matches(&message).count() >= 2);
    let address = SocketAddr::from(([127, 0, 0, 1], lab.broker_port));
    let mut new = Agent::connect(address, client).unwrap();
    assert!(is_well(&mut old) && is_well(&mut new));
    lab.write("ca/crl.pem", &whole);
    lab.revoke(b);
    assert_eq!(new.wait_close().unwrap().0, 1012);
    assert!(is_well(&mut old));
}

#[test]
fn connections_to_the_api_start_again() {
    let name = "a.example.test";
    let lab = lab(&[name], Cause::Signal);
    let address = SocketAddr::from(([127, 0, 0, 1], lab.api_port));
    let mut tls = fleet::tls(address, config(&lab, name)).unwrap();
    tls.write_all(b"GET /status/v1/simple HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut answer, mut buffer) = (String::new(), [0; 4096]);
    while !answer.ends_with("running") {
        let size = tls.read(&mut buffer).unwrap();
        assert!(size > 0, "{answer}");
        answer.push_str(std::str::from_utf8(&buffer[..size]).unwrap());
    }
    lab.signal_server(Signal::HUP);
    assert_eq!(tls.read(&mut buffer).unwrap(), 0);
}

#[test]
fn without_their_ca_all_connect_again() {
    let name = "a.example.test";
    let lab = lab(&[name], Cause::Signal);
    let mut agent = connect(&lab, name).unwrap();
    let other = Lab::new(&["x.example.test"]);
    let files = other.certificates(SERVER);
    for (from, to) in [(files.ca, "ca/certs/ca.pem"), (files.crl, "ca/crl.pem")] {
        std::fs::copy(from, lab.path(to)).unwrap();
    }
    lab.signal_server(Signal::HUP);
    assert_eq!(agent.wait_close().unwrap(), (1012, "CRL reloaded".to_owned()));
    assert!(connect(&lab, name).is_err());
}
