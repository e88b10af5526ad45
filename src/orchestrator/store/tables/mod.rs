//! The tables: every statement of the store, written once for all databases. Readers are methods of a [`SqlStore`], which
//! is how each of the contract's parts is implemented; what is written is done by functions that the one writer calls.

pub mod access;
pub mod facts;
pub mod groups;
pub mod jobs;
pub mod order;
pub mod plans;
pub mod prune;
pub mod reports;
mod rows;
pub mod schedules;
pub mod task_targets;
pub mod usage;
pub mod webhooks;

use super::sql::{Session, SqlError, Value};
use super::writer::Queue;
use super::{Servers, StoreError, UnfinishedJob};

/// A store in a database.
pub trait SqlStore: Servers + Send + Sync {
    /// Asks one question in one snapshot. It may be asked again if the connection is lost.
    fn read<T>(
        &self,
        action: &'static str,
        question: impl FnMut(&mut dyn Session) -> Result<T, SqlError>,
    ) -> Result<T, StoreError>;

    /// The way to the writer.
    fn queue(&self) -> &Queue;

    /// Bytes of results, parameters and texts that one answer takes out of the store.
    fn answer_bytes_max(&self) -> usize;

    /// The jobs that have not ended and that are this process's to run.
    fn recovered(&self) -> Result<Vec<UnfinishedJob>, StoreError> {
        self.read("list unfinished jobs", |session| jobs::unfinished(session, "finished IS NULL", &[]))
    }

    /// Ends writing, after what was asked for before.
    fn end(&self) {
        self.queue().close();
    }
}

/// Executes one statement of a change.
pub fn execute(session: &mut dyn Session, sql: &str, values: &[Value<'_>]) -> Result<usize, StoreError> {
    session.execute(sql, values).map_err(written)
}

/// Inserts a row; the `id` that it has been given.
pub fn insert_numbered(session: &mut dyn Session, insert: &str, values: &[Value<'_>]) -> Result<i64, StoreError> {
    session.insert_numbered(insert, values).map_err(written)?.ok_or_else(no_number)
}

fn no_number() -> StoreError {
    StoreError::Corrupt("a row that was written has no number".to_owned())
}

/// Gives the next number of these, which is lost with the transaction.
pub fn next_number(session: &mut dyn Session, name: &'static str) -> Result<i64, StoreError> {
    let sql = "UPDATE numbers SET last = last + 1 WHERE name = ?1 RETURNING last AS id";
    session.first(sql, &[name.into()], |row| row.get("id")).map_err(written)?.ok_or_else(no_number)
}

/// An error while a change was made.
pub fn written(error: SqlError) -> StoreError {
    error.during("write a row")
}
