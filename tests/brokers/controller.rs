//! One broker and a controller that the test plays: a websocket server with the certificate of an orchestrator.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use podium::config::settings::CertificatePaths;
use podium::tls::material::{ClientAuth, Material};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket};

use crate::system::hostile::config;
use crate::system::lab::Lab;

const BROKER: &str = "compile1.example.test";
const ORCHESTRATOR: &str = "orch2.example.test";
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the broker's controller is to be.
struct Controller {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
}

type Link = WebSocket<StreamOwned<ServerConnection, TcpStream>>;
type Client = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

impl Controller {
    /// With the certificate of `ORCHESTRATOR`, which is for `localhost` too.
    fn new(lab: &Lab) -> Self {
        lab.issue(ORCHESTRATOR, &["--dns-alt-names", "localhost"]);
        let certificates = lab.certificates(ORCHESTRATOR);
        let paths = CertificatePaths {
            certificate: certificates.certificate.into(),
            key: certificates.key.into(),
            ca: certificates.ca.into(),
            crl: None,
        };
        let tls = Material::load(&paths).unwrap().server_config(ClientAuth::Required).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, tls }
    }

    fn authority(&self) -> String {
        format!("localhost:{}", self.listener.local_addr().unwrap().port())
    }

    /// The broker's next link; checks what it asks for. An attempt that the broker has given up by now is none.
    fn accept(&self) -> Link {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => {
                    if let Some(link) = self.upgrade(socket) {
                        return link;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "the broker did not dial");
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn upgrade(&self, socket: TcpStream) -> Option<Link> {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let stream = StreamOwned::new(ServerConnection::new(self.tls.clone()).unwrap(), socket);
        let mut asked = (String::new(), String::new());
        #[expect(clippy::result_large_err, reason = "tungstenite's own signature")]
        let note = |request: &Request, response: Response| {
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            asked = (request.uri().path().to_owned(), host);
            Ok(response)
        };
        let link = tungstenite::accept_hdr(stream, note).ok()?;
        assert_eq!(asked, ("/server/server".to_owned(), self.authority()));
        Some(link)
    }
}

fn text(link: &mut WebSocket<impl std::io::Read + std::io::Write>) -> Value {
    loop {
        match link.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?} instead of a text"),
        }
    }
}

fn close_of(client: &mut Client) -> (u16, String) {
    loop {
        match client.read().unwrap() {
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
            Message::Close(None) => panic!("a close frame without a code"),
            _ => {}
        }
    }
}

/// An agent that is nothing but a socket; the status of the answer if the broker does not want it.
fn connect(lab: &Lab, port: u16, name: &str) -> Result<Client, u16> {
    let tls = ClientConnection::new(config(&lab.certificates(name)), ServerName::try_from("localhost").unwrap());
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("wss://localhost:{port}/pcp2/agent").into_client_request().unwrap();
    match tungstenite::client(request, StreamOwned::new(tls.unwrap(), socket)) {
        Ok((client, _)) => Ok(client),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            let body = response.body().clone().unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&body).trim(), "All controllers disconnected.");
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

/// The same as soon as the broker lets it in. Whoever has been answered is associated.
fn connected(lab: &Lab, port: u16, name: &str) -> Client {
    let mut client = None;
    lab.wait("the broker to accept clients", || {
        client = connect(lab, port, name).ok();
        client.is_some()
    });
    client.unwrap()
}

fn message(kind: &str, target: &str, data: &Value) -> Message {
    let id = "1d2c3b4a-0000-4000-8000-000000000001";
    let message_type = format!("http://puppetlabs.com/{kind}");
    Message::text(json!({"id": id, "message_type": message_type, "target": target, "data": data}).to_string())
}

fn subscribe(link: &mut Link) -> Value {
    let data = json!({"query": ["pcp://*/agent"], "subscribe": true});
    link.send(message("inventory_request", "pcp:///server", &data)).unwrap();
    text(link)["data"]["uris"].clone()
}

fn start(settings: &str) -> (Lab, Controller, u16) {
    let mut lab = Lab::new(&["a.example.test", "b.example.test"]);
    let controller = Controller::new(&lab);
    let port = lab.add_broker(BROKER, &format!("wss://{}/server", controller.authority()), settings);
    lab.start_broker(BROKER);
    lab.wait("the broker to listen", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (lab, controller, port)
}

#[test]
fn requests_and_answers_pass_a_dialled_link_and_the_subscription_starts_afresh() {
    let (mut lab, controller, port) = start("");
    assert_eq!(connect(&lab, port, "a.example.test").err(), Some(503), "no controller is there");
    let mut link = controller.accept();
    let mut a = connected(&lab, port, "a.example.test");
    assert_eq!(subscribe(&mut link), json!(["pcp://a.example.test/agent"]));
    link.send(message("rpc_blocking_request", "pcp://a.example.test/agent", &json!({"n": 1}))).unwrap();
    let request = text(&mut a);
    let uri = format!("pcp://{}/server", controller.authority());
    assert_eq!((&request["sender"], &request["data"]), (&json!(uri), &json!({"n": 1})));
    a.send(message("rpc_blocking_response", &uri, &json!({"n": 2}))).unwrap();
    let answer = text(&mut link);
    assert_eq!((&answer["sender"], &answer["data"]), (&json!("pcp://a.example.test/agent"), &json!({"n": 2})));
    link.send(message("rpc_blocking_request", "pcp://*/agent", &json!({}))).unwrap();
    assert_eq!(text(&mut link)["data"], "Multiple recipients no longer supported.");
    link.send(Message::text("nonsense")).unwrap();
    assert_eq!(text(&mut link)["data"], "Could not decode message");

    drop(link);
    let mut link = controller.accept();
    let mut b = connected(&lab, port, "b.example.test");
    assert_eq!(subscribe(&mut link), json!(["pcp://a.example.test/agent", "pcp://b.example.test/agent"]));
    b.close(None).unwrap();
    let update = text(&mut link);
    assert_eq!(update["data"]["changes"], json!([{"client": "pcp://b.example.test/agent", "change": -1}]));

    let log = lab.log(&format!("broker-{BROKER}"));
    assert!(log.contains("established connection with controller") && log.contains("lost connection"), "{log}");
    assert_eq!(lab.stop_broker(BROKER), Some(0));
    assert_eq!(close_of(&mut a), (1001, "Broker is stopping.".to_owned()));
}

#[test]
fn clients_are_closed_when_no_controller_comes_back_in_time() {
    let (lab, controller, port) = start("pcp-broker.controller-disconnection-graceperiod: 1s");
    let link = controller.accept();
    let mut a = connected(&lab, port, "a.example.test");
    drop(link);
    // The broker dials again and is not answered, so there is still no controller.
    assert_eq!(close_of(&mut a), (1011, "All controllers disconnected.".to_owned()));
    assert_eq!(connect(&lab, port, "a.example.test").err(), Some(503));
    let _link = controller.accept();
    connected(&lab, port, "a.example.test");
}
