//! RFC 6455 without sockets: the upgrade, frames, messages.
