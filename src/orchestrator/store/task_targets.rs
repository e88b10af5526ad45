//! Task targets, stored.

use super::StoreError;
use crate::orchestrator::model::TaskTarget;

/// Keeps task targets.
pub trait TaskTargetStore {
    /// All, by number.
    fn task_targets(&self) -> Result<Vec<TaskTarget>, StoreError>;

    /// One.
    fn task_target(&self, id: i64) -> Result<Option<TaskTarget>, StoreError>;
}
