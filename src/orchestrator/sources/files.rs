//! SHA-256 of files, remembered as long as a file's length and time of change stay the same.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest;

use crate::limits::FILE_HASHES_MAX;

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
        let (sha256, read) = hash(&mut file)?;
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

fn hash(file: &mut File) -> io::Result<(String, u64)> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hexadecimal(context.finish().as_ref()), total)),
            count => {
                context.update(&buffer[..count]);
                total += count as u64;
            }
        }
    }
}

/// Bytes in lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
