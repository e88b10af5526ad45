//! Bad input at the broker's port: each kind is refused, counted and logged, and the server goes on serving.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use podium::config::settings::CertificatePaths;
use podium::https::{Client, Method, Request};
use podium::tls::material::{Material, anonymous_client_config};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::lab::{Certificates, Lab};

type Socket = StreamOwned<ClientConnection, TcpStream>;

pub fn config(certificates: &Certificates) -> Arc<ClientConfig> {
    let path = |text: &str| PathBuf::from(text);
    let paths = CertificatePaths {
        certificate: path(&certificates.certificate),
        key: path(&certificates.key),
        ca: path(&certificates.ca),
        crl: None,
    };
    Material::load(&paths).unwrap().client_config().unwrap()
}

fn tcp(lab: &Lab) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", lab.broker_port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn tls(lab: &Lab, config: Arc<ClientConfig>) -> Socket {
    let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    StreamOwned::new(connection, tcp(lab))
}

fn websocket(lab: &Lab, name: &str, path: &str) -> tungstenite::Result<WebSocket<Socket>> {
    let request = format!("wss://localhost:{}{path}", lab.broker_port).into_client_request().unwrap();
    match tungstenite::client(request, tls(lab, config(&lab.certificates(name)))) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
        Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the socket blocks"),
    }
}

/// Reads until the peer closes, for whatever reason.
fn until_closed(stream: &mut impl Read) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer), Ok(count) if count > 0) {}
}

/// Sum of the counters whose line begins like this.
pub fn counter(lab: &Lab, prefix: &str) -> u64 {
    let mut client =
        Client::new(config(&lab.certificates("a.example.test")), Duration::from_secs(30), Duration::from_secs(30))
            .unwrap();
    let request = Request {
        method: Method::GET,
        host: "localhost",
        port: lab.api_port,
        path_and_query: "/metrics",
        headers: &[],
        body: Vec::new(),
    };
    let response = client.request(&request, 1 << 20).unwrap();
    let text = String::from_utf8(response.body).unwrap();
    assert!(response.status.is_success(), "{text}");
    let values = text.lines().filter(|line| line.starts_with(prefix)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}

/// Does something bad, and expects one of these counters to go up and the log to have the word.
fn expect(lab: &Lab, prefix: &str, word: &str, bad: impl FnOnce()) {
    let before = counter(lab, prefix);
    bad();
    lab.wait(&format!("{prefix} to count"), || counter(lab, prefix) > before);
    lab.wait(&format!("the log to say {word}"), || lab.log("server").contains(word));
}

/// Resident memory of the server in KiB.
fn resident_kib(lab: &Lab) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", lab.server_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn bad_input_is_refused_counted_and_logged() {
    let mut lab = Lab::new(&["a.example.test", "revoked.example.test"]);
    lab.revoke("revoked.example.test");
    let other = Lab::new(&["a.example.test"]);
    lab.start_server();
    let good = websocket(&lab, "a.example.test", "/pcp2/agent").unwrap();
    let before = resident_kib(&lab);

    expect(&lab, "podium_refused_total{label=\"not-tls\"}", "not-tls", || {
        let mut stream = tcp(&lab);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        until_closed(&mut stream);
    });
    expect(&lab, "podium_refused_total{label=\"no-client-certificate\"}", "no-client-certificate", || {
        let ca = lab.certificates("a.example.test").ca;
        let mut stream = tls(&lab, anonymous_client_config(ca.as_ref()).unwrap());
        let _ = stream.write_all(b"GET /pcp2 HTTP/1.1\r\n\r\n");
        until_closed(&mut stream);
    });
    expect(&lab, "podium_refused_total{label=\"certificate-unknown-ca\"}", "certificate-unknown-ca", || {
        let foreign = other.certificates("a.example.test");
        let ours = Certificates { ca: lab.certificates("a.example.test").ca, ..foreign };
        let mut stream = tls(&lab, config(&ours));
        let _ = stream.write_all(b"GET /pcp2 HTTP/1.1\r\n\r\n");
        until_closed(&mut stream);
    });
    expect(&lab, "podium_refused_total{label=\"certificate-revoked\"}", "certificate-revoked", || {
        assert!(websocket(&lab, "revoked.example.test", "/pcp2/agent").is_err());
    });
    expect(&lab, "podium_refused_total", "Association unsuccessful.", || {
        let refused = websocket(&lab, "a.example.test", "/pcp2/server").unwrap_err();
        assert!(matches!(refused, tungstenite::Error::Http(response) if response.status() == 403));
    });
    expect(&lab, "podium_closed_total{label=\"ws-too-big\"}", "ws-too-big", || {
        let mut socket = websocket(&lab, "a.example.test", "/pcp2/big").unwrap();
        // The header of a masked text frame of 100 MB, and a little of it.
        let mut frame = vec![0x81, 0xFF];
        frame.extend_from_slice(&100_000_000u64.to_be_bytes());
        frame.extend_from_slice(&[0; 4096]);
        socket.get_mut().write_all(&frame).unwrap();
        let close = socket.read().unwrap();
        assert!(matches!(&close, Message::Close(Some(frame)) if u16::from(frame.code) == 1009), "{close:?}");
    });
    expect(&lab, "podium_decode_errors_total", "could not be decoded", || {
        let mut socket = websocket(&lab, "a.example.test", "/pcp2/odd").unwrap();
        socket.send(Message::text("{\"id\": \"not an envelope\u{7}\"}")).unwrap();
        let answer = socket.read().unwrap();
        assert!(answer.to_text().unwrap().contains("Could not decode message"), "{answer:?}");
    });

    // Half a frame and then silence, many times over, costs next to nothing.
    let half: Vec<_> = (0..50)
        .map(|number| {
            let mut socket = websocket(&lab, "a.example.test", &format!("/pcp2/half{number}")).unwrap();
            let mut frame = vec![0x81, 0xFF];
            frame.extend_from_slice(&30_000_000u64.to_be_bytes());
            frame.extend_from_slice(&[0; 1024]);
            socket.get_mut().write_all(&frame).unwrap();
            socket
        })
        .collect();
    let grown = resident_kib(&lab).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more after bad input");
    drop(half);

    let mut good = good;
    good.send(Message::text("still there?")).unwrap();
    assert!(good.read().unwrap().to_text().unwrap().contains("Could not decode message"));
}
