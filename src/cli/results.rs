//! How a node's outcome reads: what a task printed, what a Puppet run changed, what went wrong.

use serde_json::{Map, Value, json};

use super::output::{Tone, plain, text};

/// A line, or several, and what they tell at first sight.
pub(super) type Line = (Option<Tone>, String);

/// The counters of a Puppet run that people look at.
const EVENTS: [&str; 5] = ["failed", "changed", "unchanged", "skipped", "noop"];

/// What a job does on its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Runs a task.
    Task,
    /// Runs Puppet.
    PuppetRun,
}

impl Work {
    /// From an object of `jobs`.
    pub(super) fn of_job(job: &Value) -> Self {
        if text(job, "type") == "deploy" { Self::PuppetRun } else { Self::Task }
    }

    /// A node has begun.
    pub(super) fn started(self, node: &str) -> String {
        match self {
            Self::Task => format!("Started on {node} ..."),
            Self::PuppetRun => format!("Started puppet run on {node} ..."),
        }
    }

    /// A node has ended; an item of `jobs/:id/nodes`.
    pub(super) fn ended(self, node: &Value) -> Vec<Line> {
        let (name, state) = (text(node, "name"), text(node, "state"));
        let headline = match (self, state) {
            (Self::Task, "finished") => format!("Finished on node {name}"),
            (Self::Task, "failed") => format!("Failed on node {name}"),
            (Self::Task, "errored") => format!("Could not run on node {name}"),
            (Self::PuppetRun, "finished") => format!("Finished puppet run on {name} - Success!"),
            (Self::PuppetRun, "failed") => format!("Finished puppet run on {name} - Failure!"),
            (Self::PuppetRun, "errored") => format!("Could not run puppet on {name}"),
            (_, "skipped") => format!("Skipped on node {name}"),
            (_, "stopped") => format!("Stopped on node {name}"),
            (_, state) => format!("{state} on node {name}"),
        };
        let headline = (Tone::of_state(state), headline);
        std::iter::once(headline).chain(self.outcome(node).into_iter().map(|line| (None, line))).collect()
    }

    /// What came of it, indented below the name of the node.
    pub(super) fn outcome(self, node: &Value) -> Vec<String> {
        let lines = match node.get("result") {
            Some(result) if self == Self::PuppetRun && (has_run(node, result) || !is_error(result)) => {
                run_lines(node, result)
            }
            Some(result) => render_result(result),
            None => message_lines(node),
        };
        match self {
            Self::Task => lines,
            Self::PuppetRun => lines.iter().map(|line| format!("  {line}")).collect(),
        }
    }

    /// The same at the depth of `job show`.
    pub(super) fn outcome_in_detail(self, node: &Value) -> Vec<String> {
        let lines = self.outcome(node);
        match self {
            Self::Task => lines.iter().map(|line| format!("  {line}")).collect(),
            Self::PuppetRun => lines,
        }
    }
}

/// A run that failed has counted what it did, and has an error as well.
fn has_run(node: &Value, result: &Value) -> bool {
    events(node, result).is_some()
}

fn is_error(result: &Value) -> bool {
    result.get("_error").is_some() || result.get("msg").is_some()
}

/// An item of `jobs/:id/nodes` for `--format json`, with the counters of a Puppet run in the names of `puppet job`.
pub(super) fn item(node: &Value) -> Value {
    let mut item = node.clone();
    if let Some(counts) = node.get("result").and_then(|result| events(node, result)) {
        item["metrics"] = EVENTS.iter().zip(counts).map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
    }
    item
}

fn run_lines(node: &Value, result: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let version = result.get("configuration_version").map(plain).unwrap_or_default();
    if !version.is_empty() {
        lines.push(format!("  Applied configuration version {version}"));
    }
    if let Some(counts) = events(node, result) {
        let counts: Vec<String> = EVENTS.iter().zip(counts).map(|(name, count)| format!("{count} {name}")).collect();
        lines.push(format!("  Resource events: {}", counts.join(" ")));
    }
    let said = message_lines(node);
    lines.extend(if said.is_empty() { error_lines(result) } else { said });
    let details = &node["details"];
    let of_either = |key: &str| [text(details, key), text(result, key)].into_iter().find(|text| !text.is_empty());
    lines.extend(of_either("transaction_uuid").map(|id| format!("  Transaction id: {id}")));
    lines.extend(of_either("report-url").map(|url| format!("  Report: {url}")));
    lines
}

fn error_lines(result: &Value) -> Vec<String> {
    result.get("_error").map(error_text).iter().flat_map(|text| text.lines()).map(|line| format!("  {line}")).collect()
}

fn message_lines(node: &Value) -> Vec<String> {
    text(&node["details"], "message").lines().map(|line| format!("  {line}")).collect()
}

/// The counters in the order of [`EVENTS`]. A run has counted resources that are out of sync; those it neither changed nor
/// failed to change were left alone in noop mode.
fn events(node: &Value, result: &Value) -> Option<[u64; 5]> {
    let metrics = [&result["metrics"], &node["details"]["metrics"]].into_iter().find(|metrics| metrics.is_object())?;
    let count = |name: &str| metrics[name].as_u64().unwrap_or(0);
    let (failed, changed, skipped) = (count("failed"), count("changed"), count("skipped"));
    let noop = count("out_of_sync").saturating_sub(failed.saturating_add(changed));
    let touched = [failed, changed, skipped, noop].into_iter().fold(0, u64::saturating_add);
    Some([failed, changed, count("total").saturating_sub(touched), skipped, noop])
}

/// A node's result, indented by two: what the task printed, what went wrong, then the rest key by key.
pub(super) fn render_result(result: &Value) -> Vec<String> {
    let Value::Object(result) = result else { return vec![format!("  {result}")] };
    let mut lines = Vec::new();
    if let Some(output) = result.get("_output") {
        lines.extend(block("STDOUT:", &plain(output)));
    }
    if let Some(error) = result.get("_error") {
        lines.extend(block("ERROR:", &error_text(error)));
    } else if let (Some(kind), Some(message)) = (result.get("kind"), result.get("msg")) {
        return block("ERROR:", &format!("{} ({})", plain(message), plain(kind)));
    }
    let rest = result.iter().filter(|(key, _)| !matches!(key.as_str(), "_output" | "_error"));
    lines.extend(rest.map(|(key, value)| format!("  {key} : {}", plain(value))));
    lines
}

fn error_text(error: &Value) -> String {
    let message = error.get("msg").map_or_else(|| error.to_string(), plain);
    match error.get("kind").and_then(Value::as_str) {
        Some(kind) => format!("{message} ({kind})"),
        None => message,
    }
}

fn block(title: &str, text: &str) -> Vec<String> {
    let title = format!("  {title}");
    std::iter::once(title).chain(text.trim_end().lines().map(|line| format!("    {line}"))).collect()
}

/// Parameters as `key : value` lines.
pub(super) fn render_parameters(parameters: &Map<String, Value>) -> Vec<String> {
    parameters.iter().map(|(key, value)| format!("  {key} : {}", plain(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results() {
        let lines = |result: Value| render_result(&result).join("\n");
        assert_eq!(lines(json!({"_output": "RedHat\nx\n"})), "  STDOUT:\n    RedHat\n    x");
        assert_eq!(lines(json!({"enabled": true, "status": "running"})), "  enabled : true\n  status : running");
        let error = json!({"kind": "puppetlabs.tasks/task-error", "msg": "exit 1:\nno such file"});
        assert_eq!(
            lines(json!({"_output": "", "_error": error})),
            "  STDOUT:\n  ERROR:\n    exit 1:\n    no such file (puppetlabs.tasks/task-error)"
        );
        let lost = json!({"kind": "puppetlabs.orchestrator/execution-failure", "msg": "gone", "details": {}});
        assert_eq!(lines(lost), "  ERROR:\n    gone (puppetlabs.orchestrator/execution-failure)");
    }

    fn lines_of(lines: Vec<Line>) -> String {
        lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
    }

    fn run(state: &str, metrics: Value) -> Value {
        json!({
            "name": "web01", "state": state,
            "details": {"report-url": "https://console.example.com/#/cm/report/ab12"},
            "result": {"status": "changed", "configuration_version": "1502024081", "metrics": metrics},
        })
    }

    #[test]
    fn puppet_runs_tell_what_they_changed() {
        let node = run("finished", json!({"total": 353, "changed": 1, "out_of_sync": 1, "failed": 0, "skipped": 0}));
        let expected = "Finished puppet run on web01 - Success!\n    Applied configuration version 1502024081\n    \
                        Resource events: 0 failed 1 changed 352 unchanged 0 skipped 0 noop\n    Report: \
                        https://console.example.com/#/cm/report/ab12";
        assert_eq!(lines_of(Work::PuppetRun.ended(&node)), expected);
        let counts = json!({"failed": 0, "changed": 1, "unchanged": 352, "skipped": 0, "noop": 0});
        assert_eq!(item(&node)["metrics"], counts);
    }

    #[test]
    fn a_run_that_failed_tells_both_what_it_did_and_why() {
        let mut node = run("failed", json!({"total": 3, "changed": 1, "out_of_sync": 3, "failed": 2}));
        node["result"]["_error"] = json!({"kind": "x/y", "msg": "2 resources failed", "details": {}});
        node["result"]["transaction_uuid"] = json!("9c");
        let counts = "    Resource events: 2 failed 1 changed 0 unchanged 0 skipped 0 noop";
        let told = |node: &Value| lines_of(Work::PuppetRun.ended(node));
        let end = "    Transaction id: 9c\n    Report: https://console.example.com/#/cm/report/ab12";
        let start = "Finished puppet run on web01 - Failure!\n    Applied configuration version 1502024081";
        assert_eq!(told(&node), format!("{start}\n{counts}\n    2 resources failed (x/y)\n{end}"));
        node["details"]["message"] = json!("Error running puppet on web01: 2 resources failed");
        let message = "    Error running puppet on web01: 2 resources failed";
        assert_eq!(told(&node), format!("{start}\n{counts}\n{message}\n{end}"));
    }

    #[test]
    fn what_a_noop_run_would_change_is_counted_apart() {
        let node = run("failed", json!({"total": 10, "out_of_sync": 4, "failed": 1, "skipped": 2}));
        assert_eq!(events(&node, &node["result"]), Some([1, 0, 4, 2, 3]));
        // Counters that contradict each other are no reason to stop.
        let node = run("failed", json!({"total": 1, "changed": u64::MAX, "skipped": 5}));
        assert_eq!(events(&node, &node["result"]), Some([0, u64::MAX, 0, 5, 0]));
    }

    #[test]
    fn puppet_that_did_not_run_says_why() {
        let message = "Error running puppet on web09: web09 is not connected to the PCP broker";
        let node = json!({"name": "web09", "state": "errored", "details": {"message": message}});
        assert_eq!(lines_of(Work::PuppetRun.ended(&node)), format!("Could not run puppet on web09\n    {message}"));
        let error = json!({"kind": "puppetlabs.orchestrator/execution-failure", "msg": "no agent", "details": {}});
        let node = json!({"name": "web09", "state": "errored", "details": {}, "result": error});
        let expected =
            "Could not run puppet on web09\n    ERROR:\n      no agent (puppetlabs.orchestrator/execution-failure)";
        assert_eq!(lines_of(Work::PuppetRun.ended(&node)), expected);
        assert_eq!(item(&node), node);
    }
}
