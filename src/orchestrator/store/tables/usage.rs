//! What is kept about use.

use std::ops::ControlFlow;

use serde_json::Value;

use super::{SqlStore, execute};
use crate::orchestrator::model::JobKind;
use crate::orchestrator::store::sql::{Session, SqlError, values};
use crate::orchestrator::store::usage::{UsageChange, UsageDay, UsageStore};
use crate::orchestrator::store::{Change, Store, StoreError};

const DAY: i64 = 86_400_000;

/// Nodes that were started on a day: its jobs are few, and the nodes of a job are side by side.
const STARTED: &str = "FROM jobs JOIN nodes ON nodes.job = jobs.id WHERE jobs.kind = ?1 AND jobs.created < ?3 \
                       AND (jobs.finished IS NULL OR jobs.finished >= ?2) AND nodes.start >= ?2 AND nodes.start < ?3";

impl<S: SqlStore> UsageStore for S {
    fn usage(&self, first: i64, last: i64) -> Result<Vec<UsageDay>, StoreError> {
        self.read("read usage", |session| {
            let sql = "SELECT * FROM usage_days WHERE day >= ?1 AND day <= ?2 ORDER BY day";
            session.all(sql, values![first, last], |row| {
                Ok(UsageDay {
                    day: row.get("day")?,
                    nodes: row.get("nodes")?,
                    corrective: row.get("corrective")?,
                    intentional: row.get("intentional")?,
                    task_nodes: row.get("task_nodes")?,
                    plan_nodes: row.get("plan_nodes")?,
                })
            })
        })
    }

    fn count_usage(&self, today: i64, first: i64) -> Result<(), StoreError> {
        let days: Vec<i64> = self.read("list days", |session| {
            session.all("SELECT DISTINCT day FROM usage_nodes ORDER BY day", &[], |row| row.get("day"))
        })?;
        for day in days {
            let counted = self.read("count a day's use", |session| count(session, day))?;
            self.commit(vec![Change::Usage(UsageChange::Counted(counted))])?;
        }
        self.commit(vec![Change::Usage(UsageChange::Forgotten { today, first })])
    }
}

fn count(session: &mut dyn Session, day: i64) -> Result<UsageDay, SqlError> {
    let (start, end) = (day.saturating_mul(DAY), day.saturating_add(1).saturating_mul(DAY));
    let mut nodes = |kind: JobKind| {
        let sql = format!("SELECT count(DISTINCT nodes.name) AS n {STARTED}");
        session.number(&sql, values![kind.word(), start, end]).map(i64::unsigned_abs)
    };
    let mut counted = UsageDay {
        day,
        task_nodes: nodes(JobKind::Task)?,
        plan_nodes: nodes(JobKind::PlanTask)?,
        ..UsageDay::default()
    };
    let sql = format!("SELECT nodes.result {STARTED}");
    session.query(&sql, values![JobKind::Deploy.word(), start, end], &mut |row| {
        if let Some(result) = row.parsed_option::<Value>("result")? {
            let metric = |name: &str| result["metrics"][name].as_u64().unwrap_or(0);
            let corrective = metric("corrective_change");
            counted.corrective = counted.corrective.saturating_add(corrective);
            let intentional = metric("changed").saturating_sub(corrective);
            counted.intentional = counted.intentional.saturating_add(intentional);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(counted)
}

/// The writer's part of [`UsageChange`].
pub fn apply(session: &mut dyn Session, change: &UsageChange) -> Result<(), StoreError> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    match change {
        UsageChange::Seen { day, names } => names.iter().try_for_each(|name| {
            let sql = "INSERT INTO usage_nodes (day, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            execute(session, sql, values![*day, name]).map(drop)
        }),
        UsageChange::Counted(UsageDay { day, corrective, intentional, task_nodes, plan_nodes, .. }) => {
            let sql = "INSERT INTO usage_days (day, nodes, corrective, intentional, task_nodes, plan_nodes) \
                       VALUES (?1, (SELECT count(*) FROM usage_nodes WHERE day = ?1), ?2, ?3, ?4, ?5) \
                       ON CONFLICT (day) DO UPDATE SET ";
            // A figure only grows. What is less was counted earlier by another server, or after names or jobs have gone.
            let grown = ["nodes", "corrective", "intentional", "task_nodes", "plan_nodes"].map(|figure| {
                format!(
                    "{figure} = CASE WHEN excluded.{figure} > usage_days.{figure} THEN excluded.{figure} \
                         ELSE usage_days.{figure} END"
                )
            });
            let sql = &[sql, &grown.join(", ")].concat();
            let [corrective, intentional, tasks, plans] =
                [corrective, intentional, task_nodes, plan_nodes].map(|count| number(*count));
            execute(session, sql, values![*day, corrective, intentional, tasks, plans]).map(drop)
        }
        UsageChange::Forgotten { today, first } => {
            execute(session, "DELETE FROM usage_nodes WHERE day < ?1", values![*today])?;
            execute(session, "DELETE FROM usage_days WHERE day < ?1", values![*first]).map(drop)
        }
    }
}
