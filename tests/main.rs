//! The integration tests, one binary: a module per kind.

mod agent;
mod ca;
mod cli;
mod sim;
mod system;
mod tidy;
