//! Messages of PCP 2.0 (message.md, uri.md) and who may say what.

use podium::limits::AGENT_RECEIVE_BYTES_MAX;

use super::client::frame;
use super::site::Site;
use super::{Case, cases, pair};

/// What an agent may send to the broker. It is answered with success.
const ASSOCIATE: &str = r#"{"id":"1-1-1-1-1","message_type":"http://puppetlabs.com/associate_request","target":"pcp:///server","sender":"pcp://node.example/wire"}"#;

/// The same with one thing replaced.
fn associate(from: &str, to: &str) -> String {
    assert!(ASSOCIATE.contains(from));
    ASSOCIATE.replace(from, to)
}

/// What an agent may send to itself, with this as data. It comes back as it is.
fn echo(data: &str) -> String {
    message("http://puppetlabs.com/rpc_blocking_response", "pcp://node.example/wire", data)
}

fn message(kind: &str, target: &str, data: &str) -> String {
    format!(
        r#"{{"id":"1-1-1-1-1","message_type":"{kind}","target":"{target}","sender":"pcp://node.example/wire","data":{data}}}"#
    )
}

/// The sender of an association.
fn sender(site: &Site, sender: &str) -> String {
    site.text(&associate("pcp://node.example/wire", sender))
}

/// What a message to this target is answered with, for an agent and for a client that may give orders.
fn target(site: &Site, target: &str) -> String {
    let agent = site.text(&message("http://puppetlabs.com/rpc_blocking_response", target, "{}"));
    let order =
        message("http://puppetlabs.com/rpc_blocking_request", target, "{}").replace("node.example", "ctl.example");
    pair(agent, site.frames_of(&site.privileged, &frame(0x81, order.as_bytes())))
}

/// What a message of this type is answered with, for an agent and for a client that may give orders.
fn kind(site: &Site, kind: &str) -> String {
    let agent = message(kind, "pcp:///server", "{}");
    let privileged = agent.replace("node.example", "ctl.example");
    pair(site.text(&agent), site.frames_of(&site.privileged, &frame(0x81, privileged.as_bytes())))
}

/// What is seen, and what is counted, often.
const NOT_DECODED: &str = "error_message: Could not decode message, close 1000, end";
const SYNTAX: &str = "closed peer, decode_errors envelope-syntax";
const BAD_ID: &str = "closed peer, decode_errors envelope-id";
const BAD_URI: &str = "closed peer, decode_errors envelope-uri";
const ROUTED: &str = "closed peer, messages_routed";
const ASSOCIATED: &str = "associate_response: success (re 1-1-1-1-1), close 1000, end";
const NOT_ASSOCIATED: &str =
    "associate_response: Message not authenticated. (re 1-1-1-1-1), close 4002 Association unsuccessful., end";
const NOT_AUTHENTICATED: &str = "closed application, messages_refused authentication-failure";
const BOTH_NOT_AUTHORIZED: &str = "twice error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end";
const BOTH_REFUSED: &str = "2 closed peer, 2 messages_refused authorization-failure";
const BOTH_NOT_DECODED: &str = "twice error_message: Could not decode message, close 1000, end";
const BOTH_BAD_URI: &str = "2 closed peer, 2 decode_errors envelope-uri";

pub const TABLE: &[Case] = cases! {
    301 "a message as it should be": |site| site.text(ASSOCIATE) => ASSOCIATED, ROUTED;
    302 "an array instead of an object":
        |site| site.text(r#"["1-1-1-1-1","http://puppetlabs.com/associate_request"]"#)
        => NOT_DECODED, SYNTAX;
    303 "a number": |site| site.text("7") => NOT_DECODED, SYNTAX;
    304 "an object without keys": |site| site.text("{}") => NOT_DECODED, SYNTAX;
    305 "no id": |site| site.text(&associate(r#""id":"1-1-1-1-1","#, "")) => NOT_DECODED, SYNTAX;
    306 "no type": |site| site.text(r#"{"id":"1-1-1-1-1"}"#) => NOT_DECODED, SYNTAX;
    307 "a key that there is not": |site| site.text(&associate("\"id\"", "\"expires\":\"now\",\"id\""))
        => NOT_DECODED, SYNTAX;
    308 "a key in capitals": |site| site.text(&associate("\"id\"", "\"ID\"")) => NOT_DECODED, SYNTAX;
    309 "the id as a number": |site| site.text(&associate("\"1-1-1-1-1\"", "1")) => NOT_DECODED, SYNTAX;
    310 "the type as a list": |site| site.text(&associate("\"http://puppetlabs.com/associate_request\"", "[\"x\"]"))
        => NOT_DECODED, SYNTAX;
    311 "the target as a list, as in PCP 1.0":
        |site| site.text(&associate("\"pcp:///server\"", "[\"pcp:///server\"]"))
        => NOT_DECODED, SYNTAX;
    312 "null as target": |site| site.text(&associate("\"pcp:///server\"", "null")) => NOT_DECODED, SYNTAX;
    313 "null as sender": |site| site.text(&associate("\"pcp://node.example/wire\"", "null")) => NOT_DECODED, SYNTAX;
    314 "null as id": |site| site.text(&associate("\"1-1-1-1-1\"", "null")) => NOT_DECODED, SYNTAX;
    315 "the sender twice": |site| site.text(&associate("}", r#","sender":"pcp://ctl.example/wire"}"#))
        => NOT_DECODED, SYNTAX;
    316 "the sender twice, once in disguise":
        |site| site.text(&associate("}", r#","s\u0065nder":"pcp://ctl.example/wire"}"#))
        => NOT_DECODED, SYNTAX;
    317 "the target in disguise": |site| site.text(&associate("target", "t\\u0061rget")) => ASSOCIATED, ROUTED;
    318 "keys twice in the data": |site| site.text(&echo(r#"{"a":1,"a":2}"#))
        => "rpc_blocking_response: {\"a\":1,\"a\":2}, close 1000, end", ROUTED;
    319 "bytes after the end": |site| site.text(&associate("}", "}}")) => NOT_DECODED, SYNTAX;
    320 "two messages in one": |site| site.text(&ASSOCIATE.repeat(2)) => NOT_DECODED, SYNTAX;
    321 "a mark of byte order first": |site| site.text(&format!("\u{FEFF}{ASSOCIATE}")) => NOT_DECODED, SYNTAX;
    322 "JSON with a comment": |site| site.text(&associate("{", "{/* x */")) => NOT_DECODED, SYNTAX;
    323 "white space around": |site| site.text(&format!(" \r\n\t{ASSOCIATE} \r\n")) => ASSOCIATED, ROUTED;
    324 "an id that is no UUID": |site| site.text(&associate("1-1-1-1-1", "one")) => NOT_DECODED, BAD_ID;
    325 "an empty id": |site| site.text(&associate("1-1-1-1-1", "")) => NOT_DECODED, BAD_ID;
    326 "an id with a group too many": |site| site.text(&associate("1-1-1-1-1", "1-1-1-1-1-1"))
        => NOT_DECODED, BAD_ID;
    327 "an id with a digit too many": |site| site.text(&associate("1-1-1-1-1", "1-1-1-1-1234567890123"))
        => NOT_DECODED, BAD_ID;
    328 "an id with a sign": |site| site.text(&associate("1-1-1-1-1", "+1-1-1-1-1")) => NOT_DECODED, BAD_ID;
    329 "an id in braces": |site| site.text(&associate("1-1-1-1-1", "{f93df7fa-5168-4f8d-a7b5-180d46019213}"))
        => NOT_DECODED, BAD_ID;
    330 "an id with digits of another script": |site| site.text(&associate("1-1-1-1-1", "\u{661}-1-1-1-1"))
        => NOT_DECODED, BAD_ID;
    331 "in_reply_to that is no UUID": |site| site.text(&associate("\"id\"", "\"in_reply_to\":\"x\",\"id\""))
        => NOT_DECODED, BAD_ID;
    332 "data 100,000 lists deep": |site| site.text(&echo(&["[".repeat(100_000), "]".repeat(100_000)].concat()))
        => "rpc_blocking_response: 200000 bytes of data, close 1000, end", ROUTED;
    333 "data 100,000 lists deep without an end": |site| site.text(&echo(&"[".repeat(100_000)))
        => NOT_DECODED, SYNTAX;
    334 "data 100,000 objects deep":
        |site| site.text(&echo(&["{\"a\":".repeat(100_000), "1".to_owned(), "}".repeat(100_000)].concat()))
        => "rpc_blocking_response: 600001 bytes of data, close 1000, end", ROUTED;
    335 "an inventory query 100,000 lists deep": |site| {
        let data = ["[".repeat(100_000), "]".repeat(100_000)].concat();
        let message = message("http://puppetlabs.com/inventory_request", "pcp:///server", &data);
        let message = message.replace("node.example", "ctl.example");
        site.frames_of(&site.privileged, &frame(0x81, message.as_bytes()))
    }
        => "error_message: Error handling message: the data of inventory_request is not valid: invalid type: sequence, expected a string at line 1 column 2 (re 1-1-1-1-1), close 1000, end", ROUTED;
    336 "a number that is too large": |site| site.text(&echo("1e999999999"))
        => "rpc_blocking_response: 1e999999999, close 1000, end", ROUTED;
    337 "a number of a million digits": |site| site.text(&echo(&"9".repeat(1_000_000)))
        => "rpc_blocking_response: 1000000 bytes of data, close 1000, end", ROUTED;
    338 "numbers that are none": |site| {
        let mut seen = ["NaN", "-", "01", "0x10", "1."].map(|data| {
            site.calm();
            site.text(&echo(data))
        }).to_vec();
        seen.dedup();
        seen.join("; ")
    } => NOT_DECODED, "5 closed peer, 5 decode_errors envelope-syntax";
    339 "a string of 10 MB": |site| site.text(&echo(&format!("\"{}\"", "x".repeat(10_000_000))))
        => "rpc_blocking_response: 10000002 bytes of data, close 1000, end", ROUTED;
    340 "a type of 1 MB": |site| kind(site, &"x".repeat(1_000_000)) => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    341 "a target of 1 MB": |site| target(site, &format!("pcp://{}/agent", "x".repeat(1_000_000)))
        => "error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end; error_message: Not connected. (re 1-1-1-1-1), close 1000, end", "2 closed peer, messages_refused authorization-failure, undeliverable not-connected";
    342 "a key of 1 MB": |site| site.text(&associate("\"id\"", &format!("\"{}\":1,\"id\"", "x".repeat(1_000_000))))
        => NOT_DECODED, SYNTAX;
    343 "100,000 keys": |site| site.text(&associate("\"id\"", &format!("{}\"id\"", "\"x\":1,".repeat(100_000))))
        => NOT_DECODED, SYNTAX;
    344 "half of a surrogate pair in the data": |site| site.text(&echo("\"\\ud800\""))
        => "rpc_blocking_response: \"\\ud800\", close 1000, end", ROUTED;
    345 "half of a surrogate pair in the type": |site| kind(site, "\\ud800")
        => BOTH_NOT_DECODED, "2 closed peer, 2 decode_errors envelope-syntax";
    346 "NUL in the type": |site| kind(site, "http://puppetlabs.com/associate_request\\u0000")
        => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    347 "NUL in the target": |site| target(site, "pcp://ctl.example\\u0000/agent")
        => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    348 "a control character as it is": |site| site.text(&associate("associate_request", "associate_request\u{1}"))
        => NOT_DECODED, SYNTAX;
    349 "a line feed in the target": |site| target(site, "pcp://ctl.example/agent\\n")
        => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    350 "a quotation mark in the type": |site| kind(site, "a\\\",\\\"sender\\\":\\\"pcp://ctl.example/x")
        => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    351 "the sender of another": |site| sender(site, "pcp://ctl.example/wire") => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    352 "the broker as sender": |site| sender(site, "pcp:///server") => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    353 "a sender whose name begins like ours": |site| sender(site, "pcp://node.example.evil/wire")
        => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    354 "a sender whose name ends like ours": |site| sender(site, "pcp://evil.node.example/wire")
        => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    355 "a sender whose name is the end of ours": |site| sender(site, "pcp://example/wire")
        => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    356 "a sender whose name is the beginning of ours": |site| sender(site, "pcp://node/wire")
        => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    357 "our name in capitals": |site| sender(site, "pcp://NODE.example/wire") => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    358 "our name with a dot at the end": |site| sender(site, "pcp://node.example./wire")
        => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    359 "our name with a port": |site| sender(site, "pcp://node.example:8142/wire")
        => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    360 "our name before another's": |site| sender(site, "pcp://node.example@ctl.example/wire")
        => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    361 "a wildcard as sender": |site| sender(site, "pcp://*/wire") => NOT_ASSOCIATED, NOT_AUTHENTICATED;
    362 "a sender that is no URI": |site| sender(site, "node.example") => NOT_DECODED, BAD_URI;
    363 "a sender with a blank in front": |site| sender(site, " pcp://node.example/wire") => NOT_DECODED, BAD_URI;
    364 "another type of ours asks for an association": |site| sender(site, "pcp://node.example/other")
        => "associate_response: Session already associated. (re 1-1-1-1-1), close 4002 Association unsuccessful., end", "closed application, messages_refused association-refused";
    365 "another type of ours as sender":
        |site| site.text(&echo("{}").replace("sender\":\"pcp://node.example/wire", "sender\":\"pcp://node.example/other"))
        => "rpc_blocking_response: {}, close 1000, end", ROUTED;
    366 "every authority": |site| target(site, "pcp://*/wire")
        => "error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end; error_message: Multiple recipients no longer supported. (re 1-1-1-1-1), close 1000, end", "2 closed peer, messages_refused authorization-failure, messages_refused multicast-unsupported";
    367 "every type": |site| target(site, "pcp://ctl.example/*")
        => "twice error_message: Multiple recipients no longer supported. (re 1-1-1-1-1), close 1000, end", "2 closed peer, 2 messages_refused multicast-unsupported";
    368 "everybody": |site| target(site, "pcp://*/*")
        => "error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end; error_message: Multiple recipients no longer supported. (re 1-1-1-1-1), close 1000, end", "2 closed peer, messages_refused authorization-failure, messages_refused multicast-unsupported";
    369 "a wildcard in a name": |site| target(site, "pcp://ctl*/wire")
        => "error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end; error_message: Not connected. (re 1-1-1-1-1), close 1000, end", "2 closed peer, messages_refused authorization-failure, undeliverable not-connected";
    370 "a target without a type": |site| target(site, "pcp://ctl.example/") => BOTH_NOT_DECODED, BOTH_BAD_URI;
    371 "a target with two slashes": |site| target(site, "pcp://ctl.example/a/b") => BOTH_NOT_DECODED, BOTH_BAD_URI;
    372 "a target of another scheme": |site| target(site, "http://ctl.example/agent")
        => BOTH_NOT_DECODED, BOTH_BAD_URI;
    373 "a target with a query": |site| target(site, "pcp://ctl.example/agent?x")
        => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    374 "an empty target": |site| target(site, "") => BOTH_NOT_DECODED, BOTH_BAD_URI;
    375 "a target that is not there": |site| target(site, "pcp://ctl.example/nobody")
        => "twice error_message: Not connected. (re 1-1-1-1-1), close 1000, end", "2 closed peer, 2 undeliverable not-connected";
    376 "an agent as target": |site| target(site, "pcp://witness.example/witness")
        => "error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end; close 1000, end", "2 closed peer, messages_refused authorization-failure, messages_routed";
    377 "the broker as target of an order": |site| target(site, "pcp:///server")
        => "twice close 1000, end", "2 closed peer, 2 messages_refused unhandled-type";
    378 "an empty type": |site| kind(site, "") => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    379 "a type of nobody": |site| kind(site, "http://puppetlabs.com/nothing") => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    380 "a type of the broker": |site| kind(site, "http://puppetlabs.com/inventory_update")
        => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    381 "an answer to an association": |site| kind(site, "http://puppetlabs.com/associate_response")
        => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    382 "a wildcard as type": |site| kind(site, "*") => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    383 "a type in capitals": |site| kind(site, "HTTP://PUPPETLABS.COM/ASSOCIATE_REQUEST")
        => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    384 "a type without its prefix": |site| kind(site, "associate_request") => BOTH_NOT_AUTHORIZED, BOTH_REFUSED;
    385 "an association with another client":
        |site| site.text(&message("http://puppetlabs.com/associate_request", "pcp://witness.example/witness", "{}"))
        => "error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end", "closed peer, messages_refused authorization-failure";
    386 "an inventory for everybody": |site| kind(site, "http://puppetlabs.com/inventory_request")
        => "error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end; error_message: Error handling message: the data of inventory_request is not valid: missing field `query` at line 1 column 2 (re 1-1-1-1-1), close 1000, end", "2 closed peer, messages_refused authorization-failure, messages_routed";
    387 "an inventory of one million patterns": |site| {
        let query = vec!["\"pcp://a/b\""; 1_000_000].join(",");
        let data = format!("{{\"query\":[{query}]}}");
        let message = message("http://puppetlabs.com/inventory_request", "pcp:///server", &data);
        let message = message.replace("node.example", "ctl.example");
        site.frames_of(&site.privileged, &frame(0x81, message.as_bytes()))
    } => "error_message: Error handling message: the data of inventory_request is not valid: more than 50000 texts or 4000000 bytes of them; use wildcards at line 1 column 600022 (re 1-1-1-1-1), close 1000, end", ROUTED;
    388 "an order to an agent":
        |site| site.text(&message("http://puppetlabs.com/rpc_non_blocking_request", "pcp://witness.example/witness", "{}"))
        => "error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end", "closed peer, messages_refused authorization-failure";
    389 "an order to itself":
        |site| site.text(&message("http://puppetlabs.com/rpc_non_blocking_request", "pcp://node.example/wire", "{}"))
        => "error_message: Message not authorized. (re 1-1-1-1-1), close 1000, end", "closed peer, messages_refused authorization-failure";
    390 "a message of the largest size to itself": |site| {
        let most = 32_000_000 - echo("\"\"").len();
        site.text(&echo(&format!("\"{}\"", "x".repeat(most))))
    } => "rpc_blocking_response: 31999843 bytes of data, close 1000, end", ROUTED;
    391 "an error about an error": |site| kind(site, "http://puppetlabs.com/error_message")
        => "twice close 1000, end", "2 closed peer, 2 messages_refused unhandled-type";
    392 "two connections of one URI": |site| {
        let mut first = site.open("/pcp2/wire");
        let second = site.text(&echo("1"));
        format!("{}; {second}", first.rest())
    }
        => "cut; rpc_blocking_response: 1, close 1000, end", "closed application, closed peer, messages_routed, superseded";
    393 "1,000 messages to itself that nobody reads": |site| {
        let routed = || site.view().counters.get("messages_routed").copied().unwrap_or(0);
        let before = routed();
        let mut wire = site.open("/pcp2/wire");
        let message = frame(0x81, echo(&format!("\"{}\"", "x".repeat(30_000))).as_bytes());
        for _ in 0..1_000 {
            wire.send(&message);
        }
        site.server.wait("all to be routed", || routed() - before == 1_000);
        assert!(site.view().gauges["queued_bytes"] > 0);
        String::new()
    } => "", "closed lost, 1000 messages_routed";
    394 "a message that is too large for an agent once it has a sender": |site| {
        let message = echo("\"\"").replace(r#""sender":"pcp://node.example/wire","#, "").replace("/wire", "/agent");
        let most = AGENT_RECEIVE_BYTES_MAX - message.len();
        let message = message.replace("\"\"", &format!("\"{}\"", "x".repeat(most)));
        site.frames_at("/pcp2/agent", &site.node, &frame(0x81, message.as_bytes()))
    } => "error_message: Message too large for the target: agents take at most 32000000 bytes. (re 1-1-1-1-1), close 1000, end", "closed peer, undeliverable too-large-for-target";
};
