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

/// Time an accepted connection may wait for a handshake slot: what is left of the agents' 5 s must be enough for the
/// handshake.
pub const ACCEPT_QUEUE_WAIT: Duration = Duration::from_secs(3);

/// Pause of accepting after the process or the host ran out of descriptors or memory, so that the loop does not spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections waiting in the kernel for each listener. The kernel cuts it to `net.core.somaxconn`.
pub const ACCEPT_BACKLOG: i32 = 4096;

/// Bytes read from one socket at once; the size of the part of a worker's read buffer that new bytes go to.
pub const READ_CHUNK_BYTES: usize = 64 * 1024;

/// Bytes read from one connection before the others of its worker have their turn.
pub const TURN_READ_BYTES: usize = 4 * READ_CHUNK_BYTES;

/// Connections that may go on with their handshake in one turn of a worker, so that a reconnect storm (up to 4 ms each
/// with RSA-4096) does not stop the messages of everybody else.
pub const TURN_HANDSHAKES: usize = 16;

/// Bytes of TLS that cannot be processed yet, per connection: a handshake message of 64 KiB, the most rustls takes,
/// and a record.
pub const TLS_CARRY_BYTES_MAX: usize = 64 * 1024 + 18 * 1024;

/// Bytes waiting for a peer above which its pings stay unanswered: only the latest must be (RFC 6455, 5.5.2).
pub const PONG_QUEUE_BYTES_MAX: usize = 64 * 1024;

/// A peer that takes none of the bytes waiting for it for this long is dropped, however much it sends itself.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(120);

/// Closing connections, per worker, above which a refused one does not wait for the peer to read the last word.
pub const LINGERING_MAX: usize = 1024;

/// Threads of one worker that resolve host names at once.
pub const RESOLVERS_MAX: usize = 8;

/// Time for a pong on connections that we have dialled (the agents' own value).
pub const PONG_TIMEOUT: Duration = Duration::from_secs(5);

/// Pongs missed in a row after which a dialled connection is lost (the agents' own value).
pub const PONGS_MISSED_MAX: u8 = 3;

/// Time at the end of the process for close frames to leave.
pub const STOP_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Log lines per second, worker and label about connections that failed; the rest is counted.
pub const FAILURE_LOG_LINES: u32 = 5;

/// A connection without a frame in either direction for this long is closed: three times the agents' ping interval.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(360);

/// Bytes of an unfinished frame that count as a sign of life when they come at once: the largest message may take longer
/// than [`IDLE_TIMEOUT`] on a slow line, but a byte now and then must not keep half a message alive.
pub const PROGRESS_BYTES: usize = 1024;

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
