//! The agent's files: who may read them, and names that nobody else uses.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::durable;

/// Mode of the agent's directories.
pub const DIRECTORY_MODE: u32 = 0o750;

/// Mode of the files of a transaction.
pub const FILE_MODE: u32 = 0o640;

/// Replaces `path` by a file with `content`; it is whole or absent, also after a crash.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    durable::replace(path, content, FILE_MODE)
}

/// Opens an empty file for writing, readable by the owner's group.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}

/// Creates a directory and what is missing above it.
pub fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

/// `prefix` and 64 random bits in groups: `temp_file_8f3c-...`.
pub fn random_name(prefix: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    // The digits around the middle hold the UUID's version and variant, which are not random.
    let (a, b, c, d) = (&random[0..4], &random[4..8], &random[20..24], &random[24..28]);
    format!("{prefix}{a}-{b}-{c}-{d}")
}
