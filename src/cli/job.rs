//! `podium job`: runs Puppet, shows and stops jobs, in the grammar of `puppet job`.

mod plan;
pub(super) mod run;
mod show;
mod stop;

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
    /// Runs Puppet on nodes and shows their results as they come
    #[command(after_long_help = EXIT_CODES)]
    Run(Box<run::Arguments>),
    /// Shows in which order a Puppet run would go through its nodes, without running it
    #[command(after_long_help = EXIT_CODES)]
    Plan(plan::Arguments),
    /// Shows the newest jobs, or one with its nodes
    #[command(alias = "list", after_long_help = EXIT_CODES)]
    Show(show::Arguments),
    /// Stops a job: no further node starts
    #[command(after_long_help = EXIT_CODES)]
    Stop(stop::Arguments),
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    conclude(match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Stop(arguments) => stop::run(arguments),
    })
}
