//! Peers that want all of a worker for themselves: by not reading, by not finishing, by many small frames.

use tungstenite::Message;

use super::*;

/// One worker whose limits a few peers can reach.
fn small() -> Bench {
    Bench::start(|options| {
        options.workers = 1;
        options.limits.worker_queue_bytes_max = 40_000_000;
        options.limits.worker_partial_bytes_max = 400_000;
    })
}

/// The beginning of a message that never ends.
fn part(length: usize) -> Vec<u8> {
    let mut wire = vec![0x82, 0xFF];
    wire.extend_from_slice(&1_000_000_u64.to_be_bytes());
    wire.extend_from_slice(&[0; 4]);
    wire.resize(wire.len() + length, 0);
    wire
}

#[test]
fn whoever_reads_nothing_makes_way() {
    let bench = small();
    // Both their queues would be more than the worker's.
    let _idle: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = bench.connect();
            client.send(Message::text("flood 1000000")).unwrap();
            while bench.next() != Seen::Full {}
            client
        })
        .collect();
    let bad = bench.metric("closed_total{label=\"overflow\"}");
    assert_eq!(bad, 1, "the second flood needed the room of the first");
    let mut client = bench.connect();
    client.send(Message::text("last 12000000")).unwrap();
    assert_eq!(client.read().unwrap().len(), 12_000_000);
}

#[test]
fn whoever_never_finishes_makes_way() {
    let bench = small();
    let mut hoarders: Vec<Client> = (0..2).map(|_| bench.connect()).collect();
    for (client, bytes) in hoarders.iter_mut().zip([60_000, 90_000]) {
        write_raw(client, &part(bytes));
    }
    let held = |bench: &Bench| bench.metric("partial_bytes") >= 150_000;
    let end = std::time::Instant::now() + PATIENCE;
    while !held(&bench) {
        assert!(std::time::Instant::now() < end);
        std::thread::yield_now();
    }
    let mut client = bench.connect();
    let message = Message::binary(vec![0; 390_000]);
    client.send(message.clone()).unwrap();
    assert_eq!(client.read().unwrap(), message);
    for hoarder in &mut hoarders {
        assert_eq!(read_close(hoarder), (1013, "ws-no-room".to_owned()));
    }
    assert_eq!(bench.closed(), CloseReason::Protocol("ws-no-room"));
}

#[test]
fn of_many_pings_at_once_the_last_is_answered() {
    let bench = Bench::start(|_| {});
    let mut client = bench.connect();
    let pings: Vec<u8> = (0..200u8).flat_map(|number| frame(0x89, &[number])).collect();
    write_raw(&mut client, &pings);
    client.send(Message::text("end")).unwrap();
    let mut pongs = 0;
    let mut last = Vec::new();
    loop {
        match client.read().unwrap() {
            Message::Pong(payload) => {
                pongs += 1;
                last = payload.to_vec();
            }
            other => break assert_eq!(other, Message::text("end")),
        }
    }
    assert!((1..20).contains(&pongs), "{pongs}");
    assert_eq!(last, [199]);
}
