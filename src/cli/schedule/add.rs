//! `podium schedule task` and `podium schedule deploy`: the flags of `task run` and `job run`, and when.

use serde_json::{Value, json};

use super::when::WhenFlags;
use crate::cli::client::{Client, open};
use crate::cli::client_settings::{ClientSettings, ConnectionFlags};
use crate::cli::command::{Noop, NoopFlags, RemarkFlags, TargetFlags};
use crate::cli::job::run::AgentFlags;
use crate::cli::output::{Failure, Format, Output, PrintFlags, text};
use crate::cli::values::Input;

/// Arguments of `schedule task`.
#[derive(Debug, clap::Args)]
pub(super) struct TaskArguments {
    /// The task: module or module::name
    task: String,
    /// Parameters; integers, floats, booleans, JSON arrays and objects are recognised. Other users of this host can read
    /// them in the list of processes: give secrets with --params @FILE
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// All parameters as one JSON object, or @FILE with it; - reads standard input
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    #[command(flatten)]
    job: JobFlags,
}

/// Arguments of `schedule deploy`.
#[derive(Debug, clap::Args)]
pub(super) struct DeployArguments {
    /// Let each node run in the environment that the classifier or its own configuration says
    #[arg(long)]
    no_enforce_environment: bool,
    #[command(flatten)]
    job: JobFlags,
    #[command(flatten)]
    agent: AgentFlags,
}

/// What both have.
#[derive(Debug, clap::Args)]
struct JobFlags {
    #[command(flatten)]
    targets: TargetFlags,
    #[command(flatten)]
    noop: NoopFlags,
    /// Environment [default: that of the configuration; else for tasks production, for Puppet runs each node's own]
    #[arg(short, long, alias = "env", value_name = "NAME")]
    environment: Option<String>,
    /// At most so many nodes at once [default: as many as the server allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: Option<u64>,
    #[command(flatten)]
    remarks: RemarkFlags,
    #[command(flatten)]
    when: WhenFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs `schedule task`.
pub(super) fn task(arguments: &TaskArguments) -> Result<u8, Failure> {
    let mut input = Input::default();
    let request = task_request(arguments, &mut input)?;
    arguments.job.start(input, request, |_, _| {})
}

/// Runs `schedule deploy`.
pub(super) fn deploy(arguments: &DeployArguments) -> Result<u8, Failure> {
    arguments.job.start(Input::default(), deploy_request(arguments), |request, settings| {
        own_environment(arguments, request, settings);
    })
}

fn task_request(arguments: &TaskArguments, input: &mut Input) -> Result<Value, Failure> {
    let parameters = input.parameters(&arguments.parameters, arguments.params.as_deref())?;
    let wrapped: serde_json::Map<String, Value> =
        parameters.into_iter().map(|(name, value)| (name, json!({"value": value}))).collect();
    Ok(json!({"type": "task", "environment": "production", "input": {"name": arguments.task, "parameters": wrapped}}))
}

fn deploy_request(arguments: &DeployArguments) -> Value {
    let mut request = json!({"type": "deploy", "environment": "", "input": {}});
    if let Value::Object(input) = &mut request["input"] {
        arguments.agent.add_to(input);
    }
    request
}

/// Without an environment, each node runs in its own; and puppet's flag for a run in earnest is one of its own.
fn own_environment(arguments: &DeployArguments, request: &mut Value, settings: &ClientSettings) {
    if arguments.no_enforce_environment || text(request, "environment").is_empty() {
        request["input"]["enforce_environment"] = json!(false);
    }
    if arguments.job.noop.choose(settings.noop) == Noop::Off {
        request["input"]["no_noop"] = json!(true);
    }
}

impl JobFlags {
    /// Adds what both have, and asks for it.
    fn start(
        &self,
        mut input: Input,
        mut request: Value,
        complete: impl FnOnce(&mut Value, &ClientSettings),
    ) -> Result<u8, Failure> {
        let target = self.targets.read(&mut input)?;
        self.add_to(&mut request, &mut input)?;
        let (mut client, mut output) = open(&self.connection, &self.print)?;
        request["input"]["scope"] = target.scope(&mut client)?;
        self.add_settings(&mut request, &client.settings);
        complete(&mut request, &client.settings);
        create(&request, self.print.format, &mut client, &mut output)
    }

    fn add_to(&self, request: &mut Value, input: &mut Input) -> Result<(), Failure> {
        request["schedule"] = self.when.schedule()?;
        (request["description"], request["userdata"]) = (json!(""), json!({}));
        self.remarks.add_to(request, input)?;
        // Of a schedule it belongs to what is done.
        if let Some(timeout) = request.as_object_mut().and_then(|request| request.remove("timeout")) {
            request["input"]["timeout"] = timeout;
        }
        if let Some(concurrency) = self.concurrency {
            request["input"]["concurrency"] = json!(concurrency);
        }
        Ok(())
    }

    fn add_settings(&self, request: &mut Value, settings: &ClientSettings) {
        if let Some(environment) = self.environment.as_ref().or(settings.environment.as_ref()) {
            request["environment"] = json!(environment);
        }
        if self.noop.choose(settings.noop) == Noop::On {
            request["input"]["noop"] = json!(true);
        }
    }
}

fn create(request: &Value, format: Format, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let answer = client.post("scheduled_jobs/environment_jobs", request)?;
    let id = text(&answer["scheduled_job"], "name").to_owned();
    match format {
        Format::Json => output.json(&json!({"scheduled_job_id": id})),
        Format::Text => {
            output.line(format!("Scheduled job {id}."));
            let shown = client.get(&format!("scheduled_jobs/environment_jobs/{id}"));
            // It is there, even if its owner may not look at it.
            if let Ok(shown) = shown {
                output.line(format!("Next run: {}", text(&shown["next_run"], "time")));
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::fake::{Fake, serve};
    use crate::cli::testing::{Page, client, settings_for};
    use crate::tls::testing::Pki;

    #[derive(clap::Parser)]
    struct TaskLine {
        #[command(flatten)]
        arguments: TaskArguments,
    }

    #[derive(clap::Parser)]
    struct DeployLine {
        #[command(flatten)]
        arguments: DeployArguments,
    }

    fn words(line: &str) -> impl Iterator<Item = &str> {
        std::iter::once("x").chain(line.split_whitespace())
    }

    fn task_of(line: &str, settings: &ClientSettings) -> Value {
        let arguments = TaskLine::try_parse_from(words(line)).unwrap().arguments;
        let mut input = Input::default();
        let mut request = task_request(&arguments, &mut input).unwrap();
        arguments.job.add_to(&mut request, &mut input).unwrap();
        arguments.job.add_settings(&mut request, settings);
        request
    }

    fn deploy_of(line: &str, settings: &ClientSettings) -> Value {
        let arguments = DeployLine::try_parse_from(words(line)).unwrap().arguments;
        let mut request = deploy_request(&arguments);
        arguments.job.add_to(&mut request, &mut Input::default()).unwrap();
        arguments.job.add_settings(&mut request, settings);
        own_environment(&arguments, &mut request, settings);
        request
    }

    #[test]
    fn every_option_has_its_key() {
        let line = "package action=status retries=3 -n a --start 2026-03-02T01:00:00Z --every 12h -e qa --noop --timeout 60 \
                    --concurrency 5 --description d --userdata {\"t\":1}";
        let expected = json!({
            "type": "task", "environment": "qa", "description": "d", "userdata": {"t": 1},
            "input": {"name": "package", "parameters": {"action": {"value": "status"}, "retries": {"value": 3}},
                      "noop": true, "timeout": 60, "concurrency": 5},
            "schedule": {"start_time": "2026-03-02T01:00:00Z", "interval": {"units": "seconds", "value": 43200}},
        });
        assert_eq!(task_of(line, &settings_for(None, false)), expected);
        let least = json!({
            "type": "task", "environment": "production", "description": "", "userdata": {},
            "input": {"name": "package", "parameters": {}}, "schedule": {"calendar": {"zone": "UTC", "at": "02:30"}},
        });
        assert_eq!(task_of("package -n a --at 02:30 --zone UTC", &settings_for(None, false)), least);
    }

    #[test]
    fn puppet_runs_too() {
        let expected = json!({
            "type": "deploy", "environment": "qa", "description": "", "userdata": {},
            "input": {"tags": "web", "no_noop": true}, "schedule": {"start_time": "2026-03-02T01:00:00Z"},
        });
        let line = "-n a --start 2026-03-02T01:00:00Z --tags web --no-noop";
        assert_eq!(deploy_of(line, &settings_for(Some("qa"), true)), expected);
        let own = deploy_of("-n a --start 2026-03-02T01:00:00Z", &settings_for(None, true));
        assert_eq!(own["input"], json!({"enforce_environment": false, "noop": true}));
        assert!(DeployLine::try_parse_from(words("-n a")).is_err(), "it does not say when");
        assert!(DeployLine::try_parse_from(words("--at 02:30")).is_err(), "it does not say where");
    }

    #[test]
    fn a_server_takes_it() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let mut request = task_of("facter -n a --start 2126-03-02T01:00:00Z", &settings_for(None, false));
        request["input"]["scope"] = json!({"nodes": ["a"]});
        let page = Page::default();
        assert_eq!(create(&request, Format::Text, &mut client, &mut page.output()).unwrap(), 0);
        assert_eq!(page.text(), "Scheduled job 1.\nNext run: 2126-03-02T01:00:00Z\n");
        let page = Page::default();
        create(&request, Format::Json, &mut client, &mut page.output()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&page.text()).unwrap(), json!({"scheduled_job_id": "2"}));
        request["schedule"]["start_time"] = json!("2026-03-02T01:00:00Z");
        let refused = create(&request, Format::Text, &mut client, &mut page.output()).unwrap_err();
        assert!(format!("{refused:?}").contains("invalid-time"), "{refused:?}");
    }
}
