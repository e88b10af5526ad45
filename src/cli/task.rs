//! `podium task`: runs and shows tasks, in the grammar of `puppet task`.

mod run;
mod show;

use std::process::ExitCode;

use super::output::{EXIT_CODES, conclude};

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Runs a task on nodes and shows their results as they come
    #[command(after_long_help = EXIT_CODES)]
    Run(Box<run::Arguments>),
    /// Shows the tasks there are, or one with its parameters
    #[command(alias = "list", after_long_help = EXIT_CODES)]
    Show(show::Arguments),
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    conclude(match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Show(arguments) => show::show(arguments),
    })
}
