//! What every store must do with its log: states of rows are what the events tell, for any history.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Open, at, key, new_job};
use crate::orchestrator::events::{self, Action, Ending};
use crate::orchestrator::model::{JobId, JobState, NodeState};
use crate::orchestrator::store::Change;
use crate::pxp::response::ProcessResults;

/// What happens next in a history, to one of the jobs and one of its nodes.
#[derive(Debug, Clone, Copy)]
enum Step {
    Start,
    Acknowledge,
    End(u8),
    Stop,
    Reopen,
}

fn step() -> impl Strategy<Value = (usize, u32, Step)> {
    let what = prop_oneof![
        4 => Just(Step::Start),
        1 => Just(Step::Acknowledge),
        4 => (0_u8..4).prop_map(Step::End),
        1 => Just(Step::Stop),
        1 => Just(Step::Reopen),
    ];
    (0_usize..2, 0_u32..3, what)
}

/// A job as a dispatcher has it in mind.
struct Model {
    id: JobId,
    state: JobState,
    nodes: [NodeState; 3],
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Model {
    fn apply(&mut self, position: u32, step: Step, now: i64) -> Vec<Change> {
        let action = Action::Task("t".into());
        let place = usize::try_from(position).unwrap();
        let (node, name) = (key(self.id, position), NAMES[place]);
        let mut changes = Vec::new();
        match (step, self.nodes[place]) {
            _ if self.state.is_final() => return changes,
            (Step::Start, NodeState::Ready) if self.state != JobState::Stopping => {
                changes.extend(self.enter(JobState::Running, now, None));
                let event = events::started(&action, name, false);
                changes.push(Change::NodeStarted { node, at: at(now), event });
                self.nodes[place] = NodeState::Running;
            }
            (Step::Acknowledge, NodeState::Running) => changes.push(Change::NodeAcknowledged(node)),
            (Step::End(how), NodeState::Ready | NodeState::Running) => {
                let ending = match (self.state, self.nodes[place], how) {
                    (JobState::Stopping, NodeState::Ready, _) => Ending::skipped(name),
                    (_, NodeState::Running, 0 | 1) => {
                        let results = ProcessResults { exitcode: how.into(), stdout: None, stderr: None };
                        Ending::ran(&action, name, &results)
                    }
                    _ => Ending::errored(&action, name, "why"),
                };
                changes.extend(
                    (self.state == JobState::Ready).then(|| self.enter(JobState::Running, now, None)).flatten(),
                );
                self.nodes[place] = ending.state;
                changes.push(ending.into_change(&action, node, name, at(now)));
            }
            (Step::Stop, _) => changes.extend(self.enter(JobState::Stopping, now, Some(events::job_stopping()))),
            _ => {}
        }
        let is_over = self.nodes.iter().all(|node| !matches!(node, NodeState::Ready | NodeState::Running));
        if is_over {
            let well = self.nodes.iter().all(|node| *node == NodeState::Finished);
            let last = match self.state {
                JobState::Stopping => JobState::Stopped,
                _ if well => JobState::Finished,
                _ => JobState::Failed,
            };
            changes.extend(self.enter(last, now, Some(events::job_ended(last, 0, 0))));
        }
        changes
    }

    fn enter(
        &mut self,
        state: JobState,
        now: i64,
        event: Option<crate::orchestrator::store::NewEvent>,
    ) -> Option<Change> {
        let is_new = self.state != state && (self.state != JobState::Stopping || state.is_final());
        is_new.then(|| {
            self.state = state;
            Change::JobEntered { job: self.id, state, at: at(now), event }
        })
    }
}

/// Runs histories on a store of its own; `inspect` folds its events.
pub fn run(open: Open<'_>, histories: u32, inspect: &dyn Fn() -> Vec<String>) {
    let mut runner = TestRunner::new(Config { cases: histories, failure_persistence: None, ..Config::default() });
    let mut now = 0;
    let histories = std::cell::RefCell::new(&mut now);
    runner
        .run(&vec(step(), 1..40), |steps| {
            let mut now = histories.borrow_mut();
            let mut store = open();
            let mut jobs = [0, 1].map(|_| {
                let id = store.create_job(new_job("t", &NAMES)).unwrap();
                Model { id, state: JobState::Ready, nodes: [NodeState::Ready; 3] }
            });
            for (job, position, step) in steps {
                **now += 1;
                if matches!(step, Step::Reopen) {
                    drop(store);
                    store = open();
                    continue;
                }
                let changes = jobs[job].apply(position, step, **now);
                store.commit(changes).unwrap();
            }
            for job in jobs {
                let stored = store.job(job.id).unwrap().unwrap();
                assert_eq!(stored.state, job.state);
                let nodes = store.nodes(job.id, &super::all_nodes()).unwrap().unwrap().items;
                assert_eq!(nodes.iter().map(|node| node.state).collect::<Vec<_>>(), job.nodes);
            }
            assert_eq!(inspect(), Vec::<String>::new());
            Ok(())
        })
        .unwrap();
}
