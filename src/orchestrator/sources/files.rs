//! Files of the code directory: opened so that nothing in it can hold up a thread, and their SHA-256, remembered as long
//! as a file stays the same.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

use crate::limits::{FILE_HASHES_MAX, TASK_FILE_BYTES_MAX};
use crate::sha256::{Sha256, hexadecimal};

/// Opens a regular file. Anything else is an error at once: opening a pipe would wait for its other end, and what is
/// looked at before it is opened may have been replaced meanwhile.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let status = file.metadata()?;
    if !status.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, status))
}

/// Hashes of files.
#[derive(Default)]
pub struct Hashes {
    known: Mutex<HashMap<PathBuf, Known>>,
}

struct Known {
    identity: Identity,
    sha256: String,
}

/// Changes whenever a file's content does. Its time of modification would not be enough: tools that deploy code set it.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    length: u64,
}

impl Identity {
    /// That of a file with this status.
    pub fn of(status: &Metadata) -> Self {
        let changed = (status.ctime(), status.ctime_nsec());
        Self { device: status.dev(), inode: status.ino(), changed, length: status.len() }
    }
}

impl Hashes {
    /// SHA-256 in lower-case hexadecimal, and the length in bytes.
    pub fn of(&self, path: &Path) -> io::Result<(String, u64)> {
        let (mut file, status) = open_regular(path)?;
        let (identity, length) = (Identity::of(&status), status.len());
        if length > TASK_FILE_BYTES_MAX {
            let message = format!("it has {length} bytes, and agents take at most {TASK_FILE_BYTES_MAX}");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let known = |known: &HashMap<PathBuf, Known>| {
            let entry = known.get(path).filter(|entry| entry.identity == identity);
            entry.map(|entry| entry.sha256.clone())
        };
        if let Some(sha256) = known(&self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok((sha256, length));
        }
        // One byte more tells a file that has grown.
        let mut hash = Sha256::default();
        let read = io::copy(&mut file.by_ref().take(length.saturating_add(1)), &mut hash)?;
        let sha256 = hexadecimal(&hash.finish());
        // The hash of a file that is being written is nobody's.
        if read != length {
            return Err(io::Error::other("it changed while it was read; try again"));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= FILE_HASHES_MAX {
            known.clear();
        }
        known.insert(path.to_owned(), Known { identity, sha256: sha256.clone() });
        Ok((sha256, length))
    }
}
