//! Task targets (orchestrator API v1, `command/task_target` and `scopes/task_targets`): tasks and nodes under one number,
//! which roles are granted.

use std::sync::{Arc, Mutex, PoisonError};

use super::model::{Refusal, RefusalKind, TaskTarget};
use super::store::{Change, Store};
use crate::limits::{TASK_TARGET_BYTES_MAX, TASK_TARGETS_MAX};

/// The task targets.
pub struct TaskTargets {
    store: Arc<dyn Store>,
    /// Held by whoever adds one.
    adding: Mutex<()>,
}

impl TaskTargets {
    /// Those in `store`.
    pub const fn new(store: Arc<dyn Store>) -> Self {
        Self { store, adding: Mutex::new(()) }
    }

    /// Adds one, whatever number it says, and gives it the next. Tasks, nodes and groups need not exist, and the query is
    /// first understood when it is asked.
    pub fn create(&self, mut target: TaskTarget) -> Result<i64, Refusal> {
        let refuse = |message: String| Err(Refusal::new(RefusalKind::ValidationError, message));
        let bytes = serde_json::to_string(&target).map_or(0, |text| text.len());
        if bytes > TASK_TARGET_BYTES_MAX {
            let advice = "choose nodes with a query instead of by name";
            return refuse(format!(
                "The task target has {bytes} bytes and may have {TASK_TARGET_BYTES_MAX}: {advice}."
            ));
        }
        let _turn = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.store.task_targets()?;
        if known.len() >= TASK_TARGETS_MAX {
            return refuse(format!("There are {TASK_TARGETS_MAX} task targets, and there cannot be more."));
        }
        target.id = known.last().map_or(1, |last| last.id + 1);
        let id = target.id;
        self.store.commit(vec![Change::TaskTargetCreated(target)])?;
        Ok(id)
    }

    /// All, by number.
    pub fn all(&self) -> Result<Vec<TaskTarget>, Refusal> {
        Ok(self.store.task_targets()?)
    }

    /// One.
    pub fn one(&self, id: i64) -> Result<TaskTarget, Refusal> {
        let unknown = || {
            let refusal = Refusal::new(RefusalKind::UnknownTaskTarget, format!("Unknown task target {id}"));
            refusal.with("task_target", id.to_string())
        };
        self.store.task_target(id)?.ok_or_else(unknown)
    }
}
