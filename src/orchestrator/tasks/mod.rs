//! Tasks: the metadata that their authors write (puppet-specifications, tasks) and the check of parameters against it.

pub mod metadata;
pub mod parameters;
