//! Limits of the agent.

use std::time::Duration;

/// Bytes of a transaction id that the agent accepts.
pub const TRANSACTION_ID_BYTES_MAX: usize = 128;

/// Bytes of one output stream of a task that are kept in the spool; the rest is discarded. More than a message can hold
/// is of use only to someone on the node.
pub const TASK_OUTPUT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of one downloaded task file.
pub const TASK_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Actions that an agent runs at once, a thread and a few processes each.
pub const AGENT_ACTIONS_MAX: usize = 256;

/// Time that a task has to end once it is asked to; then it is killed.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// Time after which the processes of a task that do not even die are left alone: they hang in the kernel.
pub const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Stack of a thread that runs an action, in bytes; TLS is the deepest that it goes.
pub const AGENT_ACTION_STACK_BYTES: usize = 1024 * 1024;

/// Requests that wait for the agent's threads, per kind.
pub const AGENT_ORDERS_MAX: usize = 1024;

/// Bytes of an outgoing message besides its data: five short fields and two URIs.
pub const AGENT_ENVELOPE_BYTES_MAX: usize = 4096;

/// Bytes of an error's text in the agent's answers; names from the request stand in it.
pub const AGENT_DESCRIPTION_BYTES_MAX: usize = 16 * 1024;

/// Transactions of which the agent remembers that they were stopped before their order came. An order that was overtaken
/// comes within seconds; the oldest are forgotten first.
pub const AGENT_REFUSALS_MAX: usize = 4096;

/// Levels of a JSON schema of an external module: it is read by recursion.
pub const SCHEMA_DEPTH_MAX: usize = 32;

/// Time that an external module has to print its metadata: the agent starts only then.
pub const MODULE_METADATA_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an external module's metadata, or of its configuration.
pub const MODULE_METADATA_BYTES_MAX: u64 = 1024 * 1024;

/// Time that a Puppet run waits for another one to end before it is tried again, as in pxp-agent.
pub const PUPPET_LOCK_PATIENCE: Duration = Duration::from_secs(600);

/// Bytes of a proxy's answer to CONNECT, header lines included.
pub const PROXY_ANSWER_BYTES_MAX: usize = 8 * 1024;

/// Bytes that must be free on the spool's disk for an action to begin: its metadata, and some of its output.
pub const SPOOL_FREE_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Bytes of what `puppet agent --configprint` may print.
pub const PUPPET_CONFIGPRINT_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of one line of the last run report; the lines that are read are short.
pub const PUPPET_REPORT_LINE_BYTES_MAX: usize = 64 * 1024;
