//! Turns, time and certificates of a service, against a server that can be told to wait.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::super::fake_service::{Fake, PATIENCE, closed_port, identity, settings};
use super::*;
use crate::https::testing::Reply;
use crate::tls::testing::Pki;

const MAX: usize = 1000;

fn service(fake: &Fake, request_timeout: Duration) -> Service {
    let settings = ServiceSettings { request_timeout, ..fake.settings() };
    Service::new("Puppet Server", settings, fake.identity())
}

/// A service that tells when a request has come and answers once it may.
fn held() -> (Fake, Receiver<()>, SyncSender<()>) {
    let (came, arrivals) = sync_channel(100);
    let (go, may_go) = sync_channel::<()>(100);
    let may_go = Mutex::new(may_go);
    let fake = Fake::new(move |_| {
        came.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        Reply::ok("{}")
    });
    (fake, arrivals, go)
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn so_many_are_under_way_so_many_wait_and_no_more() {
    let (fake, arrivals, go) = held();
    let service = service(&fake, PATIENCE);
    std::thread::scope(|threads| {
        let all = SERVICE_REQUESTS_MAX + SERVICE_WAITING_MAX;
        let asking: Vec<_> = (0..all).map(|_| threads.spawn(|| service.get("/x", MAX))).collect();
        for _ in 0..SERVICE_REQUESTS_MAX {
            arrivals.recv().unwrap();
        }
        until("all others wait", || service.lanes().waiting == SERVICE_WAITING_MAX);
        let refused = service.get("/x", MAX).unwrap_err();
        assert_eq!(refused.cause, Cause::Busy, "{refused}");
        assert!(arrivals.try_recv().is_err(), "nobody else has reached the service");
        for _ in 0..all {
            go.send(()).unwrap();
        }
        for one in asking {
            assert_eq!(one.join().unwrap().unwrap().body, b"{}");
        }
    });
    let lanes = service.lanes();
    assert_eq!((lanes.under_way, lanes.idle.len()), (0, SERVICE_REQUESTS_MAX));
}

#[test]
fn whoever_waits_behind_a_service_that_is_gone_learns_it_at_once() {
    // Nobody accepts: TCP connects and TLS hears nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings =
        ServiceSettings { connect_timeout: Duration::from_secs(3), ..settings(silent.local_addr().unwrap().port()) };
    let service = Service::new("Puppet Server", settings, identity(&Pki::new("ca")));
    std::thread::scope(|threads| {
        let all = SERVICE_REQUESTS_MAX + SERVICE_WAITING_MAX;
        let asking: Vec<_> = (0..all).map(|_| threads.spawn(|| service.get("/x", MAX))).collect();
        for one in asking {
            let failure = one.join().unwrap().unwrap_err();
            assert_eq!(failure.cause, Cause::Unreachable);
            assert!(failure.message.contains("did not finish within 3 s"), "{failure}");
        }
    });
    assert_eq!(service.lanes().unreachable.0, SERVICE_REQUESTS_MAX as u64, "those who waited did not try");
}

#[test]
fn an_answer_that_stops_has_a_time() {
    for bytes in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
        let fake = Fake::new(move |_| Reply::stall(bytes));
        let failure = service(&fake, Duration::from_millis(200)).get("/x", MAX).unwrap_err();
        assert_eq!(failure.cause, Cause::Unreachable);
        assert!(failure.message.contains("did not finish within 0.2 s"), "{failure}");
    }
}

#[test]
fn connections_are_used_again_also_for_questions_in_a_body() {
    let fake = Fake::new(|received| match received.path.as_str() {
        "/last" => Reply::ok("{}").closing_silently(),
        _ => Reply::ok("{}"),
    });
    let service = service(&fake, PATIENCE);
    until("the look at the status page", || service.is_up());
    let looked = fake.server.connections();
    for _ in 0..5 {
        service.post("/x", b"{}".to_vec(), MAX).unwrap();
    }
    assert_eq!(fake.server.connections(), looked + 1);
    service.get("/last", MAX).unwrap();
    assert_eq!(service.post("/x", b"{}".to_vec(), MAX).unwrap().status.as_u16(), 200);
    assert_eq!(fake.server.connections(), looked + 2);
}

#[test]
fn new_certificates_count_from_the_next_request_on() {
    let fake = Fake::new(|_| Reply::ok("{}"));
    let service = service(&fake, PATIENCE);
    service.get("/x", MAX).unwrap();
    let stranger = Pki::new("other").material("orch.example").client_config().unwrap();
    service.identity.tls.store(stranger);
    let failure = service.get("/x", MAX).unwrap_err();
    assert!(failure.message.contains("not from a CA we trust"), "{failure}");
    let renewed = fake.pki.material("orch.example").client_config().unwrap();
    service.identity.tls.store(renewed);
    service.get("/x", MAX).unwrap();
}

#[test]
fn up_is_what_was_found_last() {
    let fake = Fake::new(|_| Reply::ok("{}"));
    let well = service(&fake, PATIENCE);
    until("the look at the status page", || well.is_up());
    let gone = Service::new("PuppetDB", settings(closed_port()), fake.identity());
    gone.get("/x", MAX).unwrap_err();
    assert!(!gone.is_up());
    // What a request finds counts at once.
    let failing = Fake::new(|_| Reply::of(500, ""));
    let failing = service(&failing, PATIENCE);
    until("the look at the status page", || failing.is_up());
    failing.reachability.note(Err("gone"));
    failing.get("/x", MAX).unwrap();
    assert!(!failing.is_up(), "who fails is not up again");
}

#[test]
fn words_are_printable_and_few() {
    assert_eq!(words(b" a\x07b\nc\x1b[0m \xff"), "ab\nc[0m \u{fffd}");
    assert_eq!(words(b" \n"), "(no text)");
    assert_eq!(words(b"<!DOCTYPE html>"), "(a page of HTML)");
    assert_eq!(words("ä".repeat(10_000).as_bytes()).chars().count(), SERVICE_WORDS_MAX);
}
