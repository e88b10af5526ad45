//! RFC 6455 without sockets: the upgrade, frames, messages.

pub mod frame;
pub mod session;
pub mod upgrade;
pub mod violation;
