//! Envelopes, the data of PCP messages, upgrade requests and answers: text in one piece.

use std::borrow::Cow;

use podium::limits::UPGRADE_BYTES_MAX;
use podium::pcp::message::{AssociateResponse, InventoryRequest, InventoryResponse, InventoryUpdate};
use podium::pcp::{Envelope, Outgoing, PcpUri};
use podium::websocket::upgrade::{check_answer, parse_request, write_accept, write_request};
use serde_json::value::RawValue;

use super::cases;
use super::mutator::mutate;
use super::target::{Target, Verdict};

const DATA: [&str; 4] = [
    r#"{"query":["pcp://*/agent","pcp://a/b"],"subscribe":true}"#,
    r#"{"uris":["pcp://a/agent"]}"#,
    r#"{"changes":[{"client":"pcp://a/agent","change":-1},{"client":"pcp://b/agent","change":1}]}"#,
    r#"{"id":"1-1-1-1-1","success":false,"reason":"no\nway"}"#,
];

const JSON_WORDS: [&[u8]; 16] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"\\u0000",
    b"\\ud800",
    b"1e999",
    b"-",
    b"\"sender\":",
    b"\xFF",
    b"\"id\":\"1-1-1-1-1\",",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// What was read can be written and is read again as the same; what was refused has a reason.
#[test]
fn envelopes() {
    Target { name: "envelope", words: &JSON_WORDS, cases: 4_000 }.run(|_, input| {
        let read = match Envelope::decode(input) {
            Ok(read) => read,
            Err(error) => {
                assert!(!error.label().is_empty());
                return Verdict::Refused;
            }
        };
        let written = Outgoing::<&RawValue> {
            id: &read.id,
            message_type: &read.message_type,
            target: read.target.as_deref(),
            sender: read.sender.as_deref(),
            in_reply_to: read.in_reply_to.as_deref(),
            data: read.data,
        }
        .encode();
        let again = Envelope::decode(&written).unwrap();
        assert_eq!((&read.id, &read.message_type, &read.target), (&again.id, &again.message_type, &again.target));
        assert_eq!((&read.sender, &read.in_reply_to), (&again.sender, &again.in_reply_to));
        assert_eq!(read.data.map(RawValue::get), again.data.map(RawValue::get));
        for uri in [&read.target, &read.sender].into_iter().flatten() {
            assert_eq!(PcpUri::parse(uri).unwrap().to_string(), **uri);
        }
        Verdict::Sound
    });
}

#[test]
fn data_of_messages() {
    cases(2_000, |random| {
        let sound = random.pick(&DATA);
        let bytes = mutate(random, sound.as_bytes(), &JSON_WORDS);
        let text = String::from_utf8_lossy(&bytes);
        let _ = serde_json::from_str::<InventoryRequest<'_>>(&text);
        let _ = serde_json::from_str::<InventoryResponse<'_>>(&text);
        let _ = serde_json::from_str::<InventoryUpdate<'_>>(&text);
        let _ = serde_json::from_str::<AssociateResponse<'_>>(&text);
    });
}

const HTTP_WORDS: [&[u8]; 10] =
    [b"\r\n", b"\r\n\r\n", b"\n", b"\0", b" ", b":", b"Host: x\r\n", b"HTTP/1.1", b"Upgrade: websocket\r\n", b"\x80"];

/// A request that is accepted is one in whatever pieces it comes, and what has not ended never is more than its limit.
#[test]
fn upgrade_requests() {
    Target { name: "upgrade", words: &HTTP_WORDS, cases: 3_000 }.run(|random, input| {
        // Longer than files of a corpus should be.
        let mut bytes = Cow::Borrowed(input);
        if random.percent(1) {
            let at = bytes.len().min(4);
            bytes.to_mut().splice(at..at, std::iter::repeat_n(b'x', UPGRADE_BYTES_MAX));
        }
        let whole = parse_request(&bytes);
        let verdict = match &whole {
            Ok(None) => {
                assert!(bytes.len() < UPGRADE_BYTES_MAX);
                Verdict::Sound
            }
            Ok(Some((request, size))) => {
                assert!(*size <= bytes.len() && request.path.starts_with('/') && !request.path.contains(['?', '#']));
                let mut answer = Vec::new();
                write_accept(&request.key, &mut answer);
                assert_eq!(check_answer(&answer, &request.key), Ok(Some(answer.len())));
                Verdict::Sound
            }
            Err(error) => {
                let (status, text) = error.answer();
                assert!((400..500).contains(&status) && !text.is_empty());
                Verdict::Refused
            }
        };
        let mut end = 0;
        while end < bytes.len() {
            end += 1 + random.index(bytes.len() - end);
            match parse_request(&bytes[..end]) {
                Ok(None) => assert!(end < UPGRADE_BYTES_MAX),
                found @ Ok(_) => {
                    assert_eq!(found, whole);
                    break;
                }
                Err(_) => {
                    assert!(whole.is_err());
                    break;
                }
            }
        }
        verdict
    });
}

#[test]
fn upgrade_answers() {
    let mut request = Vec::new();
    let key = write_request("localhost", 8142, "/pcp2/agent", &mut request);
    let mut answer = Vec::new();
    write_accept(&key, &mut answer);
    cases(3_000, |random| {
        let bytes = mutate(random, &answer, &HTTP_WORDS);
        match check_answer(&bytes, &key) {
            Ok(Some(size)) => assert!(size <= bytes.len()),
            Ok(None) => assert!(bytes.len() < UPGRADE_BYTES_MAX),
            Err(error) => assert!(!error.advice("/pcp2/agent").is_empty()),
        }
    });
}
