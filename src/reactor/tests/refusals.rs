//! Connections that do not come to be: each with its label.

use std::time::Duration;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::*;

fn refused(label: &str) -> String {
    format!("refused_total{{label=\"{label}\"}}")
}

#[test]
fn certificates_are_refused_by_their_fault() {
    let (pki, foreign) = (Pki::new("ca"), Pki::new("other"));
    let revoked = pki.issue("revoked.example");
    pki.revoke(&[&revoked]);
    let server = pki.listener(&pki.issue("localhost"));
    let bench = Bench::start(|options| options.server_tls = Some(Arc::new(ArcSwap::new(server))));
    let cases = [
        (None, "no-client-certificate"),
        (Some(foreign.issue("agent.example")), "certificate-unknown-ca"),
        (Some(revoked), "certificate-revoked"),
    ];
    for (issued, label) in cases {
        for (count, version) in (1..).zip([&TLS12, &TLS13]) {
            let error = bench.connect_as(pki.client(version, issued.as_ref()), "/pcp2/agent").unwrap_err();
            assert!(error.to_string().contains("alert"), "{error}");
            bench.await_metric(&refused(label), count);
        }
    }
}

#[test]
fn what_is_not_tls_gets_an_alert() {
    let bench = Bench::start(|_| {});
    let mut plain = bench.tcp();
    plain.write_all(b"GET /pcp2/agent HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_rest(plain)[0], 21);
    bench.await_metric(&refused("not-tls"), 1);
    bench.await_metric("handshakes_in_flight", 0);
}

#[test]
fn silence_before_the_upgrade_is_not_waited_for() {
    let bench = Bench::start(|options| options.limits.handshake_timeout = Duration::from_millis(800));
    assert_eq!(read_rest(bench.tcp()), b"");
    bench.await_metric(&refused("handshake-timeout"), 1);
    let mut tls = bench.tls(bench.pki.client(&TLS13, Some(&bench.agent)));
    tls.write_all(b"GET /pcp2").unwrap();
    assert_eq!(read_rest(tls), b"");
    bench.await_metric(&refused("upgrade-timeout"), 1);
}

#[test]
fn http_that_is_no_upgrade_is_answered() {
    let bench = Bench::start(|_| {});
    let mut tls = bench.tls(bench.pki.client(&TLS12, Some(&bench.agent)));
    tls.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_rest(tls)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nThis is a WebSocket endpoint.\n"), "{answer}");
    bench.await_metric(&refused("http-not-upgrade"), 1);
}

#[test]
fn the_application_refuses_before_the_101() {
    let bench = Bench::start(|_| {});
    let config = bench.pki.client(&TLS13, Some(&bench.agent));
    let error = bench.connect_as(config, "/unwanted").unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    bench.await_metric(&refused("Not today."), 1);
}

#[test]
fn the_connection_limit_is_a_503() {
    let bench = Bench::start(|options| options.limits.connections_max = 1);
    let first = bench.connect();
    let config = || bench.pki.client(&TLS13, Some(&bench.agent));
    assert!(bench.connect_as(config(), "/").unwrap_err().to_string().contains("503"));
    bench.await_metric(&refused("connection-limit"), 1);
    drop(first);
    assert_eq!(bench.closed(), CloseReason::Lost);
    bench.await_metric("connections_open", 0);
    bench.connect_as(config(), "/").unwrap();
}

#[test]
fn more_handshakes_than_slots_take_turns() {
    let bench = Bench::start(|options| options.limits.handshakes_in_flight_max = 1);
    let mut clients: Vec<Client> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12).map(|_| scope.spawn(|| bench.connect())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for client in &mut clients {
        client.send(Message::text("x")).unwrap();
        assert_eq!(client.read().unwrap(), Message::text("x"));
    }
    bench.await_metric("accept_queue", 0);
    assert_eq!(bench.metric("connections_accepted_total"), 12);
}

#[test]
fn a_new_configuration_holds_for_new_connections() {
    let pki = Pki::new("ca");
    let (server, agent) = (pki.issue("localhost"), pki.issue("agent.example"));
    let tls = Arc::new(ArcSwap::new(pki.listener(&server)));
    let bench = Bench::start(|options| options.server_tls = Some(tls.clone()));
    let config = || pki.client(&TLS12, Some(&agent));
    let mut before = bench.connect_as(config(), "/").unwrap();
    pki.revoke(&[&agent]);
    tls.store(pki.listener(&server));
    bench.connect_as(config(), "/").unwrap_err();
    bench.await_metric(&refused("certificate-revoked"), 1);
    before.send(Message::text("still here")).unwrap();
    assert_eq!(before.read().unwrap(), Message::text("still here"));
}

#[test]
fn whoever_resumes_and_was_revoked_meanwhile_is_not_let_in() {
    let pki = Pki::new("ca");
    let (server, agent) = (pki.issue("localhost"), pki.issue("agent.example"));
    let before = pki.listener(&server);
    let tls = Arc::new(ArcSwap::new(before.clone()));
    let bench = Bench::start(|options| options.server_tls = Some(tls.clone()));
    let config = pki.agent(&agent);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut client = bench.connect_as(config.clone(), "/").unwrap();
        client.send(Message::text("x")).unwrap();
        assert_eq!(client.read().unwrap(), Message::text("x"));
        assert_eq!(client.get_ref().conn.handshake_kind(), Some(kind));
        assert_eq!(bench.opened(), "agent.example");
    }
    pki.revoke(&[&agent]);
    tls.store(Pki::mixed(&before, &pki.listener(&server)));
    bench.connect_as(config, "/").unwrap_err();
    bench.await_metric(&refused("certificate-revoked"), 1);
    assert_eq!(bench.metric("connections_opened_total"), 2);
}

/// It is the newcomer itself, because nobody else waits. What else the process has to open finds its descriptors free.
#[test]
fn without_descriptors_to_spare_nobody_waits() {
    let bench = Bench::start(|options| options.limits.descriptors_max = 0);
    assert_eq!(read_rest(bench.tcp()), b"");
    bench.await_metric(&refused("accept-queue-full"), 1);
    assert_eq!(bench.metric("accept_errors_total"), 0);
}

/// The pool may have a session when its connection goes.
#[test]
fn slots_are_free_again_whenever_a_handshake_ends() {
    let bench = Bench::start(|options| {
        options.limits.handshake_timeout = Duration::from_millis(2);
        options.limits.handshakes_in_flight_max = 4;
        options.handshake_threads = 1;
    });
    let config = bench.pki.client(&TLS12, Some(&bench.agent));
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let mut tls = bench.tls(config.clone());
            let _ = tls.conn.complete_io(&mut Hello(&tls.sock));
            tls
        })
        .collect();
    for client in clients {
        read_rest(&client.sock);
    }
    bench.await_metric("handshakes_in_flight", 0);
    bench.await_metric("accept_queue", 0);
}

/// A socket that is written to and brings nothing.
struct Hello<'s>(&'s TcpStream);

impl Read for Hello<'_> {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Hello<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn wrong_options_are_told() {
    let start = |change: fn(&mut Options)| {
        let mut options = Options::new();
        change(&mut options);
        Reactor::start(options, |_, _: &Mailboxes<Mail>| -> Echo { unreachable!("nothing is built") }).err()
    };
    let error = start(|options| options.workers = 0).unwrap();
    assert!(error.to_string().contains("workers"), "{error}");
    let error = start(|options| options.listen = Some(Listen::Address("127.0.0.1:0".parse().unwrap()))).unwrap();
    assert!(error.to_string().contains("certificate"), "{error}");
    let bench = Bench::start(|_| {});
    let mut options = Options::new();
    options.listen = bench.reactor.local_addr().map(Listen::from);
    options.server_tls = Some(Arc::new(ArcSwap::new(bench.pki.listener(&bench.agent))));
    let taken = Reactor::start(options, |_, _: &Mailboxes<Mail>| -> Echo { unreachable!("nothing is built") });
    assert!(matches!(taken, Err(crate::reactor::StartError::Listen(..))));
}
