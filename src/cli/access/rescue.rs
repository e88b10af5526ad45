//! `podium access reset-password`: a new password, written into the store of a server that is stopped. Whoever may read
//! the data directory can do it, and nobody else can refuse.

use std::path::PathBuf;

use super::terminal;
use crate::cli::output::{Failure, note};
use crate::orchestrator::rbac::users::rescue;
use crate::orchestrator::store::sqlite::SqliteStore;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Whose password
    login: String,
    /// The server's `orchestrator.data-dir`
    #[arg(long, value_name = "DIR", default_value = "/var/lib/podium")]
    data_dir: PathBuf,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> Result<u8, Failure> {
    if !arguments.data_dir.join("podium.db").exists() {
        let directory = arguments.data_dir.display();
        return Err(Failure::Usage(format!(
            "{directory}: there is no podium.db; give the server's data-dir with --data-dir. Where users are in PostgreSQL, \
             another administrator can offer a new password"
        )));
    }
    // Before anything is typed: a server that runs holds it.
    let store = SqliteStore::open(&arguments.data_dir).map_err(|error| Failure::Other(error.to_string()))?;
    let password = terminal::new_password("New password")?;
    rescue(&store, &arguments.login, &password).map_err(|error| Failure::Other(error.message))?;
    note(&format!("{} has a new password, is not locked or revoked, and all tokens are revoked.", arguments.login));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_runs_and_a_directory_that_is_none_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let arguments = Arguments { login: "admin".into(), data_dir: dir.path().to_owned() };
        assert!(matches!(run(&arguments), Err(Failure::Usage(message)) if message.contains("no podium.db")));
        let _server = SqliteStore::open(dir.path()).unwrap();
        assert!(matches!(run(&arguments), Err(Failure::Other(message)) if message.contains("another process holds")));
    }
}
