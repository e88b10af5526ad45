//! Starts a job and follows it: what `podium task run` and `podium job run` do with their request.

use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::client::{Client, is_passing};
use super::follow::{Ended, Pace, follow};
use super::output::{EXIT_FAILED, EXIT_INTERRUPTED, Failure, Format, Output, note, plain, text};
use super::progress::Progress;
use super::results::Work;

/// A job to start.
pub(super) struct Launch {
    /// What it does.
    pub(super) work: Work,
    /// The body of the command.
    pub(super) request: Value,
    /// How to print.
    pub(super) format: Format,
    /// Whether not to wait.
    pub(super) background: bool,
}

/// How to wait.
#[derive(Clone, Copy)]
pub(super) struct Waiting<'a> {
    /// How patient to be.
    pub(super) pace: Pace,
    /// Whether the operator will not wait any longer.
    pub(super) interrupted: &'a AtomicBool,
}

impl Launch {
    /// Starts it, and waits for its end unless that is not wanted.
    pub(super) fn start(self, client: &mut Client, waiting: Waiting<'_>, output: &mut Output) -> Result<u8, Failure> {
        let is_text = self.format == Format::Text;
        if is_text {
            output.line("Starting job ...");
        }
        let path = match self.work {
            Work::Task => "command/task",
            Work::PuppetRun => "command/deploy",
        };
        let answer = client.post(path, &self.request).inspect_err(|failure| {
            if is_passing(failure) {
                note("It is not known whether the job was started. Before trying again, see: podium job show");
            }
        })?;
        let id = text(&answer["job"], "name").to_owned();
        if id.is_empty() {
            return Err(Failure::Other(format!("the server took the job but gave it no number: {answer}")));
        }
        let node_count = self.node_count(&id, client);
        if is_text {
            output.line(self.introduction(&id, node_count));
        }
        if self.background {
            match self.format {
                Format::Text => output.line(format!("Watch it with: podium job show {id} --watch")),
                Format::Json => output.json(&json!({"job_id": id})),
            }
            return Ok(0);
        }
        let mut progress = Progress::new(output, self.format, self.work, node_count);
        let followed = follow(client, &id, waiting.pace, waiting.interrupted, &mut progress);
        progress.end(&id, followed).map(|ended| exit_code(ended.as_ref()))
    }

    /// How many nodes the scope has turned out to be.
    fn node_count(&self, id: &str, client: &mut Client) -> Option<u64> {
        match self.request["scope"]["nodes"].as_array() {
            Some(nodes) => Some(nodes.len() as u64),
            // The job is started: that its nodes cannot be counted right now is no failure.
            None => client.get(&format!("jobs/{id}")).ok()?["node_count"].as_u64(),
        }
    }

    fn introduction(&self, id: &str, node_count: Option<u64>) -> String {
        let nodes = node_count.map(|count| format!("Nodes: {count}\n")).unwrap_or_default();
        match self.work {
            Work::Task => format!("New job ID: {id}\n{nodes}"),
            Work::PuppetRun => {
                let concurrency = self.request.get("concurrency").map_or_else(|| "unlimited".to_owned(), plain);
                let environment = match text(&self.request, "environment") {
                    "" => "each node's own",
                    name => name,
                };
                let environment = format!("Environment: {environment}\nConcurrency limit: {concurrency}");
                format!("New job id created: {id}\n{environment}\n{nodes}")
            }
        }
    }
}

/// The exit code for a job that was followed; `None` if the operator would not wait.
pub(super) fn exit_code(ended: Option<&Ended>) -> u8 {
    match ended {
        None => EXIT_INTERRUPTED,
        Some(ended) if ended.is_success() => 0,
        Some(_) => EXIT_FAILED,
    }
}
