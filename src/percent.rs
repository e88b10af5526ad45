//! Percent-encoding of path segments and query values (RFC 3986, 2.1).

/// Encodes everything but the unreserved characters.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The text behind the encoding; `None` if an escape is broken or what comes out is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encode("web01.example.com"), "web01.example.com");
        assert_eq!(encode("a b/ä?"), "a%20b%2F%C3%A4%3F");
        assert_eq!(decode(&encode("a b/ä?%")).as_deref(), Some("a b/ä?%"));
    }

    #[test]
    fn decoding_happens_once() {
        assert_eq!(decode("tasks/a%20b/c").as_deref(), Some("tasks/a b/c"));
        assert_eq!(decode("%252e").as_deref(), Some("%2e"));
        assert_eq!(decode("%C3%A4").as_deref(), Some("ä"));
        for broken in ["%", "%2", "%zz", "%C3", "a%+1"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }
}
