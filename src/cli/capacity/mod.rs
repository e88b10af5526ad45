//! `podium capacity`: how many agents a host carries.

mod load;

use std::process::ExitCode;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Plays a fleet of agents against a broker and measures both
    Load(Box<load::Arguments>),
    /// One process's share of a fleet
    #[command(hide = true)]
    LoadShare,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.command {
        Command::Load(arguments) => load::run(arguments),
        Command::LoadShare => load::share(),
    }
}
