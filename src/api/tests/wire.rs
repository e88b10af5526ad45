//! A started server over TLS: with and without a certificate, and peers that misbehave.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::api::fake::{Fake, TOKEN, file_content, serve};
use crate::clock::{Clock, Moment};
use crate::https::{Client, Downloaded, Method, Request};
use crate::limits::{API_BODY_BYTES_MAX, API_HEAD_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::tls::material::anonymous_client_config;
use crate::tls::testing::Pki;

const LIMIT: Duration = Duration::from_secs(20);

/// A grace that a test would not outlive.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

fn get(client: &mut Client, port: u16, path: &str) -> (u16, String) {
    let headers = &[("X-Authentication", TOKEN)];
    let request =
        Request { method: Method::GET, host: "localhost", port, path_and_query: path, headers, body: Vec::new() };
    let response = client.request(&request, 1 << 20).unwrap();
    (response.status.as_u16(), String::from_utf8(response.body).unwrap())
}

fn raw(config: Arc<ClientConfig>, port: u16) -> StreamOwned<ClientConnection, TcpStream> {
    let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    StreamOwned::new(connection, socket)
}

#[test]
fn a_certificate_opens_the_files_and_none_does_not() {
    let pki = Pki::new("ca");
    let server = serve(Fake::new(), &pki);
    let port = server.local_addr().port();
    let path = "/puppet/v3/file_content/tasks/demo/a%20file.sh?environment=production";

    let mut anonymous = Client::new(anonymous_client_config(&pki.ca()).unwrap(), LIMIT, LIMIT).unwrap();
    let (status, text) = get(&mut anonymous, port, path);
    assert_eq!(status, 403);
    assert!(text.starts_with("Forbidden request: /puppet/v3/file_content/tasks/demo/a%20file.sh (method :get)."));
    assert_eq!(get(&mut anonymous, port, "/orchestrator/v1/jobs/82").0, 200);

    let config = pki.material("agent01.example.com").client_config().unwrap();
    let mut agent = Client::new(config, LIMIT, LIMIT).unwrap();
    let mut content = Vec::new();
    let outcome = agent.download("localhost", port, path, &mut content, 1 << 20).unwrap();
    assert_eq!(outcome, Downloaded::Complete { bytes: content.len() as u64 });
    assert!(content == file_content());
    server.stop(Duration::from_secs(1));
}

#[test]
fn a_certificate_of_another_ca_gets_no_connection() {
    let pki = Pki::new("ca");
    let server = serve(Fake::new(), &pki);
    let foreign = Pki::new("other").issue("agent01.example.com");
    let config = pki.client(&rustls::version::TLS13, Some(&foreign));
    let mut stranger = Client::new(config, LIMIT, LIMIT).unwrap();
    let path_and_query = "/status/v1/simple";
    let port = server.local_addr().port();
    let headers = &[];
    let request = Request { method: Method::GET, host: "localhost", port, path_and_query, headers, body: Vec::new() };
    assert!(stranger.request(&request, 1024).is_err());
}

#[test]
fn a_body_that_is_too_large_is_answered_before_it_is_sent() {
    let pki = Pki::new("ca");
    let server = serve(Fake::new(), &pki);
    let mut stream = raw(anonymous_client_config(&pki.ca()).unwrap(), server.local_addr().port());
    let length = API_BODY_BYTES_MAX + 1;
    write!(
        stream,
        "POST /orchestrator/v1/command/task HTTP/1.1\r\nHost: x\r\nX-Authentication: {TOKEN}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .unwrap();
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[..12], b"HTTP/1.1 413");
}

#[test]
fn whoever_hangs_up_is_noted_all_the_same() {
    let pki = Pki::new("ca");
    let fake = Fake::new();
    let audit_log = fake.audit_log();
    let server = serve(fake, &pki);
    let mut stream = raw(anonymous_client_config(&pki.ca()).unwrap(), server.local_addr().port());
    // A wrong password is answered late, so that the client is gone by then.
    let body = r#"{"login": "mallory", "password": "a guess"}"#;
    let length = body.len();
    write!(
        stream,
        "POST /rbac-api/v1/auth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    stream.flush().unwrap();
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let deadline = Clock::start();
    let noted = || std::fs::read_to_string(&audit_log).unwrap_or_default().contains("/rbac-api/v1/auth/token");
    while !noted() {
        assert!(deadline.now().since(Moment::default()) < LIMIT, "it was forgotten with the connection");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.stop(Duration::from_secs(1));
}

#[test]
fn stopping_ends_idle_connections() {
    let pki = Pki::new("ca");
    let server = serve(Fake::new(), &pki);
    let mut stream = raw(anonymous_client_config(&pki.ca()).unwrap(), server.local_addr().port());
    write!(stream, "GET /status/v1/simple/status-service HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    // If the idle connection were waited for, the test would not end.
    server.stop(FOR_EVER);
    let mut rest = Vec::new();
    // The server's end may come with or without a close alert.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.ends_with(b"running"));
}

#[test]
fn stopping_is_quick_when_nothing_is_under_way() {
    let pki = Pki::new("ca");
    let server = serve(Fake::new(), &pki);
    let port = server.local_addr().port();
    // Several, so that the blocking threads of both loops have worked and are idle now.
    for _ in 0..8 {
        let mut client = Client::new(anonymous_client_config(&pki.ca()).unwrap(), LIMIT, LIMIT).unwrap();
        assert_eq!(get(&mut client, port, "/orchestrator/v1/jobs/82").0, 200);
    }
    // If threads that do nothing were waited for, the test would not end.
    server.stop(FOR_EVER);
}

#[test]
#[ignore = "takes as long as the deadlines it tests: 15 s"]
fn peers_that_dawdle_are_dropped() {
    let pki = Pki::new("ca");
    let server = serve(Fake::new(), &pki);
    let port = server.local_addr().port();
    let patience = Some(API_HEAD_TIMEOUT + LIMIT);

    let started = Clock::start();
    let mut silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    silent.set_read_timeout(patience).unwrap();
    let mut halfway = raw(anonymous_client_config(&pki.ca()).unwrap(), port);
    halfway.sock.set_read_timeout(patience).unwrap();
    write!(halfway, "GET /status/v1/simple HTTP/1.1\r\nHost: ").unwrap();

    assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0);
    assert!(started.now() >= Moment::default() + HANDSHAKE_TIMEOUT);
    let mut rest = Vec::new();
    // The server's end may come with or without a close alert.
    let _ = halfway.read_to_end(&mut rest);
    assert!(started.now() >= Moment::default() + API_HEAD_TIMEOUT);
    assert!(started.now() < Moment::default() + API_HEAD_TIMEOUT + LIMIT / 2);
}
