//! A listener that was there before us.

use super::*;

const CONNECTIONS: u64 = 1000;

#[test]
fn nobody_waits_at_a_listener_that_workers_share() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Before anybody listens to it.
    let mut early = TcpStream::connect(address).unwrap();
    let bench = Bench::start(|options| {
        options.listen = Some(Listen::Inherited(Arc::new(listener)));
        options.workers = 3;
    });
    assert_eq!(bench.reactor.local_addr(), Some(address));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 1..CONNECTIONS / 4 {
                    drop(TcpStream::connect(address).unwrap());
                }
            });
        }
    });
    for _ in 0..3 {
        drop(TcpStream::connect(address).unwrap());
    }
    bench.await_metric("connections_accepted_total", CONNECTIONS);
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    early.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(!read_rest(&mut early).is_empty(), "an alert");
}
