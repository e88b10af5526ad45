//! `script run`: one file from the cache, executed with arguments (pxp-agent, script module).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::agent::output::Output;
use crate::agent::registry::Entry;
use crate::agent::task;
use crate::agent::work::{Prepared, Room, Step, Work};
use crate::pxp::task::TaskFile;

/// The action.
pub fn entry() -> Entry {
    Entry::work("script", "run", Output::Text, |params| {
        let script: ScriptRun = super::read(params)?;
        Some(Box::new(script))
    })
    .held()
}

#[derive(Debug, Deserialize)]
struct ScriptRun {
    script: TaskFile,
    arguments: Vec<String>,
}

impl Work for ScriptRun {
    fn subject(&self) -> String {
        format!("script {:?}", self.script.filename)
    }

    fn prepare(&self, room: &Room<'_>) -> Result<Step, String> {
        let basename = task::basename(&self.script.filename)
            .ok_or_else(|| format!("'{}' cannot be the name of a script", self.script.filename))?;
        if self.arguments.iter().any(|argument| argument.contains('\0')) {
            return Err("an argument of a script cannot contain a NUL character".into());
        }
        let executable = room.cache.get(&self.script, basename)?;
        let (arguments, input) = (self.arguments.clone(), String::new());
        Ok(Step::Execute(Prepared { executable, arguments, environment: BTreeMap::new(), input }))
    }
}
