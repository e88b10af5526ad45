//! What operators see: logs, metrics, status.

pub mod access_log;
pub mod audit_log;
mod field;
pub mod heap;
mod lines;
pub mod log;
pub mod metrics;
mod output;
pub mod pace;
pub mod pages;
pub mod process;
mod recorder;
pub mod status;
pub mod timer;

pub use output::OutputError;
