//! `podium schedule list` and `podium schedule show`.

use serde_json::Value;

use crate::cli::client::{Client, open};
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::follow::items;
use crate::cli::output::{Failure, Format, Output, PrintFlags, Tone, plain, text};
use crate::cli::results::render_parameters;

/// How many a list has.
const LIST_LENGTH: u32 = 1000;

/// Arguments of `schedule list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Those too that are disabled or have had their last run
    #[arg(long)]
    all: bool,
    /// Only this type: task or deploy (Puppet runs)
    #[arg(long = "type", value_name = "TYPE", value_parser = ["task", "deploy", "plan"])]
    kind: Option<String>,
    /// At most so many [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: Option<u32>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Arguments of `schedule show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// Number of the scheduled job
    #[arg(value_name = "ID")]
    id: u64,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs `schedule list`.
pub(super) fn list(arguments: &ListArguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    print_list(arguments, &mut client, &mut output)
}

/// Runs `schedule show`.
pub(super) fn show(arguments: &ShowArguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    print_one(arguments.id, arguments.print.format, &mut client, &mut output)
}

fn print_list(arguments: &ListArguments, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let kind = arguments.kind.as_ref().map(|kind| format!("&type={kind}")).unwrap_or_default();
    let limit = arguments.limit.unwrap_or(LIST_LENGTH);
    // Those without a next run come last.
    let answer = client.get(&format!("scheduled_jobs/environment_jobs?limit={limit}{kind}"))?;
    let wanted = items(&answer).iter().filter(|job| arguments.all || !job["next_run"].is_null());
    let wanted: Vec<&Value> = wanted.collect();
    match arguments.print.format {
        Format::Json => output.json(&serde_json::json!(wanted)),
        Format::Text if wanted.is_empty() => output.line("Nothing is scheduled."),
        Format::Text => output.table(
            &["ID", "NEXT RUN", "TYPE", "WHAT", "HOW OFTEN", "OWNER", "LAST RUN", "DESCRIPTION"],
            wanted.into_iter().map(|job| (tone(job), row(job))).collect(),
        ),
    }
    Ok(0)
}

/// What could not be started last time is to be seen.
fn tone(job: &Value) -> Option<Tone> {
    job["last_run"]["job"].get("submission_error").map(|_| Tone::Bad)
}

fn row(job: &Value) -> Vec<String> {
    vec![
        text(job, "name").to_owned(),
        next_run(job),
        text(job, "type").to_owned(),
        what(job),
        how_often(&job["schedule"]),
        text(&job["owner"], "login").to_owned(),
        last_run(&job["last_run"]),
        text(job, "description").to_owned(),
    ]
}

fn next_run(job: &Value) -> String {
    match (text(&job["next_run"], "time"), job["enabled"].as_bool()) {
        ("", Some(false)) => "disabled".to_owned(),
        ("", _) => "none".to_owned(),
        (time, _) => time.to_owned(),
    }
}

fn what(job: &Value) -> String {
    match text(&job["input"], "name") {
        "" => "puppet".to_owned(),
        name => name.to_owned(),
    }
}

fn how_often(schedule: &Value) -> String {
    let calendar = &schedule["calendar"];
    if calendar.is_object() {
        let days: Vec<&str> = calendar["days"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let days = if days.len() == 7 { "daily".to_owned() } else { days.join(",") };
        return format!("{days} {} {}", text(calendar, "at"), text(calendar, "zone"));
    }
    let Some(seconds) = schedule["interval"]["value"].as_u64() else { return "once".to_owned() };
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let unit = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    unit.map_or_else(String::new, |(unit, word)| format!("every {}{word}", seconds / unit))
}

fn last_run(last: &Value) -> String {
    let job = &last["job"];
    match (text(last, "time"), job.get("submission_error")) {
        ("", _) => String::new(),
        (_, Some(error)) => format!("not started: {}", text(error, "kind").rsplit('/').next().unwrap_or_default()),
        (_, None) => format!("job {}", text(job, "name")),
    }
}

fn print_one(id: u64, format: Format, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let job = client.get(&format!("scheduled_jobs/environment_jobs/{id}"))?;
    match format {
        Format::Json => output.json(&job),
        Format::Text => detail(&job).iter().for_each(|line| output.line(line)),
    }
    Ok(0)
}

fn detail(job: &Value) -> Vec<String> {
    let (input, last) = (&job["input"], &job["last_run"]);
    let mut lines = Vec::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{:<14}{value}", format!("{name}:")));
        }
    };
    add("Type", text(job, "type").to_owned());
    add("Task", text(input, "name").to_owned());
    add("Description", text(job, "description").to_owned());
    add("Owner", text(&job["owner"], "login").to_owned());
    add("Environment", text(job, "environment").to_owned());
    add("Nodes", plain(&input["scope"]));
    add("Noop", if input["noop"] == Value::Bool(true) { "yes".to_owned() } else { String::new() });
    add("Start time", text(&job["schedule"], "start_time").to_owned());
    add("How often", how_often(&job["schedule"]));
    add("Next run", next_run(job));
    add("Last run", text(last, "time").to_owned());
    let error = &last["job"]["submission_error"];
    match error.is_object() {
        true => add("Not started", format!("{} ({})", text(error, "msg"), text(error, "kind"))),
        false => add("Job", text(&last["job"], "name").to_owned()),
    }
    let sensitive = input["sensitive_parameters"].as_array().into_iter().flatten().filter_map(Value::as_str);
    add("Sensitive", sensitive.collect::<Vec<_>>().join(", "));
    if let Some(parameters) = input["parameters"].as_object().filter(|parameters| !parameters.is_empty()) {
        let values = parameters.iter().map(|(name, wrapped)| (name.clone(), wrapped["value"].clone())).collect();
        lines.push("Parameters:".to_owned());
        lines.extend(render_parameters(&values));
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::api::fake::{Fake, serve};
    use crate::cli::schedule::disable::disable;
    use crate::cli::testing::{Page, client};
    use crate::tls::testing::Pki;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: ListArguments,
    }

    #[test]
    fn schedules_of_a_server() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let calendar = json!({"zone": "UTC", "at": "02:30", "days": ["mon", "fri"]});
        let interval = json!({"units": "seconds", "value": 86_400});
        for schedule in [
            json!({"start_time": "2126-03-02T01:00:00Z", "interval": interval}),
            json!({"start_time": "2126-03-02T01:00:00Z", "calendar": calendar}),
        ] {
            let input = json!({"name": "facter", "parameters": {"fact": {"value": "os"}, "token": {"value": "x"}},
                               "scope": {"nodes": ["a"]}});
            let body = json!({"type": "task", "environment": "production", "description": "d", "userdata": {},
                              "input": input, "schedule": schedule});
            client.post("scheduled_jobs/environment_jobs", &body).unwrap();
        }
        let shown = |line: &str, client: &mut Client| {
            let arguments =
                Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).unwrap().arguments;
            let page = Page::default();
            print_list(&arguments, client, &mut page.output()).unwrap();
            page.text()
        };
        let header = "ID  NEXT RUN              TYPE  WHAT    HOW OFTEN          OWNER  LAST RUN  DESCRIPTION\n";
        let first = "1   2126-03-02T01:00:00Z  task  facter  every 1d           ada              d\n";
        let second = "2   2126-03-04T02:30:00Z  task  facter  mon,fri 02:30 UTC  ada              d\n";
        assert_eq!(shown("", &mut client), format!("{header}{first}{second}"));
        assert_eq!(shown("--type deploy", &mut client), "Nothing is scheduled.\n");
        let page = Page::default();
        assert_eq!(disable(1, Format::Text, &mut client, &mut page.output()).unwrap(), 0);
        assert_eq!(page.text(), "Scheduled job 1 is disabled.\n");
        assert!(!shown("", &mut client).contains("every 1d"));
        assert!(shown("--all", &mut client).contains("1   disabled"));
        let json: Value = serde_json::from_str(&shown("--format json", &mut client)).unwrap();
        assert_eq!((json[0]["name"].as_str(), json.as_array().unwrap().len()), (Some("2"), 1));
        let page = Page::default();
        print_one(2, Format::Text, &mut client, &mut page.output()).unwrap();
        let expected = "\
Type:         task
Task:         facter
Description:  d
Owner:        ada
Environment:  production
Nodes:        {\"nodes\":[\"a\"]}
Start time:   2126-03-02T01:00:00Z
How often:    mon,fri 02:30 UTC
Next run:     2126-03-04T02:30:00Z
Sensitive:    token
Parameters:
  fact : os
";
        assert_eq!(page.text(), expected);
        assert!(print_one(9, Format::Text, &mut client, &mut page.output()).is_err());
    }

    #[test]
    fn what_came_of_the_last_run() {
        let error = json!({"kind": "puppetlabs.orchestrator/unknown-task", "msg": "Unknown task x"});
        let failed = json!({"time": "2026-03-02T01:00:00Z", "job": {"name": "1", "submission_error": error}});
        assert_eq!(last_run(&failed), "not started: unknown-task");
        assert_eq!(tone(&json!({"last_run": failed})), Some(Tone::Bad));
        let lines = detail(&json!({"last_run": failed})).join("\n");
        assert!(lines.contains("Not started:  Unknown task x (puppetlabs.orchestrator/unknown-task)"), "{lines}");
        assert_eq!(last_run(&json!({"time": "2026-03-02T01:00:00Z", "job": {"name": "81"}})), "job 81");
        assert_eq!(
            (how_often(&json!({})), how_often(&json!({"interval": {"value": 90}}))),
            ("once".into(), "every 90s".into())
        );
    }
}
