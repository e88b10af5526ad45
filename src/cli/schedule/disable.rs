//! `podium schedule disable`: a scheduled job is started no more. Nothing brings it back, as in the API.

use serde_json::{Value, json};

use crate::cli::client::{Client, open};
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::output::{Failure, Format, Output, PrintFlags};

/// Arguments of `schedule disable`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Number of the scheduled job
    #[arg(value_name = "ID")]
    id: u64,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    disable(arguments.id, arguments.print.format, &mut client, &mut output)
}

/// Ends one.
pub(super) fn disable(id: u64, format: Format, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let answer: Value = client.put(&format!("scheduled_jobs/environment_jobs/{id}"), &json!({"enabled": false}))?;
    match format {
        Format::Json => output.json(&answer),
        Format::Text => output.line(format!("Scheduled job {id} is disabled.")),
    }
    Ok(0)
}
