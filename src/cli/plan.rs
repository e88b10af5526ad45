//! `podium plan`: runs and shows plans, in the grammar of `puppet plan`, and the jobs that plans are.

mod job;
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
    /// Runs a plan and shows what it does and its result
    #[command(after_long_help = EXIT_CODES)]
    Run(run::Arguments),
    /// Shows the plans there are, or one with its parameters
    #[command(alias = "list", after_long_help = EXIT_CODES)]
    Show(show::Arguments),
    /// Shows the newest runs of plans, or one with its result
    #[command(after_long_help = EXIT_CODES)]
    Job(job::Arguments),
    /// Stops a run of a plan; the job that it waits for goes on
    #[command(after_long_help = EXIT_CODES)]
    Stop(job::StopArguments),
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    conclude(match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Job(arguments) => job::run(arguments),
        Command::Stop(arguments) => job::stop(arguments),
    })
}
