//! Frames (RFC 6455, sections 5 to 8).

use std::net::Shutdown;

use podium::limits::MESSAGE_BYTES_MAX;

use super::client::{frame, header};
use super::{Case, cases};

/// A message that is answered, in two halves.
const HALVES: [&[u8]; 2] = [br#"{"id":"1-1-1-1-1","message_type":"http://pup"#, br#"petlabs.com/associate_request"}"#];

/// The first byte of a frame: the last one of a message, or not.
const TEXT: u8 = 0x81;
const TEXT_TO_BE_CONTINUED: u8 = 0x01;
const CONTINUATION: u8 = 0x80;
const CONTINUATION_TO_BE_CONTINUED: u8 = 0x00;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

pub const TABLE: &[Case] = cases! {
    1 "text without a mask": |site| site.frames(b"\x81\x05hello")
        => "close 1002 ws-unmasked, end", "closed ws-unmasked";
    2 "a ping without a mask": |site| site.frames(b"\x89\x00") => "close 1002 ws-unmasked, end", "closed ws-unmasked";
    3 "reserved bit 1, as for compression": |site| site.frames(&frame(0xC1, b"{}"))
        => "close 1002 ws-reserved-bits, end", "closed ws-reserved-bits";
    4 "reserved bit 2": |site| site.frames(&frame(0xA1, b"{}"))
        => "close 1002 ws-reserved-bits, end", "closed ws-reserved-bits";
    5 "reserved bit 3 in a ping": |site| site.frames(&frame(0x99, b""))
        => "close 1002 ws-reserved-bits, end", "closed ws-reserved-bits";
    6 "opcode 3": |site| site.frames(&frame(0x83, b"x"))
        => "close 1002 ws-reserved-opcode, end", "closed ws-reserved-opcode";
    7 "opcode 7": |site| site.frames(&frame(0x87, b"x"))
        => "close 1002 ws-reserved-opcode, end", "closed ws-reserved-opcode";
    8 "opcode 11": |site| site.frames(&frame(0x8B, b""))
        => "close 1002 ws-reserved-opcode, end", "closed ws-reserved-opcode";
    9 "opcode 15": |site| site.frames(&frame(0x8F, b""))
        => "close 1002 ws-reserved-opcode, end", "closed ws-reserved-opcode";
    10 "a ping in fragments": |site| site.frames(&frame(0x09, b"p"))
        => "close 1002 ws-fragmented-control, end", "closed ws-fragmented-control";
    11 "a close frame in fragments": |site| site.frames(&frame(0x08, b"\x03\xE8"))
        => "close 1002 ws-fragmented-control, end", "closed ws-fragmented-control";
    12 "a ping of 126 bytes": |site| site.frames(&frame(PING, &[b'p'; 126]))
        => "close 1002 ws-long-control, end", "closed ws-long-control";
    13 "a pong of 65,536 bytes": |site| site.frames(&frame(PONG, &[b'p'; 65_536]))
        => "close 1002 ws-long-control, end", "closed ws-long-control";
    14 "a ping of 125 bytes, the most there may be": |site| {
        let seen = site.frames(&frame(PING, &[b'p'; 125]));
        seen.replace(&"p".repeat(125), "125 bytes")
    } => "pong 125 bytes, close 1000, end", "closed peer";
    15 "a pong that nobody asked for": |site| site.frames(&frame(PONG, b"here I am"))
        => "close 1000, end", "closed peer";
    16 "a continuation without a beginning": |site| site.frames(&frame(CONTINUATION, b"x"))
        => "close 1002 ws-stray-continuation, end", "closed ws-stray-continuation";
    17 "a continuation after a whole message":
        |site| site.frames(&[frame(TEXT, b"{}"), frame(CONTINUATION, b"x")].concat())
        => "error_message: Could not decode message, close 1002 ws-stray-continuation, end", "closed ws-stray-continuation, decode_errors envelope-syntax";
    18 "a new message inside of one in fragments":
        |site| site.frames(&[frame(TEXT_TO_BE_CONTINUED, HALVES[0]), frame(TEXT, HALVES[1])].concat())
        => "close 1002 ws-interleaved-message, end", "closed ws-interleaved-message";
    19 "a binary message inside of one in fragments":
        |site| site.frames(&[frame(TEXT_TO_BE_CONTINUED, HALVES[0]), frame(BINARY, HALVES[1])].concat())
        => "close 1002 ws-interleaved-message, end", "closed ws-interleaved-message";
    20 "a message in two fragments":
        |site| site.frames(&[frame(TEXT_TO_BE_CONTINUED, HALVES[0]), frame(CONTINUATION, HALVES[1])].concat())
        => "associate_response: success (re 1-1-1-1-1), close 1000, end", "closed peer, messages_routed";
    21 "pings between fragments": |site| {
        let mut wire = site.open("/pcp2/wire");
        wire.send(&frame(TEXT_TO_BE_CONTINUED, HALVES[0]));
        wire.send(&frame(PING, b"1"));
        let first = wire.next();
        wire.send(&[frame(CONTINUATION, HALVES[1]), frame(PING, b"2"), frame(PING, b"3")].concat());
        let words = [first, wire.next(), wire.next()].join(", ");
        wire.send(&frame(CLOSE, b""));
        format!("{words}, {}", wire.rest())
    }
        => "pong 1, associate_response: success (re 1-1-1-1-1), pong 3, close without code, end", "closed peer, messages_routed";
    22 "a message of 10,000 fragments of a byte or none": |site| {
        let message = HALVES.concat();
        let mut frames = frame(TEXT_TO_BE_CONTINUED, b"");
        for byte in &message {
            frames.extend(frame(CONTINUATION_TO_BE_CONTINUED, &[*byte]));
        }
        frames.extend(frame(CONTINUATION_TO_BE_CONTINUED, b"").repeat(10_000));
        frames.extend(frame(CONTINUATION, b""));
        site.frames(&frames)
    } => "associate_response: success (re 1-1-1-1-1), close 1000, end", "closed peer, messages_routed";
    23 "fragments that are never finished":
        |site| site.frames_then_silence(&frame(TEXT_TO_BE_CONTINUED, &[b'x'; 100_000]))
        => "cut", "closed lost";
    24 "a close frame inside of a message": |site| site.frames(&frame(TEXT_TO_BE_CONTINUED, HALVES[0]))
        => "close 1000, end", "closed peer";
    25 "a length with its top bit set": |site| site.frames(&header(TEXT, 1 << 63 | 5))
        => "close 1002 ws-bad-length, end", "closed ws-bad-length";
    26 "a length of 2^64 - 1": |site| site.frames(&header(BINARY, u64::MAX))
        => "close 1002 ws-bad-length, end", "closed ws-bad-length";
    27 "a length of 2^63 - 1": |site| site.frames(&header(TEXT, u64::MAX >> 1))
        => "close 1009 ws-too-big, end", "closed ws-too-big";
    28 "a length of 5 in two bytes": |site| site.frames(b"\x81\xFE\0\x05\0\0\0\0hello")
        => "close 1002 ws-bad-length, end", "closed ws-bad-length";
    29 "a length of 5 in eight bytes": |site| site.frames(b"\x81\xFF\0\0\0\0\0\0\0\x05\0\0\0\0hello")
        => "close 1002 ws-bad-length, end", "closed ws-bad-length";
    30 "a length of 65,535 in eight bytes": |site| site.frames(b"\x81\xFF\0\0\0\0\0\0\xFF\xFF\0\0\0\0")
        => "close 1002 ws-bad-length, end", "closed ws-bad-length";
    31 "a message one byte over the limit": |site| site.frames(&header(TEXT, MESSAGE_BYTES_MAX as u64 + 1))
        => "close 1009 ws-too-big, end", "closed ws-too-big";
    32 "fragments that are together one byte over the limit": |site| {
        let most = vec![b'x'; MESSAGE_BYTES_MAX / 16];
        let mut frames = frame(TEXT_TO_BE_CONTINUED, &most);
        for _ in 1..16 {
            frames.extend(frame(CONTINUATION_TO_BE_CONTINUED, &most));
        }
        frames.extend(frame(CONTINUATION, &[b'x'; MESSAGE_BYTES_MAX % 16 + 1]));
        site.frames(&frames)
    } => "close 1009 ws-too-big, end", "closed ws-too-big";
    33 "a promise of 32 MB, then silence":
        |site| site.frames_then_silence(&[header(TEXT, 32_000_000), vec![b'x'; 10]].concat())
        => "cut", "closed lost";
    34 "half a header, then silence": |site| site.frames_then_silence(b"\x81\xFF\0\0") => "cut", "closed lost";
    35 "one byte at a time": |site| {
        let mut wire = site.open("/pcp2/wire");
        for byte in [frame(TEXT, &HALVES.concat()), frame(CLOSE, b"\x03\xE8")].concat() {
            wire.send(&[byte]);
        }
        wire.rest()
    } => "associate_response: success (re 1-1-1-1-1), close 1000, end", "closed peer, messages_routed";
    36 "an empty message": |site| site.frames(&frame(TEXT, b""))
        => "error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    37 "10,000 empty messages": |site| {
        let seen = site.frames(&frame(TEXT, b"").repeat(10_000));
        let (error, rest) = seen.split_once(", ").unwrap();
        let same = seen.matches(error).count();
        format!("{same} times {error}, {}", rest.replace(&format!("{error}, "), ""))
    }
        => "10000 times error_message: Could not decode message, close 1000, end", "closed peer, 10000 decode_errors envelope-syntax";
    38 "text that is not UTF-8": |site| site.frames(&frame(TEXT, b"{\"id\":\"\xFF\"}"))
        => "close 1007 ws-bad-text, end", "closed ws-bad-text";
    39 "text with an overlong character": |site| site.frames(&frame(TEXT, b"{\"id\":\"\xC0\xAF\"}"))
        => "close 1007 ws-bad-text, end", "closed ws-bad-text";
    40 "text with half of a surrogate pair": |site| site.frames(&frame(TEXT, b"\xED\xA0\x80"))
        => "close 1007 ws-bad-text, end", "closed ws-bad-text";
    41 "text that ends inside of a character": |site| site.frames(&frame(TEXT, b"{}\xE2\x82"))
        => "close 1007 ws-bad-text, end", "closed ws-bad-text";
    42 "text that is not UTF-8 only over two fragments":
        |site| site.frames(&[frame(TEXT_TO_BE_CONTINUED, b"{\xE2\x82"), frame(CONTINUATION, b"}")].concat())
        => "close 1007 ws-bad-text, end", "closed ws-bad-text";
    43 "a character over two fragments":
        |site| site.frames(&[frame(TEXT_TO_BE_CONTINUED, b"{\xE2\x82"), frame(CONTINUATION, b"\xAC}")].concat())
        => "error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    44 "a binary message": |site| site.frames(&frame(BINARY, &HALVES.concat()))
        => "error_message: Could not decode message, close 1000, end", "closed peer, decode_errors binary-on-v2";
    45 "a close frame without a code": |site| site.frames(&frame(CLOSE, b""))
        => "close without code, end", "closed peer";
    46 "a close frame of one byte": |site| site.frames(&frame(CLOSE, b"\x03"))
        => "close 1002 ws-bad-close, end", "closed ws-bad-close";
    47 "a close frame with code 0": |site| site.frames(&frame(CLOSE, b"\0\0"))
        => "close 1002 ws-bad-close, end", "closed ws-bad-close";
    48 "a close frame with code 999": |site| site.frames(&frame(CLOSE, b"\x03\xE7"))
        => "close 1002 ws-bad-close, end", "closed ws-bad-close";
    49 "a close frame with code 1005": |site| site.frames(&frame(CLOSE, b"\x03\xED"))
        => "close 1002 ws-bad-close, end", "closed ws-bad-close";
    50 "a close frame with code 1006": |site| site.frames(&frame(CLOSE, b"\x03\xEE"))
        => "close 1002 ws-bad-close, end", "closed ws-bad-close";
    51 "a close frame with code 1016": |site| site.frames(&frame(CLOSE, b"\x03\xF8"))
        => "close 1002 ws-bad-close, end", "closed ws-bad-close";
    52 "a close frame with code 5000": |site| site.frames(&frame(CLOSE, b"\x13\x88"))
        => "close 1002 ws-bad-close, end", "closed ws-bad-close";
    53 "a close frame with code 4999 and a reason": |site| site.frames(&frame(CLOSE, b"\x13\x87why"))
        => "close 4999 why, end", "closed peer";
    54 "a reason that is not UTF-8": |site| site.frames(&frame(CLOSE, b"\x03\xE8\xC3\x28"))
        => "close 1007 ws-bad-text, end", "closed ws-bad-text";
    55 "a reason that ends inside of a character": |site| site.frames(&frame(CLOSE, b"\x03\xE8\xE2"))
        => "close 1007 ws-bad-text, end", "closed ws-bad-text";
    56 "messages after the close frame":
        |site| site.frames(&[frame(CLOSE, b"\x03\xE8"), frame(TEXT, b"{}").repeat(1_000), b"\xFF".repeat(100_000)].concat())
        => "close 1000, end", "closed peer";
    57 "the end of TCP without a close frame": |site| site.frames_then_silence(b"") => "cut", "closed lost";
    58 "the end of TLS without a close frame": |site| {
        let mut wire = site.open("/pcp2/wire");
        wire.connection().send_close_notify();
        wire.send(b"");
        wire.rest()
    } => "cut", "closed lost";
    59 "half of a message, then nobody is there": |site| {
        let mut wire = site.open("/pcp2/wire");
        wire.send(&[header(TEXT, 1_000), vec![b'x'; 500]].concat());
        wire.tcp().shutdown(Shutdown::Both).unwrap();
        String::new()
    } => "", "closed lost";
    60 "a ping and a close frame at once":
        |site| site.frames(&[frame(PING, b"still there?"), frame(CLOSE, b"\x03\xE8")].concat())
        => "pong still there?, close 1000, end", "closed peer";
    61 "10,000 pings at once": |site| {
        let seen = site.frames(&frame(PING, b"x").repeat(10_000));
        let pongs = seen.matches("pong x").count();
        let rest = seen.replace("pong x, ", "");
        assert!((1..=10_000).contains(&pongs), "{pongs} pongs");
        rest
    } => "close 1000, end", "closed peer";
};
