//! The driver for SQLite.

use std::ops::ControlFlow;

use rusqlite::types::{ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, ErrorCode, TransactionBehavior, ffi, params_from_iter};

use super::{Columns, Database, Failed, Look, Row, Session, SqlError, Transaction, Value, Work};
use crate::limits::STORE_STATEMENTS_MAX;

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        let cause = error.to_string();
        if is_full(&error) { Self::Full(cause) } else { Self::Failed(cause) }
    }
}

/// Whether the disk has no room. SQLite says so in two more ways: a write that fails for any other cause than ENOSPC, such
/// as a quota, and the file for its shared memory that cannot grow. All of them leave the database as it was.
fn is_full(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return false };
    failure.code == ErrorCode::DiskFull
        || matches!(failure.extended_code, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)
}

/// A connection as the store needs it.
pub fn prepare(connection: &Connection) {
    connection.set_prepared_statement_cache_capacity(STORE_STATEMENTS_MAX);
}

impl Session for &Connection {
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize, SqlError> {
        Ok(self.prepare_cached(sql)?.execute(params_from_iter(values))?)
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], look: Look<'_>) -> Result<(), SqlError> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            if look(&Row::new(row))? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    /// Without `RETURNING`, for which SQLite writes every page that it changes to a temporary file before.
    fn insert_numbered(&mut self, insert: &str, values: &[Value<'_>]) -> Result<Option<i64>, SqlError> {
        let inserted = Session::execute(self, insert, values)?;
        Ok((inserted == 1).then(|| self.last_insert_rowid()))
    }

    /// The same is done for statements that insert several rows, and a statement costs no way to anywhere.
    fn rows_at_once(&self) -> &'static [usize] {
        &[1]
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(Some(integer)) => ValueRef::Integer(*integer),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            Self::Integer(None) | Self::Text(None) | Self::Bytes(None) => ValueRef::Null,
        }))
    }
}

impl Columns for rusqlite::Row<'_> {
    fn integer(&self, column: &str) -> Result<Option<i64>, SqlError> {
        Ok(self.get(column)?)
    }

    fn text(&self, column: &str) -> Result<Option<&str>, SqlError> {
        match self.get_ref(column)? {
            ValueRef::Null => Ok(None),
            value => value.as_str().map(Some).map_err(|_| SqlError::Unknown(column.to_owned())),
        }
    }

    fn bytes(&self, column: &str) -> Result<Option<&[u8]>, SqlError> {
        let value = self.get_ref(column)?;
        match value.data_type() {
            Type::Null => Ok(None),
            _ => value.as_blob().map(Some).map_err(|_| SqlError::Unknown(column.to_owned())),
        }
    }
}

/// The connection that writes.
pub struct SqliteDatabase(pub Connection);

impl Database for SqliteDatabase {
    fn transact(&mut self, work: Work<'_>) -> Result<(), Failed> {
        let undone = |action| move |error: rusqlite::Error| Failed::Undone(SqlError::from(error).during(action));
        let transaction =
            self.0.transaction_with_behavior(TransactionBehavior::Deferred).map_err(undone("begin a transaction"))?;
        work(&mut SqliteTransaction(&transaction))
            .map_err(|error| Failed::Undone(error.during("go on with a transaction")))?;
        transaction.commit().map_err(undone("commit"))
    }
}

struct SqliteTransaction<'c>(&'c Connection);

impl SqliteTransaction<'_> {
    fn step(&self, sql: &str) -> Result<(), SqlError> {
        self.0.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// A full disk can make SQLite take everything back at once. What comes after would be committed by itself, though its
    /// callers are told that it was not.
    fn check(&self) -> Result<(), SqlError> {
        match self.0.is_autocommit() {
            true => Err(SqlError::Failed("the database has taken the transaction back".to_owned())),
            false => Ok(()),
        }
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn session(&mut self) -> &mut dyn Session {
        &mut self.0
    }

    fn begin(&mut self) -> Result<(), SqlError> {
        self.check()?;
        self.step("SAVEPOINT part")
    }

    fn keep(&mut self) -> Result<(), SqlError> {
        self.check()?;
        self.step("RELEASE part")
    }

    fn take_back(&mut self) -> Result<(), SqlError> {
        self.check()?;
        self.step("ROLLBACK TO part")?;
        self.step("RELEASE part")
    }
}
