//! `podium agent`: the agent: dials a broker and runs what it is asked to.

use std::process::ExitCode;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs the subcommand.
pub fn run(_arguments: &Arguments) -> ExitCode {
    todo!()
}
