//! What the access log of messages costs the worker that writes it: off, as text, as JSON, with lines for nothing but
//! what was refused; and the allocations of a line, of which there are none. The thread writes to a file in memory, if
//! there is one (`/dev/shm`), so that what is measured is the worker's part and not the disk's.
//! `cargo bench --bench access_log`.

mod counting;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime as Measured;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use podium::clock::{Clock, Moment, Stopwatch, WallTime};
use podium::config::settings::{AccessFormat, AccessLevel, AccessLogSettings};
use podium::observe::access_log::{AccessLogs, MessageEntry, Verdict};
use podium::observe::metrics::Metrics;

use counting::allocations;

/// Lines of a batch: more than half a buffer, at which the writer is woken at once, and less than a whole one.
const BATCH: u64 = 1_600;

fn access_log(criterion: &mut Criterion) {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.expect("a directory for the log");
    let mut group = criterion.benchmark_group("access_log");
    let cases = [
        ("off", AccessLevel::Off, AccessFormat::Text),
        ("warn", AccessLevel::Warn, AccessFormat::Text),
        ("text", AccessLevel::Info, AccessFormat::Text),
        ("json", AccessLevel::Info, AccessFormat::Json),
    ];
    for (name, level, format) in cases {
        case(&mut group, &dir.path().join(name), name, level, format);
    }
    group.bench_function("wall clock, which a line does not read", |bencher| bencher.iter(WallTime::now));
    group.finish();
}

/// One way of keeping the log.
fn case(group: &mut BenchmarkGroup<'_, Measured>, file: &Path, name: &str, level: AccessLevel, format: AccessFormat) {
    let metrics = Arc::new(Metrics::new());
    let logs = AccessLogs::start(1, Clock::start(), metrics.clone()).expect("a thread");
    let settings = AccessLogSettings { level, file: Some(file.to_owned()), format };
    logs.messages.configure(&settings).expect("a file");
    let entry = MessageEntry {
        verdict: Verdict::Authorized,
        remote: Some("192.0.2.77:41522".parse().expect("an address")),
        common_name: "node5000.example.com",
        envelope: Some([
            "pcp://node5000.example.com/agent",
            "http://puppetlabs.com/rpc_non_blocking_response",
            "f93df7fa-5168-4f8d-a7b5-180d46019213",
            "pcp://node1.example.com/orchestrator",
        ]),
    };
    // Turns of the loop bring several messages of one moment; here each has its own millisecond in turn.
    let mut moment = 0;
    let mut one = || {
        moment += 1;
        logs.messages.message(0, Moment::from_millis(moment / 8), &entry);
    };
    one();
    let before = allocations();
    for _ in 0..1_000 {
        one();
    }
    let count = allocations() - before;
    println!("access_log/{name}: allocations per 1,000 lines: {count}");
    // The text of a second is made once in it, and the writing thread's buffer once.
    assert!(count <= 20, "a line allocates");
    let size = || std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|lines| {
            let (mut left, mut spent) = (lines, Duration::ZERO);
            while left > 0 {
                let batch = left.min(BATCH);
                let (before, begun) = (size(), Stopwatch::start());
                for _ in 0..batch {
                    one();
                }
                spent += begun.elapsed();
                left -= batch;
                // Lines that are dropped cost less: the next ones wait, untimed, until these are written.
                while level == AccessLevel::Info && size() == before {
                    std::thread::yield_now();
                }
            }
            spent
        });
    });
    drop(logs);
    let lost = metrics.render().lines().find(|line| line.starts_with("podium_access_log_dropped")).map(str::to_owned);
    let size = size();
    println!("access_log/{name}: {size} bytes written; {}", lost.unwrap_or_default());
    // Nothing to remove if nothing was written.
    let _ = std::fs::remove_file(file);
}

criterion_group!(benches, access_log);
criterion_main!(benches);
