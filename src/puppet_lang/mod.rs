//! The Puppet language: from text to values, for plans and for the types of task parameters.
//!
//! Everything here is computed: no file, socket, clock, thread or randomness. Files of modules come through a
//! [`Loader`], and whatever acts on the world through a [`Host`], whose answers are recorded and replayed: see
//! LIFECYCLE.md.

mod base64;
mod environment;
mod eval;
mod functions;
mod pattern;
mod source;
mod syntax;
#[cfg(test)]
mod tests;
mod types;
mod value;
mod yaml;

pub use environment::{Definitions, Environment, Loader, ParameterInfo, Program};
pub use eval::{Answer, Failure, Host, HostCall, Progress, Recorded, Replay};
pub use functions::{NOT_OFFERED, documented};
pub use pattern::Pattern;
pub use source::{Diagnostic, Source};
pub use types::{Alias, Member, Range, Resolver, Signature, Size, Type, TypeError, parse};
pub use value::{Hash, List, Object, Secrets, SemVer, SemVerRange, Value};
pub use yaml::{YamlParameter, YamlPlan};
