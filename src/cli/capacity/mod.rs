//! `podium capacity`: how much a fleet needs, whether this host has it, and how it does under load.

mod check;
mod fleet;
mod load;
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
    /// Whether this host is ready for them
    Check(check::Arguments),
    /// Plays a fleet of agents against a broker and measures both
    Load(Box<load::Arguments>),
    /// One process's share of a fleet
    #[command(hide = true)]
    LoadShare,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.command {
        Command::Plan(arguments) => plan::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Load(arguments) => load::run(arguments),
        Command::LoadShare => load::share(),
    }
}
