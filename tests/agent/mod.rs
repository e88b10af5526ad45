//! The agent's threads and its wrapper, with real processes and a real spool, without a broker; and the whole agent with
//! one.

mod bench;
mod confined;
mod endurance;
mod modules;
mod process;
mod site;
mod stop;
mod survival;
mod tasks;
