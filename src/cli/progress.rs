//! What an operator sees while a job runs, and the summary at its end.

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::follow::{Ended, Observer};
use super::output::{Failure, Format, Output, Tone, duration, note, text};
use super::results::{Work, item};

/// Prints what happens, with a bar on standard error if that is a terminal.
pub(super) struct Progress<'a> {
    output: &'a mut Output,
    format: Format,
    work: Work,
    bar: ProgressBar,
}

impl<'a> Progress<'a> {
    /// Of a job that is followed, on so many nodes if that is known already.
    pub(super) fn new(output: &'a mut Output, format: Format, work: Work, node_count: Option<u64>) -> Self {
        let bar = node_count.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} nodes, {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { output, format, work, bar }
    }

    /// Says how the job ended. The error is for a job that is not watched any more, whatever becomes of it.
    pub(super) fn end(self, id: &str, followed: Result<Option<Ended>, Failure>) -> Result<Option<Ended>, Failure> {
        self.bar.finish_and_clear();
        match &followed {
            Ok(Some(ended)) => match self.format {
                Format::Text => {
                    let (tone, outcome) = outcome(self.work, ended);
                    self.output.toned(tone, outcome);
                    self.output.line(format!("Duration: {}", duration(job_seconds(&ended.job))));
                }
                Format::Json => self.output.json(&ended_job(&ended.job, &ended.nodes)),
            },
            Ok(None) | Err(_) => note(&format!(
                "Job {id} goes on. Watch it with: podium job show {id} --watch\nStop it with: podium job stop {id}"
            )),
        }
        followed
    }

    fn is_text(&self) -> bool {
        self.format == Format::Text
    }
}

impl Observer for Progress<'_> {
    fn started(&mut self, node: &str) {
        if self.is_text() {
            let line = self.work.started(node);
            self.bar.suspend(|| self.output.line(line));
        }
    }

    fn ended(&mut self, node: &Value) {
        self.bar.inc(1);
        if self.is_text() {
            let lines = self.work.ended(node);
            self.bar.suspend(|| lines.into_iter().for_each(|(tone, line)| self.output.toned(tone, line)));
        }
    }

    fn progress(&mut self, job: &Value) {
        let running = job["node_states"]["running"].as_u64().unwrap_or(0);
        let stopping = if text(job, "state") == "stopping" { ", stopping" } else { "" };
        self.bar.set_length(job["node_count"].as_u64().unwrap_or(0));
        self.bar.set_message(format!("{running} running{stopping}"));
    }

    fn notice(&mut self, text: &str) {
        self.bar.suspend(|| note(text));
    }
}

fn outcome(work: Work, ended: &Ended) -> (Tone, String) {
    let count = |state: &str| ended.nodes.iter().filter(|node| text(node, "state") == state).count();
    let all = ended.nodes.len();
    let (succeeded, skipped, stopped) = (count("finished"), count("skipped"), count("stopped"));
    if ended.is_success() {
        let outcome = match work {
            Work::Task => format!("Job completed. {succeeded}/{all} nodes succeeded."),
            Work::PuppetRun => format!("Success! {succeeded}/{all} runs succeeded."),
        };
        return (Tone::Good, outcome);
    }
    let nodes = |number: usize| if number == 1 { "1 node".to_owned() } else { format!("{number} nodes") };
    let failed = all.saturating_sub(succeeded + skipped + stopped);
    let stopped = if stopped > 0 { format!(" {} stopped,", nodes(stopped)) } else { String::new() };
    let word = if text(&ended.job, "state") == "stopped" { "stopped" } else { "failed" };
    let (failed, skipped, succeeded) = (nodes(failed), nodes(skipped), nodes(succeeded));
    (Tone::Bad, format!("Job {word}. {failed} failed, {skipped} skipped,{stopped} {succeeded} succeeded."))
}

/// How long a job took, in whole seconds; servers write the number as text.
pub(super) fn job_seconds(job: &Value) -> u64 {
    let seconds = match &job["duration"] {
        Value::String(text) => text.parse().unwrap_or(0.0),
        other => other.as_f64().unwrap_or(0.0),
    };
    // Bounded on both sides, so that nothing is cut off.
    seconds.clamp(0.0, 1e12).round() as u64
}

/// The one JSON object of `--format json`.
pub(super) fn ended_job(job: &Value, nodes: &[Value]) -> Value {
    json!({
        "job_id": job["name"],
        "state": job["state"],
        "options": job["options"],
        "items": nodes.iter().map(item).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(state: &str, nodes: &[&str]) -> Ended {
        let nodes = nodes.iter().map(|state| json!({"name": "x", "state": state})).collect();
        Ended { job: json!({"name": "81", "state": state}), nodes }
    }

    #[test]
    fn summaries_count_every_node_once() {
        let said = |work, state, nodes: &[&str]| outcome(work, &ended(state, nodes)).1;
        let well = ["finished", "finished"];
        assert_eq!(said(Work::Task, "finished", &well), "Job completed. 2/2 nodes succeeded.");
        assert_eq!(said(Work::PuppetRun, "finished", &well), "Success! 2/2 runs succeeded.");
        assert_eq!(
            said(Work::PuppetRun, "failed", &["failed", "errored", "skipped", "finished"]),
            "Job failed. 2 nodes failed, 1 node skipped, 1 node succeeded."
        );
        assert_eq!(
            said(Work::Task, "stopped", &["stopped", "skipped", "finished"]),
            "Job stopped. 0 nodes failed, 1 node skipped, 1 node stopped, 1 node succeeded."
        );
        // A job is well only if it says so itself and all its nodes do.
        assert_eq!(
            said(Work::Task, "stopped", &well),
            "Job stopped. 0 nodes failed, 0 nodes skipped, 2 nodes succeeded."
        );
    }

    #[test]
    fn durations_of_servers() {
        for (value, seconds) in
            [(json!("65.4"), 65), (json!(65.4), 65), (json!("-1"), 0), (json!("x"), 0), (json!(null), 0)]
        {
            assert_eq!(job_seconds(&json!({"duration": value})), seconds);
        }
    }
}
