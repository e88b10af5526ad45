//! Reading the routing fields of a PCP v2 message, by size of its data. `cargo bench --bench envelope`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use podium::pcp::Envelope;

fn message(data_bytes: usize) -> Vec<u8> {
    let data = serde_json::json!({"transaction_id": "7", "results": {"exitcode": 0, "stdout": "x".repeat(data_bytes)}});
    serde_json::to_vec(&serde_json::json!({
        "id": "f93df7fa-5168-4f8d-a7b5-180d46019213",
        "message_type": "http://puppetlabs.com/rpc_non_blocking_response",
        "target": "pcp://orch.example.com/orchestrator",
        "sender": "pcp://node1.example.com/agent",
        "data": data,
    }))
    .expect("a JSON value")
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("envelope");
    for data_bytes in [100, 4_000, 60_000] {
        let message = message(data_bytes);
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(data_bytes), &message, |bencher, message| {
            bencher.iter(|| Envelope::decode(black_box(message)).expect("a valid envelope").target.is_some());
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
