//! Follows a job to its end over the API: events tell what starts and that something ended, the nodes what came of it,
//! the job's state that all is over. A server that is away for a while is waited for: the job goes on without us. Plans
//! are followed with the same patience.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::client::{Client, is_passing};
use super::output::{Failure, duration, text};
use crate::clock::{Clock, Moment};
use crate::limits::{
    CLIENT_NODES_MORE, CLIENT_POLL_INTERVAL, CLIENT_POLL_INTERVAL_FIRST, CLIENT_POLL_INTERVAL_MAX, CLIENT_RETRY_FOR,
};
use crate::orchestrator::model::{JobState, NodeState};

/// How often an operator's Ctrl-C is looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// Learns of a job's progress.
pub trait Observer {
    /// A node has begun.
    fn started(&mut self, node: &str);
    /// A node has ended; an item of `jobs/:id/nodes`.
    fn ended(&mut self, node: &Value);
    /// How the job stands; `jobs/:id`.
    fn progress(&mut self, job: &Value);
    /// Something about the connection.
    fn notice(&mut self, text: &str);
}

/// A job that is over.
#[derive(Debug)]
pub struct Ended {
    /// `jobs/:id`.
    pub job: Value,
    /// Items of `jobs/:id/nodes`.
    pub nodes: Vec<Value>,
}

impl Ended {
    /// Whether every node did what was asked of it.
    pub fn is_success(&self) -> bool {
        text(&self.job, "state") == JobState::Finished.word()
            && self.nodes.iter().all(|node| text(node, "state") == NodeState::Finished.word())
    }
}

/// How patient to be.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// After the first poll; twice as long after each further one, up to `poll`.
    pub first: Duration,
    /// Between polls, if they are quick.
    pub poll: Duration,
    /// How long a server may be away.
    pub retry_for: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: CLIENT_POLL_INTERVAL_FIRST, poll: CLIENT_POLL_INTERVAL, retry_for: CLIENT_RETRY_FOR }
    }
}

impl Pace {
    /// The pauses between polls: most jobs are over soon, and the others can wait for a second.
    fn pauses(self) -> impl Iterator<Item = Duration> {
        std::iter::successors(Some(self.first.min(self.poll)), move |pause| Some((*pause * 2).min(self.poll)))
    }
}

/// Becomes true at the first Ctrl-C; the second one ends the process as ever.
pub fn interruption() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the default action looks at the flag before the same signal sets it.
        signal_hook::flag::register_conditional_default(signal, flag.clone())
            .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
            .map_err(|error| Failure::Other(format!("signals cannot be handled: {error}")))?;
    }
    Ok(flag)
}

/// What goes on elsewhere and is asked about until it is over.
pub(super) trait Poll {
    /// What there is to tell at the end.
    type End;
    /// Asks once.
    fn poll(&mut self) -> Result<Option<Self::End>, Failure>;
    /// Something about the connection.
    fn notice(&mut self, text: &str);
}

/// Asks until it is over; `None` if the operator would not wait.
pub(super) fn patiently<P: Poll>(
    asked: &mut P,
    pace: Pace,
    interrupted: &AtomicBool,
) -> Result<Option<P::End>, Failure> {
    let clock = Clock::start();
    let mut away_since: Option<Moment> = None;
    let mut pauses = pace.pauses();
    while !interrupted.load(Ordering::Relaxed) {
        let begun = clock.now();
        let outcome = asked.poll();
        let took = clock.now().since(begun);
        match outcome {
            Ok(Some(end)) => return Ok(Some(end)),
            Ok(None) => {
                if away_since.take().is_some() {
                    asked.notice("The server is back.");
                }
            }
            Err(failure) if is_passing(&failure) => {
                let since = *away_since.get_or_insert_with(|| {
                    let patience = duration(pace.retry_for.as_secs());
                    asked.notice(&format!("{failure}\nThe job goes on; trying again for {patience}."));
                    begun
                });
                if clock.now().since(since) >= pace.retry_for {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
        // A job of many nodes makes long answers: asking takes at most a fifth of the time.
        let pause = match away_since {
            None => pauses.next().unwrap_or(pace.poll),
            Some(_) => pace.poll,
        };
        wait(pause.max(took * 4).min(CLIENT_POLL_INTERVAL_MAX), interrupted);
    }
    Ok(None)
}

/// Follows job `id` to its end; `None` if the operator would not wait.
pub fn follow(
    client: &mut Client,
    id: &str,
    pace: Pace,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Option<Ended>, Failure> {
    let mut follower = Follower { client, id, observer, start: 0, ended: HashSet::new(), seen: HashSet::new() };
    patiently(&mut follower, pace, interrupted)
}

struct Follower<'a> {
    client: &'a mut Client,
    id: &'a str,
    observer: &'a mut dyn Observer,
    /// The event to ask for next.
    start: i64,
    /// Nodes that have ended, of which the observer was not told.
    ended: HashSet<String>,
    /// Those of which it was.
    seen: HashSet<String>,
}

impl Poll for Follower<'_> {
    type End = Ended;

    fn poll(&mut self) -> Result<Option<Ended>, Failure> {
        self.events()?;
        let job = self.client.get(&format!("jobs/{}", self.id))?;
        self.observer.progress(&job);
        let over = JobState::from_word(text(&job, "state")).is_some_and(JobState::is_final);
        if over {
            let nodes = self.nodes("")?;
            return Ok(Some(Ended { job, nodes }));
        }
        if !self.ended.is_empty() {
            self.latest_nodes()?;
        }
        Ok(None)
    }

    fn notice(&mut self, text: &str) {
        self.observer.notice(text);
    }
}

impl Follower<'_> {
    /// Reads all new events; a server may give them in parts.
    fn events(&mut self) -> Result<(), Failure> {
        loop {
            let answer = self.client.get(&format!("jobs/{}/events?start={}", self.id, self.start))?;
            let events = new_events(&answer, &mut self.start);
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                match text(event, "type") {
                    "node_running" => self.observer.started(text(&event["details"], "node")),
                    "node_finished" | "node_failed" | "node_errored" | "node_skipped" => {
                        let node = text(&event["details"], "node");
                        self.ended.extend((!self.seen.contains(node)).then(|| node.to_owned()));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Asks for those that ended last and not for all of a large job each time; more of them than are missing, as others may
    /// have ended since. Nodes without an end, such as skipped ones, are not among them: then for all.
    fn latest_nodes(&mut self) -> Result<(), Failure> {
        let limit = self.ended.len() * 2 + CLIENT_NODES_MORE;
        self.nodes(&format!("?order_by=finish_timestamp&order=desc&limit={limit}"))?;
        if !self.ended.is_empty() {
            self.nodes("")?;
            // Whatever the server said has ended is not shown as such: it will be at the end.
            self.ended.clear();
        }
        Ok(())
    }

    fn nodes(&mut self, options: &str) -> Result<Vec<Value>, Failure> {
        let mut answer = self.client.get(&format!("jobs/{}/nodes{options}", self.id))?;
        for node in items(&answer) {
            let is_final = NodeState::from_word(text(node, "state")).is_some_and(NodeState::is_final);
            let name = text(node, "name");
            self.ended.remove(name);
            if is_final && !self.seen.contains(name) {
                self.seen.insert(name.to_owned());
                self.observer.ended(node);
            }
        }
        match answer.get_mut("items").map(Value::take) {
            Some(Value::Array(nodes)) => Ok(nodes),
            _ => Ok(Vec::new()),
        }
    }
}

/// The events of an answer that are not older than `start`, which becomes the number behind the newest. What a server says
/// comes next is not relied upon: of plans it is documented as the first event shown.
pub(super) fn new_events<'a>(answer: &'a Value, start: &mut i64) -> Vec<&'a Value> {
    let id = |event: &Value| text(event, "id").parse::<i64>().ok();
    let since = *start;
    let events: Vec<&Value> = items(answer).iter().filter(|event| id(event).is_some_and(|id| id >= since)).collect();
    if let Some(newest) = events.iter().filter_map(|event| id(event)).max() {
        *start = newest.saturating_add(1);
    }
    events
}

/// The items of a list from the server.
pub fn items(answer: &Value) -> &[Value] {
    answer.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Waits, but not on once the operator will not.
fn wait(time: Duration, interrupted: &AtomicBool) {
    let clock = Clock::start();
    let begun = clock.now();
    while !interrupted.load(Ordering::Relaxed) {
        let left = time.saturating_sub(clock.now().since(begun));
        if left.is_zero() {
            break;
        }
        std::thread::sleep(left.min(GLANCE));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn polls_are_quick_at_first_and_then_a_second_apart() {
        let pauses: Vec<_> = Pace::default().pauses().map(|pause| pause.as_millis()).take(8).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(Pace::default().pauses().nth(10_000), Some(CLIENT_POLL_INTERVAL));
    }

    #[test]
    fn events_are_told_once_whatever_the_server_repeats() {
        let answer = json!({"next-events": {"event": "1"}, "items": [{"id": "11"}, {"id": "12"}, {"id": "x"}, {}]});
        let mut start = 12;
        assert_eq!(new_events(&answer, &mut start), [&json!({"id": "12"})]);
        assert_eq!(start, 13);
        assert!(new_events(&answer, &mut start).is_empty());
        assert_eq!(start, 13);
    }
}
