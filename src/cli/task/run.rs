//! `podium task run`: starts a job, shows results as they come, and tells by its exit code whether all went well.

use std::sync::atomic::AtomicBool;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::values;
use crate::cli::client::{Client, is_passing};
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::follow::{Ended, Observer, Pace, follow, interruption, items};
use crate::cli::output::{EXIT_FAILED, Failure, Format, Output, duration, note, render_result, text};

/// Arguments of `task run`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("targets").required(true).args(["nodes", "all"]))]
pub(super) struct Arguments {
    /// The task: module or module::name
    task: String,
    /// Parameters; integers, floats, booleans, JSON arrays and objects are recognised. Other users of this host can read
    /// them in the list of processes: give secrets with --params @FILE
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Nodes, separated by commas, or @FILE with one per line
    #[arg(short, long, value_name = "NODES")]
    nodes: Option<String>,
    /// Every node that is connected
    #[arg(long)]
    all: bool,
    /// All parameters as one JSON object, or @FILE with it; @- reads standard input
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// Only show what would be done; the task must support it
    #[arg(long)]
    noop: bool,
    /// Environment of the task
    #[arg(short, long, value_name = "NAME")]
    environment: Option<String>,
    /// For lists of jobs
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<u8, Failure> {
    // What was typed is checked before anything is asked of the server; once, as standard input can be read once.
    let parameters = values::parameters(&arguments.parameters, arguments.params.as_deref())?;
    let mut client = Client::from_flags(&arguments.connection)?;
    let interrupted = interruption()?;
    run_with(arguments, parameters, &mut client, Pace::default(), &interrupted, output)
}

fn run_with(
    arguments: &Arguments,
    parameters: Map<String, Value>,
    client: &mut Client,
    pace: Pace,
    interrupted: &AtomicBool,
    output: &mut Output,
) -> Result<u8, Failure> {
    let command = command(arguments, parameters, client)?;
    let node_count = command["scope"]["nodes"].as_array().map_or(0, Vec::len);
    let is_text = arguments.format == Format::Text;
    if is_text {
        output.line("Starting job ...");
    }
    let answer = client.post("command/task", &command).inspect_err(|failure| {
        if is_passing(failure) {
            note("It is not known whether the job was started. Before trying again, see: podium job show");
        }
    })?;
    let id = text(&answer["job"], "name").to_owned();
    if id.is_empty() {
        return Err(Failure::Other(format!("the server took the job but gave it no number: {answer}")));
    }
    if is_text {
        output.line(format!("New job ID: {id}\nNodes: {node_count}\n"));
    }
    let mut observer = Progress::new(output, is_text, node_count);
    let followed = follow(client, &id, pace, interrupted, &mut observer);
    observer.bar.finish_and_clear();
    match followed {
        Ok(Some(ended)) => {
            match arguments.format {
                Format::Text => summary(&ended).iter().for_each(|line| output.line(line)),
                Format::Json => output.json(&result(&id, &ended)),
            }
            Ok(if ended.is_success() { 0 } else { EXIT_FAILED })
        }
        Ok(None) => {
            note(&format!("Job {id} keeps running. See how it stands with: podium job show {id}"));
            Ok(EXIT_FAILED)
        }
        Err(failure) => {
            note(&format!("Job {id} keeps running. See how it stands with: podium job show {id}"));
            Err(failure)
        }
    }
}

/// The body of `POST /command/task`.
fn command(arguments: &Arguments, parameters: Map<String, Value>, client: &mut Client) -> Result<Value, Failure> {
    let nodes = match &arguments.nodes {
        Some(nodes) => values::nodes(nodes)?,
        None => connected_nodes(client)?,
    };
    let mut command = json!({
        "task": arguments.task,
        "params": parameters,
        "scope": {"nodes": nodes},
        "noop": arguments.noop || client.settings.noop,
    });
    if let Some(environment) = arguments.environment.as_ref().or(client.settings.environment.as_ref()) {
        command["environment"] = json!(environment);
    }
    if let Some(description) = &arguments.description {
        command["description"] = json!(description);
    }
    Ok(command)
}

fn connected_nodes(client: &mut Client) -> Result<Vec<String>, Failure> {
    let inventory = client.get("inventory")?;
    let connected = items(&inventory).iter().filter(|node| node["connected"] == Value::Bool(true));
    let names: Vec<String> = connected.map(|node| text(node, "name").to_owned()).collect();
    if names.is_empty() {
        return Err(Failure::Other("--all: no node is connected; see: podium inventory".to_owned()));
    }
    Ok(names)
}

/// Prints what happens, with a bar on standard error if that is a terminal.
struct Progress<'a> {
    output: &'a mut Output,
    is_text: bool,
    bar: ProgressBar,
}

impl<'a> Progress<'a> {
    fn new(output: &'a mut Output, is_text: bool, node_count: usize) -> Self {
        let bar = ProgressBar::new(node_count as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} nodes, {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { output, is_text, bar }
    }
}

impl Observer for Progress<'_> {
    fn started(&mut self, node: &str) {
        if self.is_text {
            self.bar.suspend(|| self.output.line(format!("Started on {node} ...")));
        }
    }

    fn ended(&mut self, node: &Value) {
        self.bar.inc(1);
        if self.is_text {
            self.bar.suspend(|| node_lines(node).iter().for_each(|line| self.output.line(line)));
        }
    }

    fn progress(&mut self, job: &Value) {
        let running = job["node_states"]["running"].as_u64().unwrap_or(0);
        self.bar.set_message(format!("{running} running"));
    }

    fn notice(&mut self, text: &str) {
        self.bar.suspend(|| note(text));
    }
}

/// A node that has ended, with its result.
pub(in crate::cli) fn node_lines(node: &Value) -> Vec<String> {
    let name = text(node, "name");
    let headline = match text(node, "state") {
        "finished" => format!("Finished on node {name}"),
        "failed" => format!("Failed on node {name}"),
        "errored" => format!("Could not run on node {name}"),
        state => format!("{state} on node {name}"),
    };
    let mut lines = vec![headline];
    match node.get("result") {
        Some(result) => lines.extend(render_result(result)),
        None => {
            let message = text(&node["details"], "message");
            lines.extend((!message.is_empty()).then(|| format!("  {message}")));
        }
    }
    lines
}

fn summary(ended: &Ended) -> Vec<String> {
    let count = |states: &[&str]| ended.nodes.iter().filter(|node| states.contains(&text(node, "state"))).count();
    let all = ended.nodes.len();
    let succeeded = count(&["finished"]);
    let skipped = count(&["skipped"]);
    let nodes = |number: usize| if number == 1 { "1 node".to_owned() } else { format!("{number} nodes") };
    let outcome = if ended.is_success() {
        format!("Job completed. {succeeded}/{all} nodes succeeded.")
    } else {
        let failed = all - succeeded - skipped;
        format!("Job failed. {} failed, {} skipped, {} succeeded.", nodes(failed), nodes(skipped), nodes(succeeded))
    };
    vec![outcome, format!("Duration: {}", duration(job_seconds(&ended.job)))]
}

/// How long a job took, in whole seconds; servers write the number as text.
pub(in crate::cli) fn job_seconds(job: &Value) -> u64 {
    let seconds = match &job["duration"] {
        Value::String(text) => text.parse().unwrap_or(0.0),
        other => other.as_f64().unwrap_or(0.0),
    };
    // Bounded on both sides, so that nothing is cut off.
    seconds.clamp(0.0, 1e12).round() as u64
}

/// The one JSON object of `--format json`.
fn result(id: &str, ended: &Ended) -> Value {
    json!({
        "job_id": id,
        "state": ended.job["state"],
        "options": ended.job["options"],
        "items": ended.nodes,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::api::fake::{BROKEN_NODE, Fake, serve, setup};
    use crate::api::{Server, Setup};
    use crate::cli::testing::{Page, client};
    use crate::tls::testing::Pki;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.arguments)
    }

    const POLL: Duration = Duration::from_millis(5);
    const QUICK: Pace = Pace { first: POLL, poll: POLL, retry_for: Duration::from_secs(20) };

    fn run_line(line: &str) -> (Result<u8, Failure>, String) {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let page = Page::default();
        let mut output = page.output();
        let arguments = parse(line).unwrap();
        let outcome = values::parameters(&arguments.parameters, arguments.params.as_deref()).and_then(|parameters| {
            run_with(&arguments, parameters, &mut client, QUICK, &AtomicBool::new(false), &mut output)
        });
        (outcome, page.text())
    }

    #[test]
    fn a_job_that_goes_well() {
        let (outcome, text) = run_line("facter fact=osfamily -n web01.example.com,web02.example.com");
        assert_eq!(outcome.unwrap(), 0);
        let expected = "Starting job ...\nNew job ID: 83\nNodes: 2\n\nStarted on web01.example.com ...\nStarted on \
                        web02.example.com ...\nFinished on node web01.example.com\n  STDOUT:\n    RedHat\nFinished on \
                        node web02.example.com\n  STDOUT:\n    RedHat\nJob completed. 2/2 nodes succeeded.\nDuration: \
                        5 sec\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_job_that_fails_on_a_node() {
        let (outcome, text) = run_line(&format!("facter --nodes {BROKEN_NODE}"));
        assert_eq!(outcome.unwrap(), EXIT_FAILED);
        let expected = "Failed on node broken.example.com\n  STDOUT:\n    half\n  ERROR:\n    exit code 1 \
                        (puppetlabs.tasks/task-error)\nJob failed. 1 node failed, 0 nodes skipped, 0 nodes \
                        succeeded.\nDuration: 5 sec\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn all_is_every_connected_node_and_json_is_one_object() {
        let (outcome, text) = run_line("facter --all --format json --params {\"fact\":\"os\"}");
        assert_eq!(outcome.unwrap(), 0);
        let shown: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&shown["job_id"], &shown["state"]), (&json!("83"), &json!("finished")));
        assert_eq!(shown["options"]["scope"], json!({"nodes": ["web01.example.com"]}));
        assert_eq!(shown["items"][0]["result"], json!({"_output": "RedHat\n"}));
    }

    #[test]
    fn refusals_tell_the_kind() {
        let (outcome, _) = run_line("nosuch -n web01");
        let failure = outcome.unwrap_err();
        assert_eq!(failure.exit_code(), EXIT_FAILED);
        assert_eq!(failure.to_string(), "Unknown task nosuch (puppetlabs.orchestrator/unknown-task, status 404)");
    }

    #[test]
    fn an_operator_who_will_not_wait_leaves_the_job_running() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let mut output = Page::default().output();
        let arguments = parse("facter -n web01.example.com").unwrap();
        let outcome = run_with(&arguments, Map::new(), &mut client, QUICK, &AtomicBool::new(true), &mut output);
        assert_eq!(outcome.unwrap(), EXIT_FAILED);
    }

    /// Follows a job across a restart of the server: stops it at the first start of a node, brings it back at the
    /// notice that it is gone.
    struct Restarting {
        server: Option<Server>,
        again: Setup,
        notices: Vec<String>,
        ended: usize,
    }

    impl Observer for Restarting {
        fn started(&mut self, _: &str) {
            self.server.take().unwrap().stop(Duration::ZERO);
        }

        fn ended(&mut self, _: &Value) {
            self.ended += 1;
        }

        fn progress(&mut self, _: &Value) {}

        fn notice(&mut self, text: &str) {
            self.notices.push(text.to_owned());
            if self.server.is_none() {
                self.server = Some(Server::start(&self.again).unwrap());
            }
        }
    }

    #[test]
    fn a_restart_of_the_server_is_waited_for() {
        let pki = Pki::new("ca");
        let fake = Fake::new();
        let server = serve(fake.clone(), &pki);
        let address = server.local_addr();
        let mut client = client(&pki, address.port());
        let command = json!({"task": "facter", "params": {}, "scope": {"nodes": ["web01.example.com"]}});
        client.post("command/task", &command).unwrap();
        let again = Setup { listen: address.into(), ..setup(fake, &pki) };
        let mut observer = Restarting { server: Some(server), again, notices: Vec::new(), ended: 0 };
        let ended = follow(&mut client, "83", QUICK, &AtomicBool::new(false), &mut observer).unwrap().unwrap();
        assert!(ended.is_success());
        assert_eq!(observer.ended, 1);
        assert!(observer.notices[0].contains("The job goes on; trying again for 20 sec."), "{:?}", observer.notices);
    }

    #[test]
    fn wrong_usage() {
        for line in ["", "facter", "facter --nodes a --all", "facter --all --format xml", "facter --nodes"] {
            assert_eq!(parse(line).map(|_| ()).unwrap_err().exit_code(), 2, "{line}");
        }
        let (outcome, _) = run_line("facter --all a=1 --params {}");
        assert_eq!(outcome.unwrap_err().exit_code(), 2);
    }
}
