//! Limits of the REST API and of requests over HTTPS.

use std::time::Duration;

/// Bytes of an API request's body.
pub const API_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Connections to the API at once.
pub const API_CONNECTIONS_MAX: usize = 1024;

/// Threads of the API. Each has its own event loop; handshakes are most of the work: about 500 a second and thread.
pub const API_THREADS: usize = 2;

/// Threads of one API thread's event loop that wait for the store, for files, and for Puppet Server and PuppetDB; made when
/// they are needed.
pub const API_BLOCKING_THREADS_MAX: usize = 16;

/// Requests to the API that ask Puppet Server at once; others wait without a thread. Each loop has threads left for those that
/// ask nobody, even if nothing is answered.
pub const API_PUPPET_SERVER_TURNS: usize = 8;

/// The same for PuppetDB. Those that need both take their turn here first.
pub const API_PUPPETDB_TURNS: usize = 6;

const _: () = assert!(API_PUPPET_SERVER_TURNS + API_PUPPETDB_TURNS < API_BLOCKING_THREADS_MAX);

// Whoever has a turn is not refused.
const _: () = assert!(API_PUPPET_SERVER_TURNS <= super::SERVICE_REQUESTS_MAX + super::SERVICE_WAITING_MAX);

/// Time that a request waits for its turn at Puppet Server or PuppetDB: less than proxies and clients wait for an answer.
pub const API_TURN_WAIT_MAX: Duration = Duration::from_secs(30);

/// Bytes of an API request's line and headers.
pub const API_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Depth of JSON in requests, and in results of tasks that are kept as JSON. Clients give up on whole answers that are
/// deeper than theirs (Ruby's parser: 100, serde's: 128), and an answer has a few levels more than what is in it.
pub const JSON_DEPTH_MAX: usize = 64;

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

/// Password hashes computed at once: about 19 MiB and one core each.
pub const PASSWORD_HASHES_IN_FLIGHT_MAX: usize = 2;

/// Logins that wait for a password hash; further ones are refused.
pub const LOGINS_WAITING_MAX: usize = 64;

/// Bytes of a password that is looked at.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Characters that a new password needs.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// Streams of events at once. Each holds at most two parts of [`super::EVENTS_PART_BYTES_MAX`] on their way out, and an API
/// connection.
pub const STREAMS_MAX: usize = 128;

/// Streams of one user.
pub const STREAMS_PER_USER_MAX: usize = 16;

/// Streams that read from the store at once: a few of the API's threads that may block, so that the others have the rest.
pub const STREAM_READS_MAX: usize = 4;

/// The shortest time between two reads of a stream that had nothing left to read: events come together in batches.
pub const STREAM_PACE: Duration = Duration::from_millis(200);

/// A stream without events for this long gets a comment, so that nobody on the way takes it for dead.
pub const STREAM_HEARTBEAT: Duration = Duration::from_secs(15);

/// How often it is looked up whether the reader of a stream may still read.
pub const STREAM_CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// Readers come back after so many milliseconds when a stream ends.
pub const STREAM_RETRY_MILLIS: u32 = 2000;
