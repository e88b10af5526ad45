//! What the nodes of a large job keep on the heap of the dispatcher, counted: while they wait, and with an order.

use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use podium::clock::{Moment, WallTime};
use podium::orchestrator::dispatch::{AcceptedJob, DispatchSettings, Dispatcher, Now, Output};
use podium::orchestrator::inventory::Inventory;
use podium::orchestrator::model::{JobId, JobSpec, Scope, Subject};
use podium::orchestrator::store::UnfinishedJob;
use podium::orchestrator::store::order::{Precedence, Wait};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::BYTES;

const NODES: u32 = 50_000;

/// Bytes per node once the job is accepted, and nothing of it has started; an order of so many dependencies for each.
fn per_node(dependencies: u32) -> i64 {
    let settings = DispatchSettings {
        task_concurrency: 1,
        deploy_concurrency: 1,
        allowed_status_requests: 35,
        status_interval: Duration::from_secs(12),
    };
    let inventory = Arc::new(RwLock::new(Inventory::new(Vec::new())));
    let now = Now { moment: Moment::from_millis(1_000), wall: WallTime::from_millis(1_000) };
    let mut dispatcher = Dispatcher::new(settings, inventory, Box::new(Uuid::new_v4), now.moment);
    let before = BYTES.load(Ordering::SeqCst);
    let nodes =
        (0..NODES).map(|number| (format!("node{number:06}.agents.example.test"), Uuid::from_u128(number.into())));
    let spec = JobSpec::of_task("demo", Scope::Nodes(Vec::new()), Subject::default());
    let mut job = UnfinishedJob::new(JobId(1), spec, nodes);
    job.waits = (dependencies..NODES)
        .flat_map(|node| (1..=dependencies).map(move |back| Wait::new(Precedence { node, after: node - back })))
        .collect();
    let params = Ok(RawValue::from_string("{}".to_owned()).unwrap());
    dispatcher.accept(now, AcceptedJob { job, params }, &mut Output::default());
    (BYTES.load(Ordering::SeqCst) - before) / i64::from(NODES)
}

#[test]
#[ignore = "counts every block of the process, so that nothing else may run: --ignored --test-threads 1"]
fn a_node_that_waits_is_small() {
    let (alone, one, three) = (per_node(0), per_node(1), per_node(3));
    println!("bytes of a node that waits: {alone}, with a dependency {one}, with three {three}");
    assert!(alone <= 140 && one <= 240 && three <= 300, "{alone} {one} {three}");
}
