//! The agent's threads and its wrapper, with real processes and a real spool, without a broker.

mod bench;
mod confined;
mod modules;
mod stop;
mod survival;
mod tasks;
