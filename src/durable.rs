//! Files that are whole or absent, also after a crash: written beside their place, synced, renamed, and the directory
//! synced too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Replaces `path` by a file with this content and mode: readers see the old one or the new one. The name with `~`
/// appended is used on the way, so there must be one writer at a time.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace_through(&appended(path, "~"), path, content, mode)
}

/// The same through a file in the same directory whose name nobody else uses.
pub fn replace_through(beside: &Path, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // One that a crash has left would keep its mode, and a link in its place would be followed.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(beside, content, mode).and_then(|()| fs::rename(beside, path));
    written.inspect_err(|_| {
        // The error is told; what is left of the file would not add to it.
        let _ = fs::remove_file(beside);
    })?;
    sync_parent(path)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes sure that a rename or creation of `path` survives a crash.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?.sync_all()
}

/// `path` with `suffix` glued to its last component.
pub fn appended(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_whatever_a_crash_has_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(appended(&path, "~"), "half").unwrap();
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"one", 0o600).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
