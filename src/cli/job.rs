//! `podium job`: shows jobs, in the grammar of `puppet job show`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::Client;
use super::client_settings::ConnectionFlags;
use super::follow::items;
use super::output::{
    EXIT_FAILED, Failure, Format, Output, duration, finish, note, render_parameters, render_result, table, text,
};
use super::task::job_seconds;

/// How many jobs a list has.
const LIST_LENGTH: u32 = 50;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Shows the newest jobs, or one with its nodes
    #[command(alias = "list")]
    Show(ShowArguments),
}

#[derive(Debug, clap::Args)]
struct ShowArguments {
    /// Number of the job; the newest jobs if left out
    #[arg(value_name = "ID")]
    job: Option<u64>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let Command::Show(arguments) = &arguments.command;
    let client = Client::from_flags(&arguments.connection);
    finish(client.and_then(|mut client| show(arguments, &mut client, &mut Output::stdout())))
}

fn show(arguments: &ShowArguments, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let Some(id) = arguments.job else {
        let answer = client.get(&format!("jobs?limit={LIST_LENGTH}&order_by=name&order=desc"))?;
        match arguments.format {
            Format::Json => output.json(&answer["items"]),
            Format::Text => output.line(list(&answer)),
        }
        return Ok(0);
    };
    let job = match client.get(&format!("jobs/{id}")) {
        Err(Failure::Refused { status: 404, .. }) => {
            note("No job found");
            return Ok(EXIT_FAILED);
        }
        job => job?,
    };
    let nodes = client.get(&format!("jobs/{id}/nodes"))?;
    match arguments.format {
        Format::Json => output.json(&json!({
            "job_id": job["name"],
            "state": job["state"],
            "options": job["options"],
            "items": nodes["items"],
        })),
        Format::Text => output.line(detail(&job, items(&nodes))),
    }
    Ok(0)
}

fn list(answer: &Value) -> String {
    let row = |job: &Value| {
        vec![
            text(job, "name").to_owned(),
            text(job, "state").to_owned(),
            text(job, "type").to_owned(),
            text(&job["options"], "task").to_owned(),
            job["node_count"].to_string(),
            text(&job["owner"], "login").to_owned(),
            text(job, "started_timestamp").to_owned(),
            job["duration"].as_str().map(|_| duration(job_seconds(job))).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = items(answer).iter().map(row).collect();
    if rows.is_empty() {
        return "There are no jobs.".to_owned();
    }
    table(&["ID", "STATE", "TYPE", "TASK", "NODES", "USER", "STARTED", "DURATION"], rows)
}

fn detail(job: &Value, nodes: &[Value]) -> String {
    let options = &job["options"];
    let mut lines = Vec::new();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{:<14}{value}", format!("{name}:")));
        }
    };
    field("Status", text(job, "state").to_owned());
    field("Job type", text(job, "type").to_owned());
    field("Description", text(job, "description").to_owned());
    field("Start time", text(job, "started_timestamp").to_owned());
    field("Finish time", text(job, "finished_timestamp").to_owned());
    field("Duration", job["duration"].as_str().map(|_| duration(job_seconds(job))).unwrap_or_default());
    field("User", text(&job["owner"], "login").to_owned());
    field("Environment", text(options, "environment").to_owned());
    field("Noop", if options["noop"] == Value::Bool(true) { "true".to_owned() } else { String::new() });
    field("Nodes", job["node_count"].to_string());
    lines.extend([String::new(), format!("Task name: {}", text(options, "task"))]);
    if let Some(parameters) = options["params"].as_object().filter(|parameters| !parameters.is_empty()) {
        lines.push("Task parameters:".to_owned());
        lines.extend(render_parameters(parameters));
    }
    for state in ["finished", "failed", "errored", "skipped", "stopped", "running", "ready", "new"] {
        lines.extend(section(state, nodes));
    }
    lines.join("\n")
}

fn section(state: &str, nodes: &[Value]) -> Vec<String> {
    let of_state: Vec<&Value> = nodes.iter().filter(|node| text(node, "state") == state).collect();
    if of_state.is_empty() {
        return Vec::new();
    }
    let title = if state == "finished" { "SUCCEEDED".to_owned() } else { state.to_uppercase() };
    let mut lines = vec![String::new(), format!("{title} ({}/{})", of_state.len(), nodes.len()), "-".repeat(74)];
    for node in of_state {
        lines.push(text(node, "name").to_owned());
        match node.get("result") {
            Some(result) => lines.extend(render_result(result).iter().map(|line| format!("  {line}"))),
            None => {
                let message = text(&node["details"], "message");
                lines.extend((!message.is_empty()).then(|| format!("    {message}")));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake::{Fake, serve};
    use crate::cli::testing::{Page, client};
    use crate::tls::testing::Pki;

    fn job() -> Value {
        json!({
            "name": "81", "state": "failed", "type": "task", "description": "", "duration": "65.0", "node_count": 2,
            "started_timestamp": "2026-03-01T10:15:30Z", "finished_timestamp": "2026-03-01T10:16:35Z",
            "owner": {"login": "ada"},
            "options": {"task": "facter", "environment": "production", "noop": false, "params": {"fact": "osfamily"}},
        })
    }

    #[test]
    fn lists_are_tables() {
        let expected = "ID  STATE   TYPE  TASK    NODES  USER  STARTED               DURATION\n81  failed  task  \
                        facter  2      ada   2026-03-01T10:15:30Z  1 min, 5 sec";
        assert_eq!(list(&json!({"items": [job()]})), expected);
        assert_eq!(list(&json!({"items": []})), "There are no jobs.");
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
        assert_eq!(detail(&job(), &nodes), expected);
    }

    #[test]
    fn jobs_of_a_server() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let mut shown = |job, format| {
            let page = Page::default();
            let arguments = ShowArguments { job, format, connection: ConnectionFlags::default() };
            (show(&arguments, &mut client, &mut page.output()).unwrap(), page.text())
        };
        let (code, text) = shown(None, Format::Text);
        assert_eq!(code, 0);
        let row = "82  finished  task  package  1      ada   2026-03-01T10:15:30Z  3 sec\n";
        assert!(text.ends_with(row), "{text}");
        let (_, text) = shown(Some(82), Format::Text);
        assert!(text.contains("SUCCEEDED (1/1)"), "{text}");
        assert!(text.ends_with("web01.example.com\n    status : up to date\n    version : 3.0.7-27.el9\n"), "{text}");
        let (_, text) = shown(Some(82), Format::Json);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["job_id"], &json["state"]), (&json!("82"), &json!("finished")));
        assert_eq!(shown(Some(4711), Format::Text), (EXIT_FAILED, String::new()));
    }
}
