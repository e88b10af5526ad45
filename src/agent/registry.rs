//! Which modules and actions there are: those of the agent itself and the external ones that were found at the start.
//! Requests, status queries and the spool ask here, and nowhere else is a list of actions.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::output::Output;
use super::requests::{self, Asked, Verdict};
use super::work::Work;
use crate::pxp::{puppet_run, stop};

/// Reads the input of an action; `None` if it does not fit.
pub type Read = dyn Fn(Map<String, Value>) -> Option<Box<dyn Work>> + Send + Sync;

/// What is done about a request.
pub enum Handling {
    /// Answered, or handed on, at once; such requests are always blocking. `None` if the input does not fit.
    AtOnce(fn(&Asked, usize) -> Option<Verdict>),
    /// Work for a thread.
    Work {
        /// Reads the input.
        read: Box<Read>,
        /// Reads the output.
        output: Output,
    },
}

/// What an action's processes are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nothing: they act for the agent.
    OfAgent,
    /// What the settings say of tasks.
    OfTasks,
}

/// One action of a module.
pub struct Entry {
    /// The module's name.
    pub module: Box<str>,
    /// The action's name.
    pub action: Box<str>,
    /// What is done.
    pub handling: Handling,
    /// What its processes are held to.
    pub hold: Hold,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.module, self.action)
    }
}

impl Entry {
    fn at_once(module: &str, action: &str, handle: fn(&Asked, usize) -> Option<Verdict>) -> Self {
        Self { module: module.into(), action: action.into(), handling: Handling::AtOnce(handle), hold: Hold::OfAgent }
    }

    /// An action that is work for a thread.
    pub fn work(
        module: &str,
        action: &str,
        output: Output,
        read: impl Fn(Map<String, Value>) -> Option<Box<dyn Work>> + Send + Sync + 'static,
    ) -> Self {
        let handling = Handling::Work { read: Box::new(read), output };
        Self { module: module.into(), action: action.into(), handling, hold: Hold::OfAgent }
    }

    /// The same, held as tasks are.
    pub fn held(self) -> Self {
        Self { hold: Hold::OfTasks, ..self }
    }
}

/// What a request asks for.
pub enum Found<'a> {
    /// This.
    Entry(&'a Arc<Entry>),
    /// Another action of the module.
    UnknownAction,
    /// No module of this name.
    UnknownModule,
}

/// All actions.
#[derive(Debug)]
pub struct Registry {
    entries: Vec<Arc<Entry>>,
    /// How many of them are not of external modules.
    own: usize,
}

impl Registry {
    /// What every agent answers at once, and the given work. The first entry of a name counts.
    pub fn new(work: Vec<Entry>) -> Self {
        let at_once = [
            Entry::at_once("echo", "echo", requests::echo),
            Entry::at_once("ping", "ping", requests::ping),
            Entry::at_once("status", "query", requests::query),
            Entry::at_once(stop::MODULE, stop::ACTION, requests::stop),
        ];
        let entries: Vec<Arc<Entry>> = at_once.into_iter().chain(work).map(Arc::new).collect();
        Self { own: entries.len(), entries }
    }

    /// Whether a module of this name may be added; the error says why not.
    pub fn vacant(&self, module: &str) -> Result<(), String> {
        if self.entries.iter().all(|entry| &*entry.module != module) {
            return Ok(());
        }
        Err(match module {
            puppet_run::MODULE => "it is built into this agent, so this file is not needed".to_owned(),
            _ => format!("Ignoring attempt to re-register module: {module}"),
        })
    }

    /// Adds the actions of an external module.
    pub fn add(&mut self, actions: Vec<Entry>) {
        self.entries.extend(actions.into_iter().map(Arc::new));
    }

    /// The modules that have been added.
    pub fn external(&self) -> Vec<String> {
        let mut names: Vec<String> = self.entries[self.own..].iter().map(|entry| entry.module.to_string()).collect();
        names.dedup();
        names
    }

    /// The action of a request.
    pub fn find(&self, module: &str, action: &str) -> Found<'_> {
        let mut of_module = self.entries.iter().filter(|entry| &*entry.module == module).peekable();
        if of_module.peek().is_none() {
            return Found::UnknownModule;
        }
        of_module.find(|entry| &*entry.action == action).map_or(Found::UnknownAction, Found::Entry)
    }

    /// How the output of an action is read; `None` if this agent does not have it.
    pub fn output(&self, module: &str, action: &str) -> Option<&Output> {
        match self.find(module, action) {
            Found::Entry(entry) => match &entry.handling {
                Handling::AtOnce(_) => Some(&Output::Text),
                Handling::Work { output, .. } => Some(output),
            },
            Found::UnknownAction | Found::UnknownModule => None,
        }
    }
}
