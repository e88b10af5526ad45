//! The embedded classifier's groups, stored.

use super::StoreError;
use crate::orchestrator::classifier::Group;

/// Keeps groups.
pub trait GroupsStore {
    /// All groups, by id, and the number of their last change.
    fn groups(&self) -> Result<(Vec<Group>, i64), StoreError>;
}

/// A change of groups that was made looking at revision `seen`; it is refused if there has been another one since, because
/// names must be unique and parents must exist.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupsChange {
    /// Revision of the groups on which the change is based.
    pub seen: i64,
    /// A group that is added or replaced.
    pub set: Option<Group>,
    /// A group that is no more.
    pub removed: Option<String>,
}
