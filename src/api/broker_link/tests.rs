//! Links over real TLS against a started server, and the conversation alone where its limits are tested.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, WebSocket};

use super::conversation::{Control, Conversation, Ending, Partial};
use super::*;
use crate::api::Server;
use crate::api::fake::{Fake, serve, setup};
use crate::limits::{BROKER_LINK_SILENCE_MAX, CLOSE_TIMEOUT, MESSAGE_BYTES_MAX, SUPERSEDED_QUICKLY_MAX};
use crate::tls::material::anonymous_client_config;
use crate::tls::testing::Pki;
use crate::websocket::frame::{Header, Kind};

const BROKER: &str = "compile1.example.com";
const LIMIT: Duration = Duration::from_secs(60);

type Socket = StreamOwned<ClientConnection, TcpStream>;
type Broker = WebSocket<Socket>;

struct Site {
    pki: Pki,
    fake: Arc<Fake>,
    server: Server,
}

impl Site {
    fn start() -> Self {
        let (pki, fake) = (Pki::new("ca"), Fake::new());
        let server = serve(fake.clone(), &pki);
        Self { pki, fake, server }
    }

    fn raw(&self, config: Arc<ClientConfig>) -> Socket {
        let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.server.local_addr().port())).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        StreamOwned::new(connection, socket)
    }

    fn as_name(&self, name: &str) -> Arc<ClientConfig> {
        self.pki.material(name).client_config().unwrap()
    }

    fn dial(&self, config: Arc<ClientConfig>, path: &str) -> tungstenite::Result<Broker> {
        let request = format!("wss://localhost{path}").into_client_request().unwrap();
        match tungstenite::client(request, self.raw(config)) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the socket blocks"),
        }
    }

    /// A broker that has linked, and the orchestrator's end.
    fn link(&self) -> (Broker, BrokerLink) {
        let broker = self.dial(self.as_name(BROKER), "/server/server").unwrap();
        let mut link = None;
        until(|| {
            link = self.fake.link();
            link.is_some()
        });
        (broker, link.unwrap())
    }

    /// Status, and kind and message of the body.
    fn refused(&self, config: Arc<ClientConfig>, head: &str) -> (u16, String, String) {
        let mut socket = self.raw(config);
        write!(socket, "{head}Connection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{answer}: {error}"));
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), text("kind"), text("msg"))
    }
}

fn until(mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}

fn close_of(broker: &mut Broker) -> (u16, String) {
    match broker.read().unwrap() {
        Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
        other => panic!("{other:?} instead of a close frame"),
    }
}

#[test]
fn messages_go_both_ways_and_pings_are_answered() {
    let site = Site::start();
    for path in ["/server", "/server/", "/server/server"] {
        drop(site.dial(site.as_name(BROKER), path).unwrap());
        until(|| site.fake.link().is_some());
    }
    let (mut broker, link) = site.link();
    assert_eq!(link.broker_uri, "pcp://compile1.example.com/server");
    let large = "x".repeat(300_000);
    for text in ["to the broker", &large] {
        link.to_broker.offer(Bytes::from(text.to_owned())).unwrap();
        assert_eq!(broker.read().unwrap(), Message::text(text));
        broker.send(Message::text(text)).unwrap();
        assert_eq!(link.from_broker.recv_timeout(LIMIT).unwrap(), text);
    }
    let piece = |text: &'static str, kind, is_final| {
        Message::Frame(Frame::message(text.as_bytes().to_vec(), OpCode::Data(kind), is_final))
    };
    broker.send(piece("in two", Data::Text, false)).unwrap();
    broker.send(Message::Ping(Bytes::from_static(&[0]))).unwrap();
    broker.send(piece(" pieces", Data::Continue, true)).unwrap();
    assert_eq!(broker.read().unwrap(), Message::Pong(Bytes::from_static(&[0])));
    assert_eq!(link.from_broker.recv_timeout(LIMIT).unwrap(), "in two pieces");

    let frame = tungstenite::protocol::CloseFrame { code: 4005.into(), reason: "goodbye".into() };
    broker.close(Some(frame)).unwrap();
    assert_eq!(close_of(&mut broker).0, 4005);
    assert!(link.from_broker.recv_timeout(LIMIT).is_err());
    until(|| link.to_broker.offer(Bytes::new()).is_err());
}

#[test]
fn nobody_else_may_link() {
    let site = Site::start();
    let upgrade = "GET /server/server HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let permitted = "puppetlabs.orchestrator/not-permitted";
    let names = ["web1.example.com", "compile1.example.co", "compile1.example.com.evil.test", "xcompile1.example.com"];
    for name in names {
        let (status, kind, message) = site.refused(site.as_name(name), upgrade);
        assert_eq!((status, kind.as_str()), (403, permitted), "{name}");
        assert!(message.contains("orchestrator.brokers"), "{message}");
    }
    let anonymous = anonymous_client_config(&site.pki.ca()).unwrap();
    let (status, kind, message) = site.refused(anonymous, upgrade);
    assert_eq!((status, kind.as_str()), (403, permitted));
    assert!(message.contains("must show their certificate"), "{message}");
    for (head, status, text) in [
        ("GET /server HTTP/1.1\r\nHost: x\r\n", 426, "This is a WebSocket endpoint."),
        (
            "POST /server/server HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n",
            405,
            "Only GET and HEAD are possible here.",
        ),
    ] {
        let (found, kind, message) = site.refused(site.as_name("COMPILE1.example.com"), head);
        assert_eq!(
            (found, kind.as_str(), message.as_str()),
            (status, "puppetlabs.orchestrator/upgrade-required", text)
        );
    }
    assert!(site.fake.link().is_none());
}

#[test]
fn rules_that_are_broken_have_their_close_codes() {
    let site = Site::start();
    let closes = |bad: &dyn Fn(&mut Broker)| {
        let (mut broker, link) = site.link();
        bad(&mut broker);
        let (code, _) = close_of(&mut broker);
        assert!(link.from_broker.recv_timeout(LIMIT).is_err(), "the orchestrator gets nothing of it");
        code
    };
    assert_eq!(closes(&|broker| broker.send(Message::binary(vec![1, 2, 3])).unwrap()), 1003);
    assert_eq!(closes(&|broker| broker.get_mut().write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xFF]).unwrap()), 1007);
    assert_eq!(closes(&|broker| broker.get_mut().write_all(&[0x81, 0x01, b'x']).unwrap()), 1002);
    let too_large = |broker: &mut Broker| {
        let mut frame = Vec::new();
        let length = MESSAGE_BYTES_MAX as u64 + 1;
        Header { is_final: true, kind: Kind::Text, mask: Some([0; 4]), length }.write(&mut frame);
        broker.get_mut().write_all(&frame).unwrap();
    };
    assert_eq!(closes(&too_large), 1009);
}

#[test]
fn a_newer_link_of_the_same_broker_closes_the_older_which_may_finish() {
    let site = Site::start();
    let (mut older, first) = site.link();
    let (mut newer, second) = site.link();
    // It has not read the close frame yet, and has something to say.
    older.send(Message::text("an agent's answer")).unwrap();
    assert_eq!(first.from_broker.recv_timeout(LIMIT).unwrap(), "an agent's answer");
    let (code, reason) = close_of(&mut older);
    assert_eq!((code, reason.as_str()), (1001, "a newer link of this broker is up"));
    drop(older);
    assert!(first.from_broker.recv_timeout(LIMIT).is_err());
    newer.send(Message::text("here")).unwrap();
    assert_eq!(second.from_broker.recv_timeout(LIMIT).unwrap(), "here");
}

#[test]
fn two_brokers_with_one_certificate_do_not_take_the_link_from_each_other_for_ever() {
    let site = Site::start();
    // The first supersedes nobody.
    let links: Vec<_> = (0..=SUPERSEDED_QUICKLY_MAX).map(|_| site.link()).collect();
    let refused = site.dial(site.as_name(BROKER), "/server/server").unwrap_err();
    assert!(matches!(refused, tungstenite::Error::Http(response) if response.status() == 429));
    let (mut last, link) = links.into_iter().next_back().unwrap();
    last.send(Message::text("still here")).unwrap();
    assert_eq!(link.from_broker.recv_timeout(LIMIT).unwrap(), "still here");
}

#[test]
fn links_are_closed_when_asked_and_when_the_server_stops() {
    let site = Site::start();
    let (mut broker, link) = site.link();
    site.server.close_links();
    assert_eq!(close_of(&mut broker), (1001, "certificates were read again".to_owned()));
    drop((broker, link));
    let (mut broker, _link) = site.link();
    let reader = std::thread::spawn(move || close_of(&mut broker));
    site.server.stop(LIMIT);
    assert_eq!(reader.join().unwrap(), (1001, "the server stops".to_owned()));
}

/// Its certificate may be revoked since; a new handshake would tell.
#[test]
fn a_request_that_began_before_the_certificates_were_read_again_makes_no_link_that_stays() {
    let (pki, fake) = (Pki::new("ca"), Fake::new());
    let setup = setup(fake.clone(), &pki);
    let tls = setup.tls.clone();
    let site = Site { server: Server::start(&setup).unwrap(), pki, fake };
    let mut socket = site.raw(site.as_name(BROKER));
    socket.write_all(b"GET /server/server HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n").unwrap();
    // Once the other is answered, the server has had this one's bytes before it for long.
    drop(site.link());
    tls.store(site.pki.material("localhost").server_config(crate::tls::material::ClientAuth::Optional).unwrap());
    site.server.close_links();
    socket
        .write_all(
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.ends_with("certificates were read again"), "{text}");
}

#[test]
fn an_orchestrator_that_lets_go_ends_the_link() {
    let site = Site::start();
    let (mut broker, link) = site.link();
    drop(link);
    assert_eq!(close_of(&mut broker), (1001, "the orchestrator has stopped".to_owned()));
}

/// A conversation with the ends of its queues and socket.
fn converse(test: impl AsyncFnOnce(tokio::io::DuplexStream, crossbeam_channel::Receiver<Bytes>, &Control)) -> Ending {
    let (metrics, partial, control) = (Metrics::new(), Partial::default(), Control::default());
    let (inbox, from_broker) = Queue::bounded(1, Backlog::new(1 << 20));
    let (_messages, outbox) = mpsc::channel(1);
    let conversation = Conversation { inbox, outbox, control: &control, metrics: &metrics, partial: &partial };
    let (ours, theirs) = tokio::io::duplex(64);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut talk = pin!(conversation.hold(ours));
        let mut play = pin!(test(theirs, from_broker, &control));
        let mut is_played = false;
        std::future::poll_fn(|context| {
            is_played = is_played || play.as_mut().poll(context).is_ready();
            talk.as_mut().poll(context)
        })
        .await
    })
}

fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mask = Some([0; 4]);
    Header { is_final: true, kind: Kind::Text, mask, length: payload.len() as u64 }.write(&mut frame);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn a_full_inbox_stops_the_reading_and_loses_nothing() {
    let ending = converse(async |mut broker, inbox, _| {
        let payload = [b'x'; 1000];
        // The socket of the test holds 64 bytes and one read of ours 64 KiB: the broker gets stuck soon after.
        let mut accepted: u32 = 0;
        while tokio::time::timeout(Duration::from_millis(200), broker.write_all(&text(&payload))).await.is_ok() {
            accepted += 1;
            assert!(accepted < 1000, "nothing stops the broker");
        }
        // The frame that got stuck is broken off, so the end is a violation; what was taken before is all there.
        let mut received = 0;
        while received < accepted {
            match inbox.try_recv() {
                Ok(message) => {
                    assert_eq!(message, &payload[..]);
                    received += 1;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    });
    assert_eq!(ending, Ending::Lost(std::io::ErrorKind::UnexpectedEof));
}

#[test]
#[ignore = "takes as long as the deadline it tests: 45 s"]
fn a_link_on_which_nothing_comes_is_pinged_and_closed() {
    let ending = converse(async |mut broker, _inbox, _| {
        let mut seen = Vec::new();
        let _ = tokio::time::timeout(BROKER_LINK_SILENCE_MAX + CLOSE_TIMEOUT, broker.read_to_end(&mut seen)).await;
        assert_eq!(seen[..6], [0x89, 1, 0, 0x89, 1, 0], "two pings first");
        let close = &seen[seen.len() - 6..];
        assert!(seen.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == [0x03, 0xE9]), "{close:?}");
    });
    assert_eq!(ending, Ending::Silent);
}
