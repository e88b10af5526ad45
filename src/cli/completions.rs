//! `podium completions`: what bash, zsh and fish need to complete our commands and flags.

use std::process::ExitCode;

use clap_complete::Shell;

use super::output::{Output, finish};

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bash  podium completions bash > /etc/bash_completion.d/podium
  zsh   podium completions zsh > /usr/share/zsh/site-functions/_podium
  fish  podium completions fish > ~/.config/fish/completions/podium.fish")]
pub struct Arguments {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Supported,
}

/// Shells that we have tried or whose users asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Supported {
    /// GNU Bash 4 or later.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

/// Runs the subcommand; `command` is the whole command line.
pub fn run(arguments: &Arguments, mut command: clap::Command) -> ExitCode {
    let shell = match arguments.shell {
        Supported::Bash => Shell::Bash,
        Supported::Zsh => Shell::Zsh,
        Supported::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "podium", &mut script);
    Output::stdout().line(String::from_utf8_lossy(&script).trim_end());
    finish(Ok(0))
}
