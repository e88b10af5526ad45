//! TLS as bytes: client hellos written by hand, and what a server answers before there are keys (RFC 5246, RFC 8446).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustls::AlertDescription;

use super::client::end;

/// One record.
pub fn record(kind: u8, version: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&[kind], &version.to_be_bytes()[..], &length.to_be_bytes(), content].concat()
}

/// One extension.
pub fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&number.to_be_bytes()[..], &length.to_be_bytes(), content].concat()
}

/// What a client of TLS 1.2 needs: groups, signatures.
pub fn extensions() -> Vec<u8> {
    [
        extension(0x000A, &[0, 4, 0, 0x1D, 0, 0x17]),
        extension(0x000B, &[1, 0]),
        extension(0x000D, &[0, 6, 4, 3, 8, 4, 4, 1]),
        extension(0x0017, &[]),
    ]
    .concat()
}

/// A client hello of this version, as a handshake message.
pub fn hello(version: u16, suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut body = [&version.to_be_bytes()[..], &[7; 32], &[0]].concat();
    body.extend_from_slice(&u16::try_from(suites.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&suites);
    body.extend_from_slice(&[1, 0]);
    body.extend_from_slice(&u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend_from_slice(extensions);
    [&[1, 0], &u16::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// ECDHE with ECDSA and AES-GCM, and what an older client would offer.
pub const SUITES: [u16; 3] = [0xC02C, 0xC02B, 0x002F];

/// Sends bytes and the end of this direction, and says in words which records come back. A server that waits for more
/// hangs up then.
pub fn rest(mut socket: TcpStream, bytes: &[u8]) -> String {
    // The server may have hung up before it has read all of it.
    let _ = socket.write_all(bytes);
    let mut words = Vec::new();
    let mut incoming = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        while let Some(length) = whole(&incoming) {
            let record: Vec<u8> = incoming.drain(..length).collect();
            words.push(describe(&record));
            // There is more only if the client goes on.
            if record[0] == 22 {
                let _ = socket.shutdown(Shutdown::Write);
            }
        }
        match socket.read(&mut buffer) {
            Ok(0) => break "closed".to_owned(),
            Ok(count) => incoming.extend_from_slice(&buffer[..count]),
            Err(error) => break end(&error),
        }
    };
    words.dedup();
    words.push(end);
    words.join(", ")
}

fn whole(bytes: &[u8]) -> Option<usize> {
    let length = 5 + usize::from(u16::from_be_bytes(bytes.get(3..5)?.try_into().unwrap()));
    (bytes.len() >= length).then_some(length)
}

fn describe(record: &[u8]) -> String {
    match record {
        [21, _, _, _, _, level, alert] => {
            format!("{} {:?}", if *level == 2 { "fatal" } else { "warning" }, AlertDescription::from(*alert))
        }
        // The end of the server's random number says that it could have done better (RFC 8446, 4.1.3).
        [22, _, _, _, _, 2, ..] if record[35..43] == *b"DOWNGRD\x01" => "ServerHello that says 1.3".to_owned(),
        [22, _, _, _, _, 2, ..] => "ServerHello".to_owned(),
        [22, ..] => "handshake".to_owned(),
        [kind, ..] => format!("record {kind}"),
        [] => unreachable!("records have a header"),
    }
}
