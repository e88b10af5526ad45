//! Connections that we make: to another reactor, and to places that do not want us.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::*;
use crate::link::DialTag;
use crate::reactor::Outfitter;
use rustls::{ServerConfig, ServerConnection};

fn dial(bench: &Bench, host: &str, port: u16, path: &str) {
    let dial = Dial { tag: DialTag(7), host: host.into(), port, path: path.into() };
    bench.reactor.mailboxes().send(0, Mail::Dial(dial)).unwrap();
}

fn port(bench: &Bench) -> u16 {
    bench.reactor.local_addr().unwrap().port()
}

fn failure(bench: &Bench) -> DialError {
    match bench.next() {
        Seen::DialFailed(error) => error,
        other => panic!("{other:?}"),
    }
}

/// A reactor that only dials, with a certificate of the other one's CA.
fn dialler(server: &Bench, change: impl FnOnce(&mut Options)) -> Bench {
    let ours = server.pki.dialler(&server.pki.issue("dialler.example"));
    Bench::start(|options| {
        options.listen = None;
        options.server_tls = None;
        options.client_tls = Some(Arc::new(ArcSwap::new(ours)));
        change(options);
    })
}

#[test]
fn one_reactor_dials_another() {
    let server = Bench::start(|_| {});
    let client = dialler(&server, |_| {});
    dial(&client, "localhost", port(&server), "/pcp2/agent");
    let opened = |name: &str, dialled| {
        let (name, path) = (name.to_owned(), "/pcp2/agent".to_owned());
        move |seen: Seen| match seen {
            Seen::Opened { name: n, path: p, dialled: d, .. } => assert_eq!((n, p, d), (name, path, dialled)),
            other => panic!("{other:?}"),
        }
    };
    opened("localhost", true)(client.next());
    opened("dialler.example", false)(server.next());
    // The server echoes what the client says; the client would echo that again, so only a command is said.
    client.reactor.mailboxes().send(0, Mail::Say("close 4001".to_owned())).unwrap();
    assert_eq!(server.next(), Seen::Message(10));
    assert_eq!(client.closed(), CloseReason::Peer { code: 4001, reason: "as you wish".into() });
    assert_eq!(server.closed(), CloseReason::Application);
}

#[test]
fn more_names_than_resolvers_take_turns() {
    let server = Bench::start(|options| options.limits.handshake_timeout = PATIENCE);
    let client = dialler(&server, |options| options.limits.handshake_timeout = PATIENCE);
    for _ in 0..40 {
        dial(&client, "localhost", port(&server), "/");
    }
    for _ in 0..40 {
        assert!(matches!(client.next(), Seen::Opened { dialled: true, .. }));
    }
    client.await_metric("connections_open", 40);
    server.await_metric("connections_open", 40);
    client.reactor.stop(Duration::ZERO);
    for _ in 0..40 {
        assert!(matches!(server.closed(), CloseReason::Peer { code: 1001, .. }));
    }
}

#[test]
fn pings_keep_a_dialled_connection_alive() {
    let server = Bench::start(|options| options.limits.idle_timeout = Duration::from_millis(600));
    let client = dialler(&server, |options| options.ping_interval = Some(Duration::from_millis(100)));
    dial(&client, "localhost", port(&server), "/");
    assert!(matches!(client.next(), Seen::Opened { .. }));
    // Two that are silent show the passing of time.
    for _ in 0..2 {
        let mut silent = server.connect();
        assert_eq!(read_close(&mut silent).0, 1001);
        assert_eq!(server.closed(), CloseReason::Idle);
    }
    server.await_metric("connections_open", 1);
    assert!(client.seen.try_recv().is_err(), "nothing has happened to the one that pings");
}

#[test]
fn failures_say_what_to_do() {
    let server = Bench::start(|_| {});
    let client = dialler(&server, |_| {});
    let cases = [
        ("127.0.0.1", "/", "tls", "not valid for \"127.0.0.1\""),
        ("localhost", "/unwanted", "upgrade", "HTTP status 503"),
        ("no such host", "/", "resolve", "cannot be resolved"),
    ];
    for (host, path, kind, text) in cases {
        dial(&client, host, port(&server), path);
        let error = failure(&client);
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.contains(text), "{error:?}");
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    dial(&client, "127.0.0.1", free, "/");
    assert_eq!(failure(&client).kind, "refused");
}

#[test]
fn certificates_fail_on_either_side() {
    let server = Bench::start(|_| {});
    // Bench::start gives each its own CA, so neither knows the other.
    let stranger = Bench::start(|_| {});
    dial(&stranger, "localhost", port(&server), "/");
    let error = failure(&stranger);
    assert!(error.message.contains("not signed by a CA of ours"), "{error:?}");
    let pki = Pki::new("ca");
    let revoked = pki.issue("revoked.example");
    let client_tls = pki.dialler(&revoked);
    pki.revoke(&[&revoked]);
    let server_tls = pki.listener(&pki.issue("localhost"));
    let server = Bench::start(|options| options.server_tls = Some(Arc::new(ArcSwap::new(server_tls))));
    let client = Bench::start(|options| options.client_tls = Some(Arc::new(ArcSwap::new(client_tls))));
    dial(&client, "localhost", port(&server), "/");
    let error = failure(&client);
    assert!(error.message.contains("our certificate is revoked"), "{error:?}");
}

#[test]
fn a_silent_server_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Bench::start(|_| {});
    let client = dialler(&server, |options| options.limits.handshake_timeout = Duration::from_millis(200));
    dial(&client, "127.0.0.1", silent.local_addr().unwrap().port(), "/");
    assert_eq!(failure(&client).kind, "timeout");
}

/// The next connection, as a peer that reads when it is told to.
fn accept(listener: &TcpListener, config: Arc<ServerConfig>) -> WebSocket<StreamOwned<ServerConnection, TcpStream>> {
    let (socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    tungstenite::accept(StreamOwned::new(ServerConnection::new(config).unwrap(), socket)).unwrap()
}

#[test]
fn what_waits_for_a_dialled_peer_has_a_limit_of_its_own() {
    const SHARED: usize = 1024 * 1024;
    const OWN: usize = 24 * 1024 * 1024;
    const BLOCK: usize = 512 * 1024;
    let other = Bench::start(|_| {});
    let config = other.pki.listener(&other.pki.issue("localhost"));
    let client = dialler(&other, |options| {
        options.workers = 1;
        options.listen = Some(Listen::Address("127.0.0.1:0".parse().unwrap()));
        options.server_tls = Some(Arc::new(ArcSwap::new(config.clone())));
        options.limits.worker_queue_bytes_max = SHARED;
        options.limits.dialled_queue_bytes_max = OWN;
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    dial(&client, "localhost", listener.local_addr().unwrap().port(), "/");
    let mut peer = accept(&listener, config.config.clone());
    peer.send(Message::text(format!("flood {BLOCK}"))).unwrap();
    while client.next() != Seen::Full {}
    let queued = std::iter::repeat_with(|| client.metric("queued_bytes")).find(|bytes| *bytes > 0).unwrap();
    assert!((OWN - 2 * BLOCK..=OWN).contains(&usize::try_from(queued).unwrap()), "{queued}");
    // Others of the worker still have the whole of what they share, and none of it at the cost of the dialled one.
    let bench = Bench { pki: other.pki, agent: other.agent, reactor: client.reactor, seen: client.seen };
    let mut neighbour = bench.connect();
    neighbour.send(Message::text("last 900000")).unwrap();
    assert_eq!(bench.closed(), CloseReason::Application);
    assert_eq!(neighbour.read().unwrap().len(), 900_000);
    while bench.seen.try_recv() != Ok(Seen::Drained) {
        assert_eq!(peer.read().unwrap().len(), BLOCK);
    }
    bench.await_metric("queued_bytes", 0);
}

/// Certificate, address and source of each dial by its tag.
struct Wardrobe {
    configs: Vec<Arc<ClientConfig>>,
    server: SocketAddr,
}

impl Outfitter for Wardrobe {
    fn tls(&self, dial: &Dial) -> Option<Arc<ClientConfig>> {
        self.configs.get(dial.tag.0 as usize).cloned()
    }

    fn address(&self, dial: &Dial) -> Option<SocketAddr> {
        (&*dial.host == "localhost").then_some(self.server)
    }

    fn source(&self, dial: &Dial) -> Option<IpAddr> {
        Some(Ipv4Addr::new(127, 0, 7, dial.tag.0 as u8).into())
    }
}

#[test]
fn each_dial_has_its_own_certificate_and_source() {
    let server = Bench::start(|_| {});
    let names = ["a.example", "b.example"];
    let configs = names.map(|name| server.pki.dialler(&server.pki.issue(name))).to_vec();
    let wardrobe = Wardrobe { configs, server: server.reactor.local_addr().unwrap() };
    let client = dialler(&server, |options| {
        options.client_tls = None;
        options.outfitter = Some(Arc::new(wardrobe));
    });
    for (tag, expected) in (0..).zip(names) {
        // Nothing listens at the port of the dial.
        let dial = Dial { tag: DialTag(tag), host: "localhost".into(), port: 1, path: "/pcp2/agent".into() };
        client.reactor.mailboxes().send(0, Mail::Dial(dial)).unwrap();
        assert!(matches!(client.next(), Seen::Opened { .. }));
        match server.next() {
            Seen::Opened { name, remote, .. } => {
                assert_eq!((name.as_str(), remote), (expected, Ipv4Addr::new(127, 0, 7, tag as u8).into()));
            }
            other => panic!("{other:?}"),
        }
    }
    dial(&client, "127.0.0.1", port(&server), "/pcp2/agent");
    assert!(failure(&client).message.contains("no client certificate is configured"));
}
