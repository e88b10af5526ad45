//! Configuration: HOCON files to a tree, the tree to typed settings, with every error at once and where it is.
//!
//! The keys are Puppet Enterprise's where it has them. A key that nobody knows is an error with a suggestion; a key that
//! the reference knows and that does nothing here is a warning, so that existing files can be used and nobody believes
//! in a setting without effect.

mod access;
mod agent;
mod agent_flags;
pub mod authorization;
mod broker;
pub mod database;
mod duration;
mod expansion;
mod hocon;
mod listener;
mod observed;
mod pcp_broker;
mod problem;
mod reader;
pub mod restart;
mod schedules;
mod server;
mod services;
pub mod settings;
mod uri;
mod web_routes;

pub use agent::load_agent;
pub use agent_flags::Overrides;
pub use broker::load_broker;
pub use problem::{Problem, Problems};
pub use server::load_server;

/// Settings, and what the operator should know about the files they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<T> {
    /// The settings.
    pub settings: T,
    /// Log these, at level warn, once logging is set up.
    pub warnings: Vec<Problem>,
}
