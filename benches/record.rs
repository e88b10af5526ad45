//! TLS records of an established connection: sealing what the broker sends, opening what an agent sends, by who protects
//! them, version and size. `cargo bench --bench record`. `stock` is rustls with the keys of its own provider, `rustls` and
//! `compact` are what `pcp-broker.tls-session` offers.

#[allow(dead_code, reason = "only the certificates are needed here")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use podium::config::settings::CertificatePaths;
use podium::tls::material::{ClientAuth, Material};
use podium::tls::session::{TlsSession, TlsState, make_compact};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use support::pki::{Keys, Pki};

const VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [("1.2", &TLS12), ("1.3", &TLS13)];

/// A short message, one of an ordinary task, and a record that is full.
const SIZES: [usize; 3] = [200, 1_024, 16_384];

/// There are eighteen of each kind.
const WARM_UP: Duration = Duration::from_secs(1);
const MEASUREMENT: Duration = Duration::from_secs(2);

/// Whose records they are.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Stock,
    Rustls,
    Compact,
}

const ALL: [(&str, Whose); 3] = [("stock", Whose::Stock), ("rustls", Whose::Rustls), ("compact", Whose::Compact)];

/// A client and a server that have shaken hands; the server's records are those in question.
fn pair(pki: &Pki, whose: Whose, version: &'static SupportedProtocolVersion) -> (TlsSession, TlsSession) {
    let files = pki.server_files();
    let paths = CertificatePaths { certificate: files.certificate, key: files.key, ca: files.ca, crl: None };
    let server = Material::load(&paths).and_then(|material| material.server_config(ClientAuth::Required));
    let mut server = server.expect("usable files");
    match whose {
        Whose::Stock => server = stock(&server),
        Whose::Rustls => {}
        Whose::Compact => make_compact(Arc::make_mut(&mut server)),
    }
    let mut server = TlsSession::server(server).expect("a server");
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
    // Nobody asks who it is.
    let _ = server.establish();
    (client, server)
}

/// The same server with the provider as it comes.
fn stock(lean: &ServerConfig) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(podium::tls::material::provider());
    let builder = builder.with_safe_default_protocol_versions().expect("both versions");
    Arc::new(builder.with_no_client_auth().with_cert_resolver(lean.cert_resolver.clone()))
}

/// Everything that is measured, with its name.
fn runs() -> impl Iterator<Item = (String, Whose, &'static SupportedProtocolVersion, usize)> {
    let owned = |(name, version): (&'static str, _)| {
        ALL.into_iter().flat_map(move |(owner, whose)| {
            SIZES.into_iter().map(move |size| (format!("{owner}/{name}"), whose, version, size))
        })
    };
    VERSIONS.into_iter().flat_map(owned)
}

fn seal(criterion: &mut Criterion) {
    let pki = Pki::new(Keys::P256);
    let mut group = criterion.benchmark_group("record/seal");
    group.warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
    for (name, whose, version, size) in runs() {
        let (_, mut server) = pair(&pki, whose, version);
        let plain = vec![b'x'; size];
        let mut out = Vec::with_capacity(32 * 1024);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new(name, size), |bencher| {
            bencher.iter(|| {
                out.clear();
                // The keys of TLS 1.2 are for 2^24 records, and then come new ones.
                if server.seal(black_box(&plain), &mut out).is_err() {
                    server = pair(&pki, whose, version).1;
                }
            });
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let pki = Pki::new(Keys::P256);
    let mut group = criterion.benchmark_group("record/open");
    group.warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
    for (name, whose, version, size) in runs() {
        let (mut client, mut server) = pair(&pki, whose, version);
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
    group.finish();
}

criterion_group!(benches, seal, open);
criterion_main!(benches);
