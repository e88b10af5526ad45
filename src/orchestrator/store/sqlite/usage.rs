//! What is kept about use, in SQLite.

use rusqlite::{Connection, params};
use serde_json::Value;

use super::SqliteStore;
use crate::orchestrator::model::JobKind;
use crate::orchestrator::store::usage::{UsageChange, UsageDay, UsageStore};
use crate::orchestrator::store::writer::execute;
use crate::orchestrator::store::{Change, Store, StoreError};

const DAY: i64 = 86_400_000;

/// Nodes that were started on a day: its jobs are few, and the nodes of a job are side by side.
const STARTED: &str = "FROM jobs JOIN nodes ON nodes.job = jobs.id WHERE jobs.kind = ?1 AND jobs.created < ?3 \
                       AND (jobs.finished IS NULL OR jobs.finished >= ?2) AND nodes.start >= ?2 AND nodes.start < ?3";

impl UsageStore for SqliteStore {
    fn usage(&self, first: i64, last: i64) -> Result<Vec<UsageDay>, StoreError> {
        self.read("read usage", |connection| {
            let sql = "SELECT * FROM usage_days WHERE day >= ?1 AND day <= ?2 ORDER BY day";
            let mut statement = connection.prepare_cached(sql)?;
            let days = statement.query_map(params![first, last], |row| {
                let number = |name: &str| row.get::<_, i64>(name).map(i64::unsigned_abs);
                Ok(UsageDay {
                    day: row.get("day")?,
                    nodes: number("nodes")?,
                    corrective: number("corrective")?,
                    intentional: number("intentional")?,
                    task_nodes: number("task_nodes")?,
                    plan_nodes: number("plan_nodes")?,
                })
            })?;
            days.collect()
        })
    }

    fn count_usage(&self, today: i64, first: i64) -> Result<(), StoreError> {
        let days: Vec<i64> = self.read("list days", |connection| {
            let mut statement = connection.prepare_cached("SELECT DISTINCT day FROM usage_nodes ORDER BY day")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })?;
        for day in days {
            let counted = self.read("count a day's use", |connection| count(connection, day))?;
            self.commit(vec![Change::Usage(UsageChange::Counted(counted))])?;
        }
        self.commit(vec![Change::Usage(UsageChange::Forgotten { today, first })])
    }
}

fn count(connection: &Connection, day: i64) -> rusqlite::Result<UsageDay> {
    let (start, end) = (day.saturating_mul(DAY), day.saturating_add(1).saturating_mul(DAY));
    let nodes = |kind: JobKind| {
        let sql = format!("SELECT count(DISTINCT nodes.name) {STARTED}");
        let mut statement = connection.prepare_cached(&sql)?;
        statement.query_row(params![kind.word(), start, end], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
    };
    let mut counted = UsageDay {
        day,
        task_nodes: nodes(JobKind::Task)?,
        plan_nodes: nodes(JobKind::PlanTask)?,
        ..UsageDay::default()
    };
    let mut statement = connection.prepare_cached(&format!("SELECT nodes.result {STARTED}"))?;
    let mut runs = statement.query(params![JobKind::Deploy.word(), start, end])?;
    while let Some(row) = runs.next()? {
        let result: Option<String> = row.get(0)?;
        let result: Option<Value> = result.and_then(|text| serde_json::from_str(&text).ok());
        let Some(result) = result else { continue };
        let metric = |name: &str| result["metrics"][name].as_u64().unwrap_or(0);
        let corrective = metric("corrective_change");
        counted.corrective = counted.corrective.saturating_add(corrective);
        counted.intentional = counted.intentional.saturating_add(metric("changed").saturating_sub(corrective));
    }
    Ok(counted)
}

/// The writer's part of [`UsageChange`].
pub fn apply(connection: &Connection, change: &UsageChange) -> Result<(), StoreError> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    match change {
        UsageChange::Seen { day, names } => names.iter().try_for_each(|name| {
            let sql = "INSERT INTO usage_nodes (day, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            execute(connection, sql, params![day, name]).map(drop)
        }),
        UsageChange::Counted(UsageDay { day, corrective, intentional, task_nodes, plan_nodes, .. }) => {
            let sql = "INSERT INTO usage_days (day, nodes, corrective, intentional, task_nodes, plan_nodes) \
                       VALUES (?1, (SELECT count(*) FROM usage_nodes WHERE day = ?1), ?2, ?3, ?4, ?5) \
                       ON CONFLICT (day) DO UPDATE SET nodes = excluded.nodes, corrective = excluded.corrective, \
                       intentional = excluded.intentional, task_nodes = excluded.task_nodes, \
                       plan_nodes = excluded.plan_nodes";
            let [corrective, intentional, tasks, plans] =
                [corrective, intentional, task_nodes, plan_nodes].map(|count| number(*count));
            execute(connection, sql, params![day, corrective, intentional, tasks, plans]).map(drop)
        }
        UsageChange::Forgotten { today, first } => {
            execute(connection, "DELETE FROM usage_nodes WHERE day < ?1", params![today])?;
            execute(connection, "DELETE FROM usage_days WHERE day < ?1", params![first]).map(drop)
        }
    }
}
