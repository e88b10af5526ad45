//! A server in a process of its own, to be measured from outside, and agents by the thousand that are nothing but
//! sockets, and a PostgreSQL. Shared by `tests/budget` and `benches/memory.rs`.

pub mod fleet;
pub mod pki;
pub mod port;
pub mod postgres;
pub mod server;
