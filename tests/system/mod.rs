//! The whole of it, with the real binary: tasks from the command line, crashes in the middle, bad input at the sockets.

mod compile_node;
mod crash;
mod hostile;
mod lab;
mod task;
