//! Podium keeps tens of thousands of Puppet and OpenVox agents connected over mutual TLS (PCP, the Puppet
//! Communications Protocol) and runs tasks on them at once (PXP, the Puppet Execution Protocol). One binary: broker,
//! orchestrator with its REST API, agent, and the operator's client.
//!
//! # The floors
//!
//! A module may use only what stands below it.
//!
//! ```text
//!  6  cli            one file per subcommand; main.rs only parses and calls
//!  5  api            REST v1, tokens, error shape, task files for agents (axum on a small tokio runtime)
//!     capacity       plan, check, load, report
//!  4  orchestrator   jobs, tasks, dispatch, schedules, scope, sources, store
//!     agent          connection, actions, spool, task cache, execution
//!  3  broker         sessions, directory, routing, inventory, controllers                    PURE
//!  2  reactor        the mio shell: workers, accept and admission, connections, timers, buffers
//!     tls  websocket the bytes of one connection, sans-IO
//!     https          requests over TLS with our certificate: task files, the operator's client, Puppet Server, PuppetDB
//!  1  link           the contract between the shell and what runs on it                       PURE
//!     pcp  pxp       the protocols                                                            PURE
//!     puppet_lang    the Puppet language: types, syntax, evaluation, functions                       PURE
//!     ca             certificates for labs and tests, Puppet's directory layout
//!  0  config  limits  clock  observe
//!     backlog        bytes that wait between threads
//!     durable        files that a crash cannot cut in half
//!     succession     connections with one name that take each other's place
//!     tunnel         connections through an HTTP proxy
//!     random  sha256  percent
//! ```
//!
//! PURE means no socket, no clock, no thread, no randomness of its own: time and seeds come in as arguments, so that a
//! seeded simulation can drive the same code as production. `tests/tidy.rs` checks all of this.
//!
//! # Walks
//!
//! * A message: `reactor::worker` decrypts into the worker's scratch buffer, `websocket` finds the frame,
//!   [`broker::core`] reads the envelope's routing fields and asks the [`broker::directory`] for the target, and
//!   [`link::Shell::send`] encrypts the same bytes to the target's socket, or a mailbox takes them to another worker.
//! * An agent arrives: [`reactor`] accepts it into a waiting room, newest first out, and shakes hands beside the messages;
//!   `tls` names it by its certificate, `websocket` reads the upgrade, [`broker::core`] admits it, and the directory makes
//!   it the holder of its URI, instead of an older connection if there is one. Subscribers hear of it in the next batch.
//! * A compile node: `podium broker` is the same broker without orchestrator and API. Worker 0 dials the servers
//!   ([`broker::links`]), and each is a controller ([`broker::controllers`]) as the server's own orchestrator is; on the server
//!   `api::broker_link` takes the link and [`orchestrator::Orchestrator::attach`] hands it to the dispatcher, which then asks
//!   for the inventory over it.
//! * A task: `api` checks the token, [`orchestrator`] resolves tasks and nodes (from a directory or Puppet Server, by name or
//!   with PuppetDB: `orchestrator::sources`) and commits the job before the answer,
//!   the dispatcher sends a request per node and takes the result from the response or from a status query, whichever
//!   is first.
//! * An event goes out: the dispatcher's commit rings the [`orchestrator::bell`], and whoever waits reads the row of events
//!   from its own place on: a stream of the API to whoever may see jobs, a webhook to the server that an administrator has
//!   named ([`orchestrator::webhooks`]). The store is the only queue.
//! * A reload: `cli::supervise` reads configuration and certificates again; the policy changes for the next message, and
//!   every worker looks through its sessions for those that may not stay ([`broker::sweep`]).
//! * A stop: `cli::supervise` returns at the signal; no new clients, the API ends with its links, `broker::drain` sends the
//!   clients away evenly, those who watch the inventory last, and then the orchestrator ends.
//! * A crash: every acknowledged job is in the store; at start the dispatcher asks the agents about everything that was
//!   running by its transaction id. With several servers on one PostgreSQL another one does (`orchestrator::takeover`).
//!
//! # Invariants
//!
//! * Bytes from a peer never panic and never grow anything without a limit named in [`limits`].
//! * A URI has at most one live connection: the newest; see [`broker::directory`].
//! * Agents may only answer: nobody gives orders but the server's orchestrator and named clients, unless rules of the
//!   configuration say otherwise; see [`broker::authorize`].
//! * A request with a transaction id is sent once, after the commit that says so; a second and last time only if the agent
//!   answers that it has never heard of it.
//! * Values of sensitive parameters reach agents and nothing else.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod agent;
pub mod api;
pub mod backlog;
pub mod broker;
pub mod ca;
pub mod capacity;
pub mod cli;
pub mod clock;
pub mod config;
pub mod durable;
pub mod https;
pub mod limits;
pub mod link;
pub mod observe;
pub mod orchestrator;
pub mod pcp;
pub mod percent;
pub mod puppet_lang;
pub mod pxp;
pub mod random;
pub mod reactor;
pub mod sha256;
pub mod succession;
pub mod tls;
pub mod tunnel;
pub mod websocket;
