//! The integration tests, one binary: a module per kind.

mod ca;
mod sim;
mod system;
mod tidy;
