//! The reports of Puppet runs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{SqlStore, execute};
use crate::clock::WallTime;
use crate::orchestrator::model::JobId;
use crate::orchestrator::reports::transaction_in;
use crate::orchestrator::store::StoreError;
use crate::orchestrator::store::reports::{KnownReport, ReportStore, Run};
use crate::orchestrator::store::sql::{Session, json, values};

impl<S: SqlStore> ReportStore for S {
    fn reports(&self, job: JobId) -> Result<BTreeMap<String, KnownReport>, StoreError> {
        self.read("list the reports of a job", |session| {
            let sql = "SELECT name, report FROM node_reports WHERE job = ?1";
            let found = session.all(sql, values![job.0], |row| Ok((row.get("name")?, row.parsed("report")?)))?;
            Ok(found.into_iter().collect())
        })
    }

    fn runs_without_report(&self, since: WallTime, limit: usize) -> Result<Vec<Run>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read("list Puppet runs without reports", |session| {
            let sql = "SELECT nodes.job, nodes.name, nodes.details FROM nodes JOIN jobs ON jobs.id = nodes.job \
                       LEFT JOIN node_reports ON node_reports.job = nodes.job AND node_reports.name = nodes.name \
                       WHERE jobs.kind = 'deploy' AND (jobs.finished IS NULL OR jobs.finished >= ?1) \
                       AND nodes.finish >= ?1 AND node_reports.job IS NULL ORDER BY nodes.finish DESC LIMIT ?2";
            let found = session.all(sql, values![since, limit], |row| {
                let details: Map<String, Value> = row.parsed("details")?;
                let (job, node) = (JobId(row.get("job")?), row.get("name")?);
                Ok(transaction_in(&details).map(|transaction| Run { job, node, transaction }))
            })?;
            Ok(found.into_iter().flatten().collect())
        })
    }
}

/// The writer's part. The job may have been removed meanwhile; then there is nothing to keep.
pub fn apply(session: &mut dyn Session, job: JobId, node: &str, report: &KnownReport) -> Result<(), StoreError> {
    let sql = "INSERT INTO node_reports (job, name, report) SELECT id, ?2, ?3 FROM jobs WHERE id = ?1 \
               ON CONFLICT (job, name) DO NOTHING";
    execute(session, sql, values![job.0, node, json(report)]).map(drop)
}
