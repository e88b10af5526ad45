//! `podium plan job` and `podium plan stop`: runs of plans, which have numbers of their own.

use serde_json::{Value, json};

use crate::cli::client::{Client, open};
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::follow::{Pace, Poll, interruption, new_events, patiently};
use crate::cli::launch::Waiting;
use crate::cli::listing::{Wanted, newest, taken};
use crate::cli::output::{
    EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, Failure, Format, Output, PrintFlags, Tone, duration, note, plain, text,
};
use crate::cli::progress::job_seconds;
use crate::cli::results::{Line, render_parameters};
use crate::limits::CLIENT_JOBS_PAGE;

/// How many runs a list has.
const LIST_LENGTH: usize = 50;

/// Servers cut a message in a list of events at this length; the event alone has all of it.
const MESSAGE_CUT: usize = 1024;

/// Arguments of `plan job`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Number of the plan's job; the newest if left out
    #[arg(value_name = "ID")]
    job: Option<u64>,
    /// Follow the plan to its end; the exit code tells how it ended
    #[arg(long, requires = "job")]
    watch: bool,
    /// Only runs in these states, separated by commas: running, success, failure
    #[arg(long, value_name = "STATES", value_delimiter = ',', conflicts_with = "job")]
    state: Vec<String>,
    /// At most so many runs [default: 50]
    #[arg(long, value_name = "N", conflicts_with = "job", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Arguments of `plan stop`.
#[derive(Debug, clap::Args)]
pub(super) struct StopArguments {
    /// Number of the plan's job
    #[arg(value_name = "ID")]
    job: u64,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let format = arguments.print.format;
    let Some(id) = arguments.job else { return list(arguments, &mut client, &mut output) };
    let shown = if arguments.watch {
        let interrupted = interruption()?;
        let waiting = Waiting { pace: Pace::default(), interrupted: &interrupted };
        follow_plan(&id.to_string(), format, waiting, &mut client, &mut output)
    } else {
        client.get(&format!("plan_jobs/{id}")).map(|job| {
            match format {
                Format::Json => output.json(&job),
                Format::Text => detail(&job).into_iter().for_each(|(tone, line)| output.toned(tone, line)),
            }
            0
        })
    };
    match shown {
        Err(Failure::Refused { status: 404, kind, .. }) if kind.ends_with("/unknown-job") => {
            note("No plan job found");
            Ok(EXIT_REFUSED)
        }
        shown => shown,
    }
}

/// Runs `plan stop`.
pub(super) fn stop(arguments: &StopArguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let answer = client.post("command/stop_plan", &json!({"plan_job": arguments.job.to_string()}))?;
    match arguments.print.format {
        Format::Json => output.json(&answer),
        Format::Text => output.line(format!("Stop of plan job {} accepted.", arguments.job)),
    }
    Ok(0)
}

fn list(arguments: &Arguments, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let limit = arguments.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LIST_LENGTH);
    let page = if arguments.state.is_empty() { limit.min(CLIENT_JOBS_PAGE) } else { CLIENT_JOBS_PAGE };
    let is_wanted = |job: &Value| arguments.state.is_empty() || arguments.state.iter().any(|s| s == text(job, "state"));
    let jobs = newest("plan_jobs", "&results=exclude", Wanted { limit, page }, is_wanted, |path| client.get(path))?;
    match arguments.print.format {
        Format::Json => output.json(&json!(jobs)),
        Format::Text if jobs.is_empty() => output.line("There are no plan jobs."),
        Format::Text => output.table(
            &["ID", "STATE", "USER", "STARTED", "DURATION", "PLAN"],
            jobs.iter().map(|job| (Tone::of_state(text(job, "state")), row(job))).collect(),
        ),
    }
    Ok(0)
}

fn row(job: &Value) -> Vec<String> {
    vec![
        text(job, "name").to_owned(),
        text(job, "state").to_owned(),
        text(&job["owner"], "login").to_owned(),
        text(job, "created_timestamp").to_owned(),
        taken(job),
        text(&job["options"], "plan_name").to_owned(),
    ]
}

fn detail(job: &Value) -> Vec<Line> {
    let options = &job["options"];
    let duration = taken(job);
    let fields = [
        ("Status", text(job, "state")),
        ("Description", text(options, "description")),
        ("Start time", text(job, "created_timestamp")),
        ("Finish time", text(job, "finished_timestamp")),
        ("Duration", &duration),
        ("User", text(&job["owner"], "login")),
        ("Environment", text(options, "environment")),
    ];
    let shown = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let mut lines: Vec<Line> =
        shown.map(|(name, value)| (None, format!("{:<14}{value}", format!("{name}:")))).collect();
    lines.push((None, format!("\nPlan name: {}", text(options, "plan_name"))));
    if let Some(parameters) = options["parameters"].as_object().filter(|parameters| !parameters.is_empty()) {
        lines.push((None, "Plan parameters:".to_owned()));
        lines.extend(render_parameters(parameters).into_iter().map(|line| (None, line)));
    }
    let jobs: Vec<&str> = job["status"].as_object().into_iter().flatten().map(|(id, _)| id.as_str()).collect();
    if !jobs.is_empty() {
        lines.push((None, format!("Jobs: {}", jobs.join(", "))));
    }
    lines.extend(result_lines(job));
    lines
}

/// What the plan returned, as JSON unless it is text, or why it failed.
fn result_lines(job: &Value) -> Vec<Line> {
    let Some(result) = job.get("result").filter(|result| !result.is_null()) else { return Vec::new() };
    let text = match result {
        Value::String(text) => text.trim_end().to_owned(),
        other => format!("{other:#}"),
    };
    let title = (Tone::of_state(self::text(job, "state")), "\nRESULT:".to_owned());
    std::iter::once(title).chain(text.lines().map(|line| (None, format!("  {line}")))).collect()
}

/// Follows a plan to its end, telling what it does.
pub(super) fn follow_plan(
    id: &str,
    format: Format,
    waiting: Waiting<'_>,
    client: &mut Client,
    output: &mut Output,
) -> Result<u8, Failure> {
    let mut follower = Follower { client, output, id, is_text: format == Format::Text, start: 0 };
    let followed = patiently(&mut follower, waiting.pace, waiting.interrupted);
    if !matches!(followed, Ok(Some(_))) {
        note(&format!(
            "Plan job {id} goes on. Watch it with: podium plan job {id} --watch\nStop it with: podium plan stop {id}"
        ));
    }
    let Some(job) = followed? else { return Ok(EXIT_INTERRUPTED) };
    let is_success = text(&job, "state") == "success";
    match format {
        Format::Json => output.json(&job),
        Format::Text => {
            result_lines(&job).into_iter().for_each(|(tone, line)| output.toned(tone, line));
            let (tone, outcome) =
                if is_success { (Tone::Good, "Plan completed.") } else { (Tone::Bad, "Plan failed.") };
            output.toned(tone, outcome);
            output.line(format!("Duration: {}", duration(job_seconds(&job))));
        }
    }
    Ok(if is_success { 0 } else { EXIT_FAILED })
}

struct Follower<'a> {
    client: &'a mut Client,
    output: &'a mut Output,
    id: &'a str,
    is_text: bool,
    /// The event to ask for next.
    start: i64,
}

impl Poll for Follower<'_> {
    /// `plan_jobs/:id`.
    type End = Value;

    fn poll(&mut self) -> Result<Option<Value>, Failure> {
        // The job first: when it is over, all its events are there.
        let job = self.client.get(&format!("plan_jobs/{}", self.id))?;
        if self.is_text {
            self.events()?;
        }
        Ok(matches!(text(&job, "state"), "success" | "failure").then_some(job))
    }

    fn notice(&mut self, text: &str) {
        note(text);
    }
}

impl Follower<'_> {
    fn events(&mut self) -> Result<(), Failure> {
        loop {
            let answer = self.client.get(&format!("plan_jobs/{}/events?start={}", self.id, self.start))?;
            let events = new_events(&answer, &mut self.start);
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                let line = if is_cut(event) {
                    let path = format!("plan_jobs/{}/event/{}", self.id, text(event, "id"));
                    describe(&self.client.get(&path)?)
                } else {
                    describe(event)
                };
                line.into_iter().for_each(|line| self.output.line(line));
            }
        }
    }
}

/// Whether an event's message may be longer than what the list shows; a server may cut before a character of 4 bytes.
fn is_cut(event: &Value) -> bool {
    text(&event["details"], "message").len() > MESSAGE_CUT - 4
}

fn describe(event: &Value) -> Option<String> {
    let details = &event["details"];
    let of = |key: &str| details.get(key).map(plain).unwrap_or_default();
    match text(event, "type") {
        "out_message" => Some(of("message")),
        "plan_start" => Some(format!("Starting: plan {}", of("plan"))),
        "plan_end" => Some(format!("Finished: plan {} in {}", of("plan"), duration(job_seconds(details)))),
        // The plan's own end is told with its result.
        "plan_finished" | "plan_failed" => None,
        kind => kind.strip_suffix("_start").map(|what| match of("job-id") {
            job if job.is_empty() => format!("Starting: {what}"),
            job => format!("Starting: {what} (job {job})"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_as_they_happen() {
        let cases = [
            (json!({"type": "task_start", "details": {"job-id": "8765"}}), Some("Starting: task (job 8765)")),
            (json!({"type": "apply_prep_start", "details": {}}), Some("Starting: apply_prep")),
            (json!({"type": "out_message", "details": {"message": "hello"}}), Some("hello")),
            (json!({"type": "plan_start", "details": {"plan": "a::b"}}), Some("Starting: plan a::b")),
            (
                json!({"type": "plan_end", "details": {"plan": "a::b", "duration": 1.5}}),
                Some("Finished: plan a::b in 2 sec"),
            ),
            (json!({"type": "plan_failed", "details": {}}), None),
            (json!({"type": "news"}), None),
        ];
        for (event, expected) in cases {
            assert_eq!(describe(&event).as_deref(), expected, "{event}");
        }
    }

    #[test]
    fn details_of_a_plan_that_has_ended() {
        let job = json!({
            "name": "38", "state": "success", "created_timestamp": "2026-03-01T10:20:00Z",
            "finished_timestamp": "2026-03-01T10:20:05Z", "duration": 5.1, "owner": {"login": "ada"},
            "options": {"plan_name": "facts::info", "parameters": {"targets": "web01"}, "environment": "production"},
            "status": {"101": []}, "result": ["web01: Rocky 9.5"],
        });
        let lines: Vec<String> = detail(&job).into_iter().map(|(_, line)| line).collect();
        let expected = "\
Status:       success
Start time:   2026-03-01T10:20:00Z
Finish time:  2026-03-01T10:20:05Z
Duration:     5 sec
User:         ada
Environment:  production

Plan name: facts::info
Plan parameters:
  targets : web01
Jobs: 101

RESULT:
  [
    \"web01: Rocky 9.5\"
  ]";
        assert_eq!(lines.join("\n"), expected);
    }
}
