//! The whole of it, with the real binary: tasks from the command line, crashes in the middle, bad input at the sockets,
//! authorization rules, certificates that change, the life of a service.

mod access;
mod authorization;
mod campaign;
mod certificates;
mod compile_node;
mod crash;
pub mod hostile;
pub mod lab;
mod old_ways;
mod puppet_run;
mod puppet_stack;
mod service;
mod stop;
mod task;
mod told_once;
mod two_servers;
mod v1;
mod watch;
