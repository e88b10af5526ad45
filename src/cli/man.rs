//! `podium man`: manual pages in section 1 (man-pages(7)), a page per command, from the same definitions as `--help`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap_mangen::Man;

use super::output::{Failure, finish, note};

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to write them, such as /usr/local/share/man/man1
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the subcommand; `command` is the whole command line.
pub fn run(arguments: &Arguments, command: clap::Command) -> ExitCode {
    finish(write_all(&arguments.dir, command).map(|count| {
        note(&format!("{count} manual pages written to {}", arguments.dir.display()));
        0
    }))
}

fn write_all(directory: &Path, mut command: clap::Command) -> Result<usize, Failure> {
    command.build();
    let fail =
        |path: &Path, error: io::Error| Failure::Other(format!("{}: cannot be written: {error}", path.display()));
    std::fs::create_dir_all(directory).map_err(|error| fail(directory, error))?;
    let pages = pages("podium", &command);
    for (name, page) in &pages {
        let path = directory.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(|error| fail(&path, error))?;
    }
    Ok(pages.len())
}

/// Name and text of the page of a command and of all below it.
fn pages(name: &str, command: &clap::Command) -> Vec<(String, Vec<u8>)> {
    let mut page = Vec::new();
    Man::new(command.clone()).title(name).render(&mut page).expect("a vector takes everything");
    let below = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    let below = below.flat_map(|command| pages(&format!("{name}-{}", command.get_name()), command));
    std::iter::once((name.to_owned(), page)).chain(below).collect()
}
