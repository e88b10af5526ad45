//! A client that sends what it is told to, and says in a few words what it gets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use podium::pcp::{Envelope, TYPE_PREFIX};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use super::upgrade::request;
use crate::support::fleet::tls;

/// One connection over TLS.
pub struct Wire {
    tls: StreamOwned<ClientConnection, TcpStream>,
    incoming: Vec<u8>,
}

impl Wire {
    pub fn new(tls: StreamOwned<ClientConnection, TcpStream>) -> Self {
        Self { tls, incoming: Vec::new() }
    }

    /// Connects and upgrades.
    pub fn open(address: SocketAddr, config: Arc<ClientConfig>, path: &str) -> Self {
        let mut wire = Self::new(tls(address, config).unwrap());
        wire.send(request(path).as_bytes());
        assert_eq!(wire.head().unwrap(), "101");
        wire
    }

    /// The same, or nothing if the server has hung up before its answer.
    pub fn attempt(address: SocketAddr, config: Arc<ClientConfig>, path: &str) -> Option<Self> {
        let mut wire = Self::new(tls(address, config).ok()?);
        wire.send(request(path).as_bytes());
        let head = wire.head().ok()?;
        assert_eq!(head, "101");
        Some(wire)
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tls.sock
    }

    pub fn connection(&mut self) -> &mut ClientConnection {
        &mut self.tls.conn
    }

    /// Sends what the server still takes; why it takes no more is in what it says.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.tls.write_all(bytes).and_then(|()| self.tls.flush());
    }

    /// The next frame in words.
    pub fn next(&mut self) -> String {
        loop {
            if let Some((said, size)) = said(&self.incoming) {
                self.incoming.drain(..size);
                return said;
            }
            if let Err(end) = self.read() {
                return end;
            }
        }
    }

    /// Everything up to the end in words.
    pub fn rest(&mut self) -> String {
        let end = loop {
            if let Err(end) = self.read() {
                break end;
            }
        };
        let mut words = Vec::new();
        while let Some((said, size)) = said(&self.incoming) {
            self.incoming.drain(..size);
            words.push(said);
        }
        if !self.incoming.is_empty() {
            words.push(format!("{} bytes of a frame", self.incoming.len()));
        }
        words.push(end);
        words.join(", ")
    }

    /// The answer to a request, and what follows, in words.
    pub fn http(&mut self) -> String {
        match self.head() {
            Ok(head) if head == "101" => format!("101, {}", self.rest()),
            Ok(head) => {
                let end = loop {
                    if let Err(end) = self.read() {
                        break end;
                    }
                };
                format!("{head} {}, {end}", String::from_utf8_lossy(&self.incoming).trim_end())
            }
            Err(end) => end,
        }
    }

    /// Sends a byte now and then until the server hangs up, and says how it does.
    pub fn trickle(&mut self, bytes: &[u8], pace: Duration) -> String {
        self.tls.sock.set_read_timeout(Some(pace)).unwrap();
        for byte in bytes {
            self.send(&[*byte]);
            match self.read() {
                Err(end) if end == "error WouldBlock" => {}
                Err(end) => return end,
                Ok(()) => return format!("{} for half a request", self.incoming.escape_ascii()),
            }
        }
        "all of it was taken".to_owned()
    }

    /// The status, once the head of an answer is there.
    fn head(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = self.incoming.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.incoming.drain(..at + 4).collect();
                let head = String::from_utf8(head).unwrap();
                return Ok(head.split(' ').nth(1).unwrap().to_owned());
            }
            self.read()?;
        }
    }

    /// Reads as a stream does, but writes nothing first: what the server took no more of would hide what it has said.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.tls.conn.process_new_packets().map_err(io::Error::other)?;
            match self.tls.conn.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.tls.conn.read_tls(&mut self.tls.sock)?;
        }
    }

    /// Reads once, or says how the connection ended: with the end that TLS wants, cut without it, reset, or with an
    /// alert.
    fn read(&mut self) -> Result<(), String> {
        let mut buffer = [0; 16 * 1024];
        match self.receive(&mut buffer) {
            Ok(0) => Err("end".to_owned()),
            Ok(count) => {
                self.incoming.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(end(&error)),
        }
    }
}

/// How a connection ended.
pub fn end(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => return format!("alert {alert:?}"),
        Some(other) => return format!("tls {other:?}"),
        None => {}
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "cut".to_owned(),
        io::ErrorKind::ConnectionReset => "reset".to_owned(),
        other => format!("error {other:?}"),
    }
}

/// A masked frame with this first byte and a mask of zeros, with a length in as few bytes as possible.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = header(first, payload.len() as u64);
    wire.extend_from_slice(payload);
    wire
}

/// Only the header.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let bytes = length.to_be_bytes();
    let mut wire = match length {
        0..126 => vec![first, 0x80 | bytes[7]],
        126..0x1_0000 => [&[first, 0x80 | 126], &bytes[6..]].concat(),
        _ => [&[first, 0x80 | 127], &bytes[..]].concat(),
    };
    wire.extend_from_slice(&[0; 4]);
    wire
}

/// The first frame of a server in words, with the bytes it takes.
pub fn said(bytes: &[u8]) -> Option<(String, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (at, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(at..at + length)?;
    let words = match (first, payload) {
        (0x81, text) => message(text),
        (0x82, bytes) => message_v1(bytes),
        (0x8A, payload) => format!("pong {}", payload.escape_ascii()),
        (0x88, []) => "close without code".to_owned(),
        (0x88, [high, low, reason @ ..]) => {
            let reason = String::from_utf8_lossy(reason);
            format!("close {} {reason}", u16::from_be_bytes([*high, *low])).trim_end().to_owned()
        }
        (first, payload) => format!("frame {first:#x} {}", payload.escape_ascii()),
    };
    Some((words, at + length))
}

/// A message in words: type, data, and what it answers.
fn message(text: &[u8]) -> String {
    let envelope = Envelope::decode(text).unwrap_or_else(|error| panic!("{error}: {}", text.escape_ascii()));
    let kind = envelope.message_type.trim_start_matches(TYPE_PREFIX);
    let data = envelope.data.map_or("no data".to_owned(), |data| data_in_words(data.get()));
    let answered = envelope.in_reply_to.map_or(String::new(), |id| format!(" (re {id})"));
    format!("{kind}: {data}{answered}")
}

fn data_in_words(raw: &str) -> String {
    if raw.len() > 300 {
        return format!("{} bytes of data", raw.len());
    }
    match serde_json::from_str(raw) {
        Ok(Value::String(text)) => text,
        Ok(data) if data["success"] == true => "success".to_owned(),
        Ok(data) => match (&data["reason"], &data["description"], &data["id"]) {
            (Value::String(reason), ..) => reason.clone(),
            (_, Value::String(text), Value::String(id)) => format!("{text} (re {id})"),
            (_, Value::String(text), _) => text.clone(),
            _ => raw.to_owned(),
        },
        Err(_) => raw.to_owned(),
    }
}

/// A message of PCP 1.0 in words: a version byte, a chunk with the envelope, a chunk with the data.
fn message_v1(bytes: &[u8]) -> String {
    let [envelope, data] = chunks_v1(bytes).unwrap_or_else(|| panic!("no message: {}", bytes.escape_ascii()));
    let envelope: Value = serde_json::from_slice(envelope).unwrap();
    let kind = envelope["message_type"].as_str().unwrap().trim_start_matches(TYPE_PREFIX);
    format!("v1 {kind}: {}", data_in_words(std::str::from_utf8(data).unwrap()))
}

fn chunks_v1(bytes: &[u8]) -> Option<[&[u8]; 2]> {
    let (envelope, rest) = chunk_v1(bytes.strip_prefix(&[1])?, 1)?;
    let (data, rest) = chunk_v1(rest, 2)?;
    rest.is_empty().then_some([envelope, data])
}

fn chunk_v1(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.strip_prefix(&[kind])?.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}
