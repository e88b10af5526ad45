//! The end of cores, with shells that only record.

use std::sync::Arc;

use serde_json::json;

use super::super::Broker;
use super::super::recorder::{Act, Bench, broker};
use super::*;
use crate::link::{Event, Opcode};

const WINDOW: Duration = Duration::from_secs(15);

fn bench(broker: &Arc<Broker>, worker: u16, agents: u32) -> Bench {
    let mut bench = Bench::new(broker, worker);
    for number in 1..=agents {
        bench.open_agent(number);
    }
    bench
}

#[test]
fn few_clients_take_little_time_and_many_the_window() {
    assert_eq!(duration(0, WINDOW), Duration::ZERO);
    assert_eq!(duration(200, WINDOW), Duration::from_millis(400));
    assert_eq!(duration(20_000, WINDOW), WINDOW);
    assert_eq!(duration(usize::MAX, WINDOW), WINDOW);
    assert_eq!(duration(20_000, Duration::ZERO), Duration::ZERO);
}

#[test]
fn clients_go_evenly_and_in_no_order() {
    let broker = broker(1);
    let mut bench = bench(&broker, 0, 1000);
    broker.begin_drain(WINDOW);
    bench.handle(Event::Stopping);
    bench.run_until(5000);
    let closed = bench.closed();
    assert_eq!(closed.len(), 1000);
    assert!(closed.iter().all(|(_, _, code)| *code == 1001));
    for tenth in 0..10 {
        let count = closed.iter().filter(|(at, ..)| at / 200 == tenth).count();
        assert!((80..=120).contains(&count), "{count} in tenth {tenth} of the time");
    }
    assert!(closed.iter().all(|(at, ..)| *at <= 2000 + 30));
    let order: Vec<u32> = closed.iter().map(|(_, number, _)| *number).collect();
    assert!(!order.is_sorted() && !order.iter().rev().is_sorted());
    assert_eq!(broker.directory.len(), 0);
}

#[test]
fn without_a_window_all_go_at_once() {
    let broker = broker(1);
    let mut bench = bench(&broker, 0, 50);
    bench.handle(Event::Stopping);
    assert_eq!(bench.closed().len(), 50);
}

#[test]
fn whoever_watches_goes_last_and_hears_of_everybody() {
    let broker = broker(2);
    let (mut first, mut second) = (bench(&broker, 0, 100), bench(&broker, 1, 100));
    let watcher = first.open(500, "ctl", "/pcp2/orchestrator");
    let request = json!({
        "id": "f93df7fa-5168-4f8d-a7b5-180d46019213",
        "message_type": "http://puppetlabs.com/inventory_request",
        "target": "pcp:///server",
        "data": {"query": ["pcp://*/agent"], "subscribe": true},
    });
    let payload = request.to_string();
    first.handle(Event::Message { peer: watcher, opcode: Opcode::Text, payload: payload.as_bytes() });
    broker.begin_drain(WINDOW);
    first.handle(Event::Stopping);
    first.run_until(2000);
    assert_eq!(first.closed().len(), 100, "the other worker has clients left");
    second.handle(Event::Stopping);
    second.run_until(4000);
    first.run_until(4000);
    let gone: usize = first
        .shell
        .acts
        .iter()
        .filter_map(|act| match act {
            Act::Sent(to, message) if *to == watcher => message["data"]["changes"].as_array(),
            _ => None,
        })
        .map(|changes| changes.iter().filter(|change| change["change"] == -1).count())
        .sum();
    assert_eq!(gone, 200);
    assert!(matches!(first.shell.acts.last(), Some(Act::Closed(_, peer, 1001, _)) if *peer == watcher));
    assert_eq!(broker.directory.len(), 0);
}
