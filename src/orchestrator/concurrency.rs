//! Whose turn it is: a bounded number of nodes runs at once, tasks and Puppet runs each with slots of their own, since a
//! Puppet run costs the server a catalog. Users take turns for the slots, and then their jobs. A single job never holds all
//! of them, nor does a single user, so that a small job starts at once beside large ones whose nodes take hours.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::model::JobId;
use super::store::NodeKey;

/// One part in so many of the slots is kept from any single job.
const RESERVED_FROM_JOB: usize = 8;

/// One part in so many of the slots is kept from any single user.
const RESERVED_FROM_USER: usize = 16;

/// Which slots a job's nodes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Those of tasks.
    Tasks,
    /// Those of Puppet runs.
    PuppetRuns,
}

/// The queues of all jobs and the slots.
#[derive(Debug)]
pub struct Turns {
    tasks: Slots,
    puppet_runs: Slots,
    jobs: HashMap<JobId, Queue>,
}

/// The slots of a pool, and who waits for them.
#[derive(Debug)]
struct Slots {
    limit: usize,
    running: usize,
    users: HashMap<Arc<str>, User>,
    /// Users who could be given a slot, the next to be served first, each once.
    order: VecDeque<Arc<str>>,
}

#[derive(Debug, Default)]
struct User {
    running: usize,
    /// Jobs that have not been forgotten.
    jobs: usize,
    /// Jobs that could be given a slot, the next to be served first, each once.
    order: VecDeque<JobId>,
    is_in_order: bool,
}

#[derive(Debug)]
struct Queue {
    pool: Pool,
    user: Arc<str>,
    limit: usize,
    waiting: VecDeque<u32>,
    running: usize,
    is_in_order: bool,
}

impl Slots {
    fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), running: 0, users: HashMap::new(), order: VecDeque::new() }
    }

    const fn user_limit(&self) -> usize {
        self.limit - self.limit / RESERVED_FROM_USER
    }

    const fn job_limit(&self) -> usize {
        self.limit - self.limit / RESERVED_FROM_JOB
    }

    /// Puts the user into the order or takes it out, whichever is right now.
    fn settle(&mut self, name: &Arc<str>) {
        let limit = self.user_limit();
        let Some(user) = self.users.get_mut(name) else { return };
        let belongs = !user.order.is_empty() && user.running < limit;
        match (belongs, user.is_in_order) {
            (true, false) => self.order.push_back(name.clone()),
            (false, true) => remove(&mut self.order, name),
            _ => {}
        }
        user.is_in_order = belongs;
    }
}

/// Whoever has just been served is at the back.
fn remove<T: PartialEq>(order: &mut VecDeque<T>, item: &T) {
    if order.back() == Some(item) {
        order.pop_back();
    } else {
        order.retain(|other| other != item);
    }
}

impl Turns {
    /// Slots for so many tasks and so many Puppet runs, at least one of each.
    pub fn new(tasks: usize, puppet_runs: usize) -> Self {
        Self { tasks: Slots::new(tasks), puppet_runs: Slots::new(puppet_runs), jobs: HashMap::new() }
    }

    const fn slots(&mut self, pool: Pool) -> &mut Slots {
        match pool {
            Pool::Tasks => &mut self.tasks,
            Pool::PuppetRuns => &mut self.puppet_runs,
        }
    }

    /// A job of a user of which at most `limit` nodes may run at once.
    pub fn enter(&mut self, job: JobId, pool: Pool, user: &str, limit: Option<u32>) {
        let slots = self.slots(pool);
        let own = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let limit = slots.job_limit().min(own).max(1);
        let user: Arc<str> = user.into();
        slots.users.entry(user.clone()).or_default().jobs += 1;
        let queue = Queue { pool, user, limit, waiting: VecDeque::new(), running: 0, is_in_order: false };
        self.jobs.insert(job, queue);
    }

    /// Puts a node at the end of its job's queue.
    pub fn enqueue(&mut self, node: NodeKey) {
        if let Some(queue) = self.jobs.get_mut(&node.job) {
            queue.waiting.push_back(node.position);
            self.settle(node.job);
        }
    }

    /// Nobody of the job waits any more.
    pub fn clear(&mut self, job: JobId) {
        if let Some(queue) = self.jobs.get_mut(&job) {
            queue.waiting.clear();
            self.settle(job);
        }
    }

    /// Puts the job into its user's order or takes it out, whichever is right now.
    fn settle(&mut self, job: JobId) {
        let Some(queue) = self.jobs.get_mut(&job) else { return };
        let slots = match queue.pool {
            Pool::Tasks => &mut self.tasks,
            Pool::PuppetRuns => &mut self.puppet_runs,
        };
        let belongs = !queue.waiting.is_empty() && queue.running < queue.limit;
        let user = slots.users.get_mut(&queue.user).expect("a job's user is there as long as the job");
        match (belongs, queue.is_in_order) {
            (true, false) => user.order.push_back(job),
            (false, true) => remove(&mut user.order, &job),
            _ => {}
        }
        queue.is_in_order = belongs;
        slots.settle(&queue.user);
    }

    /// Takes the node whose turn it is out of its queue; `None` if nobody waits or all slots are taken.
    pub fn take(&mut self) -> Option<NodeKey> {
        self.take_from(Pool::PuppetRuns).or_else(|| self.take_from(Pool::Tasks))
    }

    fn take_from(&mut self, pool: Pool) -> Option<NodeKey> {
        let slots = self.slots(pool);
        if slots.running >= slots.limit {
            return None;
        }
        let name = slots.order.pop_front()?;
        let user = slots.users.get_mut(&name).expect("users in the order are there");
        user.is_in_order = false;
        let job = user.order.pop_front().expect("users in the order have jobs in theirs");
        let queue = self.jobs.get_mut(&job).expect("jobs in an order are there");
        queue.is_in_order = false;
        let position = queue.waiting.pop_front().expect("jobs in an order have nodes that wait");
        self.settle(job);
        // The user's other jobs may wait although this one does not.
        self.slots(pool).settle(&name);
        Some(NodeKey { job, position })
    }

    /// Whether [`Self::take`] would give a node.
    pub fn has_next(&self) -> bool {
        [&self.tasks, &self.puppet_runs].into_iter().any(|slots| slots.running < slots.limit && !slots.order.is_empty())
    }

    /// A node of the job takes a slot; one that was running before a restart does so even beyond the limit.
    pub fn occupy(&mut self, job: JobId) {
        self.count(job, |running| running + 1);
    }

    /// A node of the job gives its slot back.
    pub fn release(&mut self, job: JobId) {
        self.count(job, |running| running - 1);
    }

    fn count(&mut self, job: JobId, count: impl Fn(usize) -> usize) {
        let Some(queue) = self.jobs.get_mut(&job) else { return };
        queue.running = count(queue.running);
        let (pool, name) = (queue.pool, queue.user.clone());
        let slots = self.slots(pool);
        slots.running = count(slots.running);
        let user = slots.users.get_mut(&name).expect("a job's user is there as long as the job");
        user.running = count(user.running);
        self.settle(job);
    }

    /// Forgets a job that has ended; its slots have been given back.
    pub fn forget(&mut self, job: JobId) {
        self.clear(job);
        let Some(Queue { pool, user: name, .. }) = self.jobs.remove(&job) else { return };
        let slots = self.slots(pool);
        let user = slots.users.get_mut(&name).expect("a job's user is there as long as the job");
        user.jobs -= 1;
        if user.jobs == 0 {
            slots.users.remove(&name);
        }
    }

    /// Taken slots.
    pub fn running(&self) -> usize {
        self.tasks.running + self.puppet_runs.running
    }

    /// Whether nothing is left of any job.
    pub fn is_idle(&self) -> bool {
        let is_empty = |slots: &Slots| slots.running == 0 && slots.users.is_empty() && slots.order.is_empty();
        self.jobs.is_empty() && is_empty(&self.tasks) && is_empty(&self.puppet_runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs of tasks with so many nodes, by user.
    fn turns(limit: usize, jobs: &[(i64, &str, u32)]) -> Turns {
        let mut turns = Turns::new(limit, 2);
        for (job, user, nodes) in jobs {
            enter(&mut turns, *job, Pool::Tasks, user, *nodes, None);
        }
        turns
    }

    fn enter(turns: &mut Turns, job: i64, pool: Pool, user: &str, nodes: u32, limit: Option<u32>) {
        turns.enter(JobId(job), pool, user, limit);
        (0..nodes).for_each(|position| turns.enqueue(NodeKey { job: JobId(job), position }));
    }

    fn occupy_next(turns: &mut Turns) -> Option<i64> {
        let expected = turns.has_next();
        let node = turns.take();
        assert_eq!(node.is_some(), expected);
        let node = node?;
        turns.occupy(node.job);
        Some(node.job.0)
    }

    fn all(turns: &mut Turns) -> Vec<i64> {
        let taken = std::iter::from_fn(|| occupy_next(turns)).collect();
        assert!(!turns.has_next());
        taken
    }

    #[test]
    fn jobs_take_turns() {
        let mut turns = turns(6, &[(1, "ada", 100), (2, "ada", 2)]);
        assert_eq!(all(&mut turns), [1, 2, 1, 2, 1, 1]);
        turns.release(JobId(1));
        assert_eq!(occupy_next(&mut turns), Some(1));
    }

    #[test]
    fn users_take_turns_before_their_jobs() {
        let mut turns = turns(6, &[(1, "ada", 9), (2, "ada", 9), (3, "ada", 9), (4, "bob", 9)]);
        assert_eq!(all(&mut turns), [1, 4, 2, 4, 3, 4]);
    }

    #[test]
    fn one_job_never_takes_all_slots_and_neither_does_one_user() {
        let mut turns = turns(16, &[(1, "ada", 100)]);
        assert_eq!(all(&mut turns).len(), 14);
        enter(&mut turns, 2, Pool::Tasks, "ada", 100, None);
        assert_eq!(all(&mut turns), [2]);
        enter(&mut turns, 3, Pool::Tasks, "bob", 1, None);
        assert_eq!(all(&mut turns), [3]);
        turns.release(JobId(3));
        assert_eq!((occupy_next(&mut turns), turns.running()), (None, 15));
        turns.release(JobId(2));
        assert_eq!(occupy_next(&mut turns), Some(2));
    }

    #[test]
    fn a_job_keeps_to_its_own_limit_while_others_go_on() {
        let mut turns = turns(8, &[]);
        enter(&mut turns, 1, Pool::Tasks, "ada", 5, Some(2));
        enter(&mut turns, 2, Pool::Tasks, "ada", 3, None);
        assert_eq!(all(&mut turns), [1, 2, 1, 2, 2]);
        turns.release(JobId(1));
        assert_eq!(all(&mut turns), [1]);
    }

    #[test]
    fn puppet_runs_have_slots_of_their_own() {
        let mut turns = turns(2, &[(1, "ada", 5)]);
        enter(&mut turns, 2, Pool::PuppetRuns, "ada", 5, Some(9));
        assert_eq!(all(&mut turns), [2, 2, 1, 1]);
        turns.release(JobId(2));
        assert_eq!(all(&mut turns), [2]);
    }

    #[test]
    fn nothing_is_left_of_jobs_that_were_cleared_and_forgotten() {
        let mut turns = turns(4, &[(1, "ada", 5), (2, "bob", 5)]);
        assert_eq!(all(&mut turns), [1, 2, 1, 2]);
        turns.clear(JobId(1));
        turns.clear(JobId(2));
        for job in [1, 2] {
            turns.release(JobId(job));
            turns.release(JobId(job));
            assert!(!turns.has_next());
            turns.forget(JobId(job));
        }
        assert!(turns.is_idle(), "{turns:?}");
    }
}
