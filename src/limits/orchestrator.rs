//! Limits of the orchestrator: jobs, nodes, links from brokers, the store, types and tasks.

use std::time::Duration;

use super::*;

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

/// Bytes of messages above which a step of the dispatcher reads no more, or makes no more requests; one of the largest size
/// may be on top, when reading one from each broker.
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

/// The longest pause between two status queries to an agent that answers none, unless the interval itself is longer: an
/// answer with 64 MB of output takes so long at 4.5 Mbit/s.
pub const STATUS_PAUSE_MAX: Duration = Duration::from_secs(120);

/// Changes that share one transaction of the store, hence one flush to disk.
pub const STORE_BATCH_CHANGES_MAX: usize = 250;

/// Requests that wait for the store's writer.
pub const STORE_QUEUE_MAX: usize = 256;

/// Statements that a connection to the store keeps prepared; there are fewer.
pub const STORE_STATEMENTS_MAX: usize = 256;

/// Pause between two attempts to reach a database that is out of reach.
pub const STORE_RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Lines about what is wrong with a database: more of them say nothing new.
pub const CHECK_PROBLEMS_MAX: usize = 1000;

/// Time to connect to PostgreSQL.
pub const DATABASE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that PostgreSQL gives a statement, a wait for another server's turn at writing, or a pause within a transaction.
pub const DATABASE_STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// Time for PostgreSQL's answer; longer than it gives itself.
pub const DATABASE_ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

/// Time until whoever wants something written is told what came of it, or that this is not known: a turn, and an answer.
pub const DATABASE_OUTCOME_TIMEOUT: Duration = Duration::from_secs(50);

/// How often a server on PostgreSQL says that it lives.
pub const SERVER_HEARTBEAT: Duration = Duration::from_secs(3);

/// A server that has not said so for this long, five times, may write nothing any more; others have its jobs.
pub const SERVER_LEASE: Duration = Duration::from_secs(15);

/// How often a server on PostgreSQL looks for jobs that were left behind, and for stops that another one has accepted.
pub const SERVERS_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long the answer to a stop waits until the job's own server has begun it.
pub const STOP_ELSEWHERE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that read from the store at once are kept up to this number.
pub const STORE_READERS_MAX: usize = 8;

/// Bytes of results, parameters and texts that one answer takes out of the store; whoever wants more asks for parts.
pub const STORE_ANSWER_BYTES_MAX: usize = CLIENT_ANSWER_BYTES_MAX;

/// Events in one answer; the rest is found from the answer's next number on.
pub const EVENTS_PAGE_MAX: u32 = 10_000;

/// Bytes of a task's metadata file, or of an `environment.conf`.
pub const METADATA_BYTES_MAX: usize = 1024 * 1024;

/// Files of one task, directories expanded; the directories count too.
pub const TASK_FILES_MAX: usize = 10_000;

/// Depth of directories below an extra directory of a task.
pub const TASK_DIRECTORY_DEPTH_MAX: usize = 32;

/// Hashes of task files that are remembered.
pub const FILE_HASHES_MAX: usize = 100_000;

/// Files of a backup, far more than the server has keys.
pub const BACKUP_FILES_MAX: usize = 64;

/// Bytes of one of the keys in a backup.
pub const BACKUP_KEY_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of a backup's manifest that are read.
pub const BACKUP_MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Time between two looks for jobs that ended long ago.
pub const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);

/// Rows of one table that are removed in one step: some milliseconds.
pub const PRUNE_ROWS_MAX: usize = 500;

/// Time to connect to Puppet Server or PuppetDB unless the configuration says otherwise.
pub const SERVICE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for one request to Puppet Server or PuppetDB unless the configuration says otherwise; a busy Puppet Server has a
/// line of requests before each of its interpreters, which takes 50 to 500 ms for each.
pub const SERVICE_REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests under way at once to each of Puppet Server and PuppetDB; three descriptors each. A Puppet Server has an
/// interpreter per core, most of them for agents.
pub const SERVICE_REQUESTS_MAX: usize = 4;

/// Requests that wait, each with its thread, for one of these; further ones are refused at once. Those of the API wait before
/// that, for one of [`API_PUPPET_SERVER_TURNS`] and [`API_PUPPETDB_TURNS`].
pub const SERVICE_WAITING_MAX: usize = 8;

/// Bytes of an answer of Puppet Server: 10,000 files of a task with 500 bytes each and its metadata, or a list of 50,000
/// tasks.
pub const PUPPET_SERVER_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of an answer of PuppetDB: [`JOB_NODES_MAX`] rows of 640 bytes, which is what `nodes {}` gives. At most
/// [`SERVICE_REQUESTS_MAX`] of them are held at once.
pub const PUPPETDB_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of the rules of a group as a classifier elsewhere gives them: generous for a rule that names every node.
pub const CLASSIFIER_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Nodes whose facts PuppetDB is asked for in one request.
pub const PUPPETDB_NODES_PER_QUERY: usize = 1000;

/// Reports that one look-up takes.
pub const PUPPETDB_REPORTS_MAX: usize = 1000;

/// Characters of a service's own words that go into a message: a parser's list of what it had expected fits.
pub const SERVICE_WORDS_MAX: usize = 2000;

/// How long it counts whether a service was up when it was last looked at.
pub const SERVICE_CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// Time for one look.
pub const SERVICE_CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of the answer to such a look; it is one word.
pub const SERVICE_CHECK_BYTES_MAX: usize = 64 * 1024;

/// Users.
pub const USERS_MAX: u64 = 10_000;

/// Roles.
pub const ROLES_MAX: u64 = 1_000;

/// Permissions of one role: as many as a request of [`API_BODY_BYTES_MAX`] hardly holds.
pub const PERMISSIONS_PER_ROLE_MAX: usize = 10_000;

/// Tokens of one user that have not expired: a script that logs in every second has 3,600 of an hour.
pub const TOKENS_PER_USER_MAX: u64 = 10_000;

/// How long a token that has expired or was revoked is still told from an unknown one.
pub const TOKEN_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How often the time of a token's last use is written: every time would be a flush to disk for each request.
pub const TOKEN_ACTIVITY_INTERVAL: Duration = Duration::from_secs(60);

/// How long a new password may be chosen after it was offered, as Puppet Enterprise has it.
pub const PASSWORD_RESET_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Characters of a login, a name, a label, an address or a description.
pub const ACCESS_TEXT_CHARS_MAX: usize = 200;

/// Bytes of the file of certificates that need no login, and names in it.
pub const ALLOWLIST_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of details in a line of the audit log: what matters of a request fits, not all that a request may be.
pub const AUDIT_DETAILS_BYTES_MAX: usize = 16 * 1024;

/// Names of nodes that a line of the audit log has; the job has them all.
pub const AUDIT_NODES_MAX: usize = 20;

/// Bytes that must be free on the disk of the data directory for a job to be accepted: what the results of the most nodes
/// that may be unfinished ([`UNFINISHED_NODES_MAX`]) take at a few kilobytes each, and the write-ahead log.
pub const DISK_RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// Pause before a batch that did not fit onto the disk is tried again.
pub const DISK_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How often the log says that the disk is still full.
pub const DISK_FULL_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Bytes of texts after which a part of a row of events ends: what a stream or a webhook holds of it at once.
pub const EVENTS_PART_BYTES_MAX: usize = 64 * 1024;

/// Events in such a part.
pub const EVENTS_PART_MAX: u32 = 256;

/// How often whoever waits for events looks for some that another process has written.
pub const EVENTS_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Webhooks: each has a thread and a connection.
pub const WEBHOOKS_MAX: usize = 32;

/// Bytes of a webhook's URL.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2048;

/// Bytes of a webhook's secret: the block of SHA-256, longer keys are no better.
pub const WEBHOOK_SECRET_BYTES_MAX: usize = 64;

/// Bytes of a webhook's description.
pub const WEBHOOK_DESCRIPTION_BYTES_MAX: usize = 1024;

/// Events in one delivery. Its bytes follow from [`EVENTS_PART_BYTES_MAX`].
pub const WEBHOOK_EVENTS_MAX: usize = 100;

/// Time to connect to a webhook's server.
pub const WEBHOOK_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a delivery. The process waits for those under way when it stops.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer to a delivery, of which only the status counts.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Pause after the first failed delivery; doubles with each further one.
pub const WEBHOOK_RETRY_FIRST: Duration = Duration::from_secs(1);

/// Longest pause between two attempts.
pub const WEBHOOK_RETRY_MAX: Duration = Duration::from_secs(600);

/// A webhook that has failed for so long without one success gets no more: a long weekend.
pub const WEBHOOK_GIVE_UP: Duration = Duration::from_secs(4 * 86_400);
