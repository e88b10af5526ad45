//! The one who writes. Servers take turns at writing by a lock that ends with the transaction, so that events have rising
//! numbers in the order in which they become visible, and numbers of jobs no gaps. With the lock comes a look at whether
//! this server may still write, in the same transaction.

use std::sync::Arc;

use super::fence::Fence;
use super::link::{Connector, Link};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::sql::{Database, Failed, Session, SqlError, Transaction, Work, values};

/// Held by whoever writes; any number that nobody else uses.
pub const WRITER_LOCK: i64 = 0x706f_6469_756d_0001;

/// The writer's connection.
pub struct PostgresDatabase {
    connector: Arc<Connector>,
    fence: Arc<Fence>,
    link: Option<Link>,
    /// Number of the last transaction that was begun.
    batch: i64,
}

impl PostgresDatabase {
    /// For the server of this fence.
    pub const fn new(connector: Arc<Connector>, fence: Arc<Fence>) -> Self {
        Self { connector, fence, link: None, batch: 0 }
    }

    /// The connection, with the server's number where the table of jobs looks for it.
    fn link(&mut self) -> Result<&mut Link, SqlError> {
        if self.link.as_ref().is_none_or(Link::is_closed) {
            let mut link = self.connector.connect()?;
            link.batch(&format!("SELECT set_config('podium.server', '{}', false)", self.fence.server))?;
            self.link = Some(link);
        }
        Ok(self.link.as_mut().expect("just made"))
    }

    /// One attempt up to the commit. The connection is left with a transaction open if it fails.
    fn attempt(&mut self, work: Work<'_>) -> Result<(), Attempt> {
        let (server, batch, fence) = (self.fence.server, self.batch, self.fence.clone());
        let link = self.link().map_err(Attempt::Undone)?;
        // In one message, and each with a snapshot of its own: the second sees what was committed before the lock was had.
        let begin = format!(
            "BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK}); \
             UPDATE server_batches SET last_batch = {batch} FROM servers WHERE server_batches.server = {server} AND \
             servers.id = {server} AND servers.ended IS NULL RETURNING last_batch"
        );
        if !link.batch_has_rows(&begin, "last_batch").map_err(Attempt::Undone)? {
            return Err(Attempt::Fenced(fence.close(link).map_err(Attempt::Undone)?));
        }
        work(&mut Parts(link)).map_err(Attempt::Undone)?;
        match link.batch("COMMIT") {
            Ok(()) => Ok(()),
            Err(SqlError::Lost(_)) => Err(Attempt::InDoubt),
            Err(error) => Err(Attempt::Undone(error)),
        }
    }
}

enum Attempt {
    Undone(SqlError),
    Fenced(StoreError),
    InDoubt,
}

impl Database for PostgresDatabase {
    fn transact(&mut self, work: Work<'_>) -> Result<(), Failed> {
        if let Some(why) = self.fence.why() {
            return Err(Failed::Undone(StoreError::Fenced(why)));
        }
        self.batch += 1;
        let failed = match self.attempt(work) {
            Ok(()) => return Ok(()),
            Err(Attempt::InDoubt) => Failed::InDoubt,
            Err(Attempt::Fenced(error)) => Failed::Undone(error),
            Err(Attempt::Undone(error)) => Failed::Undone(error.during("write")),
        };
        // Without the connection the transaction is gone, or will be once the database has noticed.
        self.link = None;
        Err(failed)
    }

    fn was_committed(&mut self) -> Result<bool, StoreError> {
        let (server, batch) = (self.fence.server, self.batch);
        let found = self.link().and_then(|link| {
            // Whoever has the lock knows that the transaction in doubt has ended.
            link.batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK})"))?;
            let session: &mut dyn Session = link;
            let last =
                session.number("SELECT last_batch AS n FROM server_batches WHERE server = ?1", values![server])?;
            link.batch("COMMIT")?;
            Ok(last == batch)
        });
        found.map_err(|error| {
            self.link = None;
            error.during("find out what became of a transaction")
        })
    }
}

struct Parts<'l>(&'l mut Link);

impl Transaction for Parts<'_> {
    fn session(&mut self) -> &mut dyn Session {
        self.0
    }

    fn begin(&mut self) -> Result<(), SqlError> {
        self.0.batch("SAVEPOINT part")
    }

    fn keep(&mut self) -> Result<(), SqlError> {
        self.0.batch("RELEASE SAVEPOINT part")
    }

    fn take_back(&mut self) -> Result<(), SqlError> {
        self.0.batch("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
    }
}
