//! Limits of the order of nodes.

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
