//! The receiving side of a WebSocket connection: frames, damaged frames and noise, cut anywhere.

use std::hash::{DefaultHasher, Hasher};

use podium::link::Opcode;
use podium::random::Random;
use podium::websocket::frame::Role;
use podium::websocket::session::{ControlPayload, Item, Session};

use super::target::{Target, Verdict};

/// Small, so that it is exceeded.
const MESSAGE_MAX: usize = 300;

/// The largest header and the largest control frame, and what a vector takes beyond what it was asked for.
const STUB_MAX: usize = 2 * (14 + 125);

const WORDS: [&[u8]; 10] = [
    b"\x81\x80\0\0\0\0",
    b"\x01\x80\0\0\0\0",
    b"\x80\x80\0\0\0\0",
    b"\x00\x80\0\0\0\0",
    b"\x89\x80\0\0\0\0",
    b"\x88\x82\0\0\0\0\x03\xE8",
    b"\x81\xFE",
    b"\x81\xFF\0\0\0\0",
    b"\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0",
    b"\xE2\x82\xAC",
];

/// What a session says of its input.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Message(Opcode, usize, u64),
    Ping(ControlPayload),
    Pong,
    Close(u16, Box<str>),
    Violation(&'static str),
}

fn message(opcode: Opcode, bytes: &[u8]) -> Said {
    assert!(bytes.len() <= MESSAGE_MAX);
    assert!(opcode == Opcode::Binary || std::str::from_utf8(bytes).is_ok());
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    Said::Message(opcode, bytes.len(), hasher.finish())
}

/// All that a session says of input that is cut at `next` places, until it ends.
fn run(input: &[u8], role: Role, room: usize, mut next: impl FnMut(usize) -> usize) -> Vec<Said> {
    let mut session = Session::new(role, MESSAGE_MAX);
    let mut said = Vec::new();
    let mut input = input.to_vec();
    let mut rest = &mut input[..];
    while !rest.is_empty() {
        let (mut piece, later) = rest.split_at_mut(next(rest.len()));
        while !piece.is_empty() {
            let (before, length) = (session.held_bytes(), piece.len());
            let (consumed, item) = match session.next(piece, room) {
                Ok(found) => found,
                Err(violation) => {
                    assert!((1000..1015).contains(&violation.close_code()));
                    said.push(Said::Violation(violation.label()));
                    return said;
                }
            };
            assert!((1..=length).contains(&consumed));
            match item {
                Item::Nothing | Item::Fragment => {}
                Item::Message(opcode, bytes) => said.push(message(opcode, bytes)),
                Item::Assembled(opcode, bytes) => said.push(message(opcode, &bytes)),
                Item::Close(code, reason) => said.push(Said::Close(code, reason)),
                Item::Ping(payload) => said.push(Said::Ping(payload)),
                Item::Pong => said.push(Said::Pong),
            }
            let held = session.held_bytes();
            assert!(held <= MESSAGE_MAX + STUB_MAX, "{held} bytes are held");
            assert!(held <= before.saturating_add(room).saturating_add(STUB_MAX), "more than there is room for");
            piece = &mut piece[consumed..];
        }
        rest = later;
    }
    said
}

fn check(random: &mut Random, input: &[u8], role: Role) -> Verdict {
    let whole = run(input, role, usize::MAX, |length| length);
    assert_eq!(run(input, role, usize::MAX, |length| 1 + random.index(length)), whole);
    if input.len() <= 32 || random.percent(10) {
        assert_eq!(run(input, role, usize::MAX, |_| 1), whole);
    }
    let room = random.index(MESSAGE_MAX);
    run(input, role, room, |length| 1 + random.index(length));
    match whole.last() {
        Some(Said::Violation(_)) | None => Verdict::Refused,
        Some(_) => Verdict::Sound,
    }
}

/// Where the cuts are makes no difference to what is understood.
#[test]
fn any_bytes_in_any_pieces() {
    Target { name: "frames", words: &WORDS, cases: 6_000 }.run(|random, input| {
        // Hardly any input is good for both.
        match (check(random, input, Role::Server), check(random, input, Role::Client)) {
            (Verdict::Refused, Verdict::Refused) => Verdict::Refused,
            _ => Verdict::Sound,
        }
    });
}
