//! What the client says to each broker, no more than these requests and answers need: PCP version 2, the NATS client
//! protocol, MQTT 3.1.1.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use podium::websocket::frame::{Header, Kind, Role};
use podium::websocket::session::{Item, Session};
use podium::websocket::upgrade::{check_answer, write_request};

use super::brokers::Peer;
use super::swarm::CONTROLLER;

/// Who a connection belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Controller,
    Agent(usize),
}

impl Who {
    pub fn name(self) -> String {
        match self {
            Self::Controller => CONTROLLER.to_owned(),
            Self::Agent(number) => agent(number),
        }
    }
}

fn agent(number: usize) -> String {
    format!("agent{number:06}")
}

/// What has come.
pub enum Incoming {
    /// The payload of a message.
    Payload(Vec<u8>),
    /// The broker wants this for an answer, and no more.
    Reply(Vec<u8>),
    /// Of no interest.
    Other,
}

/// One connection's side of the protocol.
pub enum Protocol {
    Pcp(Session, String),
    Nats,
    Mqtt,
}

impl Protocol {
    /// Before TLS: NATS says something first.
    pub fn before_tls(peer: Peer, socket: &TcpStream) -> io::Result<()> {
        if peer == Peer::Nats {
            let mut greeting = Vec::new();
            // Exactly its line: what follows is TLS.
            BufReader::with_capacity(1, socket).read_until(b'\n', &mut greeting)?;
        }
        Ok(())
    }

    /// Says who we are and waits until messages for us will come.
    pub fn join(peer: Peer, who: Who, stream: &mut (impl Read + Write)) -> io::Result<Self> {
        match peer {
            Peer::Podium => join_pcp(who, stream),
            Peer::Nats => join_nats(who, stream),
            Peer::Mosquitto => join_mqtt(who, stream),
        }
    }

    /// The bytes of a message with this payload: the controller's to an agent, an agent's to the controller.
    pub fn message(&self, to: Who, payload: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Pcp(_, sender) => message_pcp(sender, to, payload, out),
            Self::Nats => {
                write!(out, "PUB {} {}\r\n", to.name(), payload.len()).unwrap();
                out.extend_from_slice(payload);
                out.extend_from_slice(b"\r\n");
            }
            Self::Mqtt => {
                let topic = to.name();
                out.push(0x30);
                remaining_length(2 + topic.len() + payload.len(), out);
                text(&topic, out);
                out.extend_from_slice(payload);
            }
        }
    }

    /// The first whole message of what has come, and how many bytes it has.
    pub fn take(&mut self, incoming: &mut [u8]) -> Option<(usize, Incoming)> {
        match self {
            Self::Pcp(session, _) => {
                let (consumed, item) = session.next(incoming, usize::MAX).expect("frames as they should be");
                let found = match item {
                    Item::Message(_, envelope) => Incoming::Payload(payload_pcp(envelope)),
                    Item::Assembled(_, envelope) => Incoming::Payload(payload_pcp(&envelope)),
                    Item::Close(code, reason) => panic!("closed with {code}: {reason}"),
                    _ => Incoming::Other,
                };
                (consumed > 0).then_some((consumed, found))
            }
            Self::Nats => take_nats(incoming),
            Self::Mqtt => take_mqtt(incoming),
        }
    }
}

fn uri(who: Who) -> String {
    match who {
        Who::Controller => format!("pcp://{CONTROLLER}/controller"),
        Who::Agent(number) => format!("pcp://{}/agent", agent(number)),
    }
}

fn join_pcp(who: Who, stream: &mut (impl Read + Write)) -> io::Result<Protocol> {
    let path = if who == Who::Controller { "/pcp2/controller" } else { "/pcp2/agent" };
    let mut request = Vec::new();
    let key = write_request("localhost", 8142, path, &mut request);
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    read_until(stream, &mut answer, |answer| matches!(check_answer(answer, &key), Ok(Some(_))))?;
    Ok(Protocol::Pcp(Session::new(Role::Client, 1 << 20), uri(who)))
}

/// The payload is the data, a string; it holds no character that JSON would have to escape.
fn message_pcp(sender: &str, to: Who, payload: &[u8], out: &mut Vec<u8>) {
    let kind = if to == Who::Controller { "rpc_blocking_response" } else { "rpc_blocking_request" };
    let mut envelope = Vec::with_capacity(payload.len() + 256);
    let (target, id) = (uri(to), "f93df7fa-5168-4f8d-a7b5-180d46019213");
    write!(
        envelope,
        r#"{{"id":"{id}","message_type":"http://puppetlabs.com/{kind}","target":"{target}","sender":"{sender}","data":""#
    )
    .unwrap();
    envelope.extend_from_slice(payload);
    envelope.extend_from_slice(br#""}"#);
    // A mask of zeros leaves the bytes as they are; the broker unmasks them all the same.
    Header { is_final: true, kind: Kind::Text, mask: Some([0; 4]), length: envelope.len() as u64 }.write(out);
    out.extend_from_slice(&envelope);
}

fn payload_pcp(envelope: &[u8]) -> Vec<u8> {
    let envelope: serde_json::Value = serde_json::from_slice(envelope).expect("an envelope");
    let data = envelope["data"].as_str().unwrap_or_default();
    assert!(!envelope["message_type"].as_str().unwrap_or_default().contains("error"), "{envelope}");
    data.as_bytes().to_vec()
}

fn join_nats(who: Who, stream: &mut (impl Read + Write)) -> io::Result<Protocol> {
    let connect = r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"lang":"bench","version":"1"}"#;
    write!(stream, "{connect}\r\nSUB {} 1\r\nPING\r\n", who.name())?;
    read_until(stream, &mut Vec::new(), |answer| answer.ends_with(b"PONG\r\n"))?;
    Ok(Protocol::Nats)
}

fn take_nats(incoming: &[u8]) -> Option<(usize, Incoming)> {
    let line_end = incoming.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&incoming[..line_end]).expect("a line of text");
    let after = line_end + 2;
    match line.split(' ').next() {
        Some("MSG") => {
            let length: usize = line.rsplit(' ').next().unwrap().parse().expect("a length");
            let payload = incoming.get(after..after + length + 2)?;
            Some((after + length + 2, Incoming::Payload(payload[..length].to_vec())))
        }
        Some("PING") => Some((after, Incoming::Reply(b"PONG\r\n".to_vec()))),
        Some("-ERR") => panic!("{line}"),
        _ => Some((after, Incoming::Other)),
    }
}

fn join_mqtt(who: Who, stream: &mut (impl Read + Write)) -> io::Result<Protocol> {
    let name = who.name();
    let mut out = vec![0x10];
    remaining_length(10 + 2 + name.len(), &mut out);
    // Version 3.1.1, a clean session, no keep-alive.
    out.extend_from_slice(b"\x00\x04MQTT\x04\x02\x00\x00");
    text(&name, &mut out);
    out.push(0x82);
    remaining_length(2 + 2 + name.len() + 1, &mut out);
    out.extend_from_slice(&[0, 1]);
    text(&name, &mut out);
    out.push(0);
    stream.write_all(&out)?;
    // CONNACK has four bytes, SUBACK five.
    let mut answer = Vec::new();
    read_until(stream, &mut answer, |answer| answer.len() >= 9)?;
    assert_eq!((answer[3], answer[8]), (0, 0), "mosquitto does not want us");
    Ok(Protocol::Mqtt)
}

fn take_mqtt(incoming: &[u8]) -> Option<(usize, Incoming)> {
    let (mut length, mut at, mut shift) = (0, 1, 0);
    loop {
        let byte = *incoming.get(at)?;
        length |= usize::from(byte & 0x7f) << shift;
        at += 1;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = incoming.get(at..at + length)?;
    let found = match incoming[0] >> 4 {
        3 => {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            Incoming::Payload(body[2 + topic..].to_vec())
        }
        _ => Incoming::Other,
    };
    Some((at + length, found))
}

fn remaining_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn read_until(stream: &mut impl Read, into: &mut Vec<u8>, done: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while !done(into) {
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::other(format!("closed after {:?}", String::from_utf8_lossy(into)))),
            count => into.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}
