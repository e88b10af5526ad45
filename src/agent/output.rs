//! What an action's process leaves behind, read as results: text as it is, or one JSON document that must fit the
//! schema of the action (pxp-agent: bolt modules and external modules).

use std::sync::Arc;

use serde_json::Value;

use super::metadata::{Ending, Results};
use super::schema::Schema;
use super::transaction::Label;
use crate::pxp::response::ProcessResults;

/// How the standard output of an action is read.
#[derive(Debug, Clone)]
pub enum Output {
    /// Exit code and both streams are the results.
    Text,
    /// One JSON document that is the results, whatever the exit code.
    Document(Arc<Schema>),
}

/// Modules say by this exit code that they could not write their output.
const OUTPUT_FAILED: i64 = 5;

impl Output {
    /// Judges what a process left.
    pub fn ending(&self, label: &Label<'_>, exitcode: i64, stdout: Vec<u8>, stderr: Option<String>) -> Ending {
        let stdout = String::from_utf8(stdout);
        match (self, stdout) {
            (Self::Text, Err(_)) => Ending::Invalid(label.invalid_utf8()),
            (Self::Document(_), Err(_)) => Ending::Invalid(label.invalid_json(stderr.as_deref())),
            (Self::Text, Ok(stdout)) => Ending::Valid(process(exitcode, stdout, stderr).into()),
            (Self::Document(schema), Ok(stdout)) => document(schema, label, exitcode, stdout, stderr),
        }
    }
}

fn document(schema: &Schema, label: &Label<'_>, exitcode: i64, stdout: String, stderr: Option<String>) -> Ending {
    if exitcode == OUTPUT_FAILED {
        return Ending::Invalid(label.failed("failed to write output on file"));
    }
    let is_empty = stdout.trim().is_empty();
    let parsed = if is_empty { Ok(Value::Null) } else { serde_json::from_str(&stdout) };
    let Ok(document) = parsed else { return Ending::Invalid(label.invalid_json(stderr.as_deref())) };
    match schema.check(&document) {
        Ok(()) => Ending::Valid(Results { process: process(exitcode, stdout, stderr), document: Some(document) }),
        Err(_) if is_empty => Ending::Invalid(label.no_results(stderr.as_deref())),
        Err(_) => Ending::Invalid(label.invalid_results(&stdout, stderr.as_deref())),
    }
}

fn process(exitcode: i64, stdout: String, stderr: Option<String>) -> ProcessResults {
    ProcessResults { exitcode, stdout: (!stdout.is_empty()).then_some(stdout), stderr }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::transaction::Kind;

    const LABEL: Label<'_> = Label { kind: Kind::NonBlocking, module: "m", action: "a", transaction_id: "7" };

    fn read(exitcode: i64, stdout: &[u8], stderr: Option<&str>) -> Ending {
        let schema = Schema::parse(&json!({"type": "object", "required": ["x"]})).unwrap();
        Output::Document(Arc::new(schema)).ending(&LABEL, exitcode, stdout.to_vec(), stderr.map(str::to_owned))
    }

    #[test]
    fn a_document_is_the_result_whatever_the_exit_code() {
        let Ending::Valid(results) = read(1, b"{\"x\":1}", None) else { panic!() };
        assert_eq!((results.process.exitcode, results.value()), (1, json!({"x": 1})));
    }

    #[test]
    fn what_is_no_document_has_the_reference_s_words() {
        let label = "The task executed for the non blocking 'm a' request (transaction 7) returned";
        let cases: [(&[u8], Option<&str>, &str); 4] = [
            (b"{", None, "invalid JSON on stdout - stderr: (empty)"),
            (b"\xff", Some("why"), "invalid JSON on stdout - stderr:\nwhy"),
            (b"", None, "no results on stdout - stderr: (empty)"),
            (b"{}", None, "invalid results on stdout: {} - stderr: (empty)"),
        ];
        for (stdout, stderr, expected) in cases {
            assert_eq!(read(0, stdout, stderr), Ending::Invalid(format!("{label} {expected}")));
        }
        let failed = "Failed to execute the task for the non blocking 'm a' request (transaction 7). Error: failed to \
                      write output on file";
        assert_eq!(read(5, b"{\"x\":1}", None), Ending::Invalid(failed.into()));
    }
}
