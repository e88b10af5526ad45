//! What the log says of messages that were refused.

use super::client::frame;
use super::site::Site;

/// Rules that forbid one type, and a type that is longer than a line.
const RULES: &str = r#"authorization: { version: 1, rules: [
    { name: "no orders", sort-order: 1, allow: "ctl.example",
      match-request: { path: "/pcp-broker/send", type: path, query-params: { message_type: "order" } } }
    { name: "the rest", sort-order: 2, allow: "*", match-request: { path: "/pcp-broker/send", type: path } }
] }"#;

fn say(site: &Site, message_type: &str, sender: &str) {
    let message = format!(r#"{{"id":"1-1-1-1-1","message_type":"{message_type}","sender":"{sender}"}}"#);
    site.frames(&frame(0x81, message.as_bytes()));
}

/// One line each, which names the rule, and in which what the peer says does not crowd out what became of it.
#[test]
fn a_refused_message_leaves_one_line() {
    let site = Site::start_with(RULES);
    let own = "pcp://node.example/wire";
    let associate = "http://puppetlabs.com/associate_request";
    say(&site, "order", own);
    say(&site, &"x".repeat(100_000), own);
    say(&site, associate, "pcp://node.example/other");
    say(&site, associate, &format!("pcp://{}/wire", "x".repeat(400)));
    let words = [
        "message refused event=message-authorization uri=pcp://node.example/wire outcome=authorization-failure \
         denial=denied by rule 'no orders' message_type=\"order",
        "event=broker-unhandled-message uri=pcp://node.example/wire outcome=unhandled-type message_type=\"xxx",
        "event=connection-already-associated uri=pcp://node.example/wire outcome=association-refused \
         asked=\"pcp://node.example/other",
        "outcome=authentication-failure denial=the sender is somebody else's name",
    ];
    for words in words {
        site.server.wait(words, || site.server.log().contains(words));
    }
    let log = site.server.log();
    let about = |label: &str| log.lines().filter(|line| line.contains(label)).count();
    assert_eq!(about("no orders"), 1, "{log}");
    for label in ["authorization-failure", "unhandled-type", "association-refused", "authentication-failure"] {
        assert_eq!(about(label), 1, "{label}: {log}");
    }
}
