//! The host as files below a root directory: `/` in production, a directory of a test's own otherwise.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::limits;

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// There is no such file.
    Missing(PathBuf),
    /// It cannot be read.
    Unreadable(PathBuf, String),
    /// It is larger than such a file may be.
    TooLarge(PathBuf),
    /// It does not say what it should.
    Garbage(PathBuf, String),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "{}: not there", path.display()),
            Self::Unreadable(path, cause) => write!(f, "{}: cannot be read: {cause}", path.display()),
            Self::TooLarge(path) => {
                write!(f, "{}: has more than {} bytes", path.display(), limits::CAPACITY_FILE_BYTES_MAX)
            }
            Self::Garbage(path, text) => write!(f, "{}: not understood: {text:?}", path.display()),
        }
    }
}

/// Characters of a file that is not understood that are shown.
const EXCERPT: usize = 40;

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The host whose `/` is there.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a path of the host is.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether there is such a file or directory.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// A file's bytes, up to a limit.
    pub fn bytes(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, Unknown> {
        let path = self.path(path);
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Unknown::Missing(path.clone()),
            _ => Unknown::Unreadable(path.clone(), error.to_string()),
        };
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(fail)?;
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(Unknown::Unreadable(path, "not a file".to_owned()));
        }
        file.take(limits::CAPACITY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > limits::CAPACITY_FILE_BYTES_MAX {
            return Err(Unknown::TooLarge(path));
        }
        Ok(bytes)
    }

    /// A file's text.
    pub fn text(&self, path: impl AsRef<Path>) -> Result<String, Unknown> {
        let bytes = self.bytes(&path)?;
        String::from_utf8(bytes).map_err(|error| self.garbage(path, &String::from_utf8_lossy(error.as_bytes())))
    }

    /// The numbers in a file of the kernel, at least one.
    pub fn numbers(&self, path: impl AsRef<Path>) -> Result<Vec<u64>, Unknown> {
        let text = self.text(&path)?;
        let numbers: Option<Vec<u64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
        numbers.filter(|numbers| !numbers.is_empty()).ok_or_else(|| self.garbage(path, &text))
    }

    /// What is wrong with a file's content.
    pub fn garbage(&self, path: impl AsRef<Path>, text: &str) -> Unknown {
        Unknown::Garbage(self.path(path), text.trim().chars().take(EXCERPT).collect())
    }

    /// The value after a name and a colon, as in `/proc/self/status`.
    pub fn field(&self, path: &str, name: &str) -> Result<String, Unknown> {
        let text = self.text(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned()).ok_or_else(|| self.garbage(path, &format!("no {name}")))
    }

    /// The files of a directory with this ending, by name; none if there is no such directory.
    pub fn files(&self, dir: &str, ending: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.path(dir)) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| Path::new(dir).join(entry.file_name()));
        let mut found: Vec<PathBuf> =
            paths.filter(|path| path.to_string_lossy().ends_with(ending)).take(limits::CAPACITY_FILES_MAX).collect();
        found.sort();
        found
    }

    /// Cores that this process may use.
    pub fn cores(&self) -> Result<u64, Unknown> {
        let path = "proc/self/status";
        let list = self.field(path, "Cpus_allowed_list")?;
        count_list(&list).ok_or_else(|| self.garbage(path, &list))
    }

    /// Free bytes for a directory, or for the nearest one above it that exists.
    pub fn free_bytes(&self, dir: &Path) -> Result<(PathBuf, u64), Unknown> {
        let wanted = self.path(dir);
        let place = wanted.ancestors().find(|place| place.exists()).unwrap_or(&self.root).to_owned();
        let stat =
            rustix::fs::statvfs(&place).map_err(|error| Unknown::Unreadable(place.clone(), error.to_string()))?;
        Ok((place, stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    /// Whether this is a container, as far as its files tell.
    pub fn is_container(&self) -> bool {
        [".dockerenv", "run/.containerenv", "run/systemd/container"].iter().any(|file| self.exists(file))
    }

    /// Whether systemd manages this host.
    pub fn has_systemd(&self) -> bool {
        self.exists("run/systemd/system")
    }
}

/// How many numbers `0-3,8` names.
fn count_list(list: &str) -> Option<u64> {
    list.split(',').try_fold(0_u64, |sum, part| {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!(count_list("0-3,8"), Some(5));
        assert_eq!(count_list("0"), Some(1));
        for wrong in ["", "3-1", "a", "1-", "0-18446744073709551615"] {
            assert_eq!(count_list(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn files_that_are_no_good_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::at(dir.path());
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("words", b"many of them");
        write("binary", &[0xff, 0xfe]);
        write("empty", b" \n");
        write("large", &vec![b'1'; limits::CAPACITY_FILE_BYTES_MAX as usize + 1]);
        write("good", b"1400\t0\t2466177\n");
        let problem = |name: &str| host.numbers(name).unwrap_err().to_string();
        assert!(problem("missing").ends_with("missing: not there"));
        assert!(problem("words").ends_with("words: not understood: \"many of them\""));
        assert!(problem("binary").contains("not understood"));
        assert!(problem("empty").contains("not understood: \"\""));
        assert!(problem("large").contains("has more than"));
        assert!(problem("").contains("not a file"));
        assert_eq!(host.numbers("/good"), Ok(vec![1400, 0, 2_466_177]));
    }

    #[test]
    fn room_is_that_of_the_nearest_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (place, free) = Host::at(dir.path()).free_bytes(Path::new("/var/lib/podium")).unwrap();
        assert_eq!(place, dir.path());
        assert!(free > 0);
    }
}
