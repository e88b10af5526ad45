//! Removing jobs that ended long ago from SQLite, in steps: one of 10,000 nodes has tens of thousands of rows, and whoever
//! commits waits for a step.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::database;
use super::sqlite::schedules;
use super::{Pruned, StoreError};
use crate::clock::WallTime;

/// Removes so many rows of a job, those that refer to others first.
const STEPS: [&str; 3] = [
    "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM nodes WHERE job = ?1 AND position IN (SELECT position FROM nodes WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM job_status WHERE job = ?1 AND seq IN (SELECT seq FROM job_status WHERE job = ?1 LIMIT ?2)",
];

/// Removes at most so many rows of a table of the job that ended first, if that was before `before`; the job itself once it
/// has no other.
pub(super) fn step(connection: &Connection, before: WallTime, rows: usize) -> Result<Pruned, StoreError> {
    prune(connection, before, rows).map_err(database("remove an old job"))
}

fn prune(connection: &Connection, before: WallTime, rows: usize) -> rusqlite::Result<Pruned> {
    let mut oldest = connection.prepare_cached("SELECT id FROM jobs WHERE finished < ?1 ORDER BY finished LIMIT 1")?;
    let job: Option<i64> = oldest.query_row(params![before.as_millis()], |row| row.get(0)).optional()?;
    let Some(job) = job else { return prune_plans(connection, before, rows) };
    for sql in STEPS {
        let limit = i64::try_from(rows).unwrap_or(i64::MAX);
        if connection.prepare_cached(sql)?.execute(params![job, limit])? >= rows {
            return Ok(Pruned::Some { jobs: 0 });
        }
    }
    connection.prepare_cached("DELETE FROM jobs WHERE id = ?1")?.execute(params![job])?;
    Ok(Pruned::Some { jobs: 1 })
}

/// The same for a plan job, once none of its jobs is left.
fn prune_plans(connection: &Connection, before: WallTime, rows: usize) -> rusqlite::Result<Pruned> {
    let mut oldest = connection.prepare_cached(
        "SELECT id FROM plan_jobs WHERE finished < ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE plan_job = plan_jobs.id) \
         ORDER BY finished LIMIT 1",
    )?;
    let plan: Option<i64> = oldest.query_row(params![before.as_millis()], |row| row.get(0)).optional()?;
    let Some(plan) = plan else { return prune_schedules(connection, before, rows) };
    let limit = i64::try_from(rows).unwrap_or(i64::MAX);
    let sql = "DELETE FROM plan_events WHERE id IN (SELECT id FROM plan_events WHERE plan_job = ?1 LIMIT ?2)";
    if connection.prepare_cached(sql)?.execute(params![plan, limit])? >= rows {
        return Ok(Pruned::Some { jobs: 0 });
    }
    connection.prepare_cached("DELETE FROM plan_jobs WHERE id = ?1")?.execute(params![plan])?;
    Ok(Pruned::Some { jobs: 1 })
}

fn prune_schedules(connection: &Connection, before: WallTime, rows: usize) -> rusqlite::Result<Pruned> {
    let is_some = schedules::prune(connection, before, rows)?;
    Ok(if is_some { Pruned::Some { jobs: 0 } } else { Pruned::Nothing })
}
