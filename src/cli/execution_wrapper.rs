//! `podium execution-wrapper`: runs one task for the agent and outlives it. Reads its job from standard input; see
//! [`crate::agent::wrapper`].

use std::io;
use std::process::ExitCode;

use crate::agent::wrapper;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Names the transaction in the list of processes, for people and for the agent that comes back
    transaction_id: Option<String>,
}

/// Runs the subcommand; the exit code is the task's.
pub fn run(_arguments: &Arguments) -> ExitCode {
    match wrapper::run(io::stdin().lock()) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            eprintln!("podium execution-wrapper: {error}; it is started by the agent, with a job on standard input");
            ExitCode::from(2)
        }
    }
}
