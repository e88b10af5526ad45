//! Whether a store is whole. `events` is the log: it is only ever appended to, until a job is removed, and it is what clients
//! read. The states of nodes and jobs are projections of it, written in the same transactions, so that nobody has to read a
//! log to answer a question. Here a job's events are folded again and compared with the rows. A log of the raw changes
//! beside it would be a third copy of the same facts that could differ from the other two, and nobody would read it.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use serde_json::{Map, Value};

use super::sql::{Session, SqlError, values};
use crate::clock::WallTime;
use crate::limits::CHECK_PROBLEMS_MAX;
use crate::orchestrator::model::{EventType, JobState, NodeState};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Jobs that were looked at.
    pub jobs: u64,
    /// Events that were looked at.
    pub events: u64,
    /// What is wrong, each in a line; at most [`CHECK_PROBLEMS_MAX`].
    pub problems: Vec<String>,
}

impl Checked {
    fn problem(&mut self, problem: impl FnOnce() -> String) {
        if self.problems.len() < CHECK_PROBLEMS_MAX {
            self.problems.push(problem());
        }
    }
}

/// A node as its events tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    /// Kind of the last one.
    last: Option<EventType>,
    latest: i64,
    start: Option<WallTime>,
    finish: Option<WallTime>,
}

/// A job as its events tell.
#[derive(Debug, Default)]
struct Story {
    nodes: HashMap<String, Told>,
    /// The job's own last event.
    last: Option<EventType>,
    faults: Vec<String>,
}

impl Story {
    /// Takes the next event.
    fn take(&mut self, id: i64, kind: EventType, at: WallTime, details: &Map<String, Value>) {
        let fault = match kind {
            EventType::NodeRunning
            | EventType::NodeFinished
            | EventType::NodeFailed
            | EventType::NodeErrored
            | EventType::NodeSkipped => self.take_of_node(id, kind, at, details),
            EventType::JobStopping if self.last.is_some() => Some("the job is being stopped twice".to_owned()),
            _ if self.is_over() => Some("the job has ended twice".to_owned()),
            _ => {
                self.last = Some(kind);
                None
            }
        };
        self.faults.extend(fault.map(|fault| format!("event {id}: {fault}")));
    }

    fn is_over(&self) -> bool {
        matches!(self.last, Some(EventType::JobFinished | EventType::JobAborted))
    }

    fn take_of_node(&mut self, id: i64, kind: EventType, at: WallTime, details: &Map<String, Value>) -> Option<String> {
        let Some(name) = details.get("node").and_then(Value::as_str) else {
            return Some("names no node".to_owned());
        };
        let is_over = self.is_over();
        let node = self.nodes.entry(name.to_owned()).or_default();
        let fault = match (node.last, kind) {
            _ if is_over => Some("comes after the job's end"),
            (None, _) => None,
            (Some(EventType::NodeRunning), EventType::NodeRunning) => Some("has been started twice"),
            (Some(EventType::NodeRunning), _) => None,
            (Some(_), _) => Some("goes on after its end"),
        };
        if kind == EventType::NodeRunning {
            node.start = Some(at);
        } else {
            node.finish = Some(at);
        }
        (node.last, node.latest) = (Some(kind), id);
        fault.map(|fault| format!("{name} {fault}"))
    }

    /// The states that a job may have after these events.
    fn job_states(&self) -> &'static [JobState] {
        let all_well = self.nodes.values().all(|node| node.last == Some(EventType::NodeFinished));
        match self.last {
            Some(EventType::JobAborted) => &[JobState::Stopped],
            Some(EventType::JobFinished) if all_well => &[JobState::Finished],
            Some(EventType::JobFinished) => &[JobState::Failed],
            Some(_) => &[JobState::Stopping],
            None if self.nodes.is_empty() => &[JobState::New, JobState::Ready, JobState::Running],
            None => &[JobState::Running],
        }
    }
}

/// The state of a node after its last event.
fn agrees(state: NodeState, last: Option<EventType>) -> bool {
    matches!(
        (state, last),
        (NodeState::New | NodeState::Ready, None)
            | (NodeState::Running, Some(EventType::NodeRunning))
            | (NodeState::Finished, Some(EventType::NodeFinished))
            | (NodeState::Failed | NodeState::Stopped, Some(EventType::NodeFailed))
            | (NodeState::Skipped, Some(EventType::NodeSkipped))
            | (NodeState::Errored, Some(EventType::NodeErrored))
    )
}

/// Looks at everything, job by job.
pub fn check(session: &mut dyn Session) -> Result<Checked, SqlError> {
    let mut checked = Checked::default();
    // A job that is being removed has lost some of its rows already.
    let jobs = session.all("SELECT id FROM jobs WHERE removing = 0 ORDER BY id", &[], |row| row.get::<i64>("id"))?;
    for job in jobs {
        check_job(session, job, &mut checked)?;
    }
    check_rest(session, &mut checked)?;
    Ok(checked)
}

fn check_job(session: &mut dyn Session, job: i64, checked: &mut Checked) -> Result<(), SqlError> {
    checked.jobs += 1;
    let (mut story, mut events) = (Story::default(), 0);
    let sql = "SELECT id, kind, timestamp, details FROM events WHERE job = ?1 ORDER BY id";
    session.query(sql, values![job], &mut |row| {
        let kind = row.word("kind", EventType::from_word)?;
        story.take(row.get("id")?, kind, row.get("timestamp")?, &row.parsed("details")?);
        events += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    checked.events += events;
    for fault in std::mem::take(&mut story.faults) {
        checked.problem(|| format!("job {job}: {fault}"));
    }
    let nodes = check_nodes(session, job, &mut story, checked)?;
    for name in story.nodes.keys().filter(|name| !nodes.contains_key(*name)) {
        checked.problem(|| format!("job {job}: there are events of {name}, which is no node of it"));
    }
    check_row(session, job, &story, nodes.len(), checked)
}

/// The rows of nodes against their events; the names and states.
fn check_nodes(
    session: &mut dyn Session,
    job: i64,
    story: &mut Story,
    checked: &mut Checked,
) -> Result<BTreeMap<String, NodeState>, SqlError> {
    let mut nodes = BTreeMap::new();
    let sql = "SELECT name, state, start, finish, latest_event_id FROM nodes WHERE job = ?1";
    session.query(sql, values![job], &mut |row| {
        let name: String = row.get("name")?;
        let state = row.word("state", NodeState::from_word)?;
        let told = story.nodes.get(&name).cloned().unwrap_or_default();
        let row = Told {
            last: told.last,
            latest: row.get("latest_event_id")?,
            start: row.option("start")?,
            finish: row.option("finish")?,
        };
        if !agrees(state, told.last) {
            let last = told.last.map_or("none", EventType::word);
            checked.problem(|| format!("job {job}: {name} is {}, but its last event is {last}", state.word()));
        } else if row != told {
            checked.problem(|| format!("job {job}: {name} has {row:?} in its row, and {told:?} by its events"));
        }
        nodes.insert(name, state);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(nodes)
}

/// The job's row and its history against the events.
fn check_row(
    session: &mut dyn Session,
    job: i64,
    story: &Story,
    nodes: usize,
    checked: &mut Checked,
) -> Result<(), SqlError> {
    let sql = "SELECT state, finished, node_count, CASE WHEN payload IS NULL THEN 0 ELSE 1 END AS has_payload \
               FROM jobs WHERE id = ?1";
    let row = session.first(sql, values![job], |row| {
        let finished: Option<WallTime> = row.option("finished")?;
        let (count, has_payload) = (row.get::<u64>("node_count")?, row.get::<bool>("has_payload")?);
        Ok((row.word("state", JobState::from_word)?, finished, count, has_payload))
    })?;
    let Some((state, finished, count, has_payload)) = row else { return Ok(()) };
    let mut wrong = |what: String| checked.problem(|| format!("job {job}: {what}"));
    if !story.job_states().contains(&state) {
        let last = story.last.map_or("none", EventType::word);
        wrong(format!("is {}, but the last event of its own is {last}", state.word()));
    }
    if finished.is_some() != state.is_final() {
        wrong(format!("is {} and has {} end", state.word(), if finished.is_some() { "an" } else { "no" }));
    }
    if has_payload == state.is_final() {
        let what = if has_payload { "has" } else { "has not" };
        wrong(format!("is {} and {what} its sealed parameters", state.word()));
    }
    if usize::try_from(count) != Ok(nodes) {
        wrong(format!("has {nodes} nodes, and should have {count}"));
    }
    let sql = "SELECT seq, state, enter, exit FROM job_status WHERE job = ?1 ORDER BY seq";
    let history = session.all(sql, values![job], |row| {
        let (enter, exit): (WallTime, Option<WallTime>) = (row.get("enter")?, row.option("exit")?);
        Ok((row.get::<i64>("seq")?, row.word("state", JobState::from_word)?, enter, exit))
    })?;
    let follows = |pair: &[(i64, JobState, WallTime, Option<WallTime>)]| {
        pair[1].0 == pair[0].0 + 1 && pair[0].3 == Some(pair[1].2)
    };
    let is_whole = history.first().is_some_and(|first| first.0 == 0) && history.windows(2).all(follows);
    let ends_right = history.last().is_some_and(|last| last.1 == state && last.3.is_none());
    if !is_whole || !ends_right {
        wrong(format!("its history {history:?} has gaps or does not end with {}", state.word()));
    }
    Ok(())
}

/// Rows that refer to what is not there, and sums that are not what they count.
const REST: [(&str, &str); 9] = [
    ("SELECT count(*) AS n FROM nodes WHERE job NOT IN (SELECT id FROM jobs)", "nodes without a job"),
    ("SELECT count(*) AS n FROM events WHERE job NOT IN (SELECT id FROM jobs)", "events without a job"),
    ("SELECT count(*) AS n FROM job_status WHERE job NOT IN (SELECT id FROM jobs)", "states without a job"),
    (
        "SELECT count(*) AS n FROM jobs WHERE plan_job IS NOT NULL AND plan_job NOT IN (SELECT id FROM plan_jobs)",
        "jobs of plan jobs that are not there",
    ),
    (
        "SELECT count(*) AS n FROM user_roles WHERE role_id NOT IN (SELECT id FROM roles)",
        "users with roles that are not there",
    ),
    ("SELECT count(*) AS n FROM tokens WHERE user_id NOT IN (SELECT id FROM users)", "tokens without a user"),
    (
        "SELECT count(*) AS n FROM numbers WHERE (name = 'jobs' AND last < (SELECT coalesce(max(id), 0) FROM jobs)) OR \
         (name = 'roles' AND last < (SELECT coalesce(max(id), 0) FROM roles))",
        "numbers that would be given twice",
    ),
    (
        "SELECT count(*) AS n FROM known_facts_state WHERE sequence < (SELECT coalesce(max(sequence), 0) FROM known_facts)",
        "changes of facts that readers would miss",
    ),
    (
        "SELECT count(*) AS n FROM known_facts_state WHERE bytes <> (SELECT coalesce(sum(coalesce(octet_length(facts), 0) \
         + coalesce(octet_length(extensions), 0)), 0) FROM known_facts)",
        "sums of facts that are not what is stored",
    ),
];

fn check_rest(session: &mut dyn Session, checked: &mut Checked) -> Result<(), SqlError> {
    for (sql, what) in REST {
        match session.number(sql, &[])? {
            0 => {}
            number => checked.problem(|| format!("{number} {what}")),
        }
    }
    Ok(())
}
