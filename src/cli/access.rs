//! `podium access`: logs in and out.

use std::process::ExitCode;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs the subcommand.
pub fn run(_arguments: &Arguments) -> ExitCode {
    todo!()
}
