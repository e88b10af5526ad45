//! `podium inventory`: shows which nodes are connected.

use std::process::ExitCode;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs the subcommand.
pub fn run(_arguments: &Arguments) -> ExitCode {
    todo!()
}
