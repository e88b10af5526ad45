//! What the store needs of a database, so that every statement is written once: a [`Session`] takes portable SQL with
//! placeholders `?1`, values of three types, and gives rows. Portable is what SQLite and PostgreSQL both understand:
//! integers (booleans are 0 and 1, times milliseconds), text, bytes, `ON CONFLICT`, `RETURNING`, `FILTER`, `NULLS FIRST`.

mod row;
pub mod schema;
pub mod sqlite;

use std::borrow::Cow;
use std::ops::ControlFlow;

pub use row::{Columns, Row, json};

use super::StoreError;
use crate::clock::WallTime;

/// A value for a placeholder. What is `None` has a type too: a database may want to know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'v> {
    /// Integers, booleans, times.
    Integer(Option<i64>),
    /// Text.
    Text(Option<Cow<'v, str>>),
    /// Bytes.
    Bytes(Option<&'v [u8]>),
}

/// Values for `?1`, `?2`, ...
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::orchestrator::store::sql::Value::from($value)),*]
    };
}
pub(in crate::orchestrator::store) use values;

macro_rules! from_integers {
    ($($type:ty),*) => {$(
        impl From<$type> for Value<'_> {
            fn from(value: $type) -> Self {
                Self::Integer(Some(value.into()))
            }
        }

        impl From<Option<$type>> for Value<'_> {
            fn from(value: Option<$type>) -> Self {
                Self::Integer(value.map(Into::into))
            }
        }
    )*};
}

from_integers!(i64, u32, bool);

impl From<WallTime> for Value<'_> {
    fn from(time: WallTime) -> Self {
        Self::Integer(Some(time.as_millis()))
    }
}

impl From<Option<WallTime>> for Value<'_> {
    fn from(time: Option<WallTime>) -> Self {
        Self::Integer(time.map(WallTime::as_millis))
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Self::Text(Some(text.as_str().into()))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl<'v> From<Option<&'v str>> for Value<'v> {
    fn from(text: Option<&'v str>) -> Self {
        Self::Text(text.map(Into::into))
    }
}

impl<'v> From<&'v Option<String>> for Value<'v> {
    fn from(text: &'v Option<String>) -> Self {
        Self::Text(text.as_deref().map(Into::into))
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl<'v> From<Option<&'v [u8]>> for Value<'v> {
    fn from(bytes: Option<&'v [u8]>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'v> From<&'v Vec<u8>> for Value<'v> {
    fn from(bytes: &'v Vec<u8>) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl<'v> From<&'v [u8; 32]> for Value<'v> {
    fn from(bytes: &'v [u8; 32]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl<'v> From<Option<&'v [u8; 32]>> for Value<'v> {
    fn from(bytes: Option<&'v [u8; 32]>) -> Self {
        Self::Bytes(bytes.map(<[u8; 32]>::as_slice))
    }
}

/// Why a database did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlError {
    /// It refused: its words.
    Failed(String),
    /// There is no room on its disk: its words.
    Full(String),
    /// It is out of reach, or gone in the middle: what the connection says.
    Lost(String),
    /// A column holds what is never written to it.
    Unknown(String),
    /// What was asked for does not fit into an answer of so many bytes.
    TooLarge(usize),
}

impl SqlError {
    /// Names what was being done.
    pub fn during(self, action: &'static str) -> StoreError {
        match self {
            Self::Failed(cause) => StoreError::Database { action, cause },
            Self::Full(cause) => StoreError::Full { action, cause },
            Self::Unknown(column) => StoreError::Database { action, cause: format!("{column} holds an unknown value") },
            Self::Lost(cause) => StoreError::Unreachable { cause },
            Self::TooLarge(bytes_max) => StoreError::TooLarge { bytes_max },
        }
    }
}

/// Looks at a row, and says whether the next one is wanted.
pub type Look<'l> = &'l mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>, SqlError>;

/// A connection within a transaction.
pub trait Session {
    /// Executes one statement; the number of rows that it changed.
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, SqlError>;

    /// Asks for rows.
    fn query(&mut self, sql: &str, values: &[Value<'_>], look: Look<'_>) -> Result<(), SqlError>;

    /// Inserts one row; the `id` that the database has given it, if it has been inserted.
    fn insert_numbered(&mut self, insert: &str, values: &[Value<'_>]) -> Result<Option<i64>, SqlError> {
        let mut id = None;
        self.query(&format!("{insert} RETURNING id"), values, &mut |row| {
            id = Some(row.get("id")?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(id)
    }

    /// So many rows one statement may insert, descending to 1. Few texts, so that prepared statements are used again.
    fn rows_at_once(&self) -> &'static [usize] {
        &[64, 8, 1]
    }
}

impl dyn Session + '_ {
    /// The first row, if there is one.
    pub fn first<T>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        let mut found = None;
        self.query(sql, values, &mut |row| {
            found = Some(read(row)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// All rows.
    pub fn all<T>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut found = Vec::new();
        self.query(sql, values, &mut |row| {
            found.push(read(row)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// All rows as long as the bytes in these columns fit into an answer.
    pub fn within<T>(
        &mut self,
        (sql, values): (&str, &[Value<'_>]),
        columns: &[&str],
        bytes_max: usize,
        read: impl Fn(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        self.query(sql, values, &mut |row| {
            bytes += row.bytes(columns)?;
            if bytes > bytes_max {
                return Err(SqlError::TooLarge(bytes_max));
            }
            found.push(read(row)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The one number that a statement asks for, in its column `n`; 0 if there is no row.
    pub fn number(&mut self, sql: &str, values: &[Value<'_>]) -> Result<i64, SqlError> {
        Ok(self.first(sql, values, |row| row.get("n"))?.unwrap_or(0))
    }

    /// Whether there is a row.
    pub fn exists(&mut self, sql: &str, values: &[Value<'_>]) -> Result<bool, SqlError> {
        Ok(self.first(sql, values, |_| Ok(()))?.is_some())
    }

    /// Inserts many rows with as few statements as is good for the database. `insert` ends before `VALUES`.
    pub fn insert(&mut self, insert: &str, mut rows: &[Vec<Value<'_>>]) -> Result<(), SqlError> {
        for &size in self.rows_at_once() {
            while rows.len() >= size {
                let (these, rest) = rows.split_at(size);
                let sql = format!("{insert} VALUES {}", placeholders(these.len(), these[0].len()));
                self.execute(&sql, &these.concat())?;
                rows = rest;
            }
        }
        Ok(())
    }
}

fn placeholders(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let columns: Vec<String> = (1..=columns).map(|column| format!("?{}", row * columns + column)).collect();
        format!("({})", columns.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// How a transaction as a whole failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// Nothing of it was kept.
    Undone(StoreError),
    /// The database went away while it was committed: [`Database::was_committed`] finds out.
    InDoubt,
}

/// Work in a transaction, which may be done again if the first attempt came to nothing.
pub type Work<'w> = &'w mut dyn FnMut(&mut dyn Transaction) -> Result<(), SqlError>;

/// The connection of the one who writes.
pub trait Database: Send {
    /// Does the work in one transaction and commits it, so that it survives a loss of power.
    fn transact(&mut self, work: Work<'_>) -> Result<(), Failed>;

    /// Whether the last transaction, which was in doubt, has been committed.
    fn was_committed(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// A transaction with parts that can be taken back by themselves, one after the other.
pub trait Transaction {
    /// For its statements.
    fn session(&mut self) -> &mut dyn Session;

    /// Begins a part.
    fn begin(&mut self) -> Result<(), SqlError>;

    /// Keeps the part.
    fn keep(&mut self) -> Result<(), SqlError>;

    /// Takes the part back.
    fn take_back(&mut self) -> Result<(), SqlError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_placeholders_of_their_own() {
        assert_eq!(placeholders(2, 3), "(?1, ?2, ?3), (?4, ?5, ?6)");
    }
}
