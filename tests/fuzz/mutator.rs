//! Damages: of bytes, of text with words of its language, and of JSON that stays JSON.

use serde_json::{Map, Value, json};

use podium::random::Random;

/// Changes a few bytes, and takes from `words` what random bytes would hardly ever hit.
pub fn mutate(random: &mut Random, input: &[u8], words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.index(6) {
        let at = random.index(bytes.len() + 1);
        let end = (at + 1 + random.index(16)).min(bytes.len());
        match random.index(7) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, random.pick(words).iter().copied())),
            2 => drop(bytes.splice(at..end, random.pick(words).iter().copied())),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = random.index(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            4 => bytes.truncate(at),
            _ if bytes.is_empty() => bytes.push(random.next_u64() as u8),
            5 => {
                let at = at.min(bytes.len() - 1);
                bytes[at] ^= 1 << random.index(8);
            }
            _ => {
                let at = at.min(bytes.len() - 1);
                bytes[at] = random.next_u64() as u8;
            }
        }
    }
    bytes
}

/// Bytes of no meaning, mostly few.
pub fn noise(random: &mut Random) -> Vec<u8> {
    let most = 1 << (1 + random.index(10));
    let length = random.index(most);
    (0..length).map(|_| random.next_u64() as u8).collect()
}

/// Cuts input at random places.
pub fn pieces(random: &mut Random, mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while !input.is_empty() {
        let (piece, rest) = input.split_at(1 + random.index(input.len()));
        pieces.push(piece.to_vec());
        input = rest;
    }
    pieces
}

/// Changes some values of a JSON tree into others, drops some and adds some.
pub fn mutate_json(random: &mut Random, value: &mut Value) {
    match value {
        Value::Object(entries) if !entries.is_empty() && random.percent(80) => {
            let key = entries.keys().nth(random.index(entries.len())).cloned().expect("it is not empty");
            match random.index(12) {
                0 => drop(entries.remove(&key)),
                1 => drop(entries.insert(format!("{key}x"), any_json(random, 2))),
                _ => mutate_json(random, &mut entries[&key]),
            }
        }
        Value::Array(items) if !items.is_empty() && random.percent(80) => {
            let index = random.index(items.len());
            match random.index(12) {
                0 => drop(items.remove(index)),
                1 => items.push(any_json(random, 2)),
                _ => mutate_json(random, &mut items[index]),
            }
        }
        Value::String(text) if random.percent(60) => {
            let bytes =
                mutate(random, text.as_bytes(), &[b"*", b"/", b"pcp://", b"..", b"\0", b"\\", b"\"", b"\xE2\x82"]);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        other => *other = any_json(random, 3),
    }
}

/// Any JSON, not deep.
pub fn any_json(random: &mut Random, depth: usize) -> Value {
    let texts = ["", "a", "pcp://a/agent", "pcp:///server", "pcp://*/agent", "1-1-1-1-1", "../../x", "\u{0}", "ä€😀"];
    match random.index(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(random.percent(50)),
        2 => json!([0, 1, -1, i64::MIN, i64::MAX][random.index(5)]),
        3 => json!([0.0, -0.5, 1e300, f64::MIN_POSITIVE][random.index(4)]),
        4 => json!(u64::MAX),
        5 => json!(*random.pick(&texts)),
        6 => (0..random.index(4)).map(|_| any_json(random, depth - 1)).collect(),
        _ => {
            let keys = ["data", "transaction_id", "results", "query", "id", "params", "a"];
            let entry = |random: &mut Random| (random.pick(&keys).to_string(), any_json(random, depth - 1));
            Value::Object((0..random.index(4)).map(|_| entry(random)).collect::<Map<_, _>>())
        }
    }
}
