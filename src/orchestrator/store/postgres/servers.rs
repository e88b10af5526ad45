//! What servers on one database want of each other.

use std::sync::PoisonError;

use super::PostgresStore;
use super::database::WRITER_LOCK;
use super::fence::NOW;
use crate::limits::SERVER_LEASE;
use crate::orchestrator::model::JobId;
use crate::orchestrator::store::servers::{Alone, Servers, StopWanted};
use crate::orchestrator::store::sql::{Session, SqlError, values};
use crate::orchestrator::store::tables::{SqlStore, execute, jobs, written};
use crate::orchestrator::store::writer::Write;
use crate::orchestrator::store::{StoreError, UnfinishedJob};

/// Held by whoever changes what must not be changed by two at once.
const CHANGES_LOCK: i64 = WRITER_LOCK + 2;

/// Jobs that nobody runs: their server has ended, or is not known any more.
const LEFT_BEHIND: &str = "finished IS NULL AND (server IS NULL OR \
                           NOT EXISTS (SELECT 1 FROM servers WHERE servers.id = jobs.server AND ended IS NULL))";

fn lease() -> i64 {
    i64::try_from(SERVER_LEASE.as_millis()).unwrap_or(i64::MAX)
}

impl Servers for PostgresStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn take_over(&self) -> Result<Vec<UnfinishedJob>, StoreError> {
        // They are forgotten only once they have been handed over: each step may fail, and is tried again.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(self.unclaimed.try_iter());
        let server = self.fence.server;
        // Most of the time there is nothing to be done, and nothing need be written.
        let is_left = self.read("look for jobs that were left behind", |session| {
            let silent = format!(
                "SELECT 1 FROM servers WHERE ended IS NULL AND id <> ?1 AND heartbeat < {NOW} - ?2 \
                 UNION ALL SELECT 1 FROM jobs WHERE {LEFT_BEHIND}"
            );
            session.exists(&silent, values![server, lease()])
        })?;
        if !is_left && waiting.is_empty() {
            return Ok(Vec::new());
        }
        let unclaimed: Vec<JobId> = waiting.iter().copied().collect();
        let work = move |session: &mut dyn Session| claim(session, server, &unclaimed);
        let jobs = self.queue.write(|done| Write::Custom(Box::new(work), done))?;
        waiting.clear();
        Ok(jobs)
    }

    fn other_owner(&self, job: JobId) -> Result<Option<String>, StoreError> {
        let server = self.fence.server;
        self.read("look up a job's server", |session| {
            let sql = "SELECT servers.name AS name FROM jobs JOIN servers ON servers.id = jobs.server \
                       WHERE jobs.id = ?1 AND jobs.server <> ?2";
            session.first(sql, values![job.0, server], |row| row.get("name"))
        })
    }

    fn want_stop(&self, stop: StopWanted) -> Result<(), StoreError> {
        let work = move |session: &mut dyn Session| {
            let sql = "UPDATE jobs SET stop_wanted = ?2 WHERE id = ?1 AND stop_wanted < ?2 AND finished IS NULL";
            execute(session, sql, values![stop.job.0, 1 + i64::from(stop.is_forced)])?;
            Ok(Vec::new())
        };
        self.queue.write(|done| Write::Custom(Box::new(work), done)).map(drop)
    }

    fn stops_wanted(&self) -> Result<Vec<StopWanted>, StoreError> {
        let server = self.fence.server;
        self.read("look for jobs to be stopped", |session| {
            let sql = "SELECT id, stop_wanted FROM jobs WHERE finished IS NULL AND server = ?1 AND stop_wanted > 0 AND \
                       (state <> 'stopping' OR (stop_wanted = 2 AND forced = 0)) ORDER BY id";
            session.all(sql, values![server], |row| {
                let is_forced = row.get::<i64>("stop_wanted")? > 1;
                Ok(StopWanted { job: JobId(row.get("id")?), is_forced })
            })
        })
    }

    fn leads(&self) -> Result<bool, StoreError> {
        let server = self.fence.server;
        if self.fence.why().is_some() {
            return Ok(false);
        }
        self.read("look for the first server", |session| {
            let sql = "SELECT id FROM servers WHERE ended IS NULL ORDER BY id LIMIT 1";
            Ok(session.first(sql, &[], |row| row.get::<i64>("id"))? == Some(server))
        })
    }

    fn fenced(&self) -> Option<String> {
        self.fence.why()
    }

    fn check_key(&self, name: &str, fingerprint: &str) -> Result<(), StoreError> {
        let (key, ours) = (name.to_owned(), fingerprint.to_owned());
        let work = move |session: &mut dyn Session| {
            let sql = "INSERT INTO site_keys (name, fingerprint) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            execute(session, sql, values![&key, &ours]).map(|_| Vec::new())
        };
        self.queue.write(|done| Write::Custom(Box::new(work), done))?;
        let found: Option<String> = self.read("look up a key's fingerprint", |session| {
            let sql = "SELECT fingerprint FROM site_keys WHERE name = ?1";
            session.first(sql, values![name], |row| row.get("fingerprint"))
        })?;
        match found {
            Some(theirs) if theirs != fingerprint => {
                Err(StoreError::OtherKey { name: name.to_owned(), ours: fingerprint.to_owned(), theirs })
            }
            _ => Ok(()),
        }
    }

    fn alone(&self) -> Result<Alone, StoreError> {
        let lock = || -> Result<Alone, SqlError> {
            let mut link = self.connector.connect()?;
            link.batch(&format!("SELECT pg_advisory_lock({CHANGES_LOCK})"))?;
            // The lock is the connection's and ends with it.
            Ok(Alone::until_dropped(Box::new(link)))
        };
        lock().map_err(|error| error.during("wait for changes of another server"))
    }
}

/// Ends servers without a heartbeat, takes their jobs, and reads those and the others named.
fn claim(session: &mut dyn Session, server: i64, unclaimed: &[JobId]) -> Result<Vec<UnfinishedJob>, StoreError> {
    let sql = format!(
        "UPDATE servers SET ended = {NOW}, ended_why = 'it had no heartbeat for ' || (({NOW} - heartbeat) / 1000) || \
         ' s, and server number ' || ?1 || ' has taken over its jobs; restart it' \
         WHERE ended IS NULL AND id <> ?1 AND heartbeat < {NOW} - ?2 RETURNING name"
    );
    let silent: Vec<String> = session.all(&sql, values![server, lease()], |row| row.get("name")).map_err(written)?;
    let sql = format!("UPDATE jobs SET server = ?1 WHERE {LEFT_BEHIND} RETURNING id");
    let mut jobs: Vec<i64> = session.all(&sql, values![server], |row| row.get("id")).map_err(written)?;
    for name in silent {
        tracing::warn!(
            server = name,
            "another server has had no heartbeat for too long: it may write nothing any more"
        );
    }
    jobs.extend(unclaimed.iter().map(|job| job.0));
    jobs.sort_unstable();
    jobs.dedup();
    let mut found = Vec::with_capacity(jobs.len());
    for job in jobs {
        let filter = "finished IS NULL AND id = ?1 AND server = ?2";
        found.extend(jobs::unfinished(session, filter, values![job, server]).map_err(written)?);
    }
    Ok(found)
}
