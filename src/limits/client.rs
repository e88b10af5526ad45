//! Limits of the operator's client.

use std::time::Duration;

/// Bytes of an answer that the operator's client takes: a job of 50,000 nodes with 5 KB of result each.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Time for the operator's client to connect.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for one of the operator's client's requests.
pub const CLIENT_REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Time between two questions of the operator's client about a job.
pub const CLIENT_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The same after the first question about a job; it doubles up to [`CLIENT_POLL_INTERVAL`].
pub const CLIENT_POLL_INTERVAL_FIRST: Duration = Duration::from_millis(50);

/// The same if the answers are slow.
pub const CLIENT_POLL_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// How long the operator's client waits for a server that has gone away.
pub const CLIENT_RETRY_FOR: Duration = Duration::from_secs(300);

/// Bytes of a line that an operator types: a user name or a password.
pub const CLIENT_LINE_BYTES_MAX: u64 = 4096;

/// Bytes of a file or of standard input that stands for an argument: more than any server takes as a request.
pub const CLIENT_INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Jobs that the operator's client asks for at once when it has to look through them.
pub const CLIENT_JOBS_PAGE: usize = 200;

/// Nodes that the operator's client asks for beyond twice those that it knows to have ended.
pub const CLIENT_NODES_MORE: usize = 20;
