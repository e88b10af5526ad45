//! What a TLS handshake with a client certificate costs the server, by version and kind of key, and what a resumed one
//! costs: the constants of `podium capacity plan`. Only the server's side is measured, in time of
//! the processor, so that other work on the machine matters little. `cargo bench --bench handshake`.

#[allow(dead_code, reason = "only the certificates are needed here")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use podium::config::settings::CertificatePaths;
use podium::tls::material::{ClientAuth, Material};
use rustix::time::{ClockId, clock_gettime};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
use support::pki::{Keys, Pki};

const KEYS: [(&str, Keys); 2] = [("p256", Keys::P256), ("rsa4096", Keys::Rsa4096)];

/// Flights after which both sides must have finished, and have read the tickets.
const FLIGHTS: usize = 4;

/// The broker's own configuration.
fn server(pki: &Pki) -> ServerConfig {
    let files = pki.server_files();
    let paths = CertificatePaths { certificate: files.certificate, key: files.key, ca: files.ca, crl: files.crl };
    let server = Material::load(&paths).and_then(|material| material.server_config(ClientAuth::Required));
    (*server.expect("usable files")).clone()
}

/// Time that this thread has had a core for.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

/// Shakes hands; the time that the server took, and what kind of handshake it was.
fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (Duration, Option<HandshakeKind>) {
    let name = "localhost".try_into().expect("a name");
    let mut client = ClientConnection::new(client.clone(), name).expect("a client");
    let begin = processor_time();
    let mut server = ServerConnection::new(server.clone()).expect("a server");
    let mut taken = processor_time() - begin;
    for _ in 0..FLIGHTS {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("room");
        }
        let mut answer = Vec::new();
        let begin = processor_time();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("bytes");
            server.process_new_packets().expect("a flight of the client");
        }
        while server.wants_write() {
            server.write_tls(&mut answer).expect("room");
        }
        taken += processor_time() - begin;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("bytes");
            client.process_new_packets().expect("a flight of the server");
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking(), "not finished after {FLIGHTS} flights");
    (taken, server.handshake_kind())
}

fn full(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake/full");
    for (keys_name, keys) in KEYS {
        let pki = Pki::new(keys);
        let server = Arc::new(server(&pki));
        for (name, version) in [("1.2", &TLS12), ("1.3", &TLS13)] {
            let mut client = (*pki.agent("agent.example.com", version)).clone();
            client.resumption = Resumption::disabled();
            let client = Arc::new(client);
            let run = || {
                let (taken, kind) = shake(&server, &client);
                assert_ne!(kind, Some(HandshakeKind::Resumed));
                taken
            };
            group.bench_function(BenchmarkId::new(keys_name, name), |bencher| {
                bencher.iter_custom(|count| (0..count).map(|_| run()).sum());
            });
        }
    }
    group.finish();
}

/// The key makes no difference here, apart from the certificate in the ticket.
fn resumed(criterion: &mut Criterion) {
    let pki = Pki::new(Keys::Rsa4096);
    let mut server = server(&pki);
    server.ticketer = Ticketer::new().expect("randomness");
    server.send_tls13_tickets = 1;
    let server = Arc::new(server);
    let mut client = (*pki.agent("agent.example.com", &TLS13)).clone();
    client.resumption = Resumption::in_memory_sessions(4);
    let client = Arc::new(client);
    shake(&server, &client);
    criterion.bench_function("handshake/resumed/1.3", |bencher| {
        let run = || {
            let (taken, kind) = shake(&server, &client);
            assert_eq!(kind, Some(HandshakeKind::Resumed));
            taken
        };
        bencher.iter_custom(|count| (0..count).map(|_| run()).sum());
    });
}

criterion_group!(benches, full, resumed);
criterion_main!(benches);
