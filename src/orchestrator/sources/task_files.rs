//! Which files belong to a task (puppet-specifications, tasks; Puppet::Module::Task): the executable or every
//! implementation, then the extra files that the metadata name, directories expanded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::code_dir::{Environment, FoundTask, full_name, read_object, single};
use super::files::Hashes;
use crate::limits::{TASK_DIRECTORY_DEPTH_MAX, TASK_FILES_MAX};
use crate::orchestrator::tasks::metadata::TaskMetadata;
use crate::pxp::task::{FileUri, TaskFile};

/// Why a task cannot be run by anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenTask {
    /// Puppet's kind: `puppet.tasks/unparseable-metadata` and the like.
    pub kind: &'static str,
    /// For its author.
    pub message: String,
}

fn broken<T>(kind: &'static str, message: String) -> Result<T, BrokenTask> {
    Err(BrokenTask { kind, message })
}

const UNPARSEABLE: &str = "puppet.tasks/unparseable-metadata";
const NO_IMPLEMENTATION: &str = "puppet.tasks/no-implementation";
const MULTIPLE_IMPLEMENTATIONS: &str = "puppet.tasks/multiple-implementations";
const INVALID_FILE: &str = "puppet.tasks/invalid-file";

/// A file of a task on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedFile {
    /// For the agent: `init.rb`, or `<module>/<mount>/<path>`.
    pub filename: String,
    /// Where agents fetch it.
    pub uri_path: String,
    /// Where it is.
    pub path: PathBuf,
}

impl LocatedFile {
    /// With hash and length.
    pub fn hash(&self, environment: &str, hashes: &Hashes) -> Result<TaskFile, BrokenTask> {
        let (sha256, length) = hashes.of(&self.path).or_else(|error| {
            broken(INVALID_FILE, format!("the file {} cannot be read: {error}", self.path.display()))
        })?;
        Ok(TaskFile {
            filename: self.filename.clone(),
            sha256,
            size_bytes: Some(length),
            uri: FileUri {
                path: self.uri_path.clone(),
                params: BTreeMap::from([("environment".to_owned(), environment.to_owned())]),
            },
        })
    }
}

/// Reads a task's metadata, as it is and as we understand it.
pub(super) fn read_metadata(found: &FoundTask) -> Result<(Map<String, Value>, TaskMetadata), BrokenTask> {
    let Some(path) = &found.metadata else { return Ok((Map::new(), TaskMetadata::default())) };
    let unparseable =
        |cause: String| BrokenTask { kind: UNPARSEABLE, message: format!("Error reading metadata: {cause}") };
    let raw = read_object(path).map_err(unparseable)?;
    let metadata = TaskMetadata::read(&raw).map_err(unparseable)?;
    Ok((raw, metadata))
}

/// All files of a task, each once.
pub(super) fn check_files(
    environment: &Environment,
    module: &str,
    name: &str,
    found: &FoundTask,
    raw: &Map<String, Value>,
    metadata: &TaskMetadata,
) -> Result<Vec<LocatedFile>, BrokenTask> {
    let task = full_name(module, name);
    let dir = environment.modules[module].join("tasks");
    let mut files: Vec<LocatedFile> = Vec::new();
    let mut executable = |file: &str| {
        files.push(LocatedFile {
            filename: file.to_owned(),
            uri_path: format!("/puppet/v3/file_content/tasks/{module}/{file}"),
            path: dir.join(file),
        });
    };
    if raw.get("implementations").is_some_and(|list| !list.is_null()) {
        for implementation in &metadata.implementations {
            let file = &implementation.name;
            if single(file).is_none() || !dir.join(file).is_file() {
                let message = format!("Task metadata for task {task} specifies missing implementation {file}");
                return broken("puppet.tasks/missing-implementation", message);
            }
            executable(file);
        }
    } else if let [one] = found.executables.as_slice() {
        executable(one);
    } else if found.executables.len() > 1 {
        let message = format!(
            "Multiple executables were found in directory {} for task {task}; define 'implementations' in metadata to \
             differentiate between them",
            dir.display()
        );
        return broken(MULTIPLE_IMPLEMENTATIONS, message);
    }
    if files.is_empty() {
        let message =
            format!("No source besides task metadata was found in directory {} for task {task}", dir.display());
        return broken(NO_IMPLEMENTATION, message);
    }
    let entries = metadata.files.iter().chain(metadata.implementations.iter().flat_map(|one| &one.files));
    let mut visited = 0;
    for entry in entries.collect::<BTreeSet<_>>() {
        add_extra(environment, entry, &mut files, &mut visited)?;
    }
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(file.filename.clone()));
    Ok(files)
}

/// Adds what an entry `<module>/<mount>/<path>` of the metadata means.
fn add_extra(
    environment: &Environment,
    entry: &str,
    files: &mut Vec<LocatedFile>,
    visited: &mut usize,
) -> Result<(), BrokenTask> {
    let invalid = |why: &str| broken(INVALID_FILE, format!("the extra file '{entry}' {why}"));
    let parts: Option<Vec<&str>> = entry.strip_suffix('/').unwrap_or(entry).split('/').map(single).collect();
    let Some([module, mount, path @ ..]) = parts.as_deref() else {
        return invalid("is not of the form <module>/<mount>/<path> without `.` and `..`");
    };
    if !matches!(*mount, "files" | "lib" | "scripts" | "tasks") {
        return invalid("is not below files, lib, scripts or tasks of a module");
    }
    let Some(module_dir) = environment.modules.get(*module) else {
        return invalid("belongs to a module that is not in the environment");
    };
    let relative: PathBuf = std::iter::once(mount).chain(path).collect();
    let Ok(on_disk) = module_dir.join(&relative).canonicalize() else { return invalid("does not exist") };
    if !on_disk.starts_with(module_dir) {
        return invalid("is a link that leaves its module");
    }
    if on_disk.is_dir() != entry.ends_with('/') {
        return invalid("must end with a slash if and only if it is a directory");
    }
    let mut walk = Walk { module, mount, module_dir, files, visited };
    walk.add(&path.join("/"), &module_dir.join(&relative), 0)
}

/// What stays the same while a directory is walked.
struct Walk<'a> {
    module: &'a str,
    mount: &'a str,
    module_dir: &'a Path,
    files: &'a mut Vec<LocatedFile>,
    /// Files and directories looked at for the task so far.
    visited: &'a mut usize,
}

impl Walk<'_> {
    fn add(&mut self, below: &str, path: &Path, depth: usize) -> Result<(), BrokenTask> {
        let invalid = |why: &str| broken(INVALID_FILE, format!("the extra file {} {why}", path.display()));
        // Directories count too: two links to each next one make a million of twenty.
        *self.visited += 1;
        if *self.visited > TASK_FILES_MAX {
            return invalid(&format!("is one too many: a task has at most {TASK_FILES_MAX} files and directories"));
        }
        if !path.canonicalize().is_ok_and(|path| path.starts_with(self.module_dir)) {
            return invalid("is a link that leaves its module");
        }
        if path.is_file() {
            let located = self.located(below, path);
            self.files.push(located);
            return Ok(());
        }
        if depth >= TASK_DIRECTORY_DEPTH_MAX {
            return invalid(&format!("is nested more than {TASK_DIRECTORY_DEPTH_MAX} directories deep"));
        }
        let Ok(entries) = fs::read_dir(path) else { return invalid("cannot be listed") };
        let mut names: Vec<_> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        for name in names {
            let child = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            let path = path.join(&name);
            if path.is_dir() || path.is_file() {
                self.add(&child, &path, depth + 1)?;
            }
        }
        Ok(())
    }

    fn located(&self, below: &str, path: &Path) -> LocatedFile {
        let Self { module, mount, .. } = self;
        let uri_path = match *mount {
            "files" => format!("/puppet/v3/file_content/modules/{module}/{below}"),
            "lib" => format!("/puppet/v3/file_content/plugins/{below}"),
            mount => format!("/puppet/v3/file_content/{mount}/{module}/{below}"),
        };
        LocatedFile { filename: format!("{module}/{mount}/{below}"), uri_path, path: path.to_owned() }
    }
}
