//! The store in PostgreSQL, for sites that outgrow one machine: several servers may use one database. Statements are those of
//! the other store (`store::tables`); what is written goes through one connection, what is read through a few.

mod database;
mod fence;
mod link;
mod migrate;
mod servers;
#[cfg(test)]
#[path = "../../../../tests/support/postgres.rs"]
mod testing;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, unbounded};
use rustls::ClientConfig;
use uuid::Uuid;

use super::check::{Checked, check};
use super::files::{create_private_dir, lock};
use super::sql::schema::newest;
use super::sql::{Session, SqlError};
use super::tables::{SqlStore, jobs};
use super::writer::Queue;
use super::{Servers, StoreError, UnfinishedJob};
use crate::config::database::{DatabaseSettings, DatabaseTls};
use crate::durable;
use crate::limits::{DATABASE_ANSWER_TIMEOUT, DATABASE_OUTCOME_TIMEOUT, STORE_ANSWER_BYTES_MAX, STORE_READERS_MAX};
use crate::orchestrator::model::JobId;
use crate::tls::material::anonymous_client_config;
use database::PostgresDatabase;
use fence::{Fence, Heart};
use link::{Connector, Link};

/// The store in a PostgreSQL.
pub struct PostgresStore {
    connector: Arc<Connector>,
    fence: Arc<Fence>,
    queue: Queue,
    /// Committed when nobody waited for the answer any more.
    unclaimed: Receiver<JobId>,
    /// Those of them that no dispatcher has been given yet.
    waiting: Mutex<BTreeSet<JobId>>,
    heart: Mutex<Heart>,
    readers: Readers,
    answer_bytes_max: usize,
    /// Held as long as the store lives: a data directory is one server's.
    _lock: File,
}

/// Connections for reading.
#[derive(Default)]
struct Readers {
    pool: Mutex<Pool>,
    given_back: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Link>,
    in_use: usize,
}

impl PostgresStore {
    /// Opens the database as the server whose keys are below `data_dir`. `name` is this server's for people; `own` is what it
    /// trusts if the settings name no authorities.
    pub fn open(
        data_dir: &Path,
        settings: &DatabaseSettings,
        name: &str,
        own: &Arc<ArcSwap<ClientConfig>>,
    ) -> Result<Self, StoreError> {
        create_private_dir(data_dir)?;
        let lock = lock(data_dir)?;
        let connector = Arc::new(Connector::new(&settings.url, trust(settings, own)?, settings.password_file.clone())?);
        let mut link = connector.connect().map_err(|error| error.during("connect"))?;
        migrate::migrate(&mut link)?;
        let fence = Fence::register(&mut link, &instance(data_dir)?, name);
        let fence = Arc::new(fence.map_err(|error| error.during("register this server"))?);
        let failed = |error: std::io::Error| StoreError::File { path: data_dir.to_owned(), cause: error.to_string() };
        let (to_unclaimed, unclaimed) = unbounded();
        let database = PostgresDatabase::new(connector.clone(), fence.clone());
        let queue = Queue::start(Box::new(database), to_unclaimed, Some(DATABASE_OUTCOME_TIMEOUT)).map_err(failed)?;
        let heart = Mutex::new(Heart::start(connector.clone(), fence.clone()).map_err(failed)?);
        let readers = Readers { pool: Mutex::new(Pool { idle: vec![link], in_use: 0 }), ..Readers::default() };
        let answer_bytes_max = STORE_ANSWER_BYTES_MAX;
        let waiting = Mutex::default();
        Ok(Self { connector, fence, queue, unclaimed, waiting, heart, readers, answer_bytes_max, _lock: lock })
    }

    /// Asks on a connection that stands for nothing else meanwhile.
    fn with_link<T>(&self, ask: &mut dyn FnMut(&mut Link) -> Result<T, SqlError>) -> Result<T, SqlError> {
        let (pooled, is_old) = self.readers.take()?;
        let connected = pooled.map_or_else(|| self.connector.connect(), Ok);
        let mut link = connected.inspect_err(|_| self.readers.give_back(None))?;
        let mut answer = ask(&mut link);
        if is_old && matches!(answer, Err(SqlError::Lost(_))) {
            // The database was restarted since: what is new has not seen that.
            drop(link);
            self.readers.forget_idle();
            link = self.connector.connect().inspect_err(|_| self.readers.give_back(None))?;
            answer = ask(&mut link);
        }
        // What is left of an answer that was too large, or of a lost one, is in the way of the next.
        let is_usable = !matches!(answer, Err(SqlError::Lost(_) | SqlError::TooLarge(_)));
        self.readers.give_back(is_usable.then_some(link));
        answer
    }
}

impl Readers {
    /// A connection if one is idle, and in any case the right to use one.
    fn take(&self) -> Result<(Option<Link>, bool), SqlError> {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut pool, waited) = self
            .given_back
            .wait_timeout_while(pool, DATABASE_ANSWER_TIMEOUT, |pool| pool.in_use >= STORE_READERS_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(SqlError::Lost("too many questions wait for answers already".to_owned()));
        }
        pool.in_use += 1;
        let link = pool.idle.pop();
        let is_old = link.is_some();
        Ok((link, is_old))
    }

    fn give_back(&self, link: Option<Link>) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.in_use -= 1;
        pool.idle.extend(link);
        self.given_back.notify_one();
    }

    fn forget_idle(&self) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).idle.clear();
    }
}

impl SqlStore for PostgresStore {
    fn read<T>(
        &self,
        action: &'static str,
        mut question: impl FnMut(&mut dyn Session) -> Result<T, SqlError>,
    ) -> Result<T, StoreError> {
        let answer = self.with_link(&mut |link| {
            // One snapshot for all statements of the question.
            link.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
            let answer = question(link);
            match &answer {
                Err(SqlError::Lost(_) | SqlError::TooLarge(_)) => {}
                _ => link.batch("ROLLBACK")?,
            }
            answer
        });
        answer.map_err(|error| error.during(action))
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn answer_bytes_max(&self) -> usize {
        self.answer_bytes_max
    }

    fn recovered(&self) -> Result<Vec<UnfinishedJob>, StoreError> {
        self.take_over()?;
        let server = self.fence.server;
        self.read("list unfinished jobs", |session| {
            jobs::unfinished(session, "finished IS NULL AND server = ?1", &[server.into()])
        })
    }

    fn end(&self) {
        self.queue.close();
        self.heart.lock().unwrap_or_else(PoisonError::into_inner).stop();
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.end();
    }
}

/// Looks whether the database is whole, while servers use it or not.
pub fn inspect(settings: &DatabaseSettings, own: &Arc<ArcSwap<ClientConfig>>) -> Result<Checked, StoreError> {
    let connector = Connector::new(&settings.url, trust(settings, own)?, settings.password_file.clone())?;
    let look = || -> Result<Result<Checked, i64>, SqlError> {
        let mut link = connector.connect()?;
        link.batch("SET statement_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let session: &mut dyn Session = &mut link;
        let found = session.number("SELECT max(version) AS n FROM podium_schema", &[])?;
        if found == newest() { check(session).map(Ok) } else { Ok(Err(found)) }
    };
    look()
        .map_err(|error| error.during("be read"))?
        .map_err(|found| StoreError::OtherSchema { found, expected: newest() })
}

/// How the server is told from somebody else.
fn trust(
    settings: &DatabaseSettings,
    own: &Arc<ArcSwap<ClientConfig>>,
) -> Result<Option<Arc<ArcSwap<ClientConfig>>>, StoreError> {
    match &settings.tls {
        DatabaseTls::Off => Ok(None),
        DatabaseTls::Own => Ok(Some(own.clone())),
        DatabaseTls::Authorities(path) => {
            let config = anonymous_client_config(path)
                .map_err(|error| StoreError::File { path: path.clone(), cause: error.to_string() })?;
            Ok(Some(Arc::new(ArcSwap::new(config))))
        }
    }
}

/// What tells this data directory from all others, made once.
fn instance(data_dir: &Path) -> Result<String, StoreError> {
    let path = data_dir.join("instance");
    let failed = |error: std::io::Error| StoreError::File { path: path.clone(), cause: error.to_string() };
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => {
            let instance = Uuid::new_v4().to_string();
            durable::replace(&path, format!("{instance}\n").as_bytes(), 0o600).map_err(failed)?;
            Ok(instance)
        }
    }
}
