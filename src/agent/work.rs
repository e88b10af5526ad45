//! What the actions of all modules have in common: a request that has been read becomes [`Work`], which gets ready
//! what it needs and then either says what is to be executed or has done everything itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::passwd::User;
use super::task_cache::TaskCache;
use crate::pxp::response::ProcessResults;

/// One request's work. Its `Debug` form may hold parameters and never goes into a log.
pub trait Work: fmt::Debug + Send {
    /// What it is about, for the log: names, never values of parameters.
    fn subject(&self) -> String;

    /// Gets everything ready. The error is for the controller.
    fn prepare(&self, room: &Room<'_>) -> Result<Step, String>;
}

/// Where work is prepared.
pub struct Room<'a> {
    /// Files from the primary servers.
    pub cache: &'a TaskCache,
    /// A directory that may be created; it goes when the results go, or earlier.
    pub install_dir: &'a Path,
    /// Whose rights it will have, if not the agent's.
    pub task_user: Option<&'a User>,
    /// Whether the request has been stopped by now.
    pub is_stopped: &'a dyn Fn() -> bool,
}

/// What comes after the preparation.
#[derive(Debug)]
pub enum Step {
    /// Run this.
    Execute(Prepared),
    /// Everything is done.
    Done(ProcessResults),
}

/// What is to be executed.
#[derive(Debug)]
pub struct Prepared {
    /// Executed directly.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to the agent's environment.
    pub environment: BTreeMap<String, String>,
    /// Its whole standard input.
    pub input: String,
}
