//! The integration tests, one binary: a module per kind.

mod agent;
mod ca;
mod sim;
mod system;
mod tidy;
