//! Puppet's code directory on this host: `environments/<name>/` with `environment.conf`, the modules on its path, their
//! tasks and type aliases, read anew for every question, so that edits count at once. What Puppet Server answers for the
//! same directory is the yardstick.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value, json};

use super::files::{Hashes, open_regular};
use super::task_files::{self, BrokenTask};
use super::{EnvironmentListing, broken_task, check_environment_name, unknown_environment};
use crate::limits::METADATA_BYTES_MAX;
use crate::orchestrator::CodeFile;
use crate::orchestrator::model::{Refusal, RefusalKind, TaskDetail, TaskListing};
use crate::orchestrator::plans::Outlines;
use crate::orchestrator::tasks::metadata::TaskMetadata;

/// Modules that packages of the distribution install.
const PACKAGED_MODULES: &str = "/usr/share/puppet/modules";

/// A code directory.
pub struct CodeDir {
    root: PathBuf,
    base_module_path: Vec<PathBuf>,
    hashes: Hashes,
    outlines: Outlines,
}

/// An environment as it is on disk now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Modules by name, each with its directory, links resolved.
    pub modules: BTreeMap<String, PathBuf>,
    /// Names of the modules in the order of the path.
    order: Vec<String>,
}

/// A task of a module, found on disk.
pub(super) struct FoundTask {
    /// The metadata file, if there is one.
    pub metadata: Option<PathBuf>,
    /// Names of the other files of this name.
    pub executables: Vec<String>,
}

impl CodeDir {
    /// The code directory `root`; modules of the distribution's packages are at the end of every base module path.
    pub fn new(root: &Path) -> Self {
        let packaged = PathBuf::from(PACKAGED_MODULES);
        Self::with_base_module_path(root, vec![root.join("modules"), packaged])
    }

    /// The code directory `root` with another base module path.
    pub fn with_base_module_path(root: &Path, base_module_path: Vec<PathBuf>) -> Self {
        Self { root: root.to_owned(), base_module_path, hashes: Hashes::default(), outlines: Outlines::default() }
    }

    /// What is known of files of plans.
    pub fn outlines(&self) -> &Outlines {
        &self.outlines
    }

    /// Reads an environment; `validation-error` for an illegal name, `unknown-environment` if there is none.
    pub fn environment(&self, name: &str) -> Result<Environment, Refusal> {
        let dir = self.directory(name)?;
        let mut environment = Environment { name: name.to_owned(), modules: BTreeMap::new(), order: vec![] };
        for path in self.module_path(&dir, name) {
            environment.add_modules(&path);
        }
        Ok(environment)
    }

    fn directory(&self, name: &str) -> Result<PathBuf, Refusal> {
        check_environment_name(name)?;
        let dir = self.root.join("environments").join(name);
        if dir.is_dir() { Ok(dir) } else { Err(unknown_environment(name)) }
    }

    /// All environments with their settings, sorted by name.
    pub fn environments(&self) -> Vec<EnvironmentListing> {
        let Ok(entries) = fs::read_dir(self.root.join("environments")) else { return vec![] };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut listings: Vec<_> = names.filter_map(|name| self.listing(&name).ok()).collect();
        listings.sort_by(|a, b| a.name.cmp(&b.name));
        listings
    }

    /// An environment with its settings; refusals are those of [`Self::environment`].
    pub fn listing(&self, name: &str) -> Result<EnvironmentListing, Refusal> {
        let dir = self.directory(name)?;
        let text = read_text(&dir.join("environment.conf")).unwrap_or_default();
        let timeout = match setting(&text, "environment_timeout").unwrap_or("0") {
            "unlimited" => json!("unlimited"),
            seconds => seconds.parse::<u64>().map_or_else(|_| json!(seconds), |seconds| json!(seconds)),
        };
        let paths = self.module_path(&dir, name);
        let settings = Map::from_iter([
            ("modulepath".to_owned(), paths.iter().map(|path| json!(path.to_string_lossy())).collect()),
            (
                "manifest".to_owned(),
                json!(dir.join(setting(&text, "manifest").unwrap_or("manifests")).to_string_lossy()),
            ),
            ("environment_timeout".to_owned(), timeout),
            ("config_version".to_owned(), json!(setting(&text, "config_version").unwrap_or_default())),
        ]);
        Ok(EnvironmentListing { name: name.to_owned(), settings })
    }

    /// The module path of an environment, by its `environment.conf`.
    fn module_path(&self, dir: &Path, name: &str) -> Vec<PathBuf> {
        let text = read_text(&dir.join("environment.conf")).unwrap_or_default();
        let setting = setting(&text, "modulepath").unwrap_or("modules:$basemodulepath");
        let mut paths = Vec::new();
        for entry in setting.split(':').map(str::trim).filter(|entry| !entry.is_empty()) {
            if matches!(entry, "$basemodulepath" | "${basemodulepath}") {
                paths.extend(self.base_module_path.iter().cloned());
                continue;
            }
            let code_dir = self.root.to_string_lossy();
            let entry = entry.replace("${codedir}", &code_dir).replace("$codedir", &code_dir);
            let entry = entry.replace("${environment}", name).replace("$environment", name);
            // An absolute entry replaces the directory.
            paths.push(dir.join(entry));
        }
        paths
    }

    /// The tasks of an environment, sorted; broken ones are left out.
    pub fn tasks(&self, environment: &Environment) -> Vec<TaskListing> {
        let mut listings = Vec::new();
        for (module, dir) in &environment.modules {
            for (name, found) in find_tasks(dir) {
                let Ok((raw, metadata)) = task_files::read_metadata(&found) else { continue };
                if task_files::check_files(environment, module, &name, &found, &raw, &metadata).is_err() {
                    continue;
                }
                let name = full_name(module, &name);
                listings.push(TaskListing { name, private: metadata.private, description: metadata.description });
            }
        }
        listings.sort_by(|a, b| a.name.cmp(&b.name));
        listings
    }

    /// One task with its files hashed; `name` is `init` for the module's own. `unknown-task` if there is none,
    /// `validation-error` with Puppet's kind in `details.kind` if it is broken.
    pub fn task(
        &self,
        environment: &Environment,
        module: &str,
        name: &str,
    ) -> Result<(TaskDetail, TaskMetadata), Refusal> {
        let full = full_name(module, name);
        let found = environment.modules.get(module).and_then(|dir| find_tasks(dir).remove(name));
        let found = found.ok_or_else(|| {
            let message = match environment.modules.contains_key(module) {
                true => format!("Could not find task '{full}' in environment {}", environment.name),
                false => format!("Could not find module '{module}' in environment {}", environment.name),
            };
            Refusal::new(RefusalKind::UnknownTask, message).with("task", full.as_str())
        })?;
        let broken = |broken: BrokenTask| broken_task(&full, broken.kind, &broken.message);
        let (raw, metadata) = task_files::read_metadata(&found).map_err(broken)?;
        let files = task_files::check_files(environment, module, name, &found, &raw, &metadata).map_err(broken)?;
        let files = files.iter().map(|file| file.hash(&environment.name, &self.hashes)).collect::<Result<_, _>>();
        let files = files.map_err(broken)?;
        Ok((TaskDetail { name: full, metadata: raw, files }, metadata))
    }

    /// The text of the file that defines the type alias `name` (`Module::Part`), if a module has it.
    pub fn type_alias(&self, environment: &Environment, name: &str) -> Option<String> {
        let mut parts = name.split("::").map(str::to_lowercase);
        let module = environment.modules.get(&parts.next()?)?;
        let mut path = module.join("types");
        let parts: Vec<String> = parts.collect();
        let (last, dirs) = parts.split_last()?;
        for part in dirs {
            path.push(single(part)?);
        }
        path.push(format!("{}.pp", single(last)?));
        // What a link out of the module leads to would be quoted in messages about its syntax.
        let path = path.canonicalize().ok()?;
        if !path.starts_with(module) {
            return None;
        }
        read_text(&path)
    }

    /// A file by Puppet Server's mounts; see [`crate::orchestrator::Orchestrator::code_file`].
    pub fn code_file(&self, environment: &Environment, mount_path: &str) -> Result<Option<CodeFile>, Refusal> {
        let illegal = || {
            let message = format!("Invalid relative path (.. or .) in: {mount_path}");
            Refusal::new(RefusalKind::ValidationError, message)
        };
        let parts: Vec<&str> = mount_path.split('/').map(single).collect::<Option<_>>().ok_or_else(illegal)?;
        let candidates: Vec<(&PathBuf, &str, &[&str])> = match parts.as_slice() {
            ["plugins", path @ ..] => {
                let modules = environment.order.iter().filter_map(|name| environment.modules.get(name));
                modules.map(|dir| (dir, "lib", path)).collect()
            }
            [mount @ ("tasks" | "modules" | "scripts"), module, path @ ..] => {
                let mount = if *mount == "modules" { "files" } else { mount };
                environment.modules.get(*module).map(|dir| (dir, mount, path)).into_iter().collect()
            }
            _ => vec![],
        };
        for (module_dir, below, path) in candidates {
            let path: PathBuf = [below].iter().chain(path).collect();
            // Links may point elsewhere within the module, not out of it.
            let Ok(path) = module_dir.join(path).canonicalize() else { continue };
            if !path.starts_with(module_dir) {
                return Err(illegal());
            }
            if let Ok((file, status)) = open_regular(&path) {
                return Ok(Some(CodeFile { file, length: status.len() }));
            }
        }
        Ok(None)
    }
}

impl Environment {
    /// Adds the modules of one directory of the path; the first of a name wins.
    fn add_modules(&mut self, path: &Path) {
        let Ok(entries) = fs::read_dir(path) else { return };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !is_plain_name(&name) || self.modules.contains_key(&name) {
                continue;
            }
            // Debian installs modules as links to versioned directories.
            if let Ok(dir) = entry.path().canonicalize()
                && dir.is_dir()
            {
                self.order.push(name.clone());
                self.modules.insert(name, dir);
            }
        }
    }
}

/// A setting of an `environment.conf`; the last one counts.
fn setting<'t>(text: &'t str, wanted: &str) -> Option<&'t str> {
    text.lines().rev().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.split(" #").next().unwrap_or_default().trim();
        (key.trim() == wanted).then(|| value.trim_matches(['"', '\'']))
    })
}

/// `module::name`, or `module` for its `init`.
pub fn full_name(module: &str, name: &str) -> String {
    if name == "init" { module.to_owned() } else { format!("{module}::{name}") }
}

/// Module and name of a task's full name; `None` if it cannot be one.
pub fn split_name(task: &str) -> Option<(&str, &str)> {
    let (module, name) = task.split_once("::").unwrap_or((task, "init"));
    (is_plain_name(module) && is_plain_name(name)).then_some((module, name))
}

/// Whether `name` matches `\A[a-z][a-z0-9_]*\z`, the pattern of modules and tasks.
pub fn is_plain_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A single ordinary component of a path.
pub(super) fn single(part: &str) -> Option<&str> {
    let mut components = Path::new(part).components();
    let is_single = matches!(components.next(), Some(Component::Normal(name)) if name == part);
    (is_single && components.next().is_none() && !part.contains('\0')).then_some(part)
}

/// The files of a module's `tasks` directory by task name.
fn find_tasks(module_dir: &Path) -> BTreeMap<String, FoundTask> {
    let mut tasks: BTreeMap<String, FoundTask> = BTreeMap::new();
    let is_within = |path: &Path| path.canonicalize().is_ok_and(|path| path.starts_with(module_dir));
    let dir = module_dir.join("tasks");
    if !is_within(&dir) {
        return tasks;
    }
    let Ok(entries) = fs::read_dir(dir) else { return tasks };
    for entry in entries.flatten() {
        // Agents would not get what a link out of the module leads to, and nobody may read it as metadata.
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) && !is_within(&entry.path()) {
            continue;
        }
        let Ok(file_name) = entry.file_name().into_string() else { continue };
        let (name, extension) = file_name.rsplit_once('.').unwrap_or((&file_name, ""));
        if !is_plain_name(name) || matches!(extension, "md" | "conf") || !entry.path().is_file() {
            continue;
        }
        let task =
            tasks.entry(name.to_owned()).or_insert_with(|| FoundTask { metadata: None, executables: Vec::new() });
        match extension {
            "json" => task.metadata = Some(entry.path()),
            _ => task.executables.push(file_name),
        }
    }
    tasks
}

/// Reads a small text file.
fn read_text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let limit = u64::try_from(METADATA_BYTES_MAX).unwrap_or(u64::MAX);
    open_regular(path).ok()?.0.take(limit).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Reads a metadata file as the object it must be.
pub(super) fn read_object(path: &Path) -> Result<Map<String, Value>, String> {
    let text = read_text(path).ok_or_else(|| format!("{} cannot be read as UTF-8 text", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
