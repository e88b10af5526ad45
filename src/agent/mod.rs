//! The PXP agent: dials a broker, runs tasks, keeps their results in its spool. It looks to brokers and orchestrators
//! like pxp-agent 1.15, and survives what that one does not.
//!
//! * [`assemble`] puts all of it together from the settings.
//! * [`connect`] is the application on the reactor: one broker connection, back-off, envelopes. PURE.
//! * [`requests`] judges what a controller asks for. PURE.
//! * [`executor`] has the threads; it takes orders from `connect` and mails replies back.
//! * [`task`] chooses what to run, [`task_cache`] gets it, [`execute`] runs it under the [`wrapper`], a process of its
//!   own that outlives the agent.
//! * [`stop`] ends what runs by order; [`refusals`] remember what was stopped before it came.
//! * [`spool`], [`metadata`] and [`status`] remember transactions on disk and answer questions about them.

pub mod assemble;
pub mod backoff;
pub mod child;
pub mod connect;
pub mod execute;
pub mod executor;
pub mod files;
pub mod metadata;
pub mod refusals;
pub mod reply;
pub mod requests;
pub mod spool;
pub mod status;
pub mod stop;
pub mod task;
pub mod task_cache;
pub mod transaction;
pub mod wrapper;
