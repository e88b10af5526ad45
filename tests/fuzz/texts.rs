//! Envelopes, the data of PCP messages, upgrade requests and answers: text in one piece.

use podium::limits::UPGRADE_BYTES_MAX;
use podium::pcp::message::{AssociateResponse, InventoryRequest, InventoryResponse, InventoryUpdate};
use podium::pcp::{Envelope, Outgoing, PcpUri};
use podium::websocket::upgrade::{check_answer, parse_request, write_accept, write_request};
use serde_json::value::RawValue;

use super::cases;
use super::mutator::{mutate, noise, pieces};

const ENVELOPE: &str = r#"{"id":"f93df7fa-5168-4f8d-a7b5-180d46019213","message_type":"http://puppetlabs.com/inventory_request","target":"pcp:///server","sender":"pcp://a.example.com/agent","in_reply_to":"1-1-1-1-1","data":{"query":["pcp://*/agent"],"subscribe":true}}"#;

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

/// What was read can be written and is read again as the same.
#[test]
fn envelopes() {
    cases(4_000, |random| {
        let bytes = if random.percent(90) { mutate(random, ENVELOPE.as_bytes(), &JSON_WORDS) } else { noise(random) };
        let Ok(read) = Envelope::decode(&bytes) else { return };
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
        assert_eq!(read.data.map(RawValue::get), again.data.map(RawValue::get));
        for uri in [&read.target, &read.sender].into_iter().flatten() {
            assert_eq!(PcpUri::parse(uri).unwrap().to_string(), **uri);
        }
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
    let mut request = Vec::new();
    write_request("localhost", 8142, "/pcp2/agent?x#y", &mut request);
    cases(3_000, |random| {
        let mut bytes = mutate(random, &request, &HTTP_WORDS);
        if random.percent(3) {
            let filler = "x".repeat(UPGRADE_BYTES_MAX);
            let at = bytes.len().min(4);
            bytes.splice(at..at, filler.bytes());
        }
        let whole = parse_request(&bytes);
        if let Ok(Some((request, size))) = &whole {
            assert!(*size <= bytes.len() && request.path.starts_with('/') && !request.path.contains(['?', '#']));
            let mut answer = Vec::new();
            write_accept(&request.key, &mut answer);
            assert_eq!(check_answer(&answer, &request.key), Ok(Some(answer.len())));
        }
        assert!(whole != Ok(None) || bytes.len() < UPGRADE_BYTES_MAX);
        let mut so_far = Vec::new();
        for piece in pieces(random, &bytes) {
            so_far.extend_from_slice(&piece);
            match parse_request(&so_far) {
                Ok(None) => assert!(so_far.len() < UPGRADE_BYTES_MAX),
                Ok(found) => return assert_eq!(Ok(found), whole),
                Err(_) => return assert!(whole.is_err()),
            }
        }
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
