//! `podium task`: runs and shows tasks, in the grammar of `puppet task`.

mod run;
mod show;
mod values;

pub(super) use run::job_seconds;

use std::process::ExitCode;

use super::output::{Output, finish};

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Runs a task on nodes and shows their results as they come
    Run(run::Arguments),
    /// Shows the tasks there are, or one with its parameters
    Show(show::Arguments),
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut output = Output::stdout();
    finish(match &arguments.command {
        Command::Run(arguments) => run::run(arguments, &mut output),
        Command::Show(arguments) => show::show(arguments, &mut output),
    })
}
