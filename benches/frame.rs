//! WebSocket frames of a client: reading a header, unmasking, and a whole masked message through a session.
//! `cargo bench --bench frame`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use podium::websocket::frame::{Header, Kind, Role, apply_mask};
use podium::websocket::session::{Item, Session};

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A response of an agent, one with much output, and the largest that is usual.
const SIZES: [usize; 3] = [300, 4_000, 64_000];

fn message(size: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    Header { is_final: true, kind: Kind::Text, mask: Some(MASK), length: size as u64 }.write(&mut wire);
    let start = wire.len();
    wire.resize(start + size, b'x');
    apply_mask(&mut wire[start..], MASK, 0);
    wire
}

fn header(criterion: &mut Criterion) {
    let wire = message(300);
    criterion.bench_function("frame/header", |bencher| {
        bencher.iter(|| Header::parse(black_box(&wire), Role::Server).expect("a header").is_some());
    });
}

fn unmask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame/unmask");
    for size in SIZES {
        let mut bytes = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| apply_mask(black_box(&mut bytes), MASK, 3));
        });
    }
    group.finish();
}

fn session(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame/session");
    for size in SIZES {
        let wire = message(size);
        let mut session = Session::new(Role::Server, 32_000_000);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            // Reading unmasks in place, so each run needs the message as it came; the copy is not measured.
            let run = |input: &mut Vec<u8>| match session.next(input, usize::MAX).expect("a frame") {
                (consumed, Item::Message(_, payload)) => consumed + payload.len(),
                other => panic!("{other:?}"),
            };
            bencher.iter_batched_ref(|| wire.clone(), run, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, header, unmask, session);
criterion_main!(benches);
