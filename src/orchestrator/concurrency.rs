//! Whose turn it is: a bounded number of nodes runs at once, and jobs take turns for the slots. A single job never holds
//! all of them, so that a small job starts at once beside a large one whose nodes take hours.

use std::collections::{HashMap, VecDeque};

use super::model::JobId;
use super::store::NodeKey;

/// One part in so many of the slots is kept from any single job.
const RESERVED_FRACTION: usize = 8;

/// The queues of all jobs and the slots.
#[derive(Debug)]
pub struct Turns {
    limit: usize,
    job_limit: usize,
    running: usize,
    jobs: HashMap<JobId, Queue>,
    /// Jobs with waiting nodes, the next to be served first, each once.
    order: VecDeque<JobId>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<u32>,
    running: usize,
}

impl Turns {
    /// Slots for `limit` nodes, at least one.
    pub fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        let job_limit = limit - limit / RESERVED_FRACTION;
        Self { limit, job_limit, running: 0, jobs: HashMap::new(), order: VecDeque::new() }
    }

    /// Puts a node at the end of its job's queue.
    pub fn enqueue(&mut self, node: NodeKey) {
        let queue = self.jobs.entry(node.job).or_default();
        if queue.waiting.is_empty() {
            self.order.push_back(node.job);
        }
        queue.waiting.push_back(node.position);
    }

    /// Takes the node whose turn it is out of its queue; `None` if nobody waits or all slots are taken.
    pub fn take(&mut self) -> Option<NodeKey> {
        if self.running >= self.limit {
            return None;
        }
        for _ in 0..self.order.len() {
            let job = self.order.pop_front()?;
            let queue = self.jobs.get_mut(&job)?;
            if queue.running >= self.job_limit {
                self.order.push_back(job);
                continue;
            }
            let position = queue.waiting.pop_front()?;
            if !queue.waiting.is_empty() {
                self.order.push_back(job);
            }
            return Some(NodeKey { job, position });
        }
        None
    }

    /// Whether [`Self::take`] would give a node.
    pub fn has_next(&self) -> bool {
        self.running < self.limit && self.order.iter().any(|job| self.jobs[job].running < self.job_limit)
    }

    /// A node of the job takes a slot; one that was running before a restart does so even beyond the limit.
    pub fn occupy(&mut self, job: JobId) {
        self.running += 1;
        self.jobs.entry(job).or_default().running += 1;
    }

    /// A node of the job gives its slot back.
    pub fn release(&mut self, job: JobId) {
        self.running -= 1;
        if let Some(queue) = self.jobs.get_mut(&job) {
            queue.running -= 1;
        }
    }

    /// Forgets a job that has ended.
    pub fn forget(&mut self, job: JobId) {
        self.jobs.remove(&job);
        self.order.retain(|other| *other != job);
    }

    /// Taken slots.
    pub fn running(&self) -> usize {
        self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(limit: usize, jobs: &[(i64, u32)]) -> Turns {
        let mut turns = Turns::new(limit);
        for (job, nodes) in jobs {
            (0..*nodes).for_each(|position| turns.enqueue(NodeKey { job: JobId(*job), position }));
        }
        turns
    }

    fn occupy_next(turns: &mut Turns) -> Option<i64> {
        let node = turns.take()?;
        turns.occupy(node.job);
        Some(node.job.0)
    }

    #[test]
    fn jobs_take_turns() {
        let mut turns = turns(6, &[(1, 100), (2, 2)]);
        let order: Vec<_> = std::iter::from_fn(|| occupy_next(&mut turns)).collect();
        assert_eq!(order, [1, 2, 1, 2, 1, 1]);
        turns.release(JobId(1));
        assert_eq!(occupy_next(&mut turns), Some(1));
    }

    #[test]
    fn one_job_never_takes_all_slots() {
        let mut turns = turns(16, &[(1, 100)]);
        assert_eq!(std::iter::from_fn(|| occupy_next(&mut turns)).count(), 14);
        turns.enqueue(NodeKey { job: JobId(2), position: 0 });
        assert_eq!(occupy_next(&mut turns), Some(2));
        assert_eq!(turns.running(), 15);
    }
}
