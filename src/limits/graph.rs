//! Limits of the order of nodes, of reports, and of what one user's permissions and plans may cost.

use std::time::Duration;

use super::JOB_NODES_MAX;

/// Bytes of a document with an environment's graph: [`GRAPH_NODES_MAX`] nodes with two dependencies each and names of 20
/// letters, three times over.
pub const GRAPH_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Nodes of a graph: as many as a job can have.
pub const GRAPH_NODES_MAX: usize = JOB_NODES_MAX;

/// Dependencies of a graph.
pub const GRAPH_EDGES_MAX: usize = 4 * GRAPH_NODES_MAX;

/// Dependencies between the nodes of one job, each of which is a row of the store: written in the time of as many nodes.
pub const JOB_ORDER_MAX: usize = 4 * JOB_NODES_MAX;

/// Nodes of a cycle that a message names.
pub const GRAPH_CYCLE_SHOWN_MAX: usize = 20;

/// Time between two questions for reports of Puppet runs: one has arrived half a second after its run.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a report is looked for after its run has ended: PuppetDB works off a queue.
pub const REPORT_PATIENCE: Duration = Duration::from_secs(120);

/// How often the first of several servers looks which runs of [`REPORT_PATIENCE`] have no report: that of one that was killed
/// is looked for by nobody else.
pub const REPORTS_LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Reports that one question is about: a body of 10 KiB.
pub const REPORTS_PER_QUERY: usize = 250;

/// Reports that are looked for at once, 200 bytes each: at [`REPORTS_PER_QUERY`] in every [`REPORT_INTERVAL`] each of them
/// is asked for three times within [`REPORT_PATIENCE`].
pub const REPORTS_WANTED_MAX: usize = 10_000;

/// Batches of ended runs that wait to be looked for while PuppetDB is being asked.
pub const REPORTS_QUEUE_MAX: usize = 1024;

/// Queries and node groups by which the permissions of a user may limit one task: all of them are asked for a command.
pub const PERMISSION_QUESTIONS_MAX: usize = 32;

/// Time after which no more of them are asked; the last one has its own.
pub const PERMISSION_QUESTIONS_TIME_MAX: Duration = Duration::from_secs(30);

/// Plan jobs of one user that run elsewhere at once.
pub const PLAN_JOBS_RUNNING_MAX: u64 = 1_000;

/// Bytes of what a plan job keeps of its command: parameters, description and user data, as JSON.
pub const PLAN_JOB_BYTES_MAX: usize = 256 * 1024;

/// Tokens that are removed in one step.
pub const TOKENS_SWEPT_MAX: usize = 500;
