//! SHA-256 of files, remembered as long as a file's length and time of change stay the same.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::limits::FILE_HASHES_MAX;
use crate::sha256::{Sha256, hexadecimal};

/// Hashes of files.
#[derive(Default)]
pub struct Hashes {
    known: Mutex<HashMap<PathBuf, Known>>,
}

struct Known {
    modified: SystemTime,
    length: u64,
    sha256: String,
}

impl Hashes {
    /// SHA-256 in lower-case hexadecimal, and the length in bytes.
    pub fn of(&self, path: &Path) -> io::Result<(String, u64)> {
        let mut file = File::open(path)?;
        let status = file.metadata()?;
        let (modified, length) = (status.modified()?, status.len());
        let known = |known: &HashMap<PathBuf, Known>| {
            let entry = known.get(path).filter(|entry| entry.modified == modified && entry.length == length);
            entry.map(|entry| entry.sha256.clone())
        };
        if let Some(sha256) = known(&self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok((sha256, length));
        }
        let mut hash = Sha256::default();
        let read = io::copy(&mut file, &mut hash)?;
        let sha256 = hexadecimal(&hash.finish());
        // A file that grows while it is read is not remembered.
        if read == length {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= FILE_HASHES_MAX {
                known.clear();
            }
            known.insert(path.to_owned(), Known { modified, length, sha256: sha256.clone() });
        }
        Ok((sha256, read))
    }
}
