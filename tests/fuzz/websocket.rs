//! The receiving side of a WebSocket connection: frames, damaged frames and noise, cut anywhere.

use podium::websocket::frame::{Header, Kind, Role, apply_mask};
use podium::websocket::session::{Item, Session};

use super::cases;
use super::mutator::{mutate, noise, pieces};
use podium::random::Random;

/// Small, so that it is exceeded.
const MESSAGE_MAX: usize = 2_000;

/// The largest header and the largest control frame, and what a vector takes beyond what it was asked for.
const STUB_MAX: usize = 2 * (14 + 125);

fn frame(random: &mut Random, role: Role) -> Vec<u8> {
    let kinds = [Kind::Text, Kind::Text, Kind::Binary, Kind::Continuation, Kind::Ping, Kind::Pong, Kind::Close];
    let kind = *random.pick(&kinds);
    let length = random.index(if kind.is_control() { 126 } else { MESSAGE_MAX * 3 / 5 });
    let mask = (role == Role::Server).then_some([1, 2, 3, random.next_u64() as u8]);
    let mut wire = Vec::new();
    Header { is_final: kind.is_control() || random.percent(60), kind, mask, length: length as u64 }.write(&mut wire);
    let start = wire.len();
    wire.resize(start + length, b'x');
    if let Some(mask) = mask {
        apply_mask(&mut wire[start..], mask, 0);
    }
    wire
}

fn input(random: &mut Random, role: Role) -> Vec<u8> {
    let mut wire: Vec<u8> = (0..random.index(8)).flat_map(|_| frame(random, role)).collect();
    if random.percent(50) {
        let words: [&[u8]; 5] = [
            b"\x81\xFE",
            b"\x81\xFF\0\0\0\0",
            b"\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0",
            b"\x00",
            b"\x88\x80",
        ];
        wire = mutate(random, &wire, &words);
    }
    if random.percent(10) {
        wire.extend(noise(random));
    }
    wire
}

/// What a session says of input in these pieces, and how it ends.
fn run(pieces: &[Vec<u8>], role: Role, room: usize) -> Vec<String> {
    let mut session = Session::new(role, MESSAGE_MAX);
    let mut said = Vec::new();
    for piece in pieces {
        let mut piece = piece.clone();
        let mut rest = &mut piece[..];
        while !rest.is_empty() {
            let (before, length) = (session.held_bytes(), rest.len());
            let (consumed, item) = match session.next(rest, room) {
                Ok(found) => found,
                Err(violation) => {
                    said.push(violation.label().to_owned());
                    return said;
                }
            };
            assert!((1..=length).contains(&consumed));
            match item {
                Item::Nothing | Item::Fragment => {}
                Item::Message(opcode, bytes) => {
                    assert!(bytes.len() <= MESSAGE_MAX);
                    said.push(format!("{opcode:?} {bytes:?}"));
                }
                Item::Assembled(opcode, bytes) => {
                    assert!(bytes.len() <= MESSAGE_MAX);
                    said.push(format!("{opcode:?} {bytes:?}"));
                }
                Item::Close(code, reason) => said.push(format!("close {code} {reason}")),
                Item::Ping(payload) => said.push(format!("ping {:?}", payload.as_slice())),
                Item::Pong => said.push("pong".to_owned()),
            }
            let held = session.held_bytes();
            assert!(held <= MESSAGE_MAX + STUB_MAX, "{held} bytes are held");
            assert!(held <= before.saturating_add(room).saturating_add(STUB_MAX), "more than there is room for");
            rest = &mut rest[consumed..];
        }
    }
    said
}

/// Where the cuts are makes no difference to what is understood.
#[test]
fn any_bytes_in_any_pieces() {
    cases(3_000, |random| {
        let role = if random.percent(70) { Role::Server } else { Role::Client };
        let wire = input(random, role);
        let whole = run(std::slice::from_ref(&wire), role, usize::MAX);
        let cut = pieces(random, &wire);
        assert_eq!(run(&cut, role, usize::MAX), whole);
        let single: Vec<Vec<u8>> = wire.iter().map(|&byte| vec![byte]).collect();
        assert_eq!(run(&single, role, usize::MAX), whole);
        run(&cut, role, random.index(MESSAGE_MAX));
    });
}
