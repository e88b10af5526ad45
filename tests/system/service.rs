//! The server as a service: what it tells systemd, and its end.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::version::TLS13;

use crate::support::fleet::{Agent, in_parallel, tcp};
use crate::support::pki::{Keys, Pki};
use crate::support::server::{PATIENCE, Server};

const CLIENTS: usize = 200;

fn connect(server: &Server, pki: &Pki, number: usize) -> Agent {
    Agent::connect(server.address, pki.agent(&format!("agent{number}"), &TLS13)).unwrap()
}

#[test]
fn clients_are_sent_away_one_after_the_other() {
    let pki = Pki::new(Keys::P256);
    let mut server = Server::start(&pki);
    let agents = in_parallel(CLIENTS, |number| connect(&server, &pki, number));
    // One that answers nothing must not hold up the others.
    let _silent = connect(&server, &pki, CLIENTS);
    let begin = Instant::now();
    server.signal(Signal::TERM);
    for mut agent in agents {
        assert_eq!(agent.wait_close().unwrap(), (1001, "Broker is stopping.".to_owned()));
    }
    assert!(begin.elapsed() >= Duration::from_millis(300), "all at once: {:?}", begin.elapsed());
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("stopped"), "{}", server.log());
    assert!(tcp(server.address).is_err(), "it still listens");
}

#[test]
fn a_second_signal_does_not_wait() {
    let pki = Pki::new(Keys::P256);
    let mut server = Server::start(&pki);
    let before = server.descriptors();
    // A handshake under way holds up the end of the API for some seconds.
    let _handshake = tcp(server.api).unwrap();
    server.wait("the connection to be accepted", || server.descriptors() > before);
    server.signal(Signal::TERM);
    server.wait("the end to begin", || server.log().contains("stopping"));
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(1), "{}", server.log());
}

/// What is told until a message with this in it.
fn told(manager: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let size = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}: {told:?}"));
        told.push(String::from_utf8(buffer[..size].to_vec()).unwrap());
        if told.last().is_some_and(|message| message.contains(wanted)) {
            return told;
        }
    }
}

#[test]
fn systemd_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let pki = Pki::new(Keys::P256);
    let mut server = Server::start_with(&pki.server_files(), "", &environment);
    assert_eq!(told(&manager, "READY=1"), ["READY=1\nSTATUS=0 connections"]);
    let _agent = connect(&server, &pki, 1);
    told(&manager, "WATCHDOG=1\nSTATUS=1 connections");
    server.signal(Signal::HUP);
    told(&manager, "RELOADING=1\nMONOTONIC_USEC=");
    told(&manager, "READY=1");
    server.signal(Signal::TERM);
    told(&manager, "STOPPING=1");
    assert_eq!(server.wait_exit().code(), Some(0));
}
