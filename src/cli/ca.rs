//! `podium ca`: a certificate authority for labs and tests.

use std::process::ExitCode;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs the subcommand.
pub fn run(_arguments: &Arguments) -> ExitCode {
    todo!()
}
