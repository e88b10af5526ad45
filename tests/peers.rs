//! Our record layer against OpenSSL: `openssl s_client` with every suite of TLS 1.2 and 1.3, new keys at its wish, and
//! data of many records. Without the program there is nothing to compare with, and the tests say so.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use podium::config::settings::CertificatePaths;
use podium::tls::material::{ClientAuth, Material};
use podium::tls::session::{TlsSession, TlsState, make_compact};
use rustls::ServerConfig;

use crate::support::pki::{Keys, Pki};

/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

const SUITES: [[&str; 3]; 6] = [
    ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
    ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
    ["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
];

struct Peers {
    config: Arc<ServerConfig>,
    listener: TcpListener,
    certificate: PathBuf,
    key: PathBuf,
    ca: PathBuf,
    _pki: Pki,
}

impl Peers {
    /// `None` if there is no OpenSSL.
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: there is no openssl to compare with");
            return None;
        }
        let pki = Pki::new(Keys::P256);
        let files = pki.server_files();
        let (key, ca) = (files.key.clone(), files.ca.clone());
        let paths = CertificatePaths { certificate: files.certificate, key: files.key, ca: files.ca, crl: None };
        let mut config = Material::load(&paths).unwrap().server_config(ClientAuth::Required).unwrap();
        make_compact(Arc::make_mut(&mut config));
        let certificate = ca.with_file_name("agent.der");
        std::fs::write(&certificate, &pki.certify("agent.example", |_| {}).cert[0]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Some(Self { config, listener, certificate, key, ca, _pki: pki })
    }

    /// A client, and the connection that comes from it.
    fn connect(&self, more: &[&str]) -> (Child, Server) {
        let client = Command::new("openssl")
            .args(["s_client", "-connect", &self.listener.local_addr().unwrap().to_string()])
            .args(["-certform", "DER", "-cert"])
            .arg(&self.certificate)
            .arg("-key")
            .arg(&self.key)
            .arg("-CAfile")
            .arg(&self.ca)
            .arg("-verify_return_error")
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (socket, _) = self.listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = TlsSession::server(self.config.clone()).unwrap();
        let mut server = Server { session, socket, carry: Vec::new(), plain: Vec::new() };
        while server.session.state() == TlsState::Handshaking {
            server.receive();
        }
        assert_eq!(&*server.session.establish().unwrap().common_name, "agent.example");
        (client, server)
    }
}

/// One connection of ours over a socket that blocks.
struct Server {
    session: TlsSession,
    socket: TcpStream,
    carry: Vec<u8>,
    plain: Vec<u8>,
}

impl Server {
    fn receive(&mut self) {
        let mut chunk = [0; 5_000];
        let count = self.socket.read(&mut chunk).expect("the client says something");
        assert_ne!(count, 0, "the client has gone after {:?}", String::from_utf8_lossy(&self.plain));
        self.carry.extend_from_slice(&chunk[..count]);
        let mut out = Vec::new();
        let progress = self.session.read(&mut self.carry, &mut self.plain, &mut out).unwrap();
        self.carry.drain(..progress.consumed);
        self.socket.write_all(&out).unwrap();
    }

    /// The client says this next.
    fn expect(&mut self, said: &[u8]) {
        while self.plain.len() < said.len() {
            self.receive();
        }
        assert!(self.plain == said, "the client said something else");
        self.plain.clear();
    }

    fn say(&mut self, text: &[u8]) {
        let mut out = Vec::new();
        self.session.seal(text, &mut out).unwrap();
        self.socket.write_all(&out).unwrap();
    }

    /// Until the client says that it is going, and to its answer.
    fn end(mut self) {
        while self.session.state() != TlsState::PeerClosed {
            self.receive();
        }
        let mut out = Vec::new();
        self.session.close_notify(&mut out);
        // It may have gone already.
        let _ = self.socket.write_all(&out);
    }
}

fn order(client: &mut Child, text: &[u8]) {
    client.stdin.as_mut().unwrap().write_all(text).unwrap();
}

/// The client says this line of itself.
fn told(client: &mut Child, line: &str) {
    let (mut said, mut byte) = (String::new(), [0]);
    while !said.ends_with(&format!("{line}\n")) {
        client.stderr.as_mut().unwrap().read_exact(&mut byte).expect("the client is still there");
        said.push(byte[0].into());
    }
}

/// What the client has printed by its end, which is a good one.
fn printed(mut client: Child) -> String {
    drop(client.stdin.take());
    let mut bytes = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(client.wait().unwrap().success());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn openssl_with_every_suite() {
    let Some(peers) = Peers::new() else { return };
    for suite in SUITES {
        let (mut client, mut server) = peers.connect(&suite);
        // Not more than a terminal's line at once, and no line that is an order.
        let line = [&[b'.'; 200][..], b"\n"].concat();
        for _ in 0..300 {
            order(&mut client, &line);
            server.expect(&line);
        }
        let long = [&[b'x'; 40_000][..], b"-the end\n"].concat();
        server.say(&long);
        if suite[0] == "-tls1_3" {
            // k: new keys; K: and new keys of ours, too.
            for (letter, number) in [(b"k\n", 1), (b"K\n", 2), (b"K\n", 3), (b"k\n", 4)] {
                // What comes with the letter would be part of it.
                order(&mut client, letter);
                told(&mut client, "KEYUPDATE");
                let said = format!(".said with keys {number}\n");
                order(&mut client, said.as_bytes());
                server.expect(said.as_bytes());
                server.say(format!("answer {number}\n").as_bytes());
            }
        }
        order(&mut client, b"Q\n");
        server.end();
        let text = printed(client);
        assert!(text.contains(&"x".repeat(40_000)), "{suite:?}");
        assert!(text.contains("-the end"), "{suite:?}");
        if suite[0] == "-tls1_3" {
            for number in 1..=4 {
                assert!(text.contains(&format!("answer {number}\n")), "{suite:?} {number}: {text}");
            }
        }
    }
}

/// OpenSSL's own way of asking for a new handshake gets no for an answer, and ends there.
#[test]
fn openssl_does_not_get_another_handshake() {
    let Some(peers) = Peers::new() else { return };
    let (mut client, mut server) = peers.connect(&SUITES[3]);
    order(&mut client, b"R\n");
    let end = loop {
        let mut chunk = [0; 5_000];
        let count = server.socket.read(&mut chunk).expect("the client says something");
        if count == 0 {
            break None;
        }
        server.carry.extend_from_slice(&chunk[..count]);
        let mut out = Vec::new();
        match server.session.read(&mut server.carry, &mut server.plain, &mut out) {
            Ok(progress) => drop(server.carry.drain(..progress.consumed)),
            Err(failure) => break Some(failure.label()),
        }
        server.socket.write_all(&out).unwrap();
    };
    assert_eq!(end, Some("alert-handshake-failure"));
    drop(client.stdin.take());
    assert!(!client.wait().unwrap().success());
}
