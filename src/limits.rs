//! Every limit of the program: its name, its unit, its default and the arithmetic behind it. Nothing that a peer
//! controls may grow past one of these.
//!
//! File descriptors of a server: one per agent, plus per worker one epoll instance, one waker and one listener, plus the
//! API's listener and its connections, SQLite's three files, the log and the signal pipe: agents + 64.

use std::time::Duration;

/// A message from or to a client, in bytes. Agents drop their connection at 32,000,000 bytes, so nothing larger is
/// forwarded (reference: agent receive limit).
pub const MESSAGE_BYTES_MAX: usize = 32_000_000;

/// Bytes that may wait for one connection whose socket is blocked. One message of the largest size must fit.
pub const OUT_QUEUE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 64 * 1024;

/// Bytes that may wait over all connections of one worker, so that many slow readers together are bounded too.
pub const WORKER_QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of incomplete messages held over all connections of one worker.
pub const WORKER_PARTIAL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of an upgrade request or of the answer to one.
pub const UPGRADE_BYTES_MAX: usize = 16 * 1024;

/// Time for TLS handshake and upgrade together. Agents give up after 5 s.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes under way at once, per worker; bounds the memory of a reconnect storm (about 10 KB each).
pub const HANDSHAKES_IN_FLIGHT_MAX: usize = 256;

/// Accepted connections that wait for a handshake slot, per worker; newest first, a descriptor each.
pub const ACCEPT_QUEUE_MAX: usize = 1024;

/// A connection without a frame in either direction for this long is closed: three times the agents' ping interval.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(360);

/// Time for a peer to answer our close frame before its connection is dropped.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of one process; 0 in the configuration means this.
pub const CONNECTIONS_MAX: usize = 100_000;

/// Messages waiting in one worker's mailbox.
pub const MAILBOX_MAX: usize = 8192;

/// Payload bytes waiting in one worker's mailbox.
pub const MAILBOX_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Inventory changes remembered for subscribers that have not been told yet; a subscriber further behind gets a
/// connection close and starts again from a fresh response.
pub const INVENTORY_LOG_MAX: usize = 200_000;

/// Subscriptions per worker.
pub const SUBSCRIPTIONS_MAX: usize = 1024;

/// How often subscribers are told of inventory changes (reference: 1,000 ms).
pub const INVENTORY_TICK: Duration = Duration::from_millis(1000);

/// Bytes of a PCP URI. A certificate's common name has at most 64 characters in X.520; names in use are longer.
pub const URI_BYTES_MAX: usize = 512;

/// Bytes of a transaction id that the agent accepts.
pub const TRANSACTION_ID_BYTES_MAX: usize = 128;

/// Messages from brokers that wait for the orchestrator.
pub const ORCHESTRATOR_QUEUE_MAX: usize = 65_536;

/// Bytes of an API request's body.
pub const API_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Connections to the API at once.
pub const API_CONNECTIONS_MAX: usize = 1024;

/// Nodes of one job. A node that waits costs the dispatcher about 150 bytes: 15 MB for the largest job.
pub const JOB_NODES_MAX: usize = 100_000;

/// Nodes over all jobs that have not ended; a command beyond it is refused.
pub const UNFINISHED_NODES_MAX: usize = 1_000_000;

/// Bytes of a certificate name in a scope: what fits into a URI `pcp://<name>/agent`.
pub const NODE_NAME_BYTES_MAX: usize = URI_BYTES_MAX - "pcp:///agent".len();

/// Nodes in the inventory, connected or not; further ones are not listed and not run on.
pub const INVENTORY_NODES_MAX: usize = 500_000;

/// Nodes that the dispatcher starts or gives up in one step, so that answers are read in between.
pub const DISPATCH_STEP_NODES_MAX: usize = 250;

/// Messages that the dispatcher reads before it commits what they changed.
pub const DISPATCH_BATCH_MESSAGES_MAX: usize = 250;

/// Messages of the orchestrator that wait for a broker that does not keep up; further ones are dropped, and the status
/// queries find that out.
pub const ORCHESTRATOR_OUTBOX_MAX: usize = 16_384;

/// Accepted jobs that wait for the dispatcher's attention.
pub const DISPATCH_COMMANDS_MAX: usize = 1024;

/// Time after the start in which nodes that are not connected are waited for: agents need it to come back.
pub const START_GRACE: Duration = Duration::from_secs(30);

/// Time for a broker to answer an inventory request before it is asked again.
pub const INVENTORY_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the whole inventory is asked for again, in case an update was lost.
pub const INVENTORY_REFRESH: Duration = Duration::from_secs(300);

/// Changes that share one transaction of the store, hence one flush to disk.
pub const STORE_BATCH_CHANGES_MAX: usize = 250;

/// Requests that wait for the store's writer.
pub const STORE_QUEUE_MAX: usize = 256;

/// Connections that read from the store at once are kept up to this number.
pub const STORE_READERS_MAX: usize = 8;

/// Events in one answer; the rest is found from the answer's next number on.
pub const EVENTS_PAGE_MAX: u32 = 10_000;

/// Password hashes computed at once: about 19 MiB and one core each.
pub const PASSWORD_HASHES_IN_FLIGHT_MAX: usize = 2;

/// Logins that wait for a password hash; further ones are refused.
pub const LOGINS_WAITING_MAX: usize = 64;

/// Bytes of a password that is looked at.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Depth of a Puppet data type, aliases followed.
pub const TYPE_DEPTH_MAX: usize = 32;

/// Nodes of a Puppet data type, aliases followed.
pub const TYPE_NODES_MAX: usize = 4096;

/// Bytes of a Puppet data type's text, or of the file of an alias.
pub const TYPE_BYTES_MAX: usize = 64 * 1024;

/// Bytes that a compiled pattern of a data type may take.
pub const TYPE_REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a task's metadata file, or of an `environment.conf`.
pub const METADATA_BYTES_MAX: usize = 1024 * 1024;

/// Files of one task, directories expanded.
pub const TASK_FILES_MAX: usize = 10_000;

/// Depth of directories below an extra directory of a task.
pub const TASK_DIRECTORY_DEPTH_MAX: usize = 32;

/// Hashes of task files that are remembered.
pub const FILE_HASHES_MAX: usize = 100_000;
