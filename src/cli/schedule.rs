//! `podium schedule`: tasks and Puppet runs that the server starts later, and again. The original tools have no such command;
//! its words are those of `podium task run` and `podium job run`.

mod add;
mod disable;
mod show;
mod when;

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
    /// Shows what is scheduled, the next run first
    #[command(after_long_help = EXIT_CODES)]
    List(show::ListArguments),
    /// Shows a scheduled job and what came of its last run
    #[command(after_long_help = EXIT_CODES)]
    Show(show::ShowArguments),
    /// Schedules a task
    #[command(after_long_help = EXIT_CODES)]
    Task(Box<add::TaskArguments>),
    /// Schedules a Puppet run
    #[command(after_long_help = EXIT_CODES)]
    Deploy(Box<add::DeployArguments>),
    /// Ends a scheduled job for ever; a job that it has started goes on
    #[command(after_long_help = EXIT_CODES)]
    Disable(disable::Arguments),
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    conclude(match &arguments.command {
        Command::List(arguments) => show::list(arguments),
        Command::Show(arguments) => show::show(arguments),
        Command::Task(arguments) => add::task(arguments),
        Command::Deploy(arguments) => add::deploy(arguments),
        Command::Disable(arguments) => disable::run(arguments),
    })
}
