//! A copy of everything a server keeps, and the way back. A backup is a directory: the database as one file, the keys
//! without which its sealed parts are lost, and a manifest with the digest of each. It is whole or absent, and so is what is
//! restored.

mod restore;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use super::store::StoreError;
use super::store::files::{DATABASE, create_private_dir, private_file};
use crate::clock::WallTime;
use crate::durable::{appended, sync_parent};
use crate::limits::BACKUP_KEY_BYTES_MAX;
use crate::sha256::{Sha256, hexadecimal};

pub use restore::{Restored, Unfinished, finish_restore, restore};

/// Version of the directory's layout.
const FORMAT: u32 = 1;

/// Describes the others.
const MANIFEST: &str = "manifest.json";

/// The directory of the keys, in the data directory and in a backup.
const KEYS: &str = "keys";

/// What a backup consists of, as its `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// Version of the program that made it.
    pub podium: String,
    /// When, UTC.
    pub created: String,
    /// The files besides the manifest.
    pub files: Vec<BackedUp>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackedUp {
    /// Below the backup's directory: `podium.db` or `keys/<name>`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// Why there is no backup, or none that can be restored.
#[derive(Debug)]
pub enum BackupError {
    /// There is something in the way.
    Exists(PathBuf),
    /// Nothing to back up, or no backup.
    Missing(PathBuf),
    /// A file could not be read or written.
    File(PathBuf, io::Error),
    /// The database does not do what it is asked to.
    Database(PathBuf, String),
    /// The backup is not what its manifest says, or this program does not know its layout.
    Damaged(PathBuf, String),
    /// The store refuses.
    Store(StoreError),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => write!(f, "{} is there already: move it away, or give another place", path.display()),
            Self::Missing(path) => write!(f, "there is no {}: check the directory's name", path.display()),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Database(path, cause) => write!(f, "the database {}: {cause}", path.display()),
            Self::Damaged(path, what) => {
                write!(f, "{}: {what}; take another backup, this one is not whole", path.display())
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BackupError {}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Copies what is below `data_dir` to the new directory `to`, while a server runs on it or not: the database as it is at one
/// moment, with everything that was acknowledged before.
pub fn back_up(data_dir: &Path, to: &Path) -> Result<Manifest, BackupError> {
    let database = data_dir.join(DATABASE);
    if !database.is_file() {
        return Err(BackupError::Missing(database));
    }
    // A dangling link is in the way too.
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let staging = appended(to, "~");
    clear(&staging)?;
    create_private_dir(&staging.join(KEYS))?;
    let copied = copy_into(&staging, data_dir, &database);
    let manifest = copied.inspect_err(|_| {
        // What is told is why; a rest is removed by the next attempt.
        let _ = fs::remove_dir_all(&staging);
    })?;
    fs::rename(&staging, to).and_then(|()| sync_parent(to)).map_err(failed(to))?;
    Ok(manifest)
}

fn copy_into(staging: &Path, data_dir: &Path, database: &Path) -> Result<Manifest, BackupError> {
    copy_database(database, &staging.join(DATABASE))?;
    let mut files = vec![describe(staging, DATABASE.to_owned())?];
    for name in key_names(&data_dir.join(KEYS))? {
        let path = format!("{KEYS}/{name}");
        copy_key(&data_dir.join(&path), &staging.join(&path))?;
        files.push(describe(staging, path)?);
    }
    let created = WallTime::now().to_millis_string();
    let manifest = Manifest { format: FORMAT, podium: env!("CARGO_PKG_VERSION").to_owned(), created, files };
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest has string keys only");
    crate::durable::replace(&staging.join(MANIFEST), &text, 0o600).map_err(failed(staging))?;
    Ok(manifest)
}

/// A copy of one moment, packed; SQLite's own way, which does not disturb whoever writes.
fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    let told = |error: rusqlite::Error| BackupError::Database(from.to_owned(), error.to_string());
    // SQLite takes an empty file, and would use the umask for one of its own.
    drop(private_file(to)?);
    let name = to.to_str().ok_or_else(|| BackupError::Database(to.to_owned(), "its name is not UTF-8".to_owned()))?;
    let connection = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(told)?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(told)?;
    File::open(to).and_then(|file| file.sync_all()).map_err(failed(to))
}

/// The names in the directory of the keys, sorted.
fn key_names(keys: &Path) -> Result<Vec<String>, BackupError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(keys).map_err(failed(keys))? {
        let entry = entry.map_err(failed(keys))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_key_name(&name) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What this program calls its keys; a rest of a crash ends in `~`.
fn is_key_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn copy_key(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut bytes = Vec::new();
    let file = File::open(from).map_err(failed(from))?;
    file.take(BACKUP_KEY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed(from))?;
    if bytes.len() as u64 > BACKUP_KEY_BYTES_MAX {
        let cause = io::Error::other(format!("has more than {BACKUP_KEY_BYTES_MAX} bytes: that is no key"));
        return Err(BackupError::File(from.to_owned(), cause));
    }
    crate::durable::replace(to, &bytes, 0o600).map_err(failed(to))
}

fn describe(dir: &Path, path: String) -> Result<BackedUp, BackupError> {
    let (bytes, digest) = digest(&dir.join(&path))?;
    Ok(BackedUp { path, bytes, sha256: hexadecimal(&digest) })
}

/// Length and SHA-256 of a file.
fn digest(path: &Path) -> Result<(u64, [u8; 32]), BackupError> {
    let mut file = File::open(path).map_err(failed(path))?;
    let mut sha256 = Sha256::default();
    let length = io::copy(&mut file, &mut sha256).map_err(failed(path))?;
    Ok((length, sha256.finish()))
}

/// Removes what an attempt before has left.
fn clear(staging: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::File(staging.to_owned(), error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |error| BackupError::File(path.to_owned(), error)
}
