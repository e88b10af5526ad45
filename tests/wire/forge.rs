//! Records that no TLS library would send: the handshake is rustls', then its keys are taken out and each record is
//! sealed by hand (AES-GCM as in RFC 5288 and RFC 8446, 5.2).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{AlertDescription, ClientConfig, ConnectionTrafficSecrets, SupportedProtocolVersion};

use super::client::{end, said};
use super::site::Site;
use super::upgrade::request;
use crate::support::fleet::tls;

/// One direction.
struct Keys {
    key: LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
}

impl Keys {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => panic!("both sides prefer AES-GCM"),
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).unwrap());
        Self { key, iv: iv.as_ref().to_vec(), sequence }
    }

    /// The next nonce of TLS 1.3; the explicit part of one of TLS 1.2 is `explicit`.
    fn nonce(&mut self, explicit: Option<[u8; 8]>) -> Nonce {
        let mut nonce: [u8; 12] = self.iv.clone().try_into().unwrap();
        match explicit {
            Some(explicit) => nonce[4..].copy_from_slice(&explicit),
            None => nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()).for_each(|(byte, mask)| *byte ^= mask),
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Which rules hold for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    Tls12,
    Tls13,
}

/// A connection after its handshake whose records are made by hand.
pub struct Forged {
    socket: TcpStream,
    rules: Rules,
    out: Keys,
    into: Keys,
    incoming: Vec<u8>,
}

impl Forged {
    /// Shakes hands as `node.example`.
    pub fn new(site: &Site, version: &'static SupportedProtocolVersion) -> Self {
        let mut config: ClientConfig = (*site.pki.agent("node.example", version)).clone();
        config.enable_secret_extraction = true;
        let mut stream = tls(site.server.address, Arc::new(config)).unwrap();
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        let secrets = stream.conn.dangerous_extract_secrets().unwrap();
        let rules = if *version == rustls::version::TLS13 { Rules::Tls13 } else { Rules::Tls12 };
        let (out, into) = (Keys::new(secrets.tx), Keys::new(secrets.rx));
        Self { socket: stream.sock, rules, out, into, incoming: Vec::new() }
    }

    /// The same with the upgrade behind it.
    pub fn upgraded(site: &Site, version: &'static SupportedProtocolVersion) -> Self {
        let mut forged = Self::new(site, version);
        forged.send(23, request("/pcp2/forged").as_bytes());
        let answer = forged.next().unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        forged
    }

    /// One record of this kind, however large.
    pub fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut sealed = content.to_vec();
        match self.rules {
            Rules::Tls12 => {
                let explicit = self.out.sequence.to_be_bytes();
                let length = u16::try_from(content.len()).unwrap().to_be_bytes();
                let aad = [&self.out.sequence.to_be_bytes()[..], &[kind, 3, 3], &length].concat();
                let nonce = self.out.nonce(Some(explicit));
                self.out.key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).unwrap();
                let sealed = [&explicit[..], &sealed].concat();
                super::records::record(kind, 0x0303, &sealed)
            }
            Rules::Tls13 => {
                sealed.push(kind);
                self.seal_inner(&mut sealed)
            }
        }
    }

    /// One record of TLS 1.3 with this content, kind and padding.
    pub fn seal_inner(&mut self, inner: &mut Vec<u8>) -> Vec<u8> {
        let length = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let nonce = self.out.nonce(None);
        let aad = [&[23, 3, 3], &length[..]].concat();
        self.out.key.seal_in_place_append_tag(nonce, Aad::from(aad), inner).unwrap();
        super::records::record(23, 0x0303, inner)
    }

    /// Sends a record of this kind.
    pub fn send(&mut self, kind: u8, content: &[u8]) {
        let record = self.seal(kind, content);
        self.write(&record);
    }

    /// Sends bytes as they are; the server may not take them any more.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Everything up to the end in words.
    pub fn rest(&mut self) -> String {
        let mut words = Vec::new();
        loop {
            match self.next() {
                Ok(said) => words.push(said),
                Err(end) => {
                    words.push(end);
                    return words.join(", ");
                }
            }
        }
    }

    /// The next record in words, or how the connection ended.
    fn next(&mut self) -> Result<String, String> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(said) = self.unseal() {
                return Ok(said);
            }
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err("closed".to_owned()),
                Ok(count) => self.incoming.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(end(&error)),
            }
        }
    }

    fn unseal(&mut self) -> Option<String> {
        let length = usize::from(u16::from_be_bytes(self.incoming.get(3..5)?.try_into().unwrap()));
        self.incoming.get(..5 + length)?;
        let record: Vec<u8> = self.incoming.drain(..5 + length).collect();
        let (header, sealed) = record.split_at(5);
        let (kind, content) = match self.rules {
            Rules::Tls12 => {
                let (explicit, sealed) = sealed.split_at(8);
                let plain = u16::try_from(sealed.len() - 16).unwrap().to_be_bytes();
                let aad = [&self.into.sequence.to_be_bytes()[..], &header[..3], &plain].concat();
                let nonce = self.into.nonce(Some(explicit.try_into().unwrap()));
                (header[0], self.into.key.open_in_place(nonce, Aad::from(aad), &mut sealed.to_vec()).unwrap().to_vec())
            }
            Rules::Tls13 => {
                let nonce = self.into.nonce(None);
                let mut sealed = sealed.to_vec();
                let inner = self.into.key.open_in_place(nonce, Aad::from(header), &mut sealed).unwrap();
                let end = inner.iter().rposition(|&byte| byte != 0).unwrap();
                (inner[end], inner[..end].to_vec())
            }
        };
        Some(match (kind, &content[..]) {
            // A ticket, which any client gets that may resume.
            (22, [4, ..]) => return self.unseal(),
            (21, [_, 0]) => "end".to_owned(),
            (21, [_, alert]) => format!("alert {:?}", AlertDescription::from(*alert)),
            (23, data) if data.starts_with(b"HTTP/") => String::from_utf8_lossy(data).into_owned(),
            (23, data) => said(data).expect("a frame is a record").0,
            (kind, content) => format!("record {kind} of {} bytes", content.len()),
        })
    }
}
