//! What is written down when something happens to a node: events with their texts, and the result that a task's output
//! makes (ORCHESTRATOR reference 3.12 and 8.4; puppet-specifications, tasks, output).

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::model::{EventType, JobState, NodeState, TaskWork, Work, is_deeper};
use super::store::{Change, NewEvent, NodeKey};
use crate::clock::WallTime;
use crate::limits::JSON_DEPTH_MAX;
use crate::pxp::response::ProcessResults;
use crate::pxp::status::EXECUTION_ERROR_KIND;

/// In the place of what a task calls sensitive.
const REDACTED: &str = "Sensitive [value redacted]";

/// The kind of a result that the orchestrator itself had to make.
pub const EXECUTION_FAILURE: &str = "puppetlabs.orchestrator/execution-failure";

/// What is run on a node, as texts name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A task, by its name.
    Task(Arc<str>),
    /// Puppet.
    Puppet,
}

impl Action {
    /// What a job runs.
    pub fn of(work: &Work) -> Self {
        match work {
            Work::Task(TaskWork { task, .. }) => Self::Task(task.as_str().into()),
            Work::Deploy(_) => Self::Puppet,
        }
    }

    /// It ran, and failed.
    pub fn failed(&self, node: &str, reason: &str) -> String {
        match self {
            Self::Task(task) => format!("Task {task} failed on {node}: {reason}"),
            Self::Puppet => format!("Puppet run failed on {node}: {reason}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => write!(f, "task {task}"),
            Self::Puppet => f.write_str("puppet"),
        }
    }
}

/// How a node ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// A final state.
    pub state: NodeState,
    /// For people; nothing if it ended well.
    pub message: Option<String>,
    /// For people and programs.
    pub result: Map<String, Value>,
    /// Shown with the node, beside the message.
    pub details: Map<String, Value>,
    /// Shown with the event.
    pub detail: Map<String, Value>,
}

impl Ending {
    /// The orchestrator or the agent could not run the task, or lost sight of it.
    pub fn errored(action: &Action, node: &str, reason: &str) -> Self {
        let error = json!({"kind": EXECUTION_FAILURE, "msg": reason, "details": {"node": node}});
        Self::errored_with(action, node, reason, error)
    }

    fn errored_with(action: &Action, node: &str, reason: &str, error: Value) -> Self {
        Self {
            state: NodeState::Errored,
            message: Some(format!("Error running {action} on {node}: {reason}")),
            result: Map::from_iter([("_error".to_owned(), error)]),
            details: Map::new(),
            detail: Map::new(),
        }
    }

    /// The job was stopped before the node's turn came, or before the request reached it.
    pub fn skipped(node: &str) -> Self {
        Self::skipped_because(node, &format!("Skipped {node}: the job was stopped before anything ran there"))
    }

    fn skipped_because(node: &str, message: &str) -> Self {
        let error = json!({"kind": "puppetlabs.tasks/skipped-node", "msg": message, "details": {"node": node}});
        Self {
            state: NodeState::Skipped,
            message: Some(message.to_owned()),
            result: Map::from_iter([("_error".to_owned(), error)]),
            details: Map::new(),
            detail: Map::new(),
        }
    }

    /// A node that had to end before this one has not ended well, but like this.
    pub fn skipped_after(node: &str, before: &str, state: NodeState) -> Self {
        let how = match state {
            NodeState::Errored => "could not be run",
            NodeState::Skipped => "was skipped",
            NodeState::Stopped => "was stopped",
            _ => "failed",
        };
        Self::skipped_because(node, &format!("Skipped {node}: it runs after {before}, which {how}"))
    }

    /// The agent's own error, as the text in a status answer's `stdout`; other texts are shown as they are.
    pub fn agent_error(action: &Action, node: &str, stdout: Option<&str>) -> Self {
        let error = stdout.and_then(agent_error);
        let message = error.as_ref().and_then(|error| error["msg"].as_str()).map(str::to_owned);
        match (error, message) {
            (Some(error), Some(message)) => Self::errored_with(action, node, &message, error),
            _ => Self::errored(action, node, stdout.unwrap_or("the agent gave no reason")),
        }
    }

    /// A process has run, and this is what it left.
    pub fn ran(action: &Action, node: &str, results: &ProcessResults) -> Self {
        let (details, detail) = (Map::new(), Map::new());
        let stdout = results.stdout.as_deref().unwrap_or_default();
        let mut result = match serde_json::from_str(stdout) {
            // One that is deeper would make the whole job's answer unreadable for clients: it is shown as text.
            Ok(Value::Object(object)) if object.values().all(|value| !is_deeper(value, JSON_DEPTH_MAX - 1)) => object,
            _ => Map::from_iter([("_output".to_owned(), stdout.into())]),
        };
        if let Some(sensitive) = result.get_mut("_sensitive") {
            *sensitive = REDACTED.into();
        }
        if results.exitcode != 0 && !result.contains_key("_error") {
            result.insert("_error".to_owned(), task_error(results));
        }
        let Some(error) = result.get("_error") else {
            return Self { state: NodeState::Finished, message: None, result, details, detail };
        };
        let reason = error["msg"].as_str().unwrap_or("the task reported an error without a message");
        let message = action.failed(node, reason);
        Self { state: NodeState::Failed, message: Some(message), result, details, detail }
    }

    /// As a change of the store.
    pub fn into_change(self, action: &Action, node: NodeKey, name: &str, at: WallTime) -> Change {
        let Self { state, message, result, mut details, detail } = self;
        let kind = match state {
            NodeState::Finished => EventType::NodeFinished,
            NodeState::Failed | NodeState::Stopped => EventType::NodeFailed,
            NodeState::Skipped => EventType::NodeSkipped,
            _ => EventType::NodeErrored,
        };
        let text = message.clone().unwrap_or_else(|| match action {
            Action::Task(_) => format!("Finished on node {name}"),
            // The blank at the end is there in the messages of the original.
            Action::Puppet => format!("Finished puppet run on {name} - Success! "),
        });
        details.extend(message.map(|message| ("message".to_owned(), message.into())));
        let event = NewEvent { kind, details: event_details(name, detail.into()), message: text };
        Change::NodeEnded { node, state, at, details, result: result.into(), event }
    }
}

/// The object below `_error` of an agent's own error.
fn agent_error(stdout: &str) -> Option<Value> {
    let mut object: Map<String, Value> = serde_json::from_str(stdout).ok()?;
    object.remove("_error").filter(|error| !is_deeper(error, JSON_DEPTH_MAX - 1))
}

/// Whether a status answer's `stdout` is the agent's own error and not a task's output.
pub fn is_agent_error(stdout: Option<&str>) -> bool {
    stdout.and_then(agent_error).is_some_and(|error| error["kind"] == EXECUTION_ERROR_KIND)
}

/// The message of an agent's own error.
pub fn agent_error_message(stdout: Option<&str>) -> Option<String> {
    agent_error(stdout?)?["msg"].as_str().map(str::to_owned)
}

fn task_error(results: &ProcessResults) -> Value {
    let code = results.exitcode;
    let said = |stream: &Option<String>| stream.as_deref().is_some_and(|text| !text.trim().is_empty());
    let message = match (said(&results.stdout), said(&results.stderr)) {
        (true, _) => format!("The task failed with exit code {code}"),
        (false, true) => format!(
            "The task failed with exit code {code} and no stdout, but stderr contained:\n{}",
            results.stderr.as_deref().unwrap_or_default()
        ),
        (false, false) => format!("The task failed with exit code {code} and no output"),
    };
    json!({"kind": "puppetlabs.tasks/task-error", "msg": message, "details": {"exit_code": code}})
}

fn event_details(node: &str, detail: Value) -> Map<String, Value> {
    Map::from_iter([("node".to_owned(), node.into()), ("detail".to_owned(), detail)])
}

/// A request is about to be sent.
pub fn started(action: &Action, node: &str, noop: bool) -> NewEvent {
    let message = match action {
        Action::Task(_) => format!("Started on {node} ..."),
        Action::Puppet => format!("Started puppet run on {node} ..."),
    };
    NewEvent { kind: EventType::NodeRunning, details: event_details(node, json!({"noop": noop})), message }
}

/// Nothing of the job is started any more.
pub fn job_stopping() -> NewEvent {
    let message = "Job stopping. Nodes that have not started are skipped.".to_owned();
    NewEvent { kind: EventType::JobStopping, details: Map::new(), message }
}

/// The last event of a job that ends in this state.
pub fn job_ended(state: JobState, succeeded: u64, unsuccessful: u64) -> NewEvent {
    let (kind, message) = match state {
        JobState::Stopped => (
            EventType::JobAborted,
            format!("Job stopped. {succeeded} nodes succeeded, {unsuccessful} failed or were not run."),
        ),
        JobState::Finished => (EventType::JobFinished, format!("Job finished. {succeeded} nodes succeeded.")),
        _ => (EventType::JobFinished, format!("Job failed. {unsuccessful} nodes failed, {succeeded} nodes succeeded.")),
    };
    NewEvent { kind, details: Map::new(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Action {
        Action::Task("t".into())
    }

    fn ran(exitcode: i64, stdout: &str, stderr: &str) -> (NodeState, Value) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let ending =
            Ending::ran(&task(), "n", &ProcessResults { exitcode, stdout: some(stdout), stderr: some(stderr) });
        (ending.state, ending.result.into())
    }

    #[test]
    fn output_makes_the_result() {
        let error = |msg: &str, code: i64| json!({"kind": "puppetlabs.tasks/task-error", "msg": msg, "details": {"exit_code": code}});
        let cases = [
            (ran(0, "{\"a\": 1}\n", ""), NodeState::Finished, json!({"a": 1})),
            (ran(0, "[1]", ""), NodeState::Finished, json!({"_output": "[1]"})),
            (ran(0, "", "warning"), NodeState::Finished, json!({"_output": ""})),
            (ran(0, r#"{"_sensitive": "x"}"#, ""), NodeState::Finished, json!({"_sensitive": REDACTED})),
            (ran(0, r#"{"_error": {"msg": "m"}}"#, ""), NodeState::Failed, json!({"_error": {"msg": "m"}})),
            (ran(0, r#"{"_error": 1}"#, ""), NodeState::Failed, json!({"_error": 1})),
            (ran(2, "{}", ""), NodeState::Failed, json!({"_error": error("The task failed with exit code 2", 2)})),
            (
                ran(-1, "", "boom"),
                NodeState::Failed,
                json!({"_output": "", "_error": error("The task failed with exit code -1 and no stdout, but stderr contained:\nboom", -1)}),
            ),
            (
                ran(127, "", ""),
                NodeState::Failed,
                json!({"_output": "", "_error": error("The task failed with exit code 127 and no output", 127)}),
            ),
        ];
        for ((state, result), expected_state, expected) in cases {
            assert_eq!((state, result), (expected_state, expected));
        }
    }

    #[test]
    fn output_too_deep_for_clients_is_text() {
        let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(ran(0, &nested(JSON_DEPTH_MAX), "").1.get("a").is_some());
        let deep = nested(JSON_DEPTH_MAX + 1);
        assert_eq!(ran(0, &deep, "").1, json!({"_output": deep}));
        let error = format!("{{\"_error\": {{\"msg\": \"m\", \"details\": {deep}}}}}");
        let ending = Ending::agent_error(&task(), "n", Some(&error));
        assert_eq!(ending.result["_error"]["kind"], EXECUTION_FAILURE);
    }

    #[test]
    fn agents_errors_keep_their_kind() {
        let stdout = crate::pxp::status::execution_error("no such file");
        let ending = Ending::agent_error(&task(), "n", Some(&stdout));
        assert_eq!(ending.result["_error"]["kind"], crate::pxp::status::EXECUTION_ERROR_KIND);
        assert_eq!(ending.message.unwrap(), "Error running task t on n: no such file");
        assert_eq!(Ending::agent_error(&task(), "n", Some("x")).result["_error"]["kind"], EXECUTION_FAILURE);
    }
}
