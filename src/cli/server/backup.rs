//! `podium server backup` and `podium server restore`: what a server keeps, to a directory and back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{Loaded, load_server};
use crate::orchestrator::backup::{BackupError, Unfinished, back_up, restore};

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub struct BackupArguments {
    /// New directory for the backup; it holds keys, so keep it as secret as the server's own
    to: PathBuf,
}

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArguments {
    /// Directory of a backup
    from: PathBuf,
    /// Let jobs go on that had not ended when the backup was made; as a rule they end as errored
    #[arg(long)]
    resume_jobs: bool,
}

/// Makes a backup, while the server runs or not.
pub fn run_backup(config: &Path, arguments: &BackupArguments) -> ExitCode {
    let Some(data_dir) = data_dir(config) else { return ExitCode::from(2) };
    match back_up(&data_dir, &arguments.to) {
        Ok(manifest) => {
            let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
            println!(
                "{}: {} files, {bytes} bytes, as of {}",
                arguments.to.display(),
                manifest.files.len(),
                manifest.created
            );
            ExitCode::SUCCESS
        }
        Err(error) => refused("backup", &error),
    }
}

/// Restores one, while the server does not run.
pub fn run_restore(config: &Path, arguments: &RestoreArguments) -> ExitCode {
    let Some(data_dir) = data_dir(config) else { return ExitCode::from(2) };
    let unfinished = if arguments.resume_jobs { Unfinished::Resume } else { Unfinished::End };
    match restore(&arguments.from, &data_dir, unfinished) {
        Ok(restored) => {
            println!("{}: as of {}. All tokens are revoked: log in again.", data_dir.display(), restored.created);
            match (restored.unfinished, unfinished) {
                (0, _) => {}
                (jobs, Unfinished::End) => println!("{jobs} jobs had not ended; they have now, as failed."),
                (jobs, Unfinished::Resume) => println!("{jobs} jobs had not ended and go on when the server starts."),
            }
            ExitCode::SUCCESS
        }
        Err(error) => refused("restore", &error),
    }
}

fn data_dir(config: &Path) -> Option<PathBuf> {
    match load_server(config) {
        Ok(Loaded { settings, .. }) if settings.orchestrator.database.is_some() => {
            eprintln!(
                "the server's jobs are in PostgreSQL (orchestrator.database): use pg_dump and pg_restore for the database, \
                 and copy {}/keys beside the dump",
                settings.orchestrator.data_dir.display()
            );
            None
        }
        Ok(Loaded { settings, .. }) => Some(settings.orchestrator.data_dir),
        Err(problems) => {
            eprintln!("{problems}");
            None
        }
    }
}

fn refused(what: &str, error: &BackupError) -> ExitCode {
    eprintln!("podium server {what}: {error}");
    ExitCode::FAILURE
}
