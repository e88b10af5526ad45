//! Agents that are nothing but a socket with TLS and WebSocket frames.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use podium::websocket::frame::{Header, Kind, Role};
use podium::websocket::session::{Item, Session, close_payload};
use podium::websocket::upgrade::{check_answer, write_request};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Threads that connect: enough to keep the server's two workers busy.
const THREADS: usize = 4;

/// How long a socket may be silent before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One agent's connection.
pub struct Agent {
    tls: StreamOwned<ClientConnection, TcpStream>,
    session: Session,
    /// Bytes after what was read last.
    incoming: Vec<u8>,
}

impl Agent {
    /// Connects and upgrades, as an agent.
    pub fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        Self::connect_to(address, "/pcp2/agent", config)
    }

    /// The same with another path.
    pub fn connect_to(address: SocketAddr, path: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        let mut tls = tls(address, config)?;
        let mut request = Vec::new();
        let key = write_request("localhost", address.port(), path, &mut request);
        tls.write_all(&request)?;
        let mut incoming = Vec::new();
        loop {
            read_some(&mut tls, &mut incoming)?;
            match check_answer(&incoming, &key) {
                Ok(None) => {}
                Ok(Some(size)) => {
                    incoming.drain(..size);
                    let session = Session::new(Role::Client, podium::limits::AGENT_RECEIVE_BYTES_MAX);
                    return Ok(Self { tls, session, incoming });
                }
                Err(error) => return Err(io::Error::other(error.advice(path))),
            }
        }
    }

    /// Sends one message.
    pub fn send(&mut self, text: &[u8]) -> io::Result<()> {
        self.frame(Kind::Text, text)
    }

    /// Says goodbye; the socket is closed with the agent.
    pub fn close(&mut self) -> io::Result<()> {
        self.frame(Kind::Close, &close_payload(1000, ""))
    }

    /// A mask of zeros leaves the payload as it is.
    fn frame(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let mut wire = Vec::new();
        Header { is_final: true, kind, mask: Some([0; 4]), length: payload.len() as u64 }.write(&mut wire);
        wire.extend_from_slice(payload);
        self.tls.write_all(&wire)
    }

    /// Waits for the broker's goodbye, throws away what comes before it, and answers.
    pub fn wait_close(&mut self) -> io::Result<(u16, String)> {
        loop {
            let (consumed, close) = match self.session.next(&mut self.incoming, usize::MAX) {
                Ok((consumed, Item::Close(code, reason))) => (consumed, Some((code, reason.into_string()))),
                Ok((consumed, _)) => (consumed, None),
                Err(violation) => return Err(io::Error::other(violation.label())),
            };
            self.incoming.drain(..consumed);
            if let Some((code, reason)) = close {
                self.frame(Kind::Close, &close_payload(code, &reason))?;
                return Ok((code, reason));
            }
            if self.incoming.is_empty() {
                read_some(&mut self.tls, &mut self.incoming)?;
            }
        }
    }

    /// What the server showed in the handshake.
    pub fn server_certificate(&self) -> Vec<u8> {
        self.tls.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Waits for one message.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let (consumed, message) = match self.session.next(&mut self.incoming, usize::MAX) {
                Ok((consumed, Item::Message(_, payload))) => (consumed, Some(payload.to_vec())),
                Ok((consumed, Item::Assembled(_, payload))) => (consumed, Some(payload)),
                Ok((consumed, _)) => (consumed, None),
                Err(violation) => return Err(io::Error::other(violation.label())),
            };
            self.incoming.drain(..consumed);
            if let Some(message) = message {
                self.incoming.shrink_to_fit();
                return Ok(message);
            }
            if self.incoming.is_empty() {
                read_some(&mut self.tls, &mut self.incoming)?;
            }
        }
    }
}

/// A TLS connection before its handshake.
pub fn tls(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, tcp(address)?))
}

pub fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Reads until the peer closes, in whatever way.
pub fn read_to_end(stream: &mut impl Read) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer), Ok(count) if count > 0) {}
}

fn read_some(stream: &mut impl Read, into: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            into.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}

/// Does `each` for the numbers `0..count` on a few threads and collects what they make.
pub fn in_parallel<T: Send>(count: usize, each: impl Fn(usize) -> T + Sync) -> Vec<T> {
    in_parallel_on(THREADS, count, each)
}

/// The same on so many threads.
pub fn in_parallel_on<T: Send>(threads: usize, count: usize, each: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return made;
            }
            made.push(each(number));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Does `each` to everything that there is, a few at once.
pub fn in_parallel_over<T: Send>(all: &mut [T], each: impl Fn(&mut T) + Sync) {
    let part = all.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        for part in all.chunks_mut(part) {
            scope.spawn(|| part.iter_mut().for_each(&each));
        }
    });
}
