//! Files of modules in the Puppet language: where plans, functions and types are by their names, read so that nothing of
//! them leads out of its module or holds up a thread.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Read, about};
use crate::limits::{PLAN_DIRECTORIES_DEPTH_MAX, PLAN_FILES_MAX, PUPPET_SOURCE_BYTES_MAX};
use crate::orchestrator::sources::code_dir::{Environment, is_plain_name};
use crate::orchestrator::sources::files::{Identity, open_regular};
use crate::puppet_lang::{Definitions, Loader, Source};

/// A plan's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFile {
    /// Where it is.
    pub path: PathBuf,
    /// For people: module and path below it.
    pub shown: String,
    /// What it is written in.
    pub language: Language,
}

/// What a plan is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `.pp`.
    Puppet,
    /// `.yaml`.
    Yaml,
}

const LANGUAGES: [(&str, Language); 2] = [("pp", Language::Puppet), ("yaml", Language::Yaml)];

/// All plans by name.
pub fn plans(modules: &BTreeMap<String, PathBuf>) -> BTreeMap<String, PlanFile> {
    let mut found = BTreeMap::new();
    for (module, dir) in modules {
        let Ok(plans) = dir.join("plans").canonicalize() else { continue };
        if plans.starts_with(dir) {
            find(&Below { module, dir }, &plans, &mut vec![], &mut found);
        }
    }
    found
}

struct Below<'a> {
    module: &'a str,
    dir: &'a Path,
}

fn find(below: &Below<'_>, at: &Path, names: &mut Vec<String>, found: &mut BTreeMap<String, PlanFile>) {
    let Ok(entries) = fs::read_dir(at) else { return };
    for entry in entries.flatten() {
        if found.len() >= PLAN_FILES_MAX {
            return;
        }
        let Ok(file_name) = entry.file_name().into_string() else { continue };
        // A link to a directory could lead round in circles, and no module has one there.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if is_plain_name(&file_name) && names.len() < PLAN_DIRECTORIES_DEPTH_MAX {
                names.push(file_name);
                find(below, &entry.path(), names, found);
                names.pop();
            }
            continue;
        }
        let Some((stem, extension)) = file_name.rsplit_once('.') else { continue };
        let language = LANGUAGES.iter().find(|(known, _)| *known == extension);
        let (Some((_, language)), true) = (language, is_plain_name(stem)) else { continue };
        let Some(path) = within(below.dir, &entry.path()).filter(|path| path.is_file()) else { continue };
        let mut parts: Vec<&str> = [below.module].into_iter().chain(names.iter().map(String::as_str)).collect();
        let shown = format!("{}/plans/{}", below.module, [&parts[1..], &[file_name.as_str()]].concat().join("/"));
        if stem != "init" || !names.is_empty() {
            parts.push(stem);
        }
        let name = parts.join("::");
        let file = PlanFile { path, shown, language: *language };
        // Of two files for one name the one in the Puppet language counts, whichever comes first.
        if *language == Language::Puppet || !found.contains_key(&name) {
            found.insert(name, file);
        }
    }
}

/// The file of one plan.
pub fn plan(modules: &BTreeMap<String, PathBuf>, name: &str) -> Option<PlanFile> {
    LANGUAGES.iter().find_map(|(extension, language)| {
        let (path, shown) = named(modules, "plans", name, extension)?;
        Some(PlanFile { path, shown, language: *language })
    })
}

/// The file of a name: `module::a::b` is `a/b`, and `module` is `init`.
fn named(modules: &BTreeMap<String, PathBuf>, kind: &str, name: &str, extension: &str) -> Option<(PathBuf, String)> {
    let mut parts = name.split("::");
    let module = parts.next()?;
    let dir = modules.get(module)?;
    let mut parts: Vec<&str> = parts.collect();
    if parts.is_empty() {
        parts.push("init");
    }
    if parts.len() > PLAN_DIRECTORIES_DEPTH_MAX || !parts.iter().all(|part| is_plain_name(part)) {
        return None;
    }
    let below = format!("{kind}/{}.{extension}", parts.join("/"));
    let path = within(dir, &dir.join(&below)).filter(|path| path.is_file())?;
    Some((path, format!("{module}/{below}")))
}

fn within(dir: &Path, path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|path| path.starts_with(dir))
}

/// Reads a file with code, and tells how to notice that it changes.
pub fn read(path: &Path, shown: &str) -> (Option<Identity>, Read) {
    let opened = open_regular(path).map_err(|error| about(shown, format!("the file cannot be read: {error}")));
    let (file, status) = match opened {
        Ok(opened) => opened,
        Err(error) => return (None, Err(error)),
    };
    let limit = u64::try_from(PUPPET_SOURCE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    let read = match file.take(limit.saturating_add(1)).read_to_string(&mut text) {
        Err(error) => Err(about(shown, format!("the file cannot be read as UTF-8 text: {error}"))),
        Ok(_) if text.len() > PUPPET_SOURCE_BYTES_MAX => {
            Err(about(shown, format!("the file has more than {PUPPET_SOURCE_BYTES_MAX} bytes; split it")))
        }
        Ok(_) => Ok(Source::new(shown, text)),
    };
    (Some(Identity::of(&status)), read)
}

/// The modules of an environment, for the language.
pub struct Modules(BTreeMap<String, PathBuf>);

impl Modules {
    /// Those of this environment.
    pub fn of(environment: &Environment) -> Self {
        Self(environment.modules.clone())
    }
}

impl Loader for Modules {
    fn load(&self, kind: Definitions, name: &str) -> Option<(String, String)> {
        let dir = match kind {
            Definitions::Function => "functions",
            Definitions::Plan => "plans",
            Definitions::Type => "types",
        };
        let (path, shown) = named(&self.0, dir, &name.to_lowercase(), "pp")?;
        let source = read(&path, &shown).1.ok()?;
        Some((shown, source.text.clone()))
    }
}
