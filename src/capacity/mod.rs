//! What a fleet needs and whether a host has it: a model fitted to measured runs, a plan made with it, a host compared
//! with the plan, and the files that prepare a host.

pub mod check;
pub mod fleet;
pub mod model;
pub mod plan;
pub mod reconnect;
pub mod settings;
pub mod tuning;
