//! Every limit of the program: its name, its unit, its default and the arithmetic behind it. Nothing that a peer
//! controls may grow past one of these.
//!
//! File descriptors of a server: one per agent, plus per worker one epoll instance, one waker and one listener, plus the
//! API's listener and its connections, SQLite's three files, the log and the signal pipe: agents + 64.

mod agent;
mod api;
mod capacity;
mod client;
mod graph;
mod load;
mod orchestrator;
mod plans;
mod puppet_lang;
mod query;
mod schedule;

use std::time::Duration;

pub use agent::*;
pub use api::*;
pub use capacity::*;
pub use client::*;
pub use graph::*;
pub use load::*;
pub use orchestrator::*;
pub use plans::*;
pub use puppet_lang::*;
pub use query::*;
pub use schedule::*;

/// A message from a client, in bytes (pcp-broker: `max-message-size`).
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A message to an agent, in bytes: deployed agents close their connection on more.
pub const AGENT_RECEIVE_BYTES_MAX: usize = 32_000_000;

/// Bytes that may wait for one connection whose socket is blocked. One message of the largest size must fit: 64 MiB, 40
/// bytes or fewer of TLS for each of its 4,096 records (160 KiB), and the sender and the v1 envelope that it may get on its
/// way (a few hundred bytes).
pub const OUT_QUEUE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 512 * 1024;

/// Bytes that may wait over all connections of one worker, so that many slow readers together are bounded too: three
/// messages of the largest size and a rest. At the limit the longest queue is dropped with its connection.
pub const WORKER_QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of incomplete messages and TLS records held over all open connections of one worker: three messages of the
/// largest size and a rest, or 15,000 records. At the limit the largest and oldest is dropped with its connection.
pub const WORKER_PARTIAL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of a worker's buffer for translated messages that are kept from one message to the next: nearly all messages fit,
/// and a larger one costs an allocation beside the work on its bytes.
pub const SCRATCH_BYTES_KEPT: usize = 256 * 1024;

/// Bytes of an upgrade request or of the answer to one.
pub const UPGRADE_BYTES_MAX: usize = 16 * 1024;

/// Time for TLS handshake and upgrade together. Agents give up after 5 s.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes under way at once, per worker; bounds the memory of a reconnect storm (about 10 KB each).
pub const HANDSHAKES_IN_FLIGHT_MAX: usize = 256;

/// Hellos of one worker that wait at the pool before newcomers are left in the waiting room: with RSA-4096 on an old
/// processor a tenth of a second of one core, so that nearly all of an agent's patience is spent where the newest is first.
pub const HELLOS_WAITING_MAX: usize = 32;

/// Accepted connections that wait for a handshake slot, per worker; newest first, a descriptor each. About as many as a
/// core can shake hands with within [`ACCEPT_QUEUE_WAIT`]: for more it would be too late, and they are refused at once.
pub const ACCEPT_QUEUE_MAX: usize = 4096;

/// Time an accepted connection may wait for a handshake slot: what is left of the agents' 5 s must be enough for the
/// handshake.
pub const ACCEPT_QUEUE_WAIT: Duration = Duration::from_millis(3500);

/// Addresses that are remembered, per worker, for the turns that they have had while others wait for a handshake slot, besides
/// those that wait themselves: 64 bytes each. Beyond that, those with the fewest turns start afresh.
pub const SOURCES_MAX: usize = 16_384;

/// Time that a handshake has before it may have to make way for a newcomer from an address with fewer of them: four
/// round trips to the other side of the earth.
pub const HANDSHAKE_UNDISPLACED: Duration = Duration::from_secs(1);

/// Turns that a displaced handshake costs its address besides the one that it has had: it has held a slot for as long as a
/// hundred others need it, and may have done so on purpose.
pub const DISPLACED_TURNS: u64 = 64;

/// Servers whose session tickets a client keeps: more brokers than an agent has.
pub const RESUMED_SERVERS_MAX: usize = 16;

/// Connections that a worker accepts in one turn, about 10 µs each: a reconnect storm must not stop the messages of
/// everybody else.
pub const TURN_ACCEPTS: usize = 64;

/// Connections that a worker drops in one turn because they have waited too long for a handshake, about 20 µs each: after a
/// storm's first wave thousands have at once.
pub const TURN_EXPIRIES: usize = 64;

/// New connections within an [`OBSERVE_INTERVAL`] up to which freed memory is given back: that takes the allocator's locks,
/// and with them the workers' time.
pub const CALM_CONNECTIONS_MAX: u64 = 128;

/// Intervals after which freed memory is given back although there are more new connections than that: five minutes.
pub const CALM_LOOKS_MAX: u32 = 60;

/// Pause of accepting after the system gave no connection, for lack of descriptors for instance, so that the loop does
/// not spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections waiting in the kernel for each listener. The kernel cuts it to `net.core.somaxconn`.
pub const ACCEPT_BACKLOG: i32 = 4096;

/// Bytes read from one socket at once; the size of the part of a worker's read buffer that new bytes go to.
pub const READ_CHUNK_BYTES: usize = 64 * 1024;

/// Bytes read from one connection before the others of its worker have their turn.
pub const TURN_READ_BYTES: usize = 4 * READ_CHUNK_BYTES;

/// Reads from one connection before the others have their turn: a peer that sends byte by byte is not read for as long.
pub const TURN_READS: usize = 64;

/// What a frame counts for at least against [`TURN_READ_BYTES`]: an empty one costs about as much work as this many
/// bytes of a large one.
pub const TURN_FRAME_BYTES: usize = 256;

/// Connections that may be dropped to make room for one message; each is looked for among all of the worker.
pub const EVICTIONS_MAX: usize = 16;

/// Connections that may go on with their handshake in one turn of a worker, so that a reconnect storm (up to 4 ms each
/// with RSA-4096) does not stop the messages of everybody else.
pub const TURN_HANDSHAKES: usize = 16;

/// Connections whose peer has gone that a worker ends in one turn, about 50 µs each with their line in the log: when a
/// network breaks, thousands go at once, and the messages of all others come between them.
pub const TURN_ENDS: usize = 16;

/// Connections whose deadline has passed that a worker deals with in one turn, about 20 µs each.
pub const TURN_DEADLINES: usize = 64;

/// Handshakes that a worker takes back from the pool in one turn: an application may need 20 µs for each newcomer.
pub const TURN_HANDSHAKES_BACK: usize = 16;

/// Steps of handshakes that work has been done for, before the pool looks at one that has just come: whoever sends its
/// part byte by byte has one step after the other, and newcomers must not wait for the end of that.
pub const HANDSHAKES_BEGUN_MAX: usize = 16;

/// By how much the threads that make handshakes are nicer than the workers: at 10, a busy worker gets nine tenths of a
/// core that it shares with one of them, and the core at once when it wakes up.
pub const HANDSHAKE_NICE: i32 = 10;

/// Bytes of TLS that cannot be processed yet, per connection: a handshake message of 64 KiB, the most rustls takes,
/// and a record.
pub const TLS_CARRY_BYTES_MAX: usize = 64 * 1024 + 18 * 1024;

/// Records without content that a peer may send in a row: work for us that brings it nothing. As rustls has it.
pub const TLS_EMPTY_RECORDS_MAX: u8 = 32;

/// Key updates without data between them: each costs two hashes (RFC 8446, 4.6.3). As rustls has it.
pub const TLS_KEY_UPDATES_MAX: u8 = 32;

/// Warnings that a connection may bring in its life; none of them is of use to anybody. As rustls has it.
pub const TLS_WARNINGS_MAX: u8 = 4;

/// Requests for a new handshake that are answered with "no"; the next one ends the connection. As rustls has it.
pub const TLS_RENEGOTIATIONS_MAX: u8 = 1;

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

/// Log lines per second, worker and label about connections and messages that failed; the rest is counted.
pub const FAILURE_LOG_LINES: u32 = 5;

/// Bytes of a line's message and, apart from it, of its fields in the log; what peers say may be as long as a message.
pub const LOG_TEXT_BYTES_MAX: usize = 8 * 1024;

/// Bytes of an access log that wait for the disk, per worker and log, and once more per log while they are written: 2,000
/// lines.
/// Further lines are counted and dropped.
pub const ACCESS_LOG_BUFFER_BYTES: usize = 512 * 1024;

/// Longest time that a line of an access log waits to be written.
pub const ACCESS_LOG_DELAY: Duration = Duration::from_millis(100);

/// Bytes of one field of an access log, escapes included: what a peer says may be as long as a message.
pub const ACCESS_LOG_FIELD_BYTES_MAX: usize = 512;

/// Bytes of a line of an access log: six such fields and what is ours.
pub const ACCESS_LOG_LINE_BYTES_MAX: usize = 6 * ACCESS_LOG_FIELD_BYTES_MAX + 512;

/// Bytes of a status page on the broker's port.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;

/// How often the broker looks at its own process (memory, descriptors) and averages its rates.
pub const OBSERVE_INTERVAL: Duration = Duration::from_secs(5);

/// One in so many messages is timed: two clock reads of 25 ns each.
pub const TIMED_MESSAGES: u32 = 64;

/// Durations that the percentiles of a timer are taken of, the latest ones.
pub const TIMER_SAMPLES: usize = 1024;

/// A connection without a frame in either direction for this long is closed: three times the agents' ping interval.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(360);

/// Bytes of an unfinished frame that count as a sign of life when they come at once: the largest message may take longer
/// than [`IDLE_TIMEOUT`] on a slow line, but a byte now and then must not keep half a message alive.
pub const PROGRESS_BYTES: usize = 1024;

/// Time for a peer to answer our close frame before its connection is dropped.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of one process; 0 in the configuration means this.
pub const CONNECTIONS_MAX: usize = 100_000;

/// Connections of one certificate besides that of its agent, each as a client type of its own; privileged clients may
/// have more.
pub const CLIENTS_PER_NAME_MAX: u32 = 128;

/// Connections of one URI, or links of one broker, that supersede each other quickly before the next ones are refused for a while: two hosts with
/// the same certificate, which would otherwise take it from each other several times a second for ever.
pub const SUPERSEDED_QUICKLY_MAX: u8 = 5;

/// A connection that lives less long than this until it is superseded is superseded quickly.
pub const SUPERSEDE_WINDOW: Duration = Duration::from_secs(60);

/// Time that a connection is left alone once its URI has been taken too often.
pub const SUPERSEDE_PAUSE: Duration = Duration::from_secs(10);

/// Bytes of an idle connection in the process: TLS state, session and tables (measured: `cargo bench --bench memory`, 755
/// for 19,000 agents with RSA-4096). Only for arithmetic.
pub const IDLE_CONNECTION_BYTES: usize = 1024;

/// The same with `tls-session: rustls`, which keeps the peer's chain.
pub const IDLE_CONNECTION_RUSTLS_BYTES: usize = 7 * 1024;

/// Bytes of a socket in the kernel. Only for arithmetic.
pub const SOCKET_BYTES: usize = 4 * 1024;

/// Bytes of the process without connections. Only for arithmetic.
pub const PROCESS_BYTES: usize = 16 * 1024 * 1024;

/// File descriptors of a server besides those of its connections; see above.
pub const DESCRIPTORS_BESIDE_CONNECTIONS: usize = 64;

/// Messages waiting in one worker's mailbox.
pub const MAILBOX_MAX: usize = 8192;

/// Payload bytes waiting in one worker's mailbox: two messages of the largest size and a rest. With the queues and the
/// incomplete messages, strangers' bytes take at most 704 MiB per worker.
pub const MAILBOX_BYTES_MAX: usize = 192 * 1024 * 1024;

/// Inventory changes remembered for subscribers that have not been told yet, shared by all of them; a subscriber further
/// behind gets a whole new response.
pub const INVENTORY_LOG_MAX: usize = 200_000;

/// Bytes of the changes in one inventory update; what is more goes into further ones. Far below what an agent takes, which
/// a subscriber may call itself, and about 50,000 changes.
pub const INVENTORY_UPDATE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// URIs and wildcards in an inventory query.
pub const INVENTORY_PATTERNS_MAX: usize = 50_000;

/// Bytes of the texts in an inventory query: 80 for each of the most there may be.
pub const INVENTORY_PATTERN_BYTES_MAX: usize = 4_000_000;

/// Bytes of the patterns of all subscriptions of one worker.
pub const SUBSCRIPTION_PATTERN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Subscriptions per worker.
pub const SUBSCRIPTIONS_MAX: usize = 1024;

/// How often subscribers are told of inventory changes (reference: 1,000 ms).
pub const INVENTORY_TICK: Duration = Duration::from_millis(1000);

/// Time without any controller after which a compile-node broker closes its clients (reference: 90 s).
pub const CONTROLLER_GRACE_PERIOD: Duration = Duration::from_secs(90);

/// Entries of `controller-uris`; each is asked for inventory and answers, and may queue [`CONTROLLER_QUEUE_BYTES_MAX`].
pub const CONTROLLERS_MAX: usize = 16;

/// Bytes that may wait for one controller on a link that the broker has dialled. Agents answer all at once what a
/// controller has asked all of them, and an answer must not be lost because the controller needs a moment: 20,000 answers
/// of 6 KB. Not part of [`WORKER_QUEUE_BYTES_MAX`], whose longest queue is dropped, and this is the longest.
pub const CONTROLLER_QUEUE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Messages for controllers that a worker keeps while the mailbox of the worker with the links is full: the answers of
/// 60,000 agents that all come within milliseconds. Their bytes count as that worker's mail.
pub const CONTROLLER_OUTBOX_MAX: usize = 65_536;

/// Pause before these are offered again.
pub const CONTROLLER_OUTBOX_RETRY: Duration = Duration::from_millis(5);

/// Time between pings on links to controllers (reference: 15 s).
pub const CONTROLLER_PING_INTERVAL: Duration = Duration::from_secs(15);

/// Pause before a lost controller is dialled again; doubles with each failure (reference: 200 ms).
pub const CONTROLLER_REDIAL_FIRST: Duration = Duration::from_millis(200);

/// Longest pause before a controller is dialled again (reference: 15 s).
pub const CONTROLLER_REDIAL_MAX: Duration = Duration::from_secs(15);

/// A link that lives for less than this counts as a failed attempt, so that a controller that throws the broker out
/// again and again is not dialled five times a second.
pub const CONTROLLER_SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Time in which one controller's failures to connect for the same reason get one line in the log.
pub const CONTROLLER_FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Clients that are closed at once, over all workers, when all controllers have been away for too long; then there is a
/// pause of [`EVICTION_PAUSE`]. 500 a second: they go to the other brokers behind the same name, each of which makes
/// about as many handshakes a second.
pub const EVICTION_SLICE: usize = 50;

/// Pause between two slices of clients that are closed.
pub const EVICTION_PAUSE: Duration = Duration::from_millis(100);

/// How often certificate, CA and CRL files are looked at (reference: 60 s).
pub const CERTIFICATE_CHECK_PERIOD: Duration = Duration::from_secs(60);

/// Pause between two connections that are closed because of their certificates: agents come back within 200 ms, and each
/// of them costs a handshake (reference: 30 ms).
pub const EXPIRED_THROTTLE: Duration = Duration::from_millis(30);

/// Sessions that a worker looks at in one turn after CRLs or the policy have changed.
pub const SWEEP_SLICE: usize = 1024;

/// Time for clients to be sent away when the process stops, and for what waits for them to leave.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Clients per second, over all workers, that are sent away when the process stops: each of them is a handshake for
/// another broker 200 ms later, and a core does about 500 of those in a second with RSA-4096 certificates and half the
/// work on messages. With too many for the time that there is, the time decides.
pub const DRAIN_CLIENTS_PER_SECOND: u32 = 500;

/// Time between two slices of clients that are sent away.
pub const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Bytes of a PCP URI. A certificate's common name has at most 64 characters in X.520; names in use are longer.
pub const URI_BYTES_MAX: usize = 512;

/// Subject alternative names and extensions that are kept of one certificate. Most agents have none besides their name;
/// a compile node behind several load balancers has a few dozen.
pub const CERTIFICATE_ATTRIBUTES_MAX: usize = 128;

/// Bytes of the same together. They are kept as long as the connection is open.
pub const CERTIFICATE_ATTRIBUTE_BYTES_MAX: usize = 16 * 1024;

/// Authorization rules about messages to the broker; what they say of a certificate takes a bit each per connection.
pub const AUTHORIZATION_RULES_MAX: usize = 128;

/// Bytes that a compiled pattern of an authorization rule may take.
pub const AUTHORIZATION_PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of all files of a configuration, included ones as often as they are included.
pub const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of a configuration's texts with all substitutions made, about: a few kilobytes in use.
pub const CONFIG_RESOLVED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Substitutions that lead to each other.
pub const CONFIG_SUBSTITUTION_DEPTH_MAX: usize = 32;

/// Files that include each other.
pub const CONFIG_INCLUDE_DEPTH_MAX: usize = 8;
