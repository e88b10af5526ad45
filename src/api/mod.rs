//! The REST API on port 8143: orchestrator v1, RBAC tokens, status, metrics, and task files for agents, in the shapes of
//! Puppet Enterprise's orchestrator so that its clients (the Ruby and Go clients, Bolt, peadm) work unchanged.
//!
//! A request walks straight down: [`serve`] accepts, shakes hands and hands over a request with the name in its
//! certificate; `gate` looks into the table `access` for what the path needs, finds out who asks and whether they may, and
//! writes the access log and the audit log; `routes` finds the handler; the handler parses into the orchestrator's types, asks the [`Backend`] on a blocking thread, and `render` makes the JSON.
//! Every refusal is a `problem::Problem` on the way out: `{kind, msg, details?}`.

pub mod backend;
pub mod serve;

mod access;
mod audit;
mod broker_link;
mod classifier;
mod command;
mod commands;
mod deploy_plan;
mod environments;
mod files;
mod gate;
mod jobs;
mod openapi;
mod parameters;
mod plan_jobs;
mod problem;
mod rbac;
mod render;
mod routes;
mod schedules;
mod shared;
mod shares;
mod sources;
mod status;
mod streams;
mod task_targets;
mod turns;
mod usage;
mod webhooks;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

pub use backend::Backend;
pub use serve::{Server, Setup};
