//! TLS records of an established connection: sealing what the broker sends, opening what an agent sends, by version and
//! size. `cargo bench --bench record`.

#[allow(dead_code, reason = "only the certificates are needed here")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use podium::config::settings::CertificatePaths;
use podium::tls::material::{ClientAuth, Material};
use podium::tls::session::{TlsSession, TlsState};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use support::pki::{Keys, Pki};

const VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [("1.2", &TLS12), ("1.3", &TLS13)];

/// A short message, and a record that is full.
const SIZES: [usize; 2] = [200, 16_384];

/// A client and a server that have shaken hands.
fn pair(pki: &Pki, version: &'static SupportedProtocolVersion) -> (TlsSession, TlsSession) {
    let files = pki.server_files();
    let paths = CertificatePaths { certificate: files.certificate, key: files.key, ca: files.ca, crl: None };
    let server = Material::load(&paths).and_then(|material| material.server_config(ClientAuth::Required));
    let mut server = TlsSession::server(server.expect("usable files")).expect("a server");
    let name = "localhost".try_into().expect("a name");
    let mut client = TlsSession::client(pki.agent("agent.example.com", version), name).expect("a client");
    let (mut to_server, mut to_client, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    client.read(&mut [], &mut plain, &mut to_server).expect("a hello");
    while client.state() == TlsState::Handshaking || server.state() == TlsState::Handshaking {
        let taken = server.read(&mut to_server, &mut plain, &mut to_client).expect("a flight of the client").consumed;
        to_server.drain(..taken);
        let taken = client.read(&mut to_client, &mut plain, &mut to_server).expect("a flight of the server").consumed;
        to_client.drain(..taken);
    }
    (client, server)
}

fn seal(criterion: &mut Criterion) {
    let pki = Pki::new(Keys::P256);
    let mut group = criterion.benchmark_group("record/seal");
    for (name, version) in VERSIONS {
        for size in SIZES {
            let (_, mut server) = pair(&pki, version);
            let plain = vec![b'x'; size];
            let mut out = Vec::with_capacity(32 * 1024);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    server.seal(black_box(&plain), &mut out).expect("a record");
                });
            });
        }
    }
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let pki = Pki::new(Keys::P256);
    let mut group = criterion.benchmark_group("record/open");
    for (name, version) in VERSIONS {
        for size in SIZES {
            let (mut client, mut server) = pair(&pki, version);
            let text = vec![b'x'; size];
            let (mut plain, mut out) = (Vec::with_capacity(32 * 1024), Vec::new());
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                // Records have numbers: each is sealed for its run, unmeasured, and runs are in order.
                let make = || {
                    let mut wire = Vec::new();
                    client.seal(&text, &mut wire).expect("a record");
                    wire
                };
                let run = |wire: &mut Vec<u8>| {
                    plain.clear();
                    server.read(wire, &mut plain, &mut out).expect("a record").consumed
                };
                bencher.iter_batched_ref(make, run, BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, seal, open);
criterion_main!(benches);
