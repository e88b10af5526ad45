//! `podium plan run`: starts a plan, tells what it does, and by its exit code whether it went well.

use serde_json::{Map, Value, json};

use super::job::follow_plan;
use crate::cli::client::{is_passing, open};
use crate::cli::client_settings::{ClientSettings, ConnectionFlags};
use crate::cli::command::CommonFlags;
use crate::cli::follow::{Pace, interruption};
use crate::cli::launch::Waiting;
use crate::cli::output::{Failure, Format, PrintFlags, note, text};
use crate::cli::values::Input;

/// Arguments of `plan run`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The plan: module or module::name
    plan: String,
    /// Parameters, as of a task. Other users of this host can read them in the list of processes: give secrets with
    /// --params @FILE
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// All parameters as one JSON object, or @FILE with it; - reads standard input
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// Environment of the plan [default: that of the configuration, or production]
    #[arg(short, long, alias = "env", value_name = "NAME")]
    environment: Option<String>,
    #[command(flatten)]
    common: CommonFlags,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let mut input = Input::default();
    let parameters = input.parameters(&arguments.parameters, arguments.params.as_deref())?;
    let mut common = json!({});
    arguments.common.add_to(&mut common, &mut input)?;
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let interrupted = interruption()?;
    let is_text = arguments.print.format == Format::Text;
    if is_text {
        output.line("Starting plan ...");
    }
    let request = request(arguments, &client.settings, parameters, common);
    let answer = client.post("command/plan_run", &request).inspect_err(|failure| {
        if is_passing(failure) {
            note("It is not known whether the plan was started. Before trying again, see: podium plan job");
        }
    })?;
    let id = text(&answer, "name").to_owned();
    if id.is_empty() {
        return Err(Failure::Other(format!("the server took the plan but gave it no number: {answer}")));
    }
    if is_text {
        output.line(format!("New Plan Job ID: {id}\n"));
    }
    if arguments.common.background {
        match arguments.print.format {
            Format::Text => output.line(format!("Watch it with: podium plan job {id} --watch")),
            Format::Json => output.json(&json!({"plan_job_id": id})),
        }
        return Ok(0);
    }
    let waiting = Waiting { pace: Pace::default(), interrupted: &interrupted };
    follow_plan(&id, arguments.print.format, waiting, &mut client, &mut output)
}

/// The body of `POST /command/plan_run`, on top of what jobs and plans have in common.
fn request(arguments: &Arguments, settings: &ClientSettings, params: Map<String, Value>, mut request: Value) -> Value {
    request["plan_name"] = json!(arguments.plan);
    request["params"] = Value::Object(params);
    if let Some(environment) = arguments.environment.as_ref().or(settings.environment.as_ref()) {
        request["environment"] = json!(environment);
    }
    request
}
