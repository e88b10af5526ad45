//! Where environments, tasks and their files come from.

pub mod code_dir;
pub mod files;
pub mod task_files;
