//! The audit log: one JSON object per line for everything that somebody has asked to be changed, with who, from where,
//! and what was answered. A line is written before the answer leaves, by whoever answers.
//!
//! ```text
//! {"time":"2026-03-01T10:15:30.120Z","subject":"ada","remote":"10.0.0.7:41522","request":"POST /orchestrator/v1/command/task","status":202,"outcome":"accepted","details":{"task":"package"}}
//! ```

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use serde_json::{Map, Value};

use crate::clock::WallTime;
use crate::limits::AUDIT_DETAILS_BYTES_MAX;
use crate::observe::output::{Output, OutputError};

/// Where lines go.
pub struct AuditLog {
    sink: Mutex<Sink>,
    dropped: Counter,
}

struct Sink {
    output: Output,
    /// Lines that could not be written since the last that could.
    lost: u64,
}

impl AuditLog {
    /// Opens the file, or standard error for `None`. `dropped` counts what cannot be written.
    pub fn open(file: Option<&Path>, dropped: Counter) -> Result<Self, OutputError> {
        Ok(Self { sink: Mutex::new(Sink { output: Output::open(file)?, lost: 0 }), dropped })
    }

    /// The next line opens the file again.
    pub fn reopen(&self) {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).output.reopen();
    }

    /// Writes a line. One that cannot be written is counted, in the metrics and in the log, and the log says so itself as
    /// soon as it can.
    pub fn record(&self, at: WallTime, entry: Map<String, Value>) {
        let mut line = Map::new();
        line.insert("time".to_owned(), at.to_millis_string().into());
        line.extend(entry);
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        if sink.lost > 0 {
            let lost = serde_json::json!({"time": at.to_millis_string(), "outcome": "lines-lost", "count": sink.lost});
            text.push_str(&format!("{lost}\n"));
        }
        text.push_str(&bounded(line));
        match sink.output.write(text.as_bytes()) {
            Ok(()) => sink.lost = 0,
            Err(error) => {
                if sink.lost == 0 {
                    tracing::error!(%error, "the audit log cannot be written; lines are lost until it can");
                }
                sink.lost += 1;
                self.dropped.inc();
            }
        }
    }
}

/// A line whose details are too long has their length instead.
fn bounded(mut line: Map<String, Value>) -> String {
    let bytes = line.get("details").map_or(0, |details| details.to_string().len());
    if bytes > AUDIT_DETAILS_BYTES_MAX {
        line.insert("details".to_owned(), serde_json::json!({"bytes": bytes}));
    }
    format!("{}\n", Value::Object(line))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(subject: &str) -> Map<String, Value> {
        Map::from_iter([("subject".to_owned(), json!(subject))])
    }

    #[test]
    fn a_line_is_one_object_and_cannot_be_forged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let log = AuditLog::open(Some(&path), Counter::default()).unwrap();
        log.record(WallTime::from_millis(1_772_360_130_120), entry("eve\n{\"time\":0}"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line, json!({"time": "2026-03-01T10:15:30.120Z", "subject": "eve\n{\"time\":0}"}));
    }

    #[test]
    fn a_line_is_not_as_long_as_a_request() {
        let line =
            |bytes: usize| bounded(Map::from_iter([("details".to_owned(), json!({"query": "x".repeat(bytes)}))]));
        assert!(line(100).contains("xxx"));
        assert_eq!(
            line(AUDIT_DETAILS_BYTES_MAX),
            format!("{{\"details\":{{\"bytes\":{}}}}}\n", AUDIT_DETAILS_BYTES_MAX + 12)
        );
    }

    #[test]
    fn lost_lines_are_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/audit.log");
        let dropped = Counter::default();
        let log = AuditLog::open(Some(&path), dropped.clone()).unwrap();
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        log.reopen();
        log.record(WallTime::from_millis(0), entry("a"));
        log.record(WallTime::from_millis(0), entry("b"));
        assert_eq!(dropped.get(), 2);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        log.record(WallTime::from_millis(0), entry("c"));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0], json!({"time": "1970-01-01T00:00:00.000Z", "outcome": "lines-lost", "count": 2}));
        assert_eq!((lines.len(), &lines[1]["subject"]), (2, &json!("c")));
    }
}
