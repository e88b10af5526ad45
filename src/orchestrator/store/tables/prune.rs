//! Removing jobs that ended long ago, in steps: one of 10,000 nodes has tens of thousands of rows, and whoever
//! commits waits for a step.

use super::schedules;
use crate::clock::WallTime;
use crate::orchestrator::store::sql::{Session, SqlError, values};
use crate::orchestrator::store::{Pruned, StoreError};

/// Removes so many rows of a job, those that refer to others first.
const STEPS: [&str; 5] = [
    "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM node_order WHERE job = ?1 AND (position, after_position) IN \
     (SELECT position, after_position FROM node_order WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM node_reports WHERE job = ?1 AND name IN (SELECT name FROM node_reports WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM nodes WHERE job = ?1 AND position IN (SELECT position FROM nodes WHERE job = ?1 LIMIT ?2)",
    "DELETE FROM job_status WHERE job = ?1 AND seq IN (SELECT seq FROM job_status WHERE job = ?1 LIMIT ?2)",
];

/// Removes at most so many rows of a table of the job that ended first, if that was before `before`; the job itself once it
/// has no other.
pub fn step(session: &mut dyn Session, before: WallTime, rows: usize) -> Result<Pruned, StoreError> {
    prune(session, before, rows).map_err(|error| error.during("remove an old job"))
}

fn prune(session: &mut dyn Session, before: WallTime, rows: usize) -> Result<Pruned, SqlError> {
    let oldest = "SELECT id FROM jobs WHERE finished < ?1 ORDER BY finished LIMIT 1";
    let job: Option<i64> = session.first(oldest, values![before], |row| row.get("id"))?;
    let Some(job) = job else { return prune_plans(session, before, rows) };
    let limit = i64::try_from(rows).unwrap_or(i64::MAX);
    session.execute("UPDATE jobs SET removing = 1 WHERE id = ?1 AND removing = 0", values![job])?;
    for sql in STEPS {
        if session.execute(sql, values![job, limit])? >= rows {
            return Ok(Pruned::Some { jobs: 0 });
        }
    }
    session.execute("DELETE FROM jobs WHERE id = ?1", values![job])?;
    Ok(Pruned::Some { jobs: 1 })
}

/// The same for a plan job, once none of its jobs is left.
fn prune_plans(session: &mut dyn Session, before: WallTime, rows: usize) -> Result<Pruned, SqlError> {
    let oldest = "SELECT id FROM plan_jobs WHERE finished < ?1 AND \
                  NOT EXISTS (SELECT 1 FROM jobs WHERE plan_job = plan_jobs.id) ORDER BY finished LIMIT 1";
    let plan: Option<i64> = session.first(oldest, values![before], |row| row.get("id"))?;
    let Some(plan) = plan else { return prune_schedules(session, before, rows) };
    let limit = i64::try_from(rows).unwrap_or(i64::MAX);
    let sql = "DELETE FROM plan_events WHERE id IN (SELECT id FROM plan_events WHERE plan_job = ?1 LIMIT ?2)";
    if session.execute(sql, values![plan, limit])? >= rows {
        return Ok(Pruned::Some { jobs: 0 });
    }
    session.execute("DELETE FROM plan_jobs WHERE id = ?1", values![plan])?;
    Ok(Pruned::Some { jobs: 1 })
}

fn prune_schedules(session: &mut dyn Session, before: WallTime, rows: usize) -> Result<Pruned, SqlError> {
    let is_some = schedules::prune(session, before, rows)?;
    Ok(if is_some { Pruned::Some { jobs: 0 } } else { Pruned::Nothing })
}
