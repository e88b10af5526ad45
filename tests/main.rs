//! The integration tests, one binary: a module per kind.

mod ca;
mod tidy;
