//! `podium job stop`: no further node starts; with `--force`, those that run are ended.

use serde_json::{Value, json};

use crate::cli::client::open;
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::output::{Failure, Format, PrintFlags};

/// The states that an answer counts nodes by, in the order of a node's life.
const STATES: [&str; 9] =
    ["new", "ready", "running", "stopping", "stopped", "finished", "failed", "errored", "skipped"];

/// Arguments of `job stop`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Number of the job
    #[arg(value_name = "ID")]
    job: u64,
    /// End what runs on the nodes too; without it, nodes that have started finish
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let mut request = json!({"job": arguments.job.to_string()});
    if arguments.force {
        request["force"] = json!(true);
    }
    let answer = client.post("command/stop", &request)?;
    match arguments.print.format {
        Format::Json => output.json(&answer),
        Format::Text => render(&answer["job"], arguments).iter().for_each(|line| output.line(line)),
    }
    Ok(0)
}

fn render(job: &Value, arguments: &Arguments) -> Vec<String> {
    let id = arguments.job;
    let count = |state: &str| job["nodes"][state].as_u64().unwrap_or(0);
    let counts: Vec<String> = STATES
        .iter()
        .map(|state| (state, count(state)))
        .filter(|(_, n)| *n > 0)
        .map(|(s, n)| format!("{n} {s}"))
        .collect();
    let mut lines = vec![format!("Stop of job {id} accepted.")];
    if !counts.is_empty() {
        lines.push(format!("Nodes: {}", counts.join(", ")));
    }
    if count("running") > 0 {
        lines.push(match arguments.force {
            true => format!("Those that run are told to end. See what they say: podium job show {id} --watch"),
            false => format!("Those that run go on to their end. To end them now: podium job stop {id} --force"),
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_said() {
        let arguments =
            |force| Arguments { job: 81, force, print: PrintFlags::default(), connection: ConnectionFlags::default() };
        let job = json!({"nodes": {"new": 5, "running": 8, "failed": 0, "finished": 5}});
        let said = [
            "Stop of job 81 accepted.",
            "Nodes: 5 new, 8 running, 5 finished",
            "Those that run go on to their end. To end them now: podium job stop 81 --force",
        ];
        assert_eq!(render(&job, &arguments(false)), said);
        assert!(render(&job, &arguments(true))[2].ends_with("podium job show 81 --watch"));
        // A server may leave out what it has not.
        assert_eq!(render(&json!({}), &arguments(false)), said[..1]);
    }
}
