//! What a fleet needs and whether a host has it: a model fitted to measured runs, a plan made with it, a host compared
//! with the plan, the files that prepare a host, and a played fleet that shows how many agents it carries.

pub mod check;
pub mod fleet;
pub mod load;
pub mod model;
pub mod plan;
pub mod reconnect;
pub mod settings;
pub mod tuning;
