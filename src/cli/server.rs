//! `podium server`: puts broker, orchestrator and API together in one process. The orchestrator's link to the broker is
//! a pair of bounded queues here; to a broker elsewhere it would be a websocket, and it could not tell.

use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Directory with the configuration files
    #[arg(long, default_value = "/etc/puppetlabs/podium")]
    config: PathBuf,
    /// Check the configuration and the files it names, and exit
    #[arg(long)]
    check: bool,
}

/// Runs the subcommand.
pub fn run(_arguments: &Arguments) -> ExitCode {
    todo!()
}
