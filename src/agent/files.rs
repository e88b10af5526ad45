//! The agent's files: who may read them, and names that nobody else uses.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
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

/// Opens a directory of which everything is trusted: what runs as this user, what becomes the result of a task. It is
/// created if it is missing, and refused if anybody else could put something into it.
pub fn open_private(path: &Path) -> io::Result<()> {
    create_directory(path)?;
    check_private(path)
}

/// Refuses what anybody else could change.
pub fn check_private(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to another user (uid {owner})")));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(io::Error::other(format!("others may write to it (mode {mode:o}); chmod go-w")));
    }
    Ok(())
}

/// Refuses a program that anybody else could change or replace: its file, the directory that its name is in, and the one
/// that it is in itself if the name is a link. To be asked before every run, because both may change.
pub fn check_program(path: &Path) -> io::Result<()> {
    if !path.is_absolute() {
        return Err(io::Error::other("its path does not begin with /"));
    }
    let file = path.canonicalize()?;
    for part in [Some(file.as_path()), file.parent(), path.parent()].into_iter().flatten() {
        check_private(part)
            .map_err(|error| io::Error::new(error.kind(), format!("{} is not safe: {error}", part.display())))?;
    }
    Ok(())
}

/// `prefix` and 64 random bits in groups: `temp_file_8f3c-...`.
pub fn random_name(prefix: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    // The digits around the middle hold the UUID's version and variant, which are not random.
    let (a, b, c, d) = (&random[0..4], &random[4..8], &random[20..24], &random[24..28]);
    format!("{prefix}{a}-{b}-{c}-{d}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_program_that_others_may_change_or_replace_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let [inner, outer] = ["inner", "outer"].map(|name| root.path().join(name));
        let (program, link) = (inner.join("program"), outer.join("link"));
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for directory in [&inner, &outer] {
            fs::create_dir(directory).unwrap();
            mode(directory, 0o755);
        }
        fs::write(&program, "").unwrap();
        mode(&program, 0o755);
        symlink(&program, &link).unwrap();
        check_program(&link).unwrap();
        for part in [&program, &inner, &outer] {
            mode(part, 0o777);
            let error = check_program(&link).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} is not safe: others may write", part.display())), "{error}");
            mode(part, 0o755);
        }
        assert!(check_program(Path::new("program")).is_err());
        assert_eq!(check_program(&inner.join("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        open_private(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, DIRECTORY_MODE);
        for mode in [0o777, 0o1777, 0o770] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(open_private(&path).unwrap_err().to_string().contains("others may write"), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        open_private(&path).unwrap();
    }
}
