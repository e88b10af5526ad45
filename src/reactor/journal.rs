//! Log lines about connections that fail, limited in rate.

use std::fmt;

use crate::clock::Moment;
use crate::observe::pace::Pace;

/// Writes the lines of one worker.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pace: Pace,
}

impl Journal {
    /// Writes a line unless there were too many of its label in the last second.
    pub(super) fn note(
        &mut self,
        now: Moment,
        event: &'static str,
        label: &'static str,
        subject: &dyn fmt::Display,
        what: &str,
    ) {
        if self.pace.allows(now, label) {
            tracing::info!(event, label, peer = %subject, "{what}");
        }
    }
}
