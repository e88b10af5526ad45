//! The deadlines of a worker's connections: one moves whenever a frame comes, and the earliest is asked for in every turn.
//! `cargo bench --bench timer`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use podium::clock::Moment;
use podium::reactor::timer::SlotDeadlines;

/// Time that an idle connection has, in milliseconds.
const IDLE: u64 = 360_000;

/// As many connections, whose last frames came one after the other.
fn filled(connections: u32) -> SlotDeadlines {
    let mut deadlines = SlotDeadlines::default();
    for slot in 0..connections {
        deadlines.set(slot, Some(Moment::from_millis(IDLE + u64::from(slot))));
    }
    deadlines
}

fn timer(criterion: &mut Criterion) {
    for connections in [1_000_u32, 20_000, 100_000] {
        let mut deadlines = filled(connections);
        let mut now = u64::from(connections);
        criterion.bench_function(&format!("timer/later/{connections}"), |bencher| {
            bencher.iter(|| {
                // Any slot, but each as often.
                let slot = (now * 7_919 % u64::from(connections)) as u32;
                deadlines.set(black_box(slot), Some(Moment::from_millis(IDLE + now)));
                now += 1;
                deadlines.next()
            });
        });
        criterion.bench_function(&format!("timer/due-and-again/{connections}"), |bencher| {
            bencher.iter(|| {
                let due = deadlines.next().expect("all have one");
                let slot = deadlines.pop_due(due).expect("it is due");
                deadlines.set(slot, Some(Moment::from_millis(IDLE + now)));
                now += 1;
            });
        });
    }
}

criterion_group!(benches, timer);
criterion_main!(benches);
