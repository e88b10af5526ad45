//! Where the lines of a log go: standard error or a file. A file that is moved away is created again, so log rotation
//! needs no signal; [`Output::reopen`] is for those that send one all the same.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Owner writes, group reads: a log may name what others must not know.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// Why a log cannot be written.
#[derive(Debug)]
pub struct OutputError {
    /// The file of the log; `None` is standard error.
    pub file: Option<PathBuf>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for OutputError {}

/// Where lines go.
#[derive(Debug)]
pub(super) enum Output {
    Stderr,
    File {
        path: PathBuf,
        /// `None` until the next batch opens it.
        file: Option<File>,
    },
}

impl Output {
    /// Opens the file, in a directory that is made if need be; `None` is standard error.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, OutputError> {
        let Some(path) = path else { return Ok(Self::Stderr) };
        let opened = match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir),
            None => Ok(()),
        };
        let file = opened.and_then(|()| open_to_append(path)).map_err(|error| OutputError {
            file: Some(path.to_owned()),
            message: format!("the log cannot be opened: {error}; check the directory's owner and mode"),
        })?;
        Ok(Self::File { path: path.to_owned(), file: Some(file) })
    }

    /// The next batch opens the file again.
    pub(super) fn reopen(&mut self) {
        if let Self::File { file, .. } = self {
            *file = None;
        }
    }

    pub(super) fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().lock().write_all(batch),
            Self::File { path, file } => {
                let mut opened = match file.take().filter(|file| !moved_away(path, file)) {
                    Some(opened) => opened,
                    None => open_to_append(path)?,
                };
                let written = opened.write_all(batch);
                *file = Some(opened);
                written
            }
        }
    }
}

fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}

fn moved_away(path: &Path, file: &File) -> bool {
    let at_path = std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    let opened = file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    at_path != opened
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_created_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("logs/podium.log"), dir.path().join("podium.log.1"));
        let mut output = Output::open(Some(&path)).unwrap();
        output.write(b"first\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        output.write(b"second\n").unwrap();
        output.reopen();
        output.write(b"third\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "first\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\nthird\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !FILE_MODE, 0);
    }

    #[test]
    fn a_log_that_cannot_be_opened_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let error = Output::open(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("the log cannot be opened"), "{error}");
    }
}
