//! Reports that are there, come later, never come, or belong to somebody else.

use std::sync::Mutex;

use super::*;
use crate::orchestrator::model::{DeployOptions, JobId, JobState, NodeState, Work};
use crate::orchestrator::store::NodeKey;
use crate::orchestrator::store::conformance::{ended, key, new_job};
use crate::orchestrator::store::sqlite::SqliteStore;

const UUID: &str = "6b0f3c1e-8a53-4dc0-a3cb-3d5d2f1f8f11";

/// Plays PuppetDB: what it has, and how often it was asked for how many.
#[derive(Default)]
struct Played {
    reports: Mutex<Vec<Report>>,
    asked: Mutex<Vec<usize>>,
}

impl ReportSource for Played {
    fn of_transactions(&self, transactions: &[&str]) -> Result<Vec<Report>, Failure> {
        self.asked.lock().unwrap().push(transactions.len());
        let reports = self.reports.lock().unwrap();
        let is_asked = |report: &&Report| transactions.contains(&report.transaction_uuid.as_deref().unwrap());
        Ok(reports.iter().filter(is_asked).cloned().collect())
    }
}

fn report(certname: &str, transaction: &str) -> Report {
    let report = json!({"certname": certname, "hash": "beef", "status": "changed", "transaction_uuid": transaction,
                        "job_id": "1", "environment": "production", "start_time": null, "end_time": null,
                        "configuration_version": "17"});
    serde_json::from_value(report).unwrap()
}

struct Bench {
    _dir: tempfile::TempDir,
    store: Arc<dyn Store>,
    played: Arc<Played>,
    search: Search,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(dir.path()).unwrap());
        let played = Arc::new(Played::default());
        let (source, wanted, remembered) = (played.clone(), VecDeque::new(), Stopwatch::start());
        let search = Search { source, store: Arc::downgrade(&store), wanted, remembered };
        Self { _dir: dir, store, played, search }
    }

    fn job(&self, names: &[&str]) -> JobId {
        let mut job = new_job("", names);
        job.spec.work = Work::Deploy(DeployOptions::default());
        self.store.create_job(job).unwrap()
    }

    fn known(&self, job: JobId) -> Vec<String> {
        self.store.reports(job).unwrap().into_keys().collect()
    }
}

fn run(job: JobId, node: &str, transaction: &str) -> Run {
    Run { job, node: node.into(), transaction: transaction.into() }
}

/// A Puppet run that has ended just now.
fn run_ended(node: NodeKey, name: &str, transaction: &str) -> Change {
    let Change::NodeEnded { mut event, mut details, state, result, .. } = ended(node, NodeState::Finished, 0) else {
        panic!("an end")
    };
    event.details.insert("node".into(), name.into());
    details.insert("transaction_uuid".into(), transaction.into());
    Change::NodeEnded { node, state, at: WallTime::now(), details, result, event }
}

#[test]
fn a_report_is_asked_for_until_it_is_there() {
    let mut bench = Bench::new();
    let job = bench.job(&["a", "b"]);
    bench.search.want(vec![run(job, "a", UUID)]);
    bench.search.ask().unwrap();
    assert_eq!((bench.known(job), bench.search.wanted.len()), (vec![], 1));
    bench.played.reports.lock().unwrap().push(report("a", UUID));
    bench.search.ask().unwrap();
    assert_eq!((bench.known(job), bench.search.wanted.len()), (vec!["a".to_owned()], 0));
    bench.search.ask().unwrap();
    assert_eq!(*bench.played.asked.lock().unwrap(), [1, 1], "nothing is asked for that is known");
    let known = bench.store.reports(job).unwrap();
    let expected = KnownReport { hash: "beef".into(), configuration_version: Some("17".into()) };
    assert_eq!(known["a"], expected);
}

#[test]
fn a_report_of_another_node_is_none() {
    let mut bench = Bench::new();
    let job = bench.job(&["a"]);
    bench.played.reports.lock().unwrap().push(report("b", UUID));
    bench.search.want(vec![run(job, "a", UUID)]);
    bench.search.ask().unwrap();
    assert_eq!((bench.known(job), bench.search.wanted.len()), (vec![], 1));
}

#[test]
fn questions_and_what_waits_are_bounded() {
    let mut bench = Bench::new();
    let runs = |number: usize| (0..number).map(|n| run(JobId(1), &format!("n{n}"), UUID)).collect::<Vec<_>>();
    bench.search.want(runs(REPORTS_WANTED_MAX + 5));
    assert_eq!(bench.search.wanted.len(), REPORTS_WANTED_MAX);
    bench.search.ask().unwrap();
    assert_eq!(*bench.played.asked.lock().unwrap(), [REPORTS_PER_QUERY]);
    // Who was asked for is asked for again after all others.
    assert_eq!(bench.search.wanted[0].0.node, format!("n{}", REPORTS_PER_QUERY + 5));
    drop(bench.store);
    assert_eq!(bench.search.ask(), None, "it keeps no store open");
}

#[test]
fn runs_that_ended_before_a_restart_are_remembered() {
    let mut bench = Bench::new();
    let job = bench.job(&["a", "b", "c", "d"]);
    let other = "7b0f3c1e-8a53-4dc0-a3cb-3d5d2f1f8f11";
    let changes = vec![
        run_ended(key(job, 0), "a", UUID),
        run_ended(key(job, 1), "b", "what an agent may say"),
        run_ended(key(job, 2), "c", other),
        Change::JobEntered { job, state: JobState::Running, at: WallTime::now(), event: None },
    ];
    let expected = [run(job, "a", UUID), run(job, "c", other)];
    assert_eq!(runs_ended(&changes), expected);
    bench.store.commit(changes).unwrap();
    // Those that are looked for already are not looked for twice.
    bench.search.remember();
    bench.search.remember();
    let mut remembered: Vec<Run> = bench.search.wanted.iter().map(|(run, _)| run.clone()).collect();
    remembered.sort_unstable();
    assert_eq!(remembered, expected);
    bench.played.reports.lock().unwrap().push(report("a", UUID));
    bench.search.ask().unwrap();
    bench.search.wanted.clear();
    bench.search.remember();
    assert_eq!(bench.search.wanted.len(), 1, "what is known is not looked for");
}

#[test]
fn nodes_show_what_is_known() {
    let bench = Bench::new();
    let job = bench.job(&["a"]);
    bench.store.commit(vec![run_ended(key(job, 0), "a", UUID)]).unwrap();
    let found = KnownReport { hash: "beef".into(), configuration_version: None };
    let change = Change::ReportFound { job, node: "a".into(), report: found };
    bench.store.commit(vec![change.clone(), change]).unwrap();
    let query = crate::orchestrator::store::conformance::all_nodes();
    let mut nodes = bench.store.nodes(job, &query).unwrap().unwrap().items;
    add(&mut nodes, &bench.store.reports(job).unwrap(), |hash| format!("https://pdb/{hash}"));
    assert_eq!(
        (&nodes[0].details["hash"], &nodes[0].details["report-url"]),
        (&json!("beef"), &json!("https://pdb/beef"))
    );
    assert_eq!(nodes[0].result.as_ref().unwrap(), &json!({"x": 1, "hash": "beef"}));
}
