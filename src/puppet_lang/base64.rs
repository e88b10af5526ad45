//! Base64 (RFC 4648), for `Binary` values.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of `bytes`, padded, on one line.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0_u32, |bits, (index, byte)| bits | u32::from(*byte) << (16 - 8 * index));
        for index in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * index)) as usize & 63];
            text.push(if index <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// The bytes of a text, in either alphabet. Line breaks are skipped; a strict text has no line breaks and all its padding.
pub fn decode(text: &str, is_strict: bool) -> Option<Vec<u8>> {
    let blank = |byte: &u8| !is_strict && matches!(byte, b'\n' | b'\r' | b' ');
    let letters: Vec<u8> = text.bytes().filter(|byte| !blank(byte)).collect();
    let padding = letters.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 || (is_strict && !letters.len().is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(letters.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in &letters[..letters.len() - padding] {
        let value = match letter {
            b'-' => 62,
            b'_' => 63,
            letter => u32::try_from(LETTERS.iter().position(|other| other == letter)?).ok()?,
        };
        bits = bits << 6 | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (count < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in ["", "f", "fo", "foo", "foob", "fooba", "foobar", "\u{0}ÿ"] {
            assert_eq!(decode(&encode(text.as_bytes()), true).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(encode(b"hello"), "aGVsbG8=");
        assert_eq!(decode("aGVs\nbG8", false).as_deref(), Some(&b"hello"[..]));
        for wrong in ["a", "aGVsbG8", "a===", "ä", "aG=s"] {
            assert_eq!(decode(wrong, true), None, "{wrong}");
        }
    }
}
