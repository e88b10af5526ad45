//! `podium job show`: the newest jobs, or one with its nodes, now or until it ends.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cli::client::{Client, open};
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::follow::{Pace, follow, interruption, items};
use crate::cli::launch::{Waiting, exit_code};
use crate::cli::listing::{self, Wanted, taken};
use crate::cli::output::{EXIT_REFUSED, Failure, Format, Output, PrintFlags, Tone, note, text};
use crate::cli::progress::{Progress, ended_job};
use crate::cli::results::{Line, Work, render_parameters};
use crate::limits::CLIENT_JOBS_PAGE;
use crate::percent::encode;

/// How many jobs a list has.
const LIST_LENGTH: usize = 50;

/// States of nodes in the order in which they are shown.
const SECTIONS: [&str; 9] =
    ["finished", "failed", "errored", "skipped", "stopped", "stopping", "running", "ready", "new"];

/// Arguments of `job show`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Number of the job; the newest jobs if left out
    #[arg(value_name = "ID")]
    job: Option<u64>,
    /// Follow the job to its end; the exit code tells how it ended
    #[arg(long, requires = "job")]
    watch: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// What to leave out.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters")]
struct Filter {
    /// Only nodes, or without an ID jobs, in these states, separated by commas
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    state: Vec<String>,
    /// Only nodes on which it failed or could not be run, or without an ID jobs that failed
    #[arg(long, conflicts_with = "state")]
    failed_only: bool,
    /// At most so many jobs [default: 50] or nodes [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Only jobs of this type: deploy (Puppet runs), task, plan_task, ...
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "job")]
    kind: Option<String>,
    /// Only jobs of tasks with this in their name
    #[arg(long, value_name = "TEXT", conflicts_with = "job")]
    task: Option<String>,
}

impl Filter {
    fn wants(&self, object: &Value) -> bool {
        let state = text(object, "state");
        match self.failed_only {
            true => Tone::of_state(state) == Some(Tone::Bad),
            false => self.state.is_empty() || self.state.iter().any(|wanted| wanted == state),
        }
    }

    fn limit(&self) -> Option<usize> {
        self.limit.and_then(|limit| usize::try_from(limit).ok())
    }
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let Some(id) = arguments.job else { return list(arguments, &mut client, &mut output) };
    let shown = if arguments.watch {
        let interrupted = interruption()?;
        let waiting = Waiting { pace: Pace::default(), interrupted: &interrupted };
        watch(id, arguments.print.format, waiting, &mut client, &mut output)
    } else {
        show(id, arguments, &mut client, &mut output)
    };
    match shown {
        Err(Failure::Refused { status: 404, .. }) => {
            note("No job found");
            Ok(EXIT_REFUSED)
        }
        shown => shown,
    }
}

fn watch(
    id: u64,
    format: Format,
    waiting: Waiting<'_>,
    client: &mut Client,
    output: &mut Output,
) -> Result<u8, Failure> {
    let id = id.to_string();
    let job = client.get(&format!("jobs/{id}"))?;
    if format == Format::Text {
        let task = text(&job["options"], "task");
        let what = if task.is_empty() { text(&job, "type") } else { task };
        output.line(format!("Job ID: {id} ({what})\nNodes: {}\n", job["node_count"]));
    }
    let mut progress = Progress::new(output, format, Work::of_job(&job), job["node_count"].as_u64());
    let followed = follow(client, &id, waiting.pace, waiting.interrupted, &mut progress);
    progress.end(&id, followed).map(|ended| exit_code(ended.as_ref()))
}

fn show(id: u64, arguments: &Arguments, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let job = client.get(&format!("jobs/{id}"))?;
    let nodes = client.get(&format!("jobs/{id}/nodes"))?;
    let wanted = items(&nodes).iter().filter(|node| arguments.filter.wants(node));
    let nodes: Vec<Value> = wanted.take(arguments.filter.limit().unwrap_or(usize::MAX)).cloned().collect();
    match arguments.print.format {
        Format::Json => output.json(&ended_job(&job, &nodes)),
        Format::Text => detail(&job, &nodes).into_iter().for_each(|(tone, line)| output.toned(tone, line)),
    }
    Ok(0)
}

fn list(arguments: &Arguments, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let jobs = newest(&arguments.filter, |path| client.get(path))?;
    match arguments.print.format {
        Format::Json => output.json(&json!(jobs)),
        Format::Text if jobs.is_empty() => output.line("There are no jobs."),
        Format::Text => output.table(
            &["ID", "STATE", "TYPE", "NODES", "USER", "STARTED", "DURATION", "TASK"],
            jobs.iter().map(|job| (Tone::of_state(text(job, "state")), row(job))).collect(),
        ),
    }
    Ok(0)
}

/// The newest jobs that are wanted.
fn newest(filter: &Filter, get: impl FnMut(&str) -> Result<Value, Failure>) -> Result<Vec<Value>, Failure> {
    let limit = filter.limit().unwrap_or(LIST_LENGTH);
    let filters_states = filter.failed_only || !filter.state.is_empty();
    let page = if filters_states { CLIENT_JOBS_PAGE } else { limit.min(CLIENT_JOBS_PAGE) };
    let option = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("&{name}={}", encode(value))).unwrap_or_default()
    };
    let options = format!("{}{}", option("type", &filter.kind), option("task", &filter.task));
    listing::newest("jobs", &options, Wanted { limit, page }, |job| filter.wants(job), get)
}

fn row(job: &Value) -> Vec<String> {
    vec![
        text(job, "name").to_owned(),
        text(job, "state").to_owned(),
        text(job, "type").to_owned(),
        job["node_count"].to_string(),
        text(&job["owner"], "login").to_owned(),
        text(job, "started_timestamp").to_owned(),
        taken(job),
        text(&job["options"], "task").to_owned(),
    ]
}

fn detail(job: &Value, nodes: &[Value]) -> Vec<Line> {
    let (options, work) = (&job["options"], Work::of_job(job));
    let on = |key: &str| if options[key] == Value::Bool(true) { "true" } else { "" };
    let concurrency = options["concurrency"].as_u64().map(|n| n.to_string()).unwrap_or_default();
    let (duration, nodes_in_all) = (taken(job), job["node_count"].to_string());
    let fields = [
        ("Status", text(job, "state")),
        ("Job type", text(job, "type")),
        ("Description", text(job, "description")),
        ("Start time", text(job, "started_timestamp")),
        ("Finish time", text(job, "finished_timestamp")),
        ("Duration", &duration),
        ("User", text(&job["owner"], "login")),
        ("Environment", text(options, "environment")),
        ("Noop", on("noop")),
        ("Concurrency", &concurrency),
        ("Nodes", &nodes_in_all),
    ];
    let shown = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let mut lines: Vec<Line> =
        shown.map(|(name, value)| (None, format!("{:<14}{value}", format!("{name}:")))).collect();
    if work == Work::Task {
        lines.push((None, format!("\nTask name: {}", text(options, "task"))));
    }
    if let Some(parameters) = options["params"].as_object().filter(|parameters| !parameters.is_empty()) {
        lines.push((None, "Task parameters:".to_owned()));
        lines.extend(render_parameters(parameters).into_iter().map(|line| (None, line)));
    }
    let states = SECTIONS.iter().copied().chain(other_states(nodes));
    lines.extend(states.flat_map(|state| section(state, work, nodes)));
    lines
}

/// States that are not ours: a newer server's.
fn other_states(nodes: &[Value]) -> BTreeSet<&str> {
    nodes.iter().map(|node| text(node, "state")).filter(|state| !SECTIONS.contains(state)).collect()
}

fn section(state: &str, work: Work, nodes: &[Value]) -> Vec<Line> {
    let of_state: Vec<&Value> = nodes.iter().filter(|node| text(node, "state") == state).collect();
    if of_state.is_empty() {
        return Vec::new();
    }
    let title = if state == "finished" { "SUCCEEDED".to_owned() } else { state.to_uppercase() };
    let tone = Tone::of_state(state);
    let mut lines = vec![
        (None, String::new()),
        (tone, format!("{title} ({}/{})", of_state.len(), nodes.len())),
        (None, "-".repeat(74)),
    ];
    for node in of_state {
        lines.push((None, text(node, "name").to_owned()));
        lines.extend(work.outcome_in_detail(node).into_iter().map(|line| (None, line)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::fake::{Fake, serve};
    use crate::cli::testing::{Page, client};
    use crate::tls::testing::Pki;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Arguments {
        let words = std::iter::once("show").chain(line.split_whitespace());
        Command::try_parse_from(words).unwrap().arguments
    }

    fn job() -> Value {
        json!({
            "name": "81", "state": "failed", "type": "task", "description": "", "duration": "65.0", "node_count": 2,
            "started_timestamp": "2026-03-01T10:15:30Z", "finished_timestamp": "2026-03-01T10:16:35Z",
            "owner": {"login": "ada"},
            "options": {"task": "facter", "environment": "production", "noop": false, "params": {"fact": "osfamily"}},
        })
    }

    #[test]
    fn details_are_grouped_by_outcome() {
        let nodes = [
            json!({"name": "web02", "state": "errored", "details": {"message": "not connected"}}),
            json!({"name": "web01", "state": "finished", "result": {"_output": "RedHat\n"}}),
        ];
        let expected = "\
Status:       failed
Job type:     task
Start time:   2026-03-01T10:15:30Z
Finish time:  2026-03-01T10:16:35Z
Duration:     1 min, 5 sec
User:         ada
Environment:  production
Nodes:        2

Task name: facter
Task parameters:
  fact : osfamily

SUCCEEDED (1/2)
--------------------------------------------------------------------------
web01
    STDOUT:
      RedHat

ERRORED (1/2)
--------------------------------------------------------------------------
web02
    not connected";
        let lines: Vec<String> = detail(&job(), &nodes).into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn states_of_a_newer_server_are_shown_too() {
        let nodes = [json!({"name": "web01", "state": "paused"})];
        let lines = detail(&job(), &nodes);
        assert_eq!(lines.last().unwrap().1, "web01");
        assert!(lines.iter().any(|(_, line)| line == "PAUSED (1/1)"));
    }

    #[test]
    fn jobs_of_a_server() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let mut shown = |line: &str| {
            let (page, arguments) = (Page::default(), parse(line));
            let code = match arguments.job {
                Some(id) => show(id, &arguments, &mut client, &mut page.output()),
                None => list(&arguments, &mut client, &mut page.output()),
            };
            assert_eq!(code.unwrap(), 0);
            page.text()
        };
        let expected = "ID  STATE     TYPE  NODES  USER  STARTED               DURATION  TASK\n82  finished  task  \
                        1      ada   2026-03-01T10:15:30Z  3 sec     package\n";
        assert_eq!(shown(""), expected);
        assert_eq!(shown("--failed-only"), "There are no jobs.\n");
        let text = shown("82");
        assert!(text.contains("SUCCEEDED (1/1)"), "{text}");
        assert!(text.ends_with("web01.example.com\n    status : up to date\n    version : 3.0.7-27.el9\n"), "{text}");
        let json: Value = serde_json::from_str(&shown("82 --format json")).unwrap();
        assert_eq!((&json["job_id"], &json["state"]), (&json!("82"), &json!("finished")));
        assert!(!shown("82 --failed-only").contains("web01.example.com"));
    }

    #[test]
    fn states_are_looked_for_page_by_page() {
        let get = |path: &str| {
            let number = |key: &str| -> usize {
                let option = path.split(['?', '&']).find_map(|option| option.strip_prefix(key));
                option.unwrap().parse().unwrap()
            };
            assert!(path.ends_with("&order_by=name&order=desc&type=deploy"), "{path}");
            let (limit, offset) = (number("limit="), number("offset="));
            let state = |n: usize| if n.is_multiple_of(100) { "failed" } else { "finished" };
            let job = |n: usize| json!({"name": n.to_string(), "state": state(n), "type": "deploy"});
            let jobs: Vec<Value> = (1..=1000).rev().skip(offset).take(limit).map(job).collect();
            Ok(json!({"items": jobs}))
        };
        let numbers = |line: &str| {
            let jobs = newest(&parse(line).filter, get).unwrap();
            jobs.iter().map(|job| text(job, "name").parse().unwrap()).collect::<Vec<u32>>()
        };
        assert_eq!(numbers("--type deploy --state failed,running --limit 4"), [1000, 900, 800, 700]);
        assert_eq!(numbers("--type deploy --failed-only").len(), 10);
        assert_eq!(numbers("--type deploy"), (951..=1000).rev().collect::<Vec<u32>>());
    }

    #[test]
    fn a_job_that_is_over_is_watched_to_its_end_at_once() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let page = Page::default();
        let never = std::sync::atomic::AtomicBool::new(false);
        let waiting = Waiting { pace: Pace::default(), interrupted: &never };
        let code = watch(82, Format::Text, waiting, &mut client, &mut page.output()).unwrap();
        let expected = "Job ID: 82 (package)\nNodes: 1\n\nStarted on web01.example.com ...\nFinished on node \
                        web01.example.com\n  status : up to date\n  version : 3.0.7-27.el9\nJob completed. 1/1 nodes \
                        succeeded.\nDuration: 3 sec\n";
        assert_eq!((code, page.text().as_str()), (0, expected));
    }
}
