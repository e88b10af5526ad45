//! `podium server check-database`: whether what a server keeps is whole.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::certificates::{Tls, Wanted};
use crate::config::{Loaded, load_server};
use crate::orchestrator::store::inspect;

/// Says what is wrong, in a line each: exit code 1 if anything is, 2 if that cannot be found out.
pub fn run(config: &Path) -> ExitCode {
    let settings = match load_server(config) {
        Ok(Loaded { settings, .. }) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    let checked = Tls::load(&settings.certificates, Wanted::of(&settings.broker))
        .and_then(|tls| inspect(&settings.orchestrator, &tls.client).map_err(|error| error.to_string()));
    match checked {
        Ok(checked) if checked.problems.is_empty() => {
            println!("whole: {} jobs, {} events", checked.jobs, checked.events);
            ExitCode::SUCCESS
        }
        Ok(checked) => {
            checked.problems.iter().for_each(|problem| println!("{problem}"));
            eprintln!(
                "podium server check-database: {} problems; keep a copy and restore a backup",
                checked.problems.len()
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("podium server check-database: {error}");
            ExitCode::from(2)
        }
    }
}
