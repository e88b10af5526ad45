//! A small HTTPS server for the tests of whatever downloads something.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::tls::material::ClientAuth;
use crate::tls::testing::Pki;

/// What a handler sees.
pub struct Received {
    /// `GET` and so on.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Lines after the first.
    pub headers: Vec<String>,
    /// As text.
    pub body: String,
}

/// What a handler answers.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Content.
    pub body: Vec<u8>,
    /// Whether the server closes after it without having said so.
    pub close: bool,
    /// What goes over the wire.
    pub shape: Shape,
}

/// What goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A whole answer with this status and body.
    Answer,
    /// The body alone, which has to be an answer itself or is none, and then the end.
    Bytes,
    /// The body alone, and then nothing for as long as the client stays.
    Stall,
}

impl Reply {
    /// Status 200.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::of(200, body)
    }

    /// Any status.
    pub fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), close: false, shape: Shape::Answer }
    }

    /// These bytes and the end of the connection.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { shape: Shape::Bytes, close: true, ..Self::ok(bytes) }
    }

    /// These bytes, and then nothing for as long as the client stays.
    pub fn stall(bytes: impl Into<Vec<u8>>) -> Self {
        Self { shape: Shape::Stall, ..Self::ok(bytes) }
    }

    /// The same, with the connection closed behind it.
    pub fn closing_silently(self) -> Self {
        Self { close: true, ..self }
    }
}

type Handler = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

#[derive(Default)]
struct Counts {
    opened: usize,
    closed: usize,
}

/// Listens on a port of its own until the process ends.
pub struct Server {
    port: u16,
    counts: Arc<(Mutex<Counts>, Condvar)>,
}

impl Server {
    /// Asks clients for certificates of its own CA.
    pub fn start(pki: &Pki, handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_demanding_certificates(pki, pki, handler)
    }

    /// Asks clients for no certificate.
    pub fn start_open(pki: &Pki, handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let config = pki.material("localhost").server_config(ClientAuth::Optional).unwrap();
        Self::serve(config, handler)
    }

    /// Asks clients for certificates of another CA.
    pub fn start_demanding_certificates(
        pki: &Pki,
        clients: &Pki,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(pki.server_for_clients_of("localhost", clients), handler)
    }

    fn serve(config: Arc<ServerConfig>, handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new((Mutex::new(Counts::default()), Condvar::new()));
        let handler: Handler = Arc::new(handler);
        let shared = counts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                shared.0.lock().unwrap().opened += 1;
                let (config, handler, shared) = (config.clone(), handler.clone(), shared.clone());
                std::thread::spawn(move || {
                    serve(stream.unwrap(), config, &handler);
                    shared.0.lock().unwrap().closed += 1;
                    shared.1.notify_all();
                });
            }
        });
        Self { port, counts }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.counts.0.lock().unwrap().opened
    }

    /// Waits until so many connections have been closed by the server.
    pub fn wait_closed(&self, count: usize) {
        let closed = self.counts.0.lock().unwrap();
        let limit = Duration::from_secs(10);
        let (_guard, timeout) = self.counts.1.wait_timeout_while(closed, limit, |c| c.closed < count).unwrap();
        assert!(!timeout.timed_out());
    }
}

/// Serves one connection; its errors are the client's to report.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, handler: &Handler) -> Option<()> {
    let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut tls = BufReader::new(tls);
    loop {
        let mut line = String::new();
        tls.read_line(&mut line).ok().filter(|&length| length > 0)?;
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let (mut length, mut headers) = (0, Vec::new());
        loop {
            let mut header = String::new();
            tls.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            headers.push(header.trim().to_owned());
        }
        let mut body = vec![0; length];
        tls.read_exact(&mut body).ok()?;
        let reply = handler(&Received { method, path, headers, body: String::from_utf8(body).ok()? });
        let head = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n", reply.status, reply.body.len());
        let head = if reply.shape == Shape::Answer { head.as_bytes() } else { b"" };
        tls.get_mut().write_all(&[head, &reply.body].concat()).ok()?;
        tls.get_mut().flush().ok()?;
        if reply.shape == Shape::Stall {
            return tls.read_to_end(&mut Vec::new()).ok().map(|_| ());
        }
        if reply.close {
            tls.get_mut().conn.send_close_notify();
            return tls.get_mut().flush().ok();
        }
    }
}
