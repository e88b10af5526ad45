//! `status query`: how a transaction stands, read from its directory (the table of pxp-agent's request processor).
//! Differs from it in one row: unusable output is reported in the same way by the first query and by later ones.

use std::time::Duration;

use super::metadata::{Ending, Metadata, Results, StoredStatus};
use super::output::Output;
use super::registry::Registry;
use super::spool::{Process, Spool, Unreadable, label_of};
use super::transaction::TransactionId;
use crate::pxp::status::{StatusResults, TransactionStatus, execution_error};

/// Time that a thread is given to record the end of a process that is already gone.
const RACE_WAIT: Duration = Duration::from_millis(100);

/// An answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To be sent.
    Results(StatusResults),
    /// The output has more bytes than a message may have.
    TooLarge(u64),
}

/// Answers a query about `transaction_id`, which may be any string. `registry` has the actions of this agent.
pub fn query(spool: &Spool, transaction_id: &str, registry: &Registry) -> Answer {
    let unknown = |error: &str| Answer::Results(unknown(transaction_id, error));
    let Some(id) = TransactionId::parse(transaction_id) else { return unknown(NO_DIRECTORY) };
    let metadata = match spool.metadata(&id) {
        Ok(metadata) => metadata,
        Err(Unreadable::NoDirectory) => return unknown(NO_DIRECTORY),
        Err(Unreadable::Metadata(error)) => return unknown(&error),
    };
    let (module, action) = (&metadata.module, &metadata.action);
    let Some(output) = registry.output(module, action) else {
        return unknown(&format!(
            "unexpected failure while retrieving metadata: unknown action stored in metadata file: '{module} {action}'"
        ));
    };
    match metadata.status {
        StoredStatus::Running => evaluate(spool, &id, &metadata, output),
        _ => stored(spool, &id, &metadata, output),
    }
}

const NO_DIRECTORY: &str = "found no results directory";

/// A transaction whose end is not recorded.
fn evaluate(spool: &Spool, id: &TransactionId, metadata: &Metadata, output: &Output) -> Answer {
    let in_progress = spool.process(id) != Process::Dead && spool.exit_code(id).is_none();
    if spool.is_busy(id) && (in_progress || !spool.wait_released(id, RACE_WAIT)) {
        return Answer::Results(plain(id.as_str(), TransactionStatus::Running));
    }
    // Its thread may have recorded the end in the meantime.
    match spool.metadata(id) {
        Ok(metadata) if metadata.status != StoredStatus::Running => return stored(spool, id, &metadata, output),
        Ok(_) | Err(_) => {}
    }
    match spool.settle(metadata, id, output) {
        Some(ending) => ended(spool, id, ending),
        None if spool.process(id) == Process::Alive => Answer::Results(plain(id.as_str(), TransactionStatus::Running)),
        None => Answer::Results(unknown(id.as_str(), "the PID and output of this task are not available")),
    }
}

/// A transaction whose end is recorded.
fn stored(spool: &Spool, id: &TransactionId, metadata: &Metadata, output: &Output) -> Answer {
    let error = metadata.execution_error.clone().unwrap_or_default();
    let ending = match metadata.status {
        StoredStatus::Running | StoredStatus::Undetermined => Ending::Undetermined(error),
        StoredStatus::Failure => Ending::Invalid(error),
        // Without the exit code, the output files are gone too: what the metadata says is all there is.
        StoredStatus::Success => match spool.collect(id, &label_of(metadata), output) {
            Some(ending) => ending,
            None => {
                let process = metadata.results.clone().and_then(|results| serde_json::from_value(results).ok());
                Ending::Valid(Results { process: process.unwrap_or_default(), document: None })
            }
        },
    };
    ended(spool, id, ending)
}

fn ended(spool: &Spool, id: &TransactionId, ending: Ending) -> Answer {
    let status = |success| if success { TransactionStatus::Success } else { TransactionStatus::Failure };
    Answer::Results(match ending {
        Ending::TooLarge(size) => return Answer::TooLarge(size),
        Ending::Undetermined(error) => unknown(id.as_str(), &error),
        Ending::Invalid(error) => StatusResults {
            exitcode: Some(spool.exit_code(id).unwrap_or(0)),
            stdout: Some(execution_error(&error)),
            stderr: spool.stderr(id),
            ..plain(id.as_str(), TransactionStatus::Failure)
        },
        // Whatever the module, what its process printed.
        Ending::Valid(Results { process, .. }) => StatusResults {
            exitcode: Some(process.exitcode),
            stdout: process.stdout,
            stderr: process.stderr,
            ..plain(id.as_str(), status(process.exitcode == 0))
        },
    })
}

fn unknown(transaction_id: &str, error: &str) -> StatusResults {
    StatusResults { stdout: Some(execution_error(error)), ..plain(transaction_id, TransactionStatus::Unknown) }
}

fn plain(transaction_id: &str, status: TransactionStatus) -> StatusResults {
    let transaction_id = transaction_id.to_owned();
    StatusResults { transaction_id, status, exitcode: None, stdout: None, stderr: None }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::agent::requests::tests::registry;
    use crate::agent::spool::Claim;
    use crate::agent::spool::tests::{create, spool};
    use crate::clock::WallTime;

    fn ask(spool: &Spool, id: &str) -> serde_json::Value {
        match query(spool, id, &registry()) {
            Answer::Results(results) => serde_json::to_value(results).unwrap(),
            Answer::TooLarge(size) => serde_json::json!(size),
        }
    }

    fn is_unknown(answer: &serde_json::Value, error: &str) {
        assert_eq!(answer["status"], "unknown");
        assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");
        has_error(answer, error);
    }

    fn has_error(answer: &serde_json::Value, error: &str) {
        let stdout: serde_json::Value = serde_json::from_str(answer["stdout"].as_str().unwrap()).unwrap();
        let kind = "puppetlabs.pxp-agent/execution-error";
        assert_eq!(stdout, serde_json::json!({"_error": {"kind": kind, "details": {}, "msg": error}}));
    }

    fn write(spool: &Spool, id: &TransactionId, files: &[(&str, &[u8])]) {
        for (name, content) in files {
            fs::write(spool.directory(id).join(name), content).unwrap();
        }
    }

    fn begun(spool: &Spool) -> (TransactionId, Claim) {
        create(spool, "t", WallTime::now())
    }

    #[test]
    fn nothing_is_known_without_directory_or_metadata() {
        let (_root, spool) = spool();
        for id in ["t", "..", "a/b", ""] {
            is_unknown(&ask(&spool, id), "found no results directory");
        }
        let id = crate::agent::spool::tests::id("t");
        fs::create_dir(spool.directory(&id)).unwrap();
        is_unknown(&ask(&spool, "t"), "metadata file of the transaction t does not exist");
        write(&spool, &id, &[("metadata", b"{")]);
        is_unknown(&ask(&spool, "t"), "invalid JSON in metadata file of the transaction t");
        write(&spool, &id, &[("metadata", b"{}")]);
        is_unknown(&ask(&spool, "t"), "invalid action metadata of the transaction t");
    }

    #[test]
    fn an_action_that_this_agent_has_not_is_unknown() {
        let (_root, spool) = spool();
        let (_id, _claim) = begun(&spool);
        let Answer::Results(results) = query(&spool, "t", &Registry::new(Vec::new())) else { panic!() };
        is_unknown(
            &serde_json::to_value(results).unwrap(),
            "unexpected failure while retrieving metadata: unknown action stored in metadata file: 'task run'",
        );
    }

    #[test]
    fn running_with_a_thread_and_no_pid_yet() {
        let (_root, spool) = spool();
        let (_id, _claim) = begun(&spool);
        assert_eq!(ask(&spool, "t"), serde_json::json!({"transaction_id": "t", "status": "running"}));
    }

    #[test]
    fn running_in_a_process_that_outlived_the_agent() {
        let (_root, spool) = spool();
        let (id, claim) = begun(&spool);
        drop(claim);
        let mut process = Command::new("sh").args(["-c", "read line", "w", "t"]).stdin(Stdio::piped()).spawn().unwrap();
        spool.write_pid(&id, process.id()).unwrap();
        assert_eq!(ask(&spool, "t"), serde_json::json!({"transaction_id": "t", "status": "running"}));
        drop(process.stdin.take());
        process.wait().unwrap();
        is_unknown(&ask(&spool, "t"), "task process is not running, but no output is available");
        assert_eq!(spool.metadata(&id).unwrap().status, StoredStatus::Undetermined);
        is_unknown(&ask(&spool, "t"), "task process is not running, but no output is available");
    }

    #[test]
    fn without_pid_and_thread_nothing_is_known_yet() {
        let (_root, spool) = spool();
        let (id, claim) = begun(&spool);
        drop(claim);
        is_unknown(&ask(&spool, "t"), "the PID and output of this task are not available");
        assert_eq!(spool.metadata(&id).unwrap().status, StoredStatus::Running);
    }

    #[test]
    fn finished_while_the_agent_was_away() {
        let (_root, spool) = spool();
        let (id, claim) = begun(&spool);
        drop(claim);
        write(&spool, &id, &[("exitcode", b"3"), ("stdout", b"out\n"), ("stderr", b"e\xff")]);
        let expected = serde_json::json!(
            {"transaction_id": "t", "status": "failure", "exitcode": 3, "stdout": "out\n", "stderr": "e\u{fffd}"}
        );
        assert_eq!(ask(&spool, "t"), expected);
        let metadata = spool.metadata(&id).unwrap();
        assert_eq!((metadata.status, metadata.results_are_valid), (StoredStatus::Success, Some(true)));
        assert_eq!(ask(&spool, "t"), expected);
    }

    #[test]
    fn finished_and_recorded() {
        let (_root, spool) = spool();
        let (id, claim) = begun(&spool);
        write(&spool, &id, &[("exitcode", b"0\n"), ("stdout", b""), ("stderr", b"")]);
        spool.finish(&id, &Ending::Valid(Results::default())).unwrap();
        drop(claim);
        let expected = serde_json::json!({"transaction_id": "t", "status": "success", "exitcode": 0});
        assert_eq!(ask(&spool, "t"), expected);
    }

    #[test]
    fn finished_without_valid_results() {
        let (_root, spool) = spool();
        let (id, claim) = begun(&spool);
        drop(claim);
        write(&spool, &id, &[("exitcode", b"5"), ("stdout", b"\xff"), ("stderr", b"why")]);
        let error = "The task executed for the non blocking 'task run' request (transaction t) returned invalid UTF-8 \
                     on stdout";
        for _ in 0..2 {
            let answer = ask(&spool, "t");
            assert_eq!((&answer["status"], &answer["exitcode"]), (&"failure".into(), &5.into()));
            assert_eq!(answer["stderr"], "why");
            has_error(&answer, error);
        }
    }

    #[test]
    fn never_started() {
        let (_root, spool) = spool();
        let (id, claim) = begun(&spool);
        spool.finish(&id, &Ending::Invalid("no such file".into())).unwrap();
        drop(claim);
        let answer = ask(&spool, "t");
        assert_eq!((&answer["status"], &answer["exitcode"]), (&"failure".into(), &0.into()));
        has_error(&answer, "no such file");
    }

    #[test]
    fn output_larger_than_a_message_has_no_answer() {
        let (_root, spool) = spool();
        let (id, claim) = begun(&spool);
        drop(claim);
        write(&spool, &id, &[("exitcode", b"0"), ("stdout", &[b'x'; 1001])]);
        assert_eq!(ask(&spool, "t"), serde_json::json!(1001));
        assert_eq!(ask(&spool, "t"), serde_json::json!(1001));
        assert_eq!(spool.metadata(&id).unwrap().status, StoredStatus::Success);
    }
}
