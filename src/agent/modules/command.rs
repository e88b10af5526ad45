//! `command run`: a line for the login shell of the user that the agent runs as, or tasks do (pxp-agent,
//! command module).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::agent::output::Output;
use crate::agent::passwd;
use crate::agent::registry::Entry;
use crate::agent::work::{Prepared, Room, Step, Work};

/// The action.
pub fn entry() -> Entry {
    Entry::work("command", "run", Output::Text, |params| {
        let command: CommandRun = super::read(params)?;
        Some(Box::new(command))
    })
    .held()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandRun {
    command: String,
}

impl Work for CommandRun {
    fn subject(&self) -> String {
        "a command".into()
    }

    fn prepare(&self, room: &Room<'_>) -> Result<Step, String> {
        let shell = match room.task_user {
            Some(user) => user.working_shell(),
            None => {
                passwd::own_user().ok_or("there is no passwd entry for this agent's user, so no shell is known")?.shell
            }
        };
        if self.command.contains('\0') {
            return Err("a command cannot contain a NUL character".into());
        }
        Ok(Step::Execute(Prepared {
            executable: shell,
            arguments: vec!["-c".into(), self.command.clone()],
            environment: BTreeMap::new(),
            input: String::new(),
        }))
    }
}
