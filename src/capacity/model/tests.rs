//! The constants against what can be measured here: bytes on disk, the limits, and the committed runs.

use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;
use crate::clock::{Clock, WallTime};
use crate::config::settings::{AccessFormat, AccessLevel, AccessLogSettings};
use crate::observe::access_log::{AccessLogs, MessageEntry, Verdict};
use crate::observe::metrics::Metrics;
use crate::orchestrator::model::{EventType, JobSpec, JobState, NodeState, Scope, Subject};
use crate::orchestrator::store::sqlite::SqliteStore;
use crate::orchestrator::store::{Change, NewEvent, NewJob, NewNode, NodeKey, Store};

/// By how much a figure may be off before the table must be put right.
fn assert_within(what: &str, table: u64, found: u64, percent: u64) {
    let allowed = found * percent / 100;
    assert!(
        table.abs_diff(found) <= allowed,
        "{what}: {found} measured, {table} in the table of src/capacity/model.rs; put the measured figure there"
    );
}

#[test]
fn every_combination_has_a_figure() {
    for tls in TlsVersion::value_variants() {
        for keys in Keys::value_variants() {
            for session in TlsSession::value_variants() {
                assert!(agent_bytes(*tls, *keys, *session).value > 100);
            }
        }
    }
}

#[test]
fn a_line_of_the_access_log() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let (clock, metrics) = (Clock::start(), Arc::new(Metrics::new()));
    let logs = AccessLogs::start(1, clock, metrics).unwrap();
    let settings = AccessLogSettings { level: AccessLevel::Info, file: Some(file.clone()), format: AccessFormat::Text };
    logs.messages.configure(&settings).unwrap();
    let entry = MessageEntry {
        verdict: Verdict::Authorized,
        remote: Some("192.0.2.77:41522".parse().unwrap()),
        common_name: "node5000.example.com",
        envelope: Some([
            "pcp://node5000.example.com/agent",
            "http://puppetlabs.com/rpc_non_blocking_response",
            "f93df7fa-5168-4f8d-a7b5-180d46019213",
            "pcp://node1.example.com/orchestrator",
        ]),
    };
    logs.messages.message(0, clock.now(), &entry);
    drop(logs);
    assert_within("a line", ACCESS_LOG_LINE_BYTES.value, std::fs::metadata(file).unwrap().len(), 2);
}

#[test]
fn a_node_s_run_in_the_store() {
    const NODES: u32 = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let size = || -> u64 {
        let files = std::fs::read_dir(dir.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let store = SqliteStore::open(dir.path()).unwrap();
    store.close();
    drop(store);
    let empty = size();
    let store = SqliteStore::open(dir.path()).unwrap();
    let id = store.create_job(job(NODES)).unwrap();
    let mut changes = Vec::new();
    for position in 0..NODES {
        changes.extend(run(NodeKey { job: id, position }));
    }
    changes.push(Change::JobEntered { job: id, state: JobState::Finished, at: WallTime::now(), event: None });
    store.commit(changes).unwrap();
    store.close();
    drop(store);
    assert_within("a run", NODE_RUN_BYTES.value, (size() - empty) / u64::from(NODES), 5);
}

fn name(position: u32) -> String {
    format!("node{position:05}.prod.example.com")
}

fn job(nodes: u32) -> NewJob {
    let names: Vec<String> = (0..nodes).map(name).collect();
    let owner = Subject {
        id: Uuid::nil().to_string(),
        login: "admin".into(),
        display_name: "Administrator".into(),
        is_superuser: true,
        role_ids: vec![1],
        ..Subject::default()
    };
    NewJob {
        spec: JobSpec::of_task("facts::refresh", Scope::Nodes(names.clone()), owner),
        created: WallTime::now(),
        payload: vec![0; 200],
        nodes: names.into_iter().map(|name| NewNode { name, transaction: Uuid::new_v4() }).collect(),
        order: Vec::new(),
        firing: None,
    }
}

/// What the dispatcher writes of a node, with a result of 100 bytes.
fn run(node: NodeKey) -> [Change; 3] {
    let at = WallTime::now();
    let details = Map::from_iter([
        ("node".to_owned(), json!(name(node.position))),
        ("detail".to_owned(), json!({"noop": false})),
    ]);
    let event = |kind, word: &str| NewEvent {
        kind,
        details: details.clone(),
        message: format!("{word} on node {} for the task facts::refresh", name(node.position)),
    };
    [
        Change::NodeStarted { node, at, event: event(EventType::NodeRunning, "Started") },
        Change::NodeAcknowledged(node),
        Change::NodeEnded {
            node,
            state: NodeState::Finished,
            at,
            details: Map::new(),
            result: json!({"_output": "x".repeat(86)}),
            event: event(EventType::NodeFinished, "Finished"),
        },
    ]
}

/// Agents below which the first pages of tables and buffers are too large a part of the figure.
const AGENTS_MIN: u64 = 1_000;

/// The newest committed run of `cargo bench --bench memory` for each combination has what the table says.
#[test]
fn bytes_per_agent_are_those_of_the_committed_runs() {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/runs");
    let entries = std::fs::read_dir(runs).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path().join("memory.json")).collect();
    // The directories begin with their date.
    files.sort();
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let runs: Vec<Value> = texts.map(|text| serde_json::from_str(&text).expect("memory.json is JSON")).collect();
    for (tls, keys, session, found) in newest(&runs) {
        assert_within(&format!("{tls} {keys} {session}"), agent_bytes(tls, keys, session).value, found, 10);
    }
}

/// Bytes of an agent of `podium broker` by the last run that has the combination.
fn newest(runs: &[Value]) -> Vec<(TlsVersion, Keys, TlsSession, u64)> {
    let mut newest: Vec<(TlsVersion, Keys, TlsSession, u64)> = Vec::new();
    let rows = runs.iter().flat_map(|run| run["rows"].as_array().expect("memory.json has rows"));
    for row in rows.filter(|row| row["process"] == "broker" && row["agents"].as_u64() >= Some(AGENTS_MIN)) {
        let word = |key: &str| row[key].as_str().map(str::to_lowercase);
        let read = |key: &str| word(key).unwrap_or_else(|| panic!("a row of memory.json without {key}"));
        let tls = TlsVersion::from_str(&read("tls"), true).unwrap();
        let keys = Keys::from_str(&read("keys"), true).unwrap();
        // Runs from before there was a choice do not say.
        let session = TlsSession::from_str(&word("tls_session").unwrap_or("rustls".to_owned()), true).unwrap();
        let found = row["bytes_each"].as_u64().expect("a row of memory.json has bytes_each");
        newest.retain(|known| (known.0, known.1, known.2) != (tls, keys, session));
        newest.push((tls, keys, session, found));
    }
    newest
}

#[test]
fn rows_of_a_run_are_understood() {
    let row = |tls: &str, bytes: u64| json!({"process": "broker", "agents": 19_000, "keys": "Rsa4096", "tls": tls, "bytes_each": bytes});
    let mut compact = row("1.3", 900);
    compact["tls_session"] = json!("compact");
    let mut server = row("1.3", 1);
    server["process"] = json!("server");
    let runs = [json!({"rows": [row("1.2", 1), row("1.3", 2)]}), json!({"rows": [row("1.2", 3), compact, server]})];
    let (rsa, rustls) = (Keys::Rsa4096, TlsSession::Rustls);
    let expected = [
        (TlsVersion::V13, rsa, rustls, 2),
        (TlsVersion::V12, rsa, rustls, 3),
        (TlsVersion::V13, rsa, TlsSession::Compact, 900),
    ];
    assert_eq!(newest(&runs), expected);
}
