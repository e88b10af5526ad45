//! HTTP requests (RFC 9112; RFC 6455, section 4).

use std::net::Shutdown;

use super::client::frame;
use super::{Case, cases};

/// A request that is accepted.
pub fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The same with one thing replaced.
fn replaced(from: &str, to: &str) -> Vec<u8> {
    let request = request("/pcp2/wire");
    assert!(request.contains(from));
    request.replace(from, to).into_bytes()
}

/// The same with more fields.
fn with_fields(count: usize, field: &str) -> Vec<u8> {
    replaced("\r\n\r\n", &format!("\r\n{}\r\n", field.repeat(count)))
}

/// What is seen, and what is counted, often.
const ACCEPTED: &str = "101, close 1000, end";
const PEER: &str = "closed peer";
const MALFORMED: &str = "400 Not a HTTP/1.1 request., end";
const COUNTED_MALFORMED: &str = "refused http-malformed";
const NO_TYPE: &str = "400 The path names no client type., end";
const COUNTED_NO_TYPE: &str = "refused The path names no client type.";
const NOT_FOUND: &str = "404 Not found., end";
const COUNTED_NOT_FOUND: &str = "refused Not found.";
const TOO_LARGE: &str = "431 Request header too large., end";
const COUNTED_TOO_LARGE: &str = "refused http-too-large";

pub const TABLE: &[Case] = cases! {
    101 "plain HTTP over TLS": |site| site.http(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    102 "no key": |site| site.http(&replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""))
        => "400 No valid Sec-WebSocket-Key., end", "refused ws-key";
    103 "a key of 15 bytes": |site| site.http(&replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"))
        => "400 No valid Sec-WebSocket-Key., end", "refused ws-key";
    104 "a key of 24 characters that are not base64":
        |site| site.http(&replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZS!ub25jZQ=="))
        => "400 No valid Sec-WebSocket-Key., end", "refused ws-key";
    105 "two keys":
        |site| site.http(&replaced("Sec-WebSocket-Key:", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key:"))
        => "400 No valid Sec-WebSocket-Key., end", "refused ws-key";
    106 "version 8": |site| site.http(&replaced("Version: 13", "Version: 8"))
        => "426 Only WebSocket version 13 is possible., end", "refused ws-version";
    107 "no version": |site| site.http(&replaced("Sec-WebSocket-Version: 13\r\n", ""))
        => "426 Only WebSocket version 13 is possible., end", "refused ws-version";
    108 "no Host": |site| site.http(&replaced("Host: localhost\r\n", ""))
        => "400 No Host field., end", "refused http-host";
    109 "two Hosts": |site| site.http(&replaced("Host: localhost", "Host: localhost\r\nHost: other"))
        => "400 No Host field., end", "refused http-host";
    110 "no Upgrade": |site| site.http(&replaced("Upgrade: websocket\r\n", ""))
        => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    111 "upgrade to HTTP/2": |site| site.http(&replaced("Upgrade: websocket", "Upgrade: h2c"))
        => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    112 "no Connection": |site| site.http(&replaced("Connection: Upgrade\r\n", ""))
        => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    113 "HTTP/1.0": |site| site.http(&replaced("HTTP/1.1", "HTTP/1.0"))
        => "426 This is a WebSocket endpoint., end", "refused http-not-upgrade";
    114 "HTTP/2.0": |site| site.http(&replaced("HTTP/1.1", "HTTP/2.0")) => MALFORMED, COUNTED_MALFORMED;
    115 "the preface of HTTP/2": |site| site.http(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        => MALFORMED, COUNTED_MALFORMED;
    116 "POST": |site| site.http(&replaced("GET", "POST"))
        => "405 Only GET and HEAD are possible here., end", "refused http-method";
    117 "CONNECT": |site| site.http(b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n")
        => "405 Only GET and HEAD are possible here., end", "refused http-method";
    118 "a method in lower case": |site| site.http(&replaced("GET", "get"))
        => "405 Only GET and HEAD are possible here., end", "refused http-method";
    119 "a body that is announced":
        |site| site.http(&[replaced("Host:", "Content-Length: 5\r\nHost:"), b"hello".to_vec()].concat())
        => "400 A request for a WebSocket has no body., end", "refused http-body";
    120 "a body in chunks":
        |site| site.http(&[replaced("Host:", "Transfer-Encoding: chunked\r\nHost:"), b"5\r\nhello\r\n0\r\n\r\n".to_vec()] .concat())
        => "400 A request for a WebSocket has no body., end", "refused http-body";
    121 "two requests at once":
        |site| site.http(&[request("/pcp2/wire"), request("/pcp2/other")].concat().into_bytes())
        => "101, close 1002 ws-reserved-bits, end", "closed ws-reserved-bits";
    122 "an absolute URI": |site| site.http(request("wss://localhost/pcp2/wire").as_bytes())
        => MALFORMED, COUNTED_MALFORMED;
    123 "an absolute URI of another host": |site| site.http(request("http://other/pcp2/wire").as_bytes())
        => MALFORMED, COUNTED_MALFORMED;
    124 "an asterisk as path": |site| site.http(request("*").as_bytes()) => MALFORMED, COUNTED_MALFORMED;
    125 "two slashes in front": |site| site.http(request("//pcp2/wire").as_bytes()) => NOT_FOUND, COUNTED_NOT_FOUND;
    126 "two slashes in between": |site| site.http(request("/pcp2//wire").as_bytes()) => NO_TYPE, COUNTED_NO_TYPE;
    127 "dots": |site| site.http(request("/pcp2/../pcp2/wire").as_bytes()) => NO_TYPE, COUNTED_NO_TYPE;
    128 "an encoded slash": |site| site.http(request("/pcp2%2fwire").as_bytes()) => NOT_FOUND, COUNTED_NOT_FOUND;
    129 "an encoded slash in the type": |site| site.http(request("/pcp2/a%2fb").as_bytes())
        => NO_TYPE, COUNTED_NO_TYPE;
    130 "a slash at the end": |site| site.http(request("/pcp2/wire/").as_bytes()) => NO_TYPE, COUNTED_NO_TYPE;
    131 "the mount in capitals": |site| site.http(request("/PCP2/wire").as_bytes()) => NOT_FOUND, COUNTED_NOT_FOUND;
    132 "more after the mount": |site| site.http(request("/pcp2x/wire").as_bytes()) => NOT_FOUND, COUNTED_NOT_FOUND;
    133 "a wildcard as type": |site| site.http(request("/pcp2/*").as_bytes()) => NO_TYPE, COUNTED_NO_TYPE;
    134 "the broker's own type": |site| site.http(request("/pcp2/server").as_bytes())
        => "403 Association unsuccessful., end", "refused Association unsuccessful.";
    135 "a query and a fragment": |site| site.http(request("/pcp2/wire?type=server#/x").as_bytes()) => ACCEPTED, PEER;
    136 "a type of 128 characters": |site| site.http(request(&format!("/pcp2/{}", "x".repeat(128))).as_bytes())
        => ACCEPTED, PEER;
    137 "a type of 129 characters": |site| site.http(request(&format!("/pcp2/{}", "x".repeat(129))).as_bytes())
        => NO_TYPE, COUNTED_NO_TYPE;
    138 "a path of 20,000 characters": |site| site.http(request(&format!("/pcp2/{}", "x".repeat(20_000))).as_bytes())
        => TOO_LARGE, COUNTED_TOO_LARGE;
    139 "a path with bytes above 127": |site| site.http(request("/pcp2/\u{e4}").as_bytes())
        => NO_TYPE, COUNTED_NO_TYPE;
    140 "a blank in the path": |site| site.http(request("/pcp2/a b").as_bytes()) => MALFORMED, COUNTED_MALFORMED;
    141 "a NUL in the path": |site| site.http(request("/pcp2/a\0b").as_bytes()) => MALFORMED, COUNTED_MALFORMED;
    142 "64 fields, the most there may be": |site| site.http(&with_fields(59, "X: y\r\n")) => ACCEPTED, PEER;
    143 "65 fields": |site| site.http(&with_fields(60, "X: y\r\n")) => TOO_LARGE, COUNTED_TOO_LARGE;
    144 "100,000 fields": |site| site.http(&with_fields(100_000, "X: y\r\n")) => TOO_LARGE, COUNTED_TOO_LARGE;
    145 "a field of 16 KiB": |site| site.http(&with_fields(1, &format!("X: {}\r\n", "y".repeat(16 * 1024))))
        => TOO_LARGE, COUNTED_TOO_LARGE;
    146 "a field that never ends":
        |site| site.http(&[b"GET /pcp2/wire HTTP/1.1\r\nX: ".to_vec(), vec![b'y'; 1_000_000]].concat())
        => TOO_LARGE, COUNTED_TOO_LARGE;
    147 "a field in several lines": |site| site.http(&with_fields(1, "X: y\r\n z\r\n"))
        => MALFORMED, COUNTED_MALFORMED;
    148 "a blank before the colon": |site| site.http(&replaced("Host:", "Host :")) => MALFORMED, COUNTED_MALFORMED;
    149 "a NUL in a field": |site| site.http(&with_fields(1, "X: y\0z\r\n")) => MALFORMED, COUNTED_MALFORMED;
    150 "a carriage return in a field": |site| site.http(&with_fields(1, "X: y\rz\r\n"))
        => MALFORMED, COUNTED_MALFORMED;
    151 "lines that end with a line feed alone": |site| site.http(&replaced("\r\n", "\n")) => ACCEPTED, PEER;
    152 "empty lines first": |site| site.http(&replaced("GET", "\r\n\r\nGET")) => ACCEPTED, PEER;
    153 "extensions and subprotocols are offered":
        |site| site.http(&with_fields(1, "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a, b\r\n"))
        => ACCEPTED, PEER;
    154 "another origin": |site| site.http(&with_fields(1, "Origin: https://evil.example\r\n")) => ACCEPTED, PEER;
    155 "certificate names in fields":
        |site| site.http(&with_fields(1, "X-Client-Verify: SUCCESS\r\nX-Client-DN: CN=ctl.example\r\n"))
        => ACCEPTED, PEER;
    156 "no HTTP at all": |site| site.http(b"\0\x01\x02\x03\r\n\r\n") => MALFORMED, COUNTED_MALFORMED;
    157 "frames instead of a request": |site| site.http(b"\x81\x82\0\0\0\0{}") => MALFORMED, COUNTED_MALFORMED;
    158 "one byte at a time": |site| {
        let mut wire = site.shaken();
        for byte in request("/pcp2/wire").bytes() {
            wire.send(&[byte]);
        }
        wire.send(&frame(0x88, b"\x03\xE8"));
        wire.http()
    } => ACCEPTED, PEER;
    159 "half of a request, then the end of TCP": |site| {
        let mut wire = site.shaken();
        wire.send(&request("/pcp2/wire").as_bytes()[..60]);
        wire.tcp().shutdown(Shutdown::Write).unwrap();
        wire.http()
    } => "cut", "refused lost-before-open";
    160 "a request and the end of TCP": |site| {
        let mut wire = site.shaken();
        wire.send(request("/pcp2/wire").as_bytes());
        wire.tcp().shutdown(Shutdown::Write).unwrap();
        wire.http()
    } => "101, cut", "closed lost";
    161 "no request, only the end of TLS": |site| {
        let mut wire = site.shaken();
        wire.connection().send_close_notify();
        wire.send(b"");
        wire.http()
    } => "cut", "refused lost-before-open";
};
