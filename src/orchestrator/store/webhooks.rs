//! What is kept for those who are told of events as they happen: the events of all jobs in one row, and webhooks with how
//! far each of them has been told.

use super::StoreError;
use crate::orchestrator::model::{JobEvent, JobId};
use crate::orchestrator::webhooks::{Standing, Webhook};

/// Reads events across jobs, and keeps webhooks.
pub trait WebhookStore {
    /// At most so many events from number `start` on, ascending, of one job or of all; fewer if they are large, but at least
    /// one if there is one. A number that is not there now will not be there later: events are seen in their order.
    fn events_from(&self, job: Option<JobId>, start: i64, events: u32) -> Result<Vec<JobEvent>, StoreError>;

    /// The number of the newest event; 0 if there is none.
    fn last_event(&self) -> Result<i64, StoreError>;

    /// All webhooks, by when they were added.
    fn webhooks(&self) -> Result<Vec<Webhook>, StoreError>;
}

/// A change of webhooks.
#[derive(Debug, Clone, PartialEq)]
pub enum WebhooksChange {
    /// A new one.
    Added(Webhook),
    /// It is forgotten.
    Removed(String),
    /// It is to be tried again at once; one that was given up is not any more. Nothing if it has been removed.
    Resumed(String),
    /// How far it has been told, and how it went. Nothing if it has been removed.
    Stands(String, Standing),
}
