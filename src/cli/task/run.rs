//! `podium task run`: starts a job, shows results as they come, and tells by its exit code whether all went well.

use serde_json::{Map, Value, json};

use crate::cli::client::{Client, open};
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::command::{CommonFlags, Noop, NoopFlags, Target, TargetFlags};
use crate::cli::follow::{Pace, interruption};
use crate::cli::launch::{Launch, Waiting};
use crate::cli::output::{Failure, Output, PrintFlags};
use crate::cli::results::Work;
use crate::cli::values::Input;

/// Arguments of `task run`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The task: module or module::name
    task: String,
    /// Parameters; integers, floats, booleans, JSON arrays and objects are recognised. Other users of this host can read
    /// them in the list of processes: give secrets with --params @FILE
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    #[command(flatten)]
    targets: TargetFlags,
    /// All parameters as one JSON object, or @FILE with it; - reads standard input
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    #[command(flatten)]
    noop: NoopFlags,
    /// Environment of the task [default: that of the configuration, or production]
    #[arg(short, long, alias = "env", value_name = "NAME")]
    environment: Option<String>,
    /// At most so many nodes at once [default: as many as the server allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: Option<u64>,
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// What was typed, read once.
struct Typed {
    target: Target,
    parameters: Map<String, Value>,
    common: Value,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let typed = Typed::read(arguments)?;
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let interrupted = interruption()?;
    let waiting = Waiting { pace: Pace::default(), interrupted: &interrupted };
    run_with(arguments, typed, &mut client, waiting, &mut output)
}

impl Typed {
    fn read(arguments: &Arguments) -> Result<Self, Failure> {
        let mut input = Input::default();
        let target = arguments.targets.read(&mut input)?;
        let parameters = input.parameters(&arguments.parameters, arguments.params.as_deref())?;
        let mut common = json!({});
        arguments.common.add_to(&mut common, &mut input)?;
        Ok(Self { target, parameters, common })
    }
}

fn run_with(
    arguments: &Arguments,
    typed: Typed,
    client: &mut Client,
    waiting: Waiting<'_>,
    output: &mut Output,
) -> Result<u8, Failure> {
    let launch = Launch {
        work: Work::Task,
        request: request(arguments, typed, client)?,
        format: arguments.print.format,
        background: arguments.common.background,
    };
    launch.start(client, waiting, output)
}

/// The body of `POST /command/task`.
fn request(arguments: &Arguments, typed: Typed, client: &mut Client) -> Result<Value, Failure> {
    let mut request = typed.common;
    request["task"] = json!(arguments.task);
    request["params"] = Value::Object(typed.parameters);
    request["noop"] = json!(arguments.noop.choose(client.settings.noop) == Noop::On);
    if let Some(environment) = arguments.environment.as_ref().or(client.settings.environment.as_ref()) {
        request["environment"] = json!(environment);
    }
    if let Some(concurrency) = arguments.concurrency {
        request["concurrency"] = json!(concurrency);
    }
    request["scope"] = typed.target.scope(client)?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::api::fake::{BROKEN_NODE, Fake, serve, setup};
    use crate::api::{Server, Setup};
    use crate::cli::follow::{Observer, follow};
    use crate::cli::output::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED};
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
        let never = AtomicBool::new(false);
        let waiting = Waiting { pace: QUICK, interrupted: &never };
        let typed = Typed::read(&arguments);
        let outcome = typed.and_then(|typed| run_with(&arguments, typed, &mut client, waiting, &mut output));
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
        assert_eq!(failure.precise_exit_code(), EXIT_REFUSED);
        assert_eq!(failure.to_string(), "Unknown task nosuch (puppetlabs.orchestrator/unknown-task, status 404)");
    }

    #[test]
    fn an_operator_who_will_not_wait_leaves_the_job_running() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let mut output = Page::default().output();
        let arguments = parse("facter -n web01.example.com").unwrap();
        let at_once = AtomicBool::new(true);
        let waiting = Waiting { pace: QUICK, interrupted: &at_once };
        let typed = Typed::read(&arguments).unwrap();
        let outcome = run_with(&arguments, typed, &mut client, waiting, &mut output);
        assert_eq!(outcome.unwrap(), EXIT_INTERRUPTED);
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
        assert_eq!(outcome.unwrap_err().precise_exit_code(), 2);
    }

    #[test]
    fn every_option_has_its_key() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        client.settings.environment = Some("qa".into());
        client.settings.noop = true;
        let mut request = |line: &str| {
            let arguments = parse(line).unwrap();
            request(&arguments, Typed::read(&arguments).unwrap(), &mut client).unwrap()
        };
        let least =
            json!({"task": "a::b", "params": {}, "noop": true, "environment": "qa", "scope": {"node_group": "7a"}});
        assert_eq!(request("a::b --node-group 7a"), least);
        let line = "a::b x=1 -q nodes{} --no-noop --env dev --concurrency 5 --description d --userdata {} --timeout 9";
        let all = json!({
            "task": "a::b", "params": {"x": 1}, "noop": false, "environment": "dev", "scope": {"query": "nodes{}"},
            "concurrency": 5, "description": "d", "userdata": {}, "timeout": 9,
        });
        assert_eq!(request(line), all);
    }
}
