//! What is kept about each day's use: how many nodes there were, and on how many something was done.

use super::StoreError;

/// Keeps figures of days, which are counted from 1970-01-01.
pub trait UsageStore {
    /// The days from `first` to `last` of which something is known, ascending.
    fn usage(&self, first: i64, last: i64) -> Result<Vec<UsageDay>, StoreError>;

    /// Brings the figures of all days up to date whose nodes are still kept: from the jobs that ran, and from the nodes that
    /// were seen. The nodes of days before `today` are then forgotten, and the figures of days before `first`.
    fn count_usage(&self, today: i64, first: i64) -> Result<(), StoreError>;
}

/// What is known of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageDay {
    /// Which.
    pub day: i64,
    /// Nodes that were connected.
    pub nodes: u64,
    /// Corrective changes of Puppet runs.
    pub corrective: u64,
    /// Other changes of Puppet runs.
    pub intentional: u64,
    /// Nodes on which a task was started.
    pub task_nodes: u64,
    /// Nodes on which a plan's task was started.
    pub plan_nodes: u64,
}

/// A change of what is kept about use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageChange {
    /// These nodes were connected.
    Seen {
        /// On which day.
        day: i64,
        /// Which.
        names: Vec<String>,
    },
    /// A day's figures but for [`UsageDay::nodes`], which is counted from what was seen.
    Counted(UsageDay),
    /// Nodes of days before `today` and figures of days before `first` are forgotten.
    Forgotten {
        /// The first day whose nodes stay.
        today: i64,
        /// The first day whose figures stay.
        first: i64,
    },
}
