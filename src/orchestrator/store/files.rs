//! The data directory and its files: private by their modes, used by one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::StoreError;

/// The database's file, below the data directory.
pub const DATABASE: &str = "podium.db";

/// Creates `path` with mode 0700. A directory that is there keeps its mode, because it may hold more than ours, but is
/// refused if others could put files into it; ours are private by their own modes.
pub fn create_private_dir(path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::File { path: path.to_owned(), cause: error.to_string() };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        let cause = format!("others may write to it (mode {mode:o}); chmod go-w it, or give another directory");
        return Err(StoreError::File { path: path.to_owned(), cause });
    }
    Ok(())
}

/// Keeps every other process from the data directory as long as the file is open.
pub fn lock(data_dir: &Path) -> Result<File, StoreError> {
    let path = data_dir.join("lock");
    let file = private_file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(StoreError::InUse(path)),
    }
}

/// Opens `path`, creating it with mode 0600.
pub fn private_file(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|error| StoreError::File { path: path.to_owned(), cause: error.to_string() })
}

/// Makes the names of new files survive a loss of power.
pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(|error| StoreError::File { path: path.to_owned(), cause: error.to_string() })
}
