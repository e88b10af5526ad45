//! Who this server is among those that use the database, and whether it may still write. Each start has a number of its
//! own. A heartbeat by the database's clock says that it lives; one without a heartbeat for [`SERVER_LEASE`] is ended by
//! another, which then has its jobs. What is ended writes nothing any more: every transaction looks.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::database::WRITER_LOCK;
use super::link::{Connector, Link};
use crate::limits::{SERVER_HEARTBEAT, SERVER_LEASE};
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::sql::{Session, SqlError, values};

/// The database's time in milliseconds since 1970.
pub const NOW: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// A server's right to write.
pub struct Fence {
    /// Number of this start.
    pub server: i64,
    closed: Mutex<Option<String>>,
}

impl Fence {
    /// Writes down that this instance has started; whatever it was before has ended. `name` is for people.
    pub fn register(link: &mut Link, instance: &str, name: &str) -> Result<Self, SqlError> {
        link.batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK})"))?;
        let session: &mut dyn Session = link;
        let sql = format!("UPDATE servers SET ended = {NOW}, ended_why = ?2 WHERE instance = ?1 AND ended IS NULL");
        session
            .execute(&sql, values![instance, format!("{name} has been started again with the same data directory")])?;
        // Those of long ago are of use to nobody; jobs of theirs count as left behind.
        let day = "DELETE FROM servers WHERE ended IS NOT NULL AND ended < ?1 - 86400000";
        let sql = format!("SELECT {NOW} AS n");
        let now = session.number(&sql, &[])?;
        session.execute(day, values![now])?;
        session.execute("DELETE FROM server_batches WHERE server NOT IN (SELECT id FROM servers)", &[])?;
        let sql = "INSERT INTO servers (instance, name, started, heartbeat) VALUES (?1, ?2, ?3, ?3) RETURNING id AS n";
        let server = session.number(sql, values![instance, name, now])?;
        session.execute("INSERT INTO server_batches (server, last_batch) VALUES (?1, 0)", values![server])?;
        link.batch("COMMIT")?;
        Ok(Self { server, closed: Mutex::new(None) })
    }

    /// Why this server may write nothing any more.
    pub fn why(&self) -> Option<String> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It has turned out that it may not: the error to be told.
    pub fn close(&self, link: &mut Link) -> Result<StoreError, SqlError> {
        let session: &mut dyn Session = link;
        let sql = "SELECT ended_why FROM servers WHERE id = ?1";
        let why: Option<Option<String>> = session.first(sql, values![self.server], |row| row.option("ended_why"))?;
        let why = why.flatten().unwrap_or_else(|| "it is not in the database's table of servers any more".to_owned());
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.is_none() {
            tracing::error!(server = self.server, why, "this server may write nothing to the database any more");
        }
        Ok(StoreError::Fenced(closed.get_or_insert(why).clone()))
    }

    fn beat(&self, link: &mut Link) -> Result<(), SqlError> {
        let sql = format!("UPDATE servers SET heartbeat = {NOW} WHERE id = ?1 AND ended IS NULL");
        match Session::execute(link, &sql, values![self.server])? {
            0 => self.close(link).map(drop),
            _ => Ok(()),
        }
    }
}

/// The thread that says that this server lives.
pub struct Heart {
    thread: Option<JoinHandle<()>>,
    /// Dropped to stop it.
    stop: Option<Sender<()>>,
}

impl Heart {
    /// Starts it. When it is stopped, others may take over at once.
    pub fn start(connector: Arc<Connector>, fence: Arc<Fence>) -> std::io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = thread::Builder::new().name("heartbeat".into()).spawn(move || {
            let mut link = None;
            while fence.why().is_none() {
                if let Err(error) = on(&connector, &mut link, |link| fence.beat(link)) {
                    tracing::warn!(%error, lease = ?SERVER_LEASE, "no heartbeat: another server takes over after the lease");
                }
                if stopped.recv_timeout(SERVER_HEARTBEAT) == Err(RecvTimeoutError::Disconnected) {
                    let sql = format!(
                        "UPDATE servers SET ended = {NOW}, ended_why = 'it has stopped' WHERE id = ?1 AND ended IS NULL"
                    );
                    let ended = on(&connector, &mut link, |link| Session::execute(link, &sql, values![fence.server]));
                    // Otherwise the others wait for the end of its lease.
                    let _ = ended;
                    return;
                }
            }
        })?;
        Ok(Self { thread: Some(thread), stop: Some(stop) })
    }

    /// Stops it.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its own hook.
            let _ = thread.join();
        }
    }
}

/// Does something on a connection that is made if there is none, and let go if it is lost.
fn on<T>(
    connector: &Connector,
    link: &mut Option<Link>,
    work: impl FnOnce(&mut Link) -> Result<T, SqlError>,
) -> Result<T, StoreError> {
    let connected = match link.take() {
        Some(link) => Ok(link),
        None => connector.connect(),
    };
    let done = connected.and_then(|mut connected| {
        let done = work(&mut connected)?;
        *link = Some(connected);
        Ok(done)
    });
    done.map_err(|error| error.during("say that this server lives"))
}
