//! The whole of it, with the real binary: tasks from the command line, crashes in the middle, bad input at the sockets, certificates that
//! change, the life of a service.

mod certificates;
mod crash;
mod hostile;
mod lab;
mod service;
mod task;
