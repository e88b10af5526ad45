//! Open connections: messages, control frames, closes.

use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

use super::*;
use crate::limits::TURN_ENDS;

#[test]
fn echo_over_both_versions() {
    let bench = Bench::start(|_| {});
    for version in [&TLS12, &TLS13] {
        let config = bench.pki.client(version, Some(&bench.agent));
        let mut client = bench.connect_as(config, "/pcp2/agent?x=y").unwrap();
        let Seen::Opened { name, path, dialled, .. } = bench.next() else { panic!() };
        assert_eq!((&*name, &*path, dialled), ("agent.example", "/pcp2/agent", false));
        for message in [Message::text("gr\u{fc}n"), Message::binary(vec![0, 255]), Message::text("")] {
            client.send(message.clone()).unwrap();
            assert_eq!(client.read().unwrap(), message);
        }
        client.close(None).unwrap();
        assert!(client.read().unwrap().is_close());
        assert_eq!(bench.closed(), CloseReason::Peer { code: 1005, reason: "".into() });
        assert!(client.read().is_err(), "the server closes first");
    }
    bench.await_metric("connections_open", 0);
    bench.await_metric("queued_bytes", 0);
    bench.await_metric("partial_bytes", 0);
    assert_eq!(bench.metric("messages_in_total"), 6);
    assert_eq!(bench.metric("messages_out_total"), 6);
}

#[test]
fn mail_reaches_the_peers_of_every_worker() {
    let bench = Bench::start(|_| {});
    let mut clients = Vec::new();
    let mut workers = [0, 0];
    // The kernel chooses the worker; sooner or later both have peers.
    while workers.contains(&0) {
        clients.push(bench.connect());
        let Seen::Opened { worker, .. } = bench.next() else { panic!() };
        workers[usize::from(worker)] += 1;
    }
    clients[0].send(Message::text("all hello")).unwrap();
    for client in &mut clients {
        assert_eq!(client.read().unwrap(), Message::text("hello"));
    }
}

#[test]
fn a_megabyte_both_ways_with_a_slow_reader() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    let message = Message::text("m".repeat(1_000_000));
    const COUNT: usize = 8;
    for _ in 0..COUNT {
        // Nothing is read meanwhile: the answers have to wait on the server.
        client.send(message.clone()).unwrap();
    }
    for _ in 0..COUNT {
        assert_eq!(client.read().unwrap(), message);
    }
    bench.await_metric("queued_bytes", 0);
    bench.await_metric("partial_bytes", 0);
}

#[test]
fn a_full_queue_is_reported_and_its_end_too() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    client.send(Message::text("flood 1000000")).unwrap();
    while bench.next() != Seen::Full {}
    assert!(bench.metric("sends_full_total") > 0);
    client.send(Message::text("end")).unwrap_or(());
    let mut blocks = 0;
    while client.read().unwrap().is_binary() {
        blocks += 1;
    }
    assert!(blocks >= 32, "one queue holds the largest message: {blocks}");
}

#[test]
fn drained_is_reported_once_the_reader_reads() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    client.send(Message::text("flood 1000000")).unwrap();
    while bench.next() != Seen::Full {}
    let reader = std::thread::spawn(move || while client.read().is_ok_and(|message| message.is_binary()) {});
    while bench.next() != Seen::Drained {}
    bench.reactor.stop(Duration::ZERO);
    reader.join().unwrap();
}

#[test]
fn fragments_with_a_ping_between_them_are_one_message() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    write_raw(&mut client, &[frame(0x01, b"one "), frame(0x89, b"p"), frame(0x00, b""), frame(0x80, b"two")].concat());
    assert_eq!(client.read().unwrap(), Message::Pong(b"p".to_vec().into()));
    assert_eq!(client.read().unwrap(), Message::text("one two"));
    for byte in frame(0x81, b"byte by byte") {
        write_raw(&mut client, &[byte]);
    }
    assert_eq!(client.read().unwrap(), Message::text("byte by byte"));
}

#[test]
fn pings_are_answered_with_their_payload() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    for payload in [&b""[..], &[0], &[7; 125]] {
        client.send(Message::Ping(payload.to_vec().into())).unwrap();
        assert_eq!(client.read().unwrap(), Message::Pong(payload.to_vec().into()));
    }
}

#[test]
fn close_codes_are_echoed_and_reported() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    client.close(Some(CloseFrame { code: 4002.into(), reason: "superseded".into() })).unwrap();
    assert_eq!(read_close(&mut client), (4002, "superseded".to_owned()));
    assert_eq!(bench.closed(), CloseReason::Peer { code: 4002, reason: "superseded".into() });
    let mut client = bench.connect();
    client.send(Message::text("close 4003")).unwrap();
    assert_eq!(read_close(&mut client), (4003, "as you wish".to_owned()));
    assert_eq!(bench.closed(), CloseReason::Application);
    // tungstenite has answered; after that the server closes.
    assert!(client.read().is_err());
}

#[test]
fn what_was_sent_before_a_close_arrives() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    client.send(Message::text("last 9000000")).unwrap();
    assert_eq!(bench.closed(), CloseReason::Application);
    assert_eq!(client.read().unwrap().len(), 9_000_000);
    assert_eq!(read_close(&mut client), (1000, "that was it".to_owned()));
    assert!(client.read().is_err());
    bench.await_metric("queued_bytes", 0);
}

#[test]
fn messages_that_leave_together_keep_their_order_and_are_all_there() {
    let bench = Bench::start(|options| options.workers = 1);
    let mut other = bench.connect();
    for end in ["stay", "close", "abort"] {
        let mut client = bench.connect();
        client.send(Message::text(format!("count 300 {end}"))).unwrap();
        for client in [&mut client, &mut other] {
            for number in 0..300 {
                for part in ["a", "b"] {
                    assert_eq!(client.read().unwrap(), Message::text(format!("{number}{part}")), "{end}");
                }
            }
        }
        match end {
            "close" => assert_eq!(read_close(&mut client), (1000, "counted".to_owned())),
            "abort" => assert!(client.read().is_err()),
            _ => client.close(None).unwrap(),
        }
        while !matches!(bench.next(), Seen::Closed(_)) {}
    }
}

#[test]
fn abort_says_nothing() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    client.send(Message::text("abort")).unwrap();
    assert!(client.read().is_err());
    assert_eq!(bench.closed(), CloseReason::Application);
}

#[test]
fn a_lost_connection_is_reported() {
    let bench = Bench::start(|_| {});
    drop(bench.connect());
    assert_eq!(bench.closed(), CloseReason::Lost);
    bench.await_metric("connections_open", 0);
}

#[test]
fn violations_are_closed_with_their_code() {
    let bench = Bench::start(|_| {});
    let mut huge = vec![0x82, 0xFF];
    huge.extend_from_slice(&100_000_000u64.to_be_bytes());
    huge.extend_from_slice(&[0; 4]);
    let cases: [(&[u8], u16, &str); 5] = [
        (&huge, 1009, "ws-too-big"),
        (&[0x81, 0x00], 1002, "ws-unmasked"),
        (&[0xC1, 0x80], 1002, "ws-reserved-bits"),
        (&frame(0x81, b"\xFF"), 1007, "ws-bad-text"),
        (&frame(0x80, b""), 1002, "ws-stray-continuation"),
    ];
    for (bytes, code, label) in cases {
        let mut client = bench.connect();
        write_raw(&mut client, bytes);
        assert_eq!(read_close(&mut client), (code, label.to_owned()));
        assert_eq!(bench.closed(), CloseReason::Protocol(label));
        assert_eq!(bench.metric("partial_bytes"), 0);
    }
}

#[test]
fn silence_is_closed() {
    let bench = Bench::start(|options| options.limits.idle_timeout = Duration::from_millis(300));
    let mut client = bench.connect();
    assert_eq!(read_close(&mut client), (1001, "Connection Idle Timeout".to_owned()));
    assert_eq!(bench.closed(), CloseReason::Idle);
    // Half a frame is silence too.
    let mut client = bench.connect();
    write_raw(&mut client, &frame(0x81, &[b'x'; 1000])[..500]);
    assert_eq!(read_close(&mut client), (1001, "Connection Idle Timeout".to_owned()));
    assert_eq!(bench.closed(), CloseReason::Idle);
    drop(client);
    bench.await_metric("partial_bytes", 0);
}

#[test]
fn stopping_says_goodbye() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    let Bench { reactor, seen, .. } = bench;
    let reader = std::thread::spawn(move || read_close(&mut client));
    reactor.stop(Duration::from_millis(50));
    assert_eq!(reader.join().unwrap(), (1001, "The server stops.".to_owned()));
    let seen: Vec<Seen> = seen.try_iter().collect();
    assert!(seen.contains(&Seen::Stopping) && seen.contains(&Seen::Closed(CloseReason::Shutdown)), "{seen:?}");
}

#[test]
fn when_many_have_gone_a_message_does_not_wait_for_all_their_ends() {
    const GONE: usize = 4 * TURN_ENDS;
    let bench = Bench::start(|options| options.workers = 1);
    let mut client = bench.connect();
    let others: Vec<_> = (0..GONE).map(|_| bench.connect()).collect();
    (0..=GONE).for_each(|_| drop(bench.opened()));
    let (resume, until) = crossbeam_channel::bounded(0);
    bench.reactor.mailboxes().send(0, Mail::Pause(until)).unwrap();
    assert_eq!(bench.next(), Seen::Paused);
    drop(others);
    client.send(Message::text("and I?")).unwrap();
    drop(resume);
    let mut ends = 0;
    while let Seen::Closed(reason) = bench.next() {
        assert_eq!(reason, CloseReason::Lost);
        ends += 1;
    }
    assert!(ends <= TURN_ENDS, "{ends} of {GONE} ends came before the message");
    (ends..GONE).for_each(|_| assert_eq!(bench.closed(), CloseReason::Lost));
    bench.await_metric("connections_open", 1);
}
