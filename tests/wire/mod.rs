//! Hostile input on the wire, case by case, against a server of the real binary over real TLS.
//!
//! Each case is a row: its number (they are never used again for something else), its name, what the client does, what
//! it sees in return, and what the server counts. Every row is held to all of this:
//!
//! * **What is seen** is the whole answer, in words: frames and their content, the HTTP status and text, the TLS alert,
//!   and how it ended: `end` is the end that TLS wants (close_notify), `cut` an end without it, `reset` a reset of TCP,
//!   `alert X` a fatal alert.
//! * **What is counted** is all that is counted, `<counter> <label>`: a second label that moves is a failure as well. An
//!   operator finds every label in the log.
//! * **Afterwards** open connections, handshakes, queued and partial bytes and the descriptors of the process are what
//!   they were before.
//! * **Others** are served: a client that is connected all the time is answered, and so is one that comes now.
//!
//! To add a case, append a row to its table with the next free number, with empty words for what is seen and counted,
//! and run it: the failure says what happened. Then ask whether that is what should happen.
//!
//! `storm.rs` has what takes much time, and in tests of their own what takes many connections.

mod client;
mod envelope;
mod forge;
mod frames;
mod log;
mod page;
mod records;
mod site;
mod storm;
mod tls;
mod upgrade;
mod v1;

use site::Site;

/// One row.
pub struct Case {
    number: u32,
    name: &'static str,
    act: fn(&Site) -> String,
    seen: &'static str,
    counted: &'static str,
}

/// A table: `<number> <name>: <what the client does> => <what it sees>, <what is counted>;`.
macro_rules! cases {
    ($($number:literal $name:literal: $act:expr => $seen:expr, $counted:expr;)*) => {
        &[$(Case { number: $number, name: $name, act: $act, seen: $seen, counted: $counted }),*]
    };
}
use cases;

/// What was seen in two ways.
fn pair(first: String, second: String) -> String {
    if first == second { format!("twice {first}") } else { format!("{first}; {second}") }
}

/// Runs a table against a server of its own.
fn run(table: &[Case]) {
    run_at(&Site::start(), table);
}

/// Runs a table to its end, and fails with all that was different.
fn run_at(site: &Site, table: &[Case]) {
    let mut different = Vec::new();
    for case in table {
        site.serves();
        let before = site.calm();
        let seen = (case.act)(site);
        let mut view = site.view();
        site.server.wait(&format!("everything of {} {} to be gone", case.number, case.name), || {
            view = site.view();
            view.is_as_empty_as(&before)
        });
        let counted = view.counted_since(&before);
        if seen != case.seen || counted != case.counted {
            different.push(format!("{} {}:\n  seen    {seen:?},\n  counted {counted:?}", case.number, case.name));
        }
    }
    let now = site.calm();
    let counters = now.counters.keys().filter_map(|counter| counter.split_once(' '));
    for (_, label) in counters.filter(|(family, _)| ["refused", "closed", "decode_errors"].contains(family)) {
        site.server.wait(&format!("the log to say {label}"), || site.server.log().contains(label));
    }
    site.serves();
    assert!(!site.server.log().contains("panicked"), "{}", site.server.log());
    assert!(different.is_empty(), "{} of {} cases:\n{}", different.len(), table.len(), different.join("\n"));
}

#[test]
fn frames() {
    run(frames::TABLE);
}

#[test]
fn upgrades() {
    run(upgrade::TABLE);
}

#[test]
fn handshakes_and_records() {
    run_at(&Site::start_with(&format!("{}, pcp-broker.tls-session: compact", site::PRIVILEGED)), tls::TABLE);
}

/// The same when rustls keeps its connections: nobody can tell from outside.
#[test]
fn handshakes_and_records_of_rustls() {
    run_at(&Site::start_with(&format!("{}, pcp-broker.tls-session: rustls", site::PRIVILEGED)), tls::TABLE);
}

#[test]
fn envelopes() {
    run(envelope::TABLE);
}

#[test]
fn messages_of_pcp_1() {
    run(v1::TABLE);
}

#[test]
fn pages() {
    run(page::TABLE);
}

#[test]
fn where_certificates_are_wanted_and_not_needed() {
    run_at(&Site::start_with("webserver.pcp-broker.client-auth: want"), page::WANT_TABLE);
}

#[test]
fn slow_peers() {
    run(storm::TABLE);
}

/// A number names one case.
#[test]
fn numbers_are_in_order() {
    let tables = [
        frames::TABLE,
        upgrade::TABLE,
        tls::TABLE,
        envelope::TABLE,
        storm::TABLE,
        v1::TABLE,
        page::TABLE,
        page::WANT_TABLE,
    ];
    for table in tables {
        assert!(table.is_sorted_by(|a, b| a.number < b.number), "in order, each once");
    }
    for pair in tables.windows(2) {
        assert!(pair[0].last().unwrap().number < pair[1][0].number, "tables have ranges of their own");
    }
}
