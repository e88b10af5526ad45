//! What the long-running subcommands have in common: settings, log and signals before the work, one report and the exit
//! code after it.

use std::process::ExitCode;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::settings::LogSettings;
use crate::config::{Loaded, Problems};
use crate::observe::log;

/// Why a service does not run, or no longer.
pub(super) enum Failure {
    /// Trying again with the same files is in vain; exit code 2.
    Configuration(String),
    /// It may work another time; exit code 1.
    Work(String),
    /// With an exit code of its own.
    Exit(String, u8),
}

/// Runs a service: `settings` as loaded, its `log` settings, and the work itself, which ends when a signal says so.
pub(super) fn run<T>(
    name: &str,
    settings: Result<Loaded<T>, Problems>,
    log_settings: impl FnOnce(&T) -> &LogSettings,
    work: impl FnOnce(&T, Signals) -> Result<(), Failure>,
) -> ExitCode {
    let Loaded { settings, warnings } = match settings {
        Ok(loaded) => loaded,
        Err(problems) => return misconfigured(&problems),
    };
    let log_settings = log_settings(&settings);
    let _log = match log::init(log_settings) {
        Ok(guard) => guard,
        Err(error) => return misconfigured(&error),
    };
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    // Signals are taken before anything is started, so that none is missed in between.
    let outcome = Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| Failure::Work(format!("signals cannot be handled: {error}")))
        .and_then(|signals| work(&settings, signals));
    let (message, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Configuration(message)) => (message, ExitCode::from(2)),
        Err(Failure::Work(message)) => (message, ExitCode::FAILURE),
        Err(Failure::Exit(message, code)) => (message, ExitCode::from(code)),
    };
    tracing::error!("{message}");
    // Whoever started it by hand looks at the terminal, not at the log's file.
    if log_settings.file.is_some() {
        eprintln!("podium {name}: {message}");
    }
    code
}

fn misconfigured(what: &impl std::fmt::Display) -> ExitCode {
    eprintln!("{what}");
    ExitCode::from(2)
}
