//! `podium execution-wrapper`: runs one task for the agent and outlives it. Reads its job from standard input; see
//! [`crate::agent::wrapper`]. Its argument names the transaction in the list of processes, for people and for the agent
//! that comes back.

use std::io;
use std::process::ExitCode;

use crate::agent::wrapper;

/// The first argument that asks for this.
pub const NAME: &str = "execution-wrapper";

/// Runs the subcommand; the exit code is the task's.
pub fn run() -> ExitCode {
    match wrapper::run(io::stdin().lock()) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            eprintln!("podium {NAME}: {error}; it is started by the agent, with a job on standard input");
            ExitCode::from(2)
        }
    }
}
