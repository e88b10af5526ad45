//! Messages of PCP 1.0 (message.md): a version byte, and chunks of a descriptor, a length and content. What is not
//! understood is answered as in 2.0; what is tolerated is what pcp-broker tolerates.

use super::client::frame;
use super::site::Site;
use super::upgrade::request;
use super::{Case, cases};

/// What an agent may send to the broker. It is answered with success.
const ASSOCIATE: &str = r#"{"id":"1-1-1-1-1","message_type":"http://puppetlabs.com/associate_request","targets":["pcp:///server"],"sender":"pcp://node.example/wire","expires":"2030-01-01T00:00:00Z"}"#;

/// What it may send to itself. It comes back with its data.
const ECHO: &str = r#"{"id":"1-1-1-1-1","message_type":"http://puppetlabs.com/rpc_blocking_response","targets":["pcp://node.example/wire"],"sender":"pcp://node.example/wire","expires":"2030-01-01T00:00:00Z"}"#;

const BINARY: u8 = 0x82;
const TEXT: u8 = 0x81;

const ENVELOPE: u8 = 1;
const DATA: u8 = 2;
const DEBUG: u8 = 3;

fn chunk(descriptor: u8, content: &[u8]) -> Vec<u8> {
    lying(descriptor, u32::try_from(content.len()).unwrap(), content)
}

/// A chunk with a length that need not be its own.
fn lying(descriptor: u8, length: u32, content: &[u8]) -> Vec<u8> {
    [&[descriptor], &length.to_be_bytes()[..], content].concat()
}

/// What a message of these chunks is answered with.
fn chunks(site: &Site, chunks: &[Vec<u8>]) -> String {
    bytes(site, &[vec![1], chunks.concat()].concat())
}

fn bytes(site: &Site, bytes: &[u8]) -> String {
    site.frames_at("/pcp/wire", &site.node, &frame(BINARY, bytes))
}

/// What a message with one thing in its envelope replaced is answered with.
fn envelope(site: &Site, from: &str, to: &str) -> String {
    assert!(ASSOCIATE.contains(from));
    chunks(site, &[chunk(ENVELOPE, ASSOCIATE.replace(from, to).as_bytes())])
}

/// What comes back of a message to itself with these chunks after the envelope.
fn echo(site: &Site, more: &[Vec<u8>]) -> String {
    chunks(site, &[chunk(ENVELOPE, ECHO.as_bytes()), more.concat()])
}

fn associate() -> Vec<u8> {
    chunk(ENVELOPE, ASSOCIATE.as_bytes())
}

/// What an agent's association at a path is answered with.
fn associate_at(site: &Site, path: &str) -> String {
    let message = [vec![1], chunk(ENVELOPE, ASSOCIATE.replace("/wire", "/agent").as_bytes())].concat();
    site.frames_at(path, &site.node, &frame(BINARY, &message))
}

pub const TABLE: &[Case] = cases! {
    501 "a message as it should be": |site| chunks(site, &[associate()]) => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    502 "version 2": |site| bytes(site, &[vec![2], associate()].concat()) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-version";
    503 "version 0": |site| bytes(site, &[vec![0], associate()].concat()) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-version";
    504 "an empty message": |site| bytes(site, b"") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-version";
    505 "a version and nothing more": |site| chunks(site, &[]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-chunks";
    506 "a message of 2.0 in a binary frame": |site| bytes(site, ASSOCIATE.as_bytes()) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-version";
    507 "a message of 1.0 in a text frame":
        |site| site.frames_at("/pcp/wire", &site.node, &frame(TEXT, b"\x01\x01\0\0\0\x02{}")) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors text-on-v1";
    508 "a message of 2.0 in a text frame":
        |site| site.frames_at("/pcp/wire", &site.node, &frame(TEXT, ASSOCIATE.as_bytes())) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors text-on-v1";
    509 "a message of 1.0 where 2.0 is spoken":
        |site| site.frames(&frame(BINARY, &[vec![1], associate()].concat())) => "error_message: Could not decode message, close 1000, end", "closed peer, decode_errors binary-on-v2";
    510 "data first": |site| chunks(site, &[chunk(DATA, b"{}"), associate()]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-chunks";
    511 "debug first": |site| chunks(site, &[chunk(DEBUG, b"{}"), associate()]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-chunks";
    512 "data alone": |site| chunks(site, &[chunk(DATA, b"{}")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-chunks";
    513 "half of a chunk's header": |site| chunks(site, &[vec![1, 0, 0]]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-chunks";
    514 "an envelope without content": |site| chunks(site, &[chunk(ENVELOPE, b"")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    515 "an envelope that is one byte short":
        |site| chunks(site, &[lying(ENVELOPE, ASSOCIATE.len() as u32 + 1, ASSOCIATE.as_bytes())]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-chunks";
    516 "an envelope of one byte less than there is":
        |site| chunks(site, &[lying(ENVELOPE, ASSOCIATE.len() as u32 - 1, ASSOCIATE.as_bytes())]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    517 "an envelope of 4 GB": |site| chunks(site, &[lying(ENVELOPE, u32::MAX, ASSOCIATE.as_bytes())]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-chunks";
    518 "data of 4 GB": |site| chunks(site, &[associate(), lying(DATA, u32::MAX, b"{}")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-chunks";
    519 "data of as many bytes as the message":
        |site| chunks(site, &[associate(), lying(DATA, ASSOCIATE.len() as u32 + 1 + 5 + 5 + 2, b"{}")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-chunks";
    520 "data that is cut off": |site| chunks(site, &[associate(), lying(DATA, 3, b"{}")]) => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    521 "debug that is cut off":
        |site| echo(site, &[chunk(DATA, b"{\"a\":1}"), lying(DEBUG, 3, b"{}")]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    522 "a byte too many": |site| echo(site, &[chunk(DATA, b"{\"a\":1}"), vec![3]]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    523 "an empty chunk at the end": |site| echo(site, &[chunk(DATA, b"{\"a\":1}"), chunk(DEBUG, b"")]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    524 "two envelopes": |site| echo(site, &[associate()]) => "v1 rpc_blocking_response: {\"id\":\"1-1-1-1-1\",\"message_type\":\"http://puppetlabs.com/associate_request\",\"targets\":[\"pcp:///server\"],\"sender\":\"pcp://node.example/wire\",\"expires\":\"2030-01-01T00:00:00Z\"}, close 1000, end", "closed peer, messages_routed";
    525 "data twice": |site| echo(site, &[chunk(DATA, b"{\"a\":1}"), chunk(DATA, b"{\"a\":2}")]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    526 "debug before data": |site| echo(site, &[chunk(DEBUG, b"{\"hops\":[]}"), chunk(DATA, b"{\"a\":1}")]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    527 "debug alone": |site| echo(site, &[chunk(DEBUG, b"{\"hops\":[]}")]) => "v1 rpc_blocking_response: null, close 1000, end", "closed peer, messages_routed";
    528 "a chunk of type 0": |site| echo(site, &[chunk(0, b"{\"a\":1}")]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    529 "a chunk of type 15": |site| echo(site, &[chunk(15, b"{\"a\":1}")]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    530 "flags in the descriptors":
        |site| chunks(site, &[chunk(0xF1, ECHO.as_bytes()), chunk(0xF2, b"{\"a\":1}")]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    531 "four chunks":
        |site| echo(site, &[chunk(DATA, b"{\"a\":1}"), chunk(DEBUG, b"1"), chunk(DEBUG, b"2"), vec![9; 100]]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    532 "one million chunks of debug":
        |site| echo(site, &[chunk(DEBUG, b"{}").repeat(1_000_000), chunk(DATA, b"{\"a\":1}")]) => "v1 rpc_blocking_response: {\"a\":1}, close 1000, end", "closed peer, messages_routed";
    533 "no data": |site| echo(site, &[]) => "v1 rpc_blocking_response: null, close 1000, end", "closed peer, messages_routed";
    534 "data without content": |site| echo(site, &[chunk(DATA, b"")]) => "v1 rpc_blocking_response: null, close 1000, end", "closed peer, messages_routed";
    535 "null as data": |site| echo(site, &[chunk(DATA, b"null")]) => "v1 rpc_blocking_response: null, close 1000, end", "closed peer, messages_routed";
    536 "data that is not JSON": |site| echo(site, &[chunk(DATA, b"{a:1}")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-data";
    537 "data that is not UTF-8": |site| echo(site, &[chunk(DATA, b"\"\xFF\"")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-data";
    538 "data with bytes after it": |site| echo(site, &[chunk(DATA, b"{}}")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors v1-data";
    539 "data 100,000 lists deep":
        |site| echo(site, &[chunk(DATA, [b"[".repeat(100_000), b"]".repeat(100_000)].concat().as_slice())]) => "v1 rpc_blocking_response: 200000 bytes of data, close 1000, end", "closed peer, messages_routed";
    540 "data of 10 MB":
        |site| echo(site, &[chunk(DATA, [b"\"", &b"x".repeat(10_000_000)[..], b"\""].concat().as_slice())]) => "v1 rpc_blocking_response: 10000002 bytes of data, close 1000, end", "closed peer, messages_routed";
    541 "an envelope that is not JSON": |site| chunks(site, &[chunk(ENVELOPE, b"{id:1}")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    542 "an envelope that is not UTF-8": |site| chunks(site, &[chunk(ENVELOPE, b"{\"id\":\"\xFF\"}")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    543 "an array as envelope": |site| chunks(site, &[chunk(ENVELOPE, b"[\"1-1-1-1-1\"]")]) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    544 "an envelope 100,000 lists deep":
        |site| envelope(site, "\"pcp:///server\"", &["[".repeat(100_000), "]".repeat(100_000)].concat()) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    545 "no sender": |site| envelope(site, r#","sender":"pcp://node.example/wire""#, "") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    546 "no expiry": |site| envelope(site, r#","expires":"2030-01-01T00:00:00Z""#, "") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    547 "an expiry in the past": |site| envelope(site, "2030", "1970") => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    548 "an expiry that is no time": |site| envelope(site, "2030-01-01T00:00:00Z", "soon") => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    549 "a number as expiry": |site| envelope(site, "\"2030-01-01T00:00:00Z\"", "0") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    550 "no targets": |site| envelope(site, r#""targets":["pcp:///server"],"#, "") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    551 "an empty list of targets": |site| envelope(site, "\"pcp:///server\"", "") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    552 "a target that is no list": |site| envelope(site, "[\"pcp:///server\"]", "\"pcp:///server\"") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    553 "null as target": |site| envelope(site, "\"pcp:///server\"", "null") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    554 "two targets":
        |site| envelope(site, "\"pcp:///server\"", r#""pcp:///server","pcp://ctl.example/x""#) => "v1 associate_response: Multiple recipients no longer supported., close 4002 Association unsuccessful., end", "closed application, messages_refused multicast-unsupported";
    555 "the same target twice":
        |site| envelope(site, "\"pcp:///server\"", r#""pcp:///server","pcp:///server""#) => "v1 associate_response: Multiple recipients no longer supported., close 4002 Association unsuccessful., end", "closed application, messages_refused multicast-unsupported";
    556 "a second target that is no URI":
        |site| envelope(site, "\"pcp:///server\"", r#""pcp:///server","server""#) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    557 "one million targets": |site| {
        envelope(site, "\"pcp:///server\"", &vec!["\"pcp:///server\""; 1_000_000].join(","))
    } => "v1 associate_response: Multiple recipients no longer supported., close 4002 Association unsuccessful., end", "closed application, messages_refused multicast-unsupported";
    558 "a wildcard as target": |site| envelope(site, "pcp:///server", "pcp://*/agent") => "v1 error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end", "closed peer, messages_refused authorization-failure";
    559 "a target of 2.0": |site| envelope(site, r#""targets":["pcp:///server"]"#, r#""target":"pcp:///server""#) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    560 "in_reply_to as in 2.0": |site| envelope(site, "\"id\"", "\"in_reply_to\":\"1-1-1-1-1\",\"id\"") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    561 "in-reply-to that is no UUID": |site| envelope(site, "\"id\"", "\"in-reply-to\":\"x\",\"id\"") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-id";
    562 "a wish for a report": |site| envelope(site, "\"id\"", "\"destination_report\":true,\"id\"") => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    563 "a wish for a report that is no boolean": |site| envelope(site, "\"id\"", "\"destination_report\":1,\"id\"") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    564 "the sender twice": |site| envelope(site, "}", r#","sender":"pcp://ctl.example/wire"}"#) => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-syntax";
    565 "an id that is no UUID": |site| envelope(site, "1-1-1-1-1", "one") => "v1 error_message: Could not decode message, close 1000, end", "closed peer, decode_errors envelope-id";
    566 "the sender of another": |site| envelope(site, "pcp://node.example/wire", "pcp://ctl.example/wire") => "v1 associate_response: Message not authenticated., close 4002 Association unsuccessful., end", "closed application, messages_refused authentication-failure";
    567 "another type of ours asks for an association":
        |site| envelope(site, "pcp://node.example/wire", "pcp://node.example/other") => "v1 associate_response: Session already associated., close 4002 Association unsuccessful., end", "closed application, messages_refused association-refused";
    568 "a type of nobody": |site| envelope(site, "associate_request", "nothing") => "v1 error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end", "closed peer, messages_refused authorization-failure";
    569 "an error whose data is none": |site| {
        let error = ECHO.replace("rpc_blocking_response", "error_message");
        chunks(site, &[chunk(ENVELOPE, error.as_bytes()), chunk(DATA, b"{\"id\":7,\"description\":[]}")])
    } => "v1 error_message: {\"description\":null}, close 1000, end", "closed peer, messages_routed";
    570 "an error about a message that has no UUID": |site| {
        let error = ECHO.replace("rpc_blocking_response", "error_message");
        chunks(site, &[chunk(ENVELOPE, error.as_bytes()), chunk(DATA, b"{\"id\":\"x\",\"description\":\"why\"}")])
    } => "v1 error_message: why, close 1000, end", "closed peer, messages_routed";
    571 "a path that is neither": |site| site.http(request("/pcp1/wire").as_bytes()) => "404 Not found., end", "refused Not found.";
    572 "the broker's own type": |site| site.http(request("/pcp/server").as_bytes()) => "403 Association unsuccessful., end", "refused Association unsuccessful.";
    573 "fragments of a message": |site| {
        let message = [vec![1], associate()].concat();
        let (begin, end) = message.split_at(3);
        site.frames_at("/pcp/wire", &site.node, &[frame(0x02, begin), frame(0x80, end)].concat())
    } => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    574 "the mount itself, where agents of 1.0 connect": |site| associate_at(site, "/pcp") => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    575 "the mount and a slash": |site| associate_at(site, "/pcp/") => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    576 "the mount and the type": |site| associate_at(site, "/pcp/agent") => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    577 "the mount and a query": |site| associate_at(site, "/pcp?type=wire") => "v1 associate_response: success, close 1000, end", "closed peer, messages_routed";
    578 "the mount in the wrong protocol": |site| associate_at(site, "/pcp2") => "error_message: Could not decode message, close 1000, end", "closed peer, decode_errors binary-on-v2";
    579 "a type in two parts": |site| site.http(request("/pcp/a/b").as_bytes()) => "400 The path names no client type., end", "refused The path names no client type.";
    580 "two slashes": |site| site.http(request("/pcp//agent").as_bytes()) => "400 The path names no client type., end", "refused The path names no client type.";
    581 "a slash at the end of the type": |site| site.http(request("/pcp/agent/").as_bytes()) => "400 The path names no client type., end", "refused The path names no client type.";
    582 "more after the mount": |site| site.http(request("/pcpx").as_bytes()) => "404 Not found., end", "refused Not found.";
    583 "the mount in capitals": |site| site.http(request("/PCP").as_bytes()) => "404 Not found., end", "refused Not found.";
    584 "a wildcard as type": |site| site.http(request("/pcp/*").as_bytes()) => "400 The path names no client type., end", "refused The path names no client type.";
    585 "less than the mount": |site| site.http(request("/pc").as_bytes()) => "404 Not found., end", "refused Not found.";
};
