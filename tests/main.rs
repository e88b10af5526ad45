//! The integration tests, one binary: a module per kind.

mod agent;
mod brokers;
mod budget;
mod ca;
mod capacity;
mod cli;
mod fuzz;
mod load;
mod peers;
mod scripts;
mod sim;
#[allow(dead_code, reason = "benches/memory needs a little more of it")]
mod support;
mod system;
mod tidy;
mod wire;
