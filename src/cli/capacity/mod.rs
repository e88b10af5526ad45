//! `podium capacity`: how much a fleet needs, whether this host has it, and how it does under load.

mod plan;

use std::process::ExitCode;

use clap::Subcommand;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How much memory, descriptors, processor and disk so many agents need
    Plan(plan::Arguments),
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.command {
        Command::Plan(arguments) => plan::run(arguments),
    }
}
