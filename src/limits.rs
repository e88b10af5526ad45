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

/// Threads of the API. Each has its own event loop; handshakes are most of the work: about 500 a second and thread.
pub const API_THREADS: usize = 2;

/// Threads of one API thread's event loop that wait for the store and for files.
pub const API_BLOCKING_THREADS_MAX: usize = 8;

/// Bytes of an API request's line and headers.
pub const API_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Time for an API client to send a request's line and headers.
pub const API_HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for an API client to send a request's body.
pub const API_BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of API requests' bodies held at once, over all connections.
pub const API_BODIES_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Bytes of a login's body, the only one that is read without a token.
pub const API_LOGIN_BODY_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a token in a request; ours have 64 at most.
pub const API_TOKEN_BYTES_MAX: usize = 1024;

/// An API connection on which no byte moves for this long is closed, be it idle or with a client that does not read.
pub const API_IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// An API connection is asked to close after this time, so that a certificate revoked meanwhile loses its way in.
pub const API_CONNECTION_LIFETIME_MAX: Duration = Duration::from_secs(3600);

/// Largest `limit` of a list of jobs.
pub const API_PAGE_MAX: u32 = 10_000;

/// Bytes read from a file at once while it is sent to an agent.
pub const API_FILE_CHUNK_BYTES: usize = 64 * 1024;

/// Passwords checked at once: argon2 takes 19 MiB and a core for each.
pub const LOGINS_IN_FLIGHT_MAX: usize = 4;

/// Time that a login waits for its turn.
pub const LOGIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Time before a refused login is answered.
pub const LOGIN_FAILURE_DELAY: Duration = Duration::from_secs(1);

/// Refused logins from one address within [`LOGIN_FAILURE_WINDOW`] after which further ones are not looked at.
pub const LOGIN_FAILURES_MAX: u32 = 10;

/// Time after the last refused login until an address starts afresh.
pub const LOGIN_FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// Addresses whose refused logins are remembered; the one longest ago makes room.
pub const LOGIN_ADDRESSES_MAX: usize = 4096;

/// Bytes of an HTTP answer's head, and of one read of its body.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the body of a refused download that are kept for its error message.
pub const HTTP_EXCERPT_BYTES_MAX: usize = 512;

/// Bytes of an answer that the operator's client takes: a job of 50,000 nodes with 5 KB of result each.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Time for the operator's client to connect.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for one of the operator's client's requests.
pub const CLIENT_REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Time between two questions of the operator's client about a job.
pub const CLIENT_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The same if the answers are slow.
pub const CLIENT_POLL_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// How long the operator's client waits for a server that has gone away.
pub const CLIENT_RETRY_FOR: Duration = Duration::from_secs(300);

/// Bytes of a line that an operator types: a user name or a password.
pub const CLIENT_LINE_BYTES_MAX: u64 = 4096;
