//! The integration tests, one binary: a module per kind.

mod agent;
mod budget;
mod ca;
mod cli;
mod sim;
mod support;
mod system;
mod tidy;
