//! `podium execution-launcher`: becomes a task that is held to something; see [`crate::agent::confine`].

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::agent::confine;

/// The first argument that asks for this.
pub const NAME: &str = confine::SUBCOMMAND;

/// Runs the subcommand, which returns only if the task cannot be run. Its arguments are what the task is held to, as the
/// agent writes it, the task, and the task's own.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let [confinement, executable, arguments @ ..] = &arguments[..] else {
        eprintln!("podium {NAME}: arguments are missing; it is started by the agent");
        return ExitCode::from(2);
    };
    let code = confine::launch(&confinement.to_string_lossy(), Path::new(executable), arguments);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
