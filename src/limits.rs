//! Every limit of the program: its name, its unit, its default and the arithmetic behind it. Nothing that a peer
//! controls may grow past one of these.
//!
//! File descriptors of a server: one per agent, plus per worker one epoll instance, one waker and one listener, plus the
//! API's listener and its connections, SQLite's three files, the log and the signal pipe: agents + 64.

use std::time::Duration;

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

/// Bytes of incomplete messages held over all connections of one worker: four of the largest size. At the limit the
/// largest and oldest is dropped with its connection.
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

/// Accepted connections that wait for a handshake slot, per worker; newest first, a descriptor each.
pub const ACCEPT_QUEUE_MAX: usize = 1024;

/// Time an accepted connection may wait for a handshake slot: what is left of the agents' 5 s must be enough for the
/// handshake.
pub const ACCEPT_QUEUE_WAIT: Duration = Duration::from_secs(3);

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

/// Bytes of a transaction id that the agent accepts.
pub const TRANSACTION_ID_BYTES_MAX: usize = 128;

/// Messages from brokers that wait for the orchestrator.
pub const ORCHESTRATOR_QUEUE_MAX: usize = 65_536;

/// Bytes of messages from brokers that wait for the orchestrator.
pub const ORCHESTRATOR_QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Certificate names in `orchestrator.brokers`.
pub const BROKERS_MAX: usize = 64;

/// Links from brokers at once: for each a new one beside one that nobody knows to be dead yet. A link counts until the
/// dispatcher has read the last of it.
pub const BROKER_LINKS_MAX: usize = 2 * BROKERS_MAX;

/// How often a link to a broker is pinged; pcp-broker pings us as often.
pub const BROKER_LINK_PING_INTERVAL: Duration = Duration::from_secs(15);

/// A link to a broker on which nothing comes for this long, three pings, or that takes nothing for this long, is closed.
pub const BROKER_LINK_SILENCE_MAX: Duration = Duration::from_secs(45);

/// Messages that wait for one broker.
pub const BROKER_LINK_QUEUE_MAX: usize = 4096;

/// Bytes of messages that wait for one broker: two of the largest size. What does not fit stays with the dispatcher.
pub const BROKER_LINK_QUEUE_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// Messages from one broker that wait for the orchestrator. At the limit nothing more is read from the broker's socket.
pub const BROKER_LINK_INBOX_MAX: usize = 4096;

/// Bytes of the same over all links: they are read by one thread, each in its turn.
pub const BROKER_LINKS_INBOX_BYTES_MAX: usize = ORCHESTRATOR_QUEUE_BYTES_MAX;

/// Bytes of incomplete messages over all links; beyond it the link that needs more is closed.
pub const BROKER_LINKS_PARTIAL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Pause before a message for which the orchestrator had no room is offered again.
pub const BROKER_LINK_RETRY: Duration = Duration::from_millis(10);

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

/// Bytes of one output stream of a task that are kept in the spool; the rest is discarded. More than a message can hold
/// is of use only to someone on the node.
pub const TASK_OUTPUT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of one downloaded task file.
pub const TASK_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Actions that an agent runs at once, a thread and a few processes each.
pub const AGENT_ACTIONS_MAX: usize = 256;

/// Stack of a thread that runs an action, in bytes; TLS is the deepest that it goes.
pub const AGENT_ACTION_STACK_BYTES: usize = 1024 * 1024;

/// Requests that wait for the agent's threads, per kind.
pub const AGENT_ORDERS_MAX: usize = 1024;

/// Bytes of an outgoing message besides its data: five short fields and two URIs.
pub const AGENT_ENVELOPE_BYTES_MAX: usize = 4096;

/// Bytes of an error's text in the agent's answers; names from the request stand in it.
pub const AGENT_DESCRIPTION_BYTES_MAX: usize = 16 * 1024;

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

/// Bytes of messages above which a step of the dispatcher makes no more requests; one of the largest size may be on top.
pub const DISPATCH_STEP_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Messages that the dispatcher reads before it commits what they changed.
pub const DISPATCH_BATCH_MESSAGES_MAX: usize = 250;

/// Messages of the orchestrator that wait for a broker that does not keep up; further ones are dropped, and the status
/// queries find that out.
pub const ORCHESTRATOR_OUTBOX_MAX: usize = 16_384;

/// Accepted jobs that wait for the dispatcher's attention.
pub const DISPATCH_COMMANDS_MAX: usize = 1024;

/// Time after the start in which nodes that are not connected are waited for: agents need it to come back.
pub const START_GRACE: Duration = Duration::from_secs(30);

/// Time after the loss of a broker's link in which nodes that are not connected are waited for: the broker links again, or
/// its agents go to another one.
pub const BROKER_RETURN_GRACE: Duration = Duration::from_secs(10);

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

/// Bytes of results, parameters and texts that one answer takes out of the store; whoever wants more asks for parts.
pub const STORE_ANSWER_BYTES_MAX: usize = CLIENT_ANSWER_BYTES_MAX;

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

/// Nodes that a pattern of a data type counts for: at most 128 patterns, 128 MiB when compiled.
pub const TYPE_PATTERN_NODES: usize = TYPE_NODES_MAX / 128;

/// Bytes that a compiled pattern of a data type may take.
pub const TYPE_REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a task's metadata file, or of an `environment.conf`.
pub const METADATA_BYTES_MAX: usize = 1024 * 1024;

/// Files of one task, directories expanded; the directories count too.
pub const TASK_FILES_MAX: usize = 10_000;

/// Depth of directories below an extra directory of a task.
pub const TASK_DIRECTORY_DEPTH_MAX: usize = 32;

/// Hashes of task files that are remembered.
pub const FILE_HASHES_MAX: usize = 100_000;

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
