//! What peers wrote, as one field of a line: nobody can end a field or a line and begin one of his own, and nobody can
//! make a line long. PURE.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::limits::ACCESS_LOG_FIELD_BYTES_MAX;

/// The end of a field that was cut.
const CUT: &[u8] = b"...";

/// The longest escape: two units of UTF-16.
const ESCAPE_BYTES_MAX: usize = 12;

/// Appends a field without quotes: no spaces, no quotes, nothing but printable ASCII; `""` if it is empty.
pub(super) fn write_bare(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.extend_from_slice(b"\"\"");
    } else {
        write(text, b' ', out);
    }
}

/// Appends the inside of a JSON string, in ASCII.
pub(super) fn write_json(text: &str, out: &mut Vec<u8>) {
    write(text, 0x1f, out);
}

/// Everything up to `forbidden` is escaped, as are quotes, backslashes, and all that is not ASCII: among that are
/// characters that look like others, end lines, or turn the direction of writing.
fn write(text: &str, forbidden: u8, out: &mut Vec<u8>) {
    let is_plain = |byte: u8| byte > forbidden && byte < 0x7f && byte != b'"' && byte != b'\\';
    if text.len() <= ACCESS_LOG_FIELD_BYTES_MAX && text.bytes().all(is_plain) {
        return out.extend_from_slice(text.as_bytes());
    }
    let end = out.len() + ACCESS_LOG_FIELD_BYTES_MAX - CUT.len() - ESCAPE_BYTES_MAX;
    for character in text.chars() {
        if out.len() > end {
            return out.extend_from_slice(CUT);
        }
        match u8::try_from(character) {
            Ok(byte) if is_plain(byte) => out.push(byte),
            Ok(b'"') => out.extend_from_slice(b"\\\""),
            Ok(b'\\') => out.extend_from_slice(b"\\\\"),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a vector does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
}

/// Appends `10.0.0.7:41522`; the formatting machinery for IPv4 would cost more than all the rest of a line.
pub(super) fn write_address(address: SocketAddr, out: &mut Vec<u8>) {
    // In brackets, so that the port can be told from the address.
    if address.is_ipv6() {
        out.push(b'[');
    }
    write_ip(address.ip(), out);
    if address.is_ipv6() {
        out.push(b']');
    }
    out.push(b':');
    write_number(u32::from(address.port()), out);
}

/// Appends an address without its port.
pub(super) fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                write_number(u32::from(octet), out);
            }
        }
        IpAddr::V6(ip) => {
            let _ = write!(out, "{ip}");
        }
    }
}

/// Appends a number in decimal.
pub(super) fn write_number(number: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let (mut rest, mut at) = (number, digits.len());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &str) -> String {
        let mut out = Vec::new();
        write_bare(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_printable_ascii_leaves_as_it_is() {
        assert_eq!(bare("pcp://web1.example.com/agent"), "pcp://web1.example.com/agent");
        assert_eq!(bare("a b\"c\\d\n\u{1b}"), "a\\u0020b\\\"c\\\\d\\u000a\\u001b");
        assert_eq!(bare("\u{2028}\u{e9}\u{1f600}\u{7f}"), "\\u2028\\u00e9\\ud83d\\ude00\\u007f");
        assert_eq!(bare(""), "\"\"");
    }

    #[test]
    fn json_strings_are_read_back() {
        for text in ["plain text", "a\"\\\n\t\u{0}\u{1f600}\u{2028}", ""] {
            let mut out = vec![b'"'];
            write_json(text, &mut out);
            out.push(b'"');
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn fields_are_cut() {
        for text in ["x".repeat(1_000_000), "\u{1f600}".repeat(1_000), "\"".repeat(600)] {
            let field = bare(&text);
            assert!(field.len() <= ACCESS_LOG_FIELD_BYTES_MAX && field.ends_with("..."), "{}", field.len());
        }
        let fits = "x".repeat(ACCESS_LOG_FIELD_BYTES_MAX);
        assert_eq!(bare(&fits), fits);
    }

    #[test]
    fn addresses_are_as_the_library_writes_them() {
        for text in ["10.0.0.7:41522", "255.0.100.1:0", "[::1]:65535", "[fe80::1]:8142"] {
            let mut out = Vec::new();
            write_address(text.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
