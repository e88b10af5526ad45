//! The whole of it, with the real binary: tasks from the command line, crashes in the middle, bad input at the sockets,
//! authorization rules, certificates that change, the life of a service.

mod access;
mod authorization;
mod certificates;
mod compile_node;
mod crash;
pub mod hostile;
pub mod lab;
mod service;
mod task;
mod v1;
mod watch;
