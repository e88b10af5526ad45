//! Peers that want all of a worker for themselves: by not reading, by not finishing, by many small frames.

use tungstenite::Message;

use super::*;

/// How long those hold something who never finish it: many times what a message takes to come.
const HELD: Duration = Duration::from_millis(500);

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
    let end = std::time::Instant::now() + PATIENCE;
    while bench.metric("partial_bytes") < 150_000 {
        assert!(std::time::Instant::now() < end);
        std::thread::yield_now();
    }
    let mut client = bench.connect();
    // Bytes count by the time they have been held: the hoarders must be old when much comes at once.
    let held = std::time::Instant::now();
    while held.elapsed() < HELD {
        client.send(Message::text("x")).unwrap();
        client.read().unwrap();
    }
    let message = Message::binary(vec![0; 380_000]);
    client.send(message.clone()).unwrap();
    assert_eq!(client.read().unwrap(), message);
    for hoarder in &mut hoarders {
        assert_eq!(read_close(hoarder), (1013, "ws-no-room".to_owned()));
    }
    assert_eq!(bench.closed(), CloseReason::Protocol("ws-no-room"));
}

/// Half a record is half a message to others: it takes memory until the rest comes.
#[test]
fn whoever_never_finishes_a_record_makes_way() {
    let bench = small();
    let mut hoarders: Vec<Client> = (1..=20)
        .map(|number| {
            let mut client = bench.connect();
            // The header and most of a record of the largest size, below TLS.
            let mut record = vec![23, 3, 3, 0x40, 0x11];
            record.resize(16_000, 0);
            client.get_mut().sock.write_all(&record).unwrap();
            bench.await_metric("partial_bytes", number * 16_000);
            client
        })
        .collect();
    let mut client = bench.connect();
    let message = Message::binary(vec![0; 100_000]);
    client.send(message.clone()).unwrap();
    assert_eq!(client.read().unwrap(), message);
    let evicted = bench.metric("closed_total{label=\"ws-no-room\"}");
    assert!((1..20).contains(&evicted), "{evicted}");
    bench.await_metric("partial_bytes", (20 - evicted) * 16_000);
    let told = |hoarder: &mut Client| read_close(hoarder) == (1013, "ws-no-room".to_owned());
    assert!(told(&mut hoarders[0]), "the oldest goes first");
}

#[test]
fn records_alone_do_not_exceed_the_limit() {
    let bench = Bench::start(|options| {
        options.workers = 1;
        options.limits.worker_partial_bytes_max = 40_000;
    });
    let mut record = vec![23, 3, 3, 0x40, 0x11];
    record.resize(16_000, 0);
    let mut hoarders = Vec::new();
    for number in 1..=6 {
        let mut client = bench.connect();
        client.get_mut().sock.write_all(&record).unwrap();
        hoarders.push(client);
        bench.await_metric("closed_total{label=\"ws-no-room\"}", u64::saturating_sub(number, 2));
        bench.await_metric("partial_bytes", number.min(2) * 16_000);
    }
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
