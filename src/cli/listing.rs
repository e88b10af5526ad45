//! Lists of jobs, whatever kind of jobs: the newest that are wanted, read page by page.

use serde_json::Value;

use super::follow::items;
use super::output::{Failure, duration};
use super::progress::job_seconds;

/// How many are wanted, and how many to ask for at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub limit: usize,
    pub page: usize,
}

/// The newest jobs of a collection that are wanted. Servers do not filter by state, so there may be much to look through.
pub(super) fn newest(
    collection: &str,
    options: &str,
    Wanted { limit, page }: Wanted,
    is_wanted: impl Fn(&Value) -> bool,
    mut get: impl FnMut(&str) -> Result<Value, Failure>,
) -> Result<Vec<Value>, Failure> {
    let mut jobs: Vec<Value> = Vec::new();
    for offset in (0..).step_by(page) {
        let answer = get(&format!("{collection}?limit={page}&offset={offset}&order_by=name&order=desc{options}"))?;
        jobs.extend(items(&answer).iter().filter(|job| is_wanted(job)).take(limit - jobs.len()).cloned());
        if jobs.len() == limit || items(&answer).len() < page {
            break;
        }
    }
    Ok(jobs)
}

/// How long a job took, empty if it has not ended.
pub(super) fn taken(job: &Value) -> String {
    if job["duration"].is_null() { String::new() } else { duration(job_seconds(job)) }
}
