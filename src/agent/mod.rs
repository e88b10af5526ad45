//! The PXP agent: dials a broker, runs tasks, keeps their results in its spool. It looks to brokers and orchestrators
//! like pxp-agent 1.15, and survives what that one does not.
//!
//! * [`assemble`] puts all of it together from the settings.
//! * [`connect`] is the application on the reactor: one broker connection, back-off, envelopes in the [`dialect`] of
//!   PCP that is set, and the [`access`] log.
//! * [`requests`] judges what a controller asks for, by the [`registry`] of actions. PURE.
//! * [`executor`] has the threads; it takes orders from `connect` and mails replies back.
//! * [`modules`] read what is to be done and get it ready as [`work`]; [`task`] chooses what to run of a task,
//!   [`task_cache`] gets it.
//! * [`execute`] runs it under the [`wrapper`], a process of its own that outlives the agent, and [`output`] reads what
//!   it left, for external modules by a [`schema`].
//! * [`confine`] holds tasks to a user, a nice value, a umask, a cgroup.
//! * [`puppet`] is a Puppet run on demand, in a process of its own.
//! * [`stop`] ends what runs by order; [`refusals`] remember what was stopped before it came.
//! * [`spool`], [`metadata`] and [`status`] remember transactions on disk and answer questions about them.

pub mod access;
pub mod assemble;
pub mod backoff;
pub mod child;
pub mod confine;
pub mod connect;
pub mod dialect;
pub mod execute;
pub mod executor;
pub mod files;
pub mod metadata;
pub mod modules;
pub mod output;
pub mod passwd;
pub mod puppet;
pub mod refusals;
pub mod registry;
pub mod reply;
pub mod requests;
pub mod schema;
pub mod spool;
pub mod status;
pub mod stop;
pub mod task;
pub mod task_cache;
pub mod transaction;
pub mod work;
pub mod wrapper;
