//! `file download`: files, directories and symbolic links onto the node (pxp-agent, file module). Entries are done in
//! order and the first error ends the action; a file appears whole or not at all.
//!
//! pxp-agent changes the mode of a link's target, and leaves a link alone that points elsewhere; this agent makes the
//! link point where it was told and touches nothing else.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::OFlags;
use serde::Deserialize;

use crate::agent::files;
use crate::agent::output::Output;
use crate::agent::registry::Entry;
use crate::agent::stop::STOPPED_BEFORE;
use crate::agent::work::{Room, Step, Work};
use crate::pxp::response::ProcessResults;
use crate::pxp::task::{FileUri, TaskFile};

/// The action.
pub fn entry() -> Entry {
    Entry::work("file", "download", Output::Text, |params| {
        let download: Download = super::read(params)?;
        Some(Box::new(download))
    })
}

#[derive(Debug, Deserialize)]
struct Download {
    files: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    destination: String,
    link_source: String,
    uri: FileUri,
    sha256: String,
    kind: String,
}

impl Work for Download {
    fn subject(&self) -> String {
        format!("download of {} entries", self.files.len())
    }

    fn prepare(&self, room: &Room<'_>) -> Result<Step, String> {
        for item in &self.files {
            if (room.is_stopped)() {
                return Err(STOPPED_BEFORE.into());
            }
            item.put(room)?;
        }
        Ok(Step::Done(ProcessResults { exitcode: 0, stdout: Some("downloaded".into()), stderr: None }))
    }
}

impl Item {
    fn put(&self, room: &Room<'_>) -> Result<(), String> {
        let destination = Path::new(&self.destination);
        if !destination.is_absolute() || self.destination.contains('\0') {
            return Err(format!("Destination {:?} must be an absolute path", self.destination));
        }
        match self.kind.as_str() {
            "file" => self.file(destination, room),
            "directory" => directory(destination),
            "symlink" => self.link(destination),
            other => Err(format!("Not a valid file type! {other}")),
        }
    }

    fn file(&self, destination: &Path, room: &Room<'_>) -> Result<(), String> {
        let file = TaskFile {
            filename: self.destination.clone(),
            sha256: self.sha256.clone(),
            size_bytes: None,
            uri: self.uri.clone(),
        };
        room.cache.place(&file, destination)
    }

    fn link(&self, destination: &Path) -> Result<(), String> {
        match destination.symlink_metadata() {
            Ok(metadata) if !metadata.is_symlink() => {
                return Err(format!("Destination {:?} already exists and is not a symlink!", self.destination));
            }
            Ok(_) if fs::read_link(destination).is_ok_and(|to| to == Path::new(&self.link_source)) => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        let beside = destination.with_file_name(files::random_name(".podium-"));
        let parent = destination.parent().unwrap_or(destination);
        let made = files::create_directory(parent)
            .and_then(|()| symlink(&self.link_source, &beside))
            .and_then(|()| fs::rename(&beside, destination));
        made.map_err(|error| {
            // Gone already unless the renaming failed.
            let _ = fs::remove_file(&beside);
            format!("the link {:?} cannot be made: {error}", self.destination)
        })
    }
}

/// What exists keeps its mode: a server that names `/etc` must not lock everybody else out of it. A link is not followed,
/// because whoever may write beside it would choose what root makes its own.
fn directory(destination: &Path) -> Result<(), String> {
    let shown = destination.display();
    match destination.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(format!("Destination {shown:?} already exists and is not a directory!")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("the directory {shown:?} cannot be made: {error}")),
    }
    let made = destination.parent().map_or(Ok(()), files::create_directory).and_then(|()| {
        DirBuilder::new().mode(files::DIRECTORY_MODE).create(destination)?;
        // The umask may have taken from the mode; and no link that somebody puts there meanwhile is followed.
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits();
        let made = OpenOptions::new().read(true).custom_flags(flags as i32).open(destination)?;
        made.set_permissions(Permissions::from_mode(files::DIRECTORY_MODE))
    });
    made.map_err(|error| format!("the directory {shown:?} cannot be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn only_a_directory_that_is_made_gets_a_mode() {
        let root = tempfile::tempdir().unwrap();
        let old = root.path().join("old");
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();
        directory(&old).unwrap();
        directory(&old.join("new/inner")).unwrap();
        assert_eq!([mode(&old), mode(&old.join("new")), mode(&old.join("new/inner"))], [0o755, 0o750, 0o750]);
    }

    #[test]
    fn a_link_is_no_directory() {
        let root = tempfile::tempdir().unwrap();
        let (to, link) = (root.path().join("to"), root.path().join("link"));
        fs::create_dir(&to).unwrap();
        fs::set_permissions(&to, Permissions::from_mode(0o755)).unwrap();
        for target in [&to, &root.path().join("missing")] {
            symlink(target, &link).unwrap();
            let error = directory(&link).unwrap_err();
            assert_eq!(error, format!("Destination {:?} already exists and is not a directory!", link.display()));
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(mode(&to), 0o755);
        assert!(!root.path().join("missing").exists());
    }
}
