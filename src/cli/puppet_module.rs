//! `podium pxp-module-puppet`: one Puppet run for the agent. Reads what is asked from standard input and prints the
//! results; see [`crate::agent::puppet`].

use std::io::{self, Read, Write};
use std::process::ExitCode;

use crate::agent::puppet::run::run as run_puppet;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs the subcommand; the exit code is 1 if the results name an error, as pxp-agent's module has it.
pub fn run(_arguments: &Arguments) -> ExitCode {
    let mut input = Vec::new();
    if let Err(error) = io::stdin().lock().read_to_end(&mut input) {
        eprintln!("podium pxp-module-puppet: {error}; it is started by the agent, with a request on standard input");
        return ExitCode::from(2);
    }
    let outcome = run_puppet(&input);
    let text = serde_json::to_string(&outcome).expect("results have string keys only");
    // Nobody reads on: the exit code says as much.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    ExitCode::from(outcome.module_exit_code())
}
