//! The PCP v1 codec on damaged messages: what it takes is a whole envelope, and can be said again in either form.

use std::cell::Cell;

use podium::pcp::{Envelope, translate, v1};
use podium::random::Random;
use serde_json::json;

use super::cases;
use super::mutator::mutate_json;
use super::target::{Target, Verdict};

const WORDS: [&[u8]; 9] = [
    &[1],
    &[2, 0, 0, 0, 0],
    &[3, 0, 0, 0, 2],
    &[2, 0xFF, 0xFF, 0xFF, 0xFF],
    b"\"targets\":[],",
    b"\"pcp://*/agent\"",
    b"null",
    b"\\u0000",
    b"\xFF",
];

/// What is taken is the same when it is said again in either form.
fn check(bytes: &[u8]) -> Verdict {
    let message = match v1::Message::decode(bytes) {
        Ok(message) => message,
        Err(error) => {
            assert!(!error.label().is_empty());
            return Verdict::Refused;
        }
    };
    let envelope = translate::from_v1(message);
    let outgoing = envelope.outgoing("pcp://never/used");
    let v2 = outgoing.encode();
    let again = Envelope::decode(&v2).expect("it was taken");
    assert_eq!((&again.id, &again.target, &again.sender), (&envelope.id, &envelope.target, &envelope.sender));
    assert_eq!((&again.message_type, &again.in_reply_to), (&envelope.message_type, &envelope.in_reply_to));
    assert_eq!(again.data.map(|data| data.get()), envelope.data.map(|data| data.get()));
    let mut out = Vec::new();
    translate::to_v1(&outgoing, &mut out);
    let again = translate::from_v1(v1::Message::decode(&out).expect("it was said by us"));
    assert_eq!((&again.id, &again.target, &again.sender), (&envelope.id, &envelope.target, &envelope.sender));
    assert_eq!(again.data.map(|data| data.get()), envelope.data.map(|data| data.get()));
    Verdict::Sound
}

#[test]
fn damaged_messages() {
    Target { name: "v1", words: &WORDS, cases: 4_000 }.run(|_, input| check(input));
}

/// Whole chunks, so that what is damaged is what they say.
fn message(random: &mut Random) -> Vec<u8> {
    let kind = *random.pick(&["error_message", "inventory_response", "rpc_blocking_request"]);
    let mut envelope = json!({
        "id": "f93df7fa-5168-4f8d-a7b5-180d46019213",
        "message_type": format!("http://puppetlabs.com/{kind}"),
        "targets": ["pcp://a/agent"],
        "expires": "2030-01-01T00:00:15Z",
        "sender": "pcp://b/agent",
        "destination_report": random.percent(50),
    });
    let mut data = json!({"id": "1-1-1-1-1", "description": "x"});
    if random.percent(40) {
        mutate_json(random, &mut envelope);
    }
    if random.percent(60) {
        mutate_json(random, &mut data);
    }
    let mut bytes = vec![1];
    for (kind, content) in [(1, envelope), (2, data), (3, json!({"hops": []}))] {
        let content = content.to_string();
        bytes.push(kind);
        bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend(content.as_bytes());
    }
    bytes
}

#[test]
fn whole_chunks_of_damaged_content() {
    let taken = Cell::new(0);
    cases(1_500, |random| {
        if check(&message(random)) == Verdict::Sound {
            taken.set(taken.get() + 1);
        }
    });
    assert!(taken.get() > 0);
}
