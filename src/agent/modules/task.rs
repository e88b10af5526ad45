//! `task run`: the chosen implementation from the cache, extra files around it in an install directory, parameters on
//! standard input, in the environment, or both (pxp-agent, task module).

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::agent::files;
use crate::agent::output::Output;
use crate::agent::registry::Entry;
use crate::agent::task::{self, Choice, InputMethod};
use crate::agent::task_cache::TaskCache;
use crate::agent::work::{Prepared, Room, Step, Work};
use crate::pxp::task::TaskRun;

/// The action.
pub fn entry() -> Entry {
    Entry::work("task", "run", Output::Text, |params| Some(Box::new(task::read(params)?))).held()
}

impl Work for TaskRun {
    fn subject(&self) -> String {
        format!("task {:?}", self.task)
    }

    fn prepare(&self, room: &Room<'_>) -> Result<Step, String> {
        let choice = task::choose(self)?;
        let cached = room.cache.get(&choice.executable, &choice.basename)?;
        let (executable, input) = if choice.extras.is_empty() {
            (cached, task::input(self, None))
        } else {
            let executable = install(room.cache, &choice, &cached, room.install_dir)?;
            (executable, task::input(self, Some(&room.install_dir.to_string_lossy())))
        };
        let environment = match choice.method {
            InputMethod::Stdin => BTreeMap::new(),
            InputMethod::Environment | InputMethod::Both => task::environment(&input)?,
        };
        let input = match choice.method {
            InputMethod::Environment => String::new(),
            InputMethod::Stdin | InputMethod::Both => serde_json::Value::Object(input).to_string(),
        };
        Ok(Step::Execute(Prepared { executable, arguments: Vec::new(), environment, input }))
    }
}

/// Copies the extra files and the executable below the install directory; returns the executable's place.
fn install(cache: &TaskCache, choice: &Choice, cached: &Path, install_dir: &Path) -> Result<PathBuf, String> {
    for (file, place) in &choice.extras {
        let basename = file.filename.rsplit('/').next().unwrap_or_default();
        copy(&cache.get(file, basename)?, &install_dir.join(place))?;
    }
    let executable = install_dir.join(&choice.place);
    copy(cached, &executable)?;
    Ok(executable)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copied = files::create_directory(to.parent().unwrap_or(Path::new("/")))
        .and_then(|()| fs::copy(from, to))
        .and_then(|_| fs::set_permissions(to, Permissions::from_mode(files::DIRECTORY_MODE)));
    copied.map_err(|error| format!("{} cannot be put in place: {error}", to.display()))
}
