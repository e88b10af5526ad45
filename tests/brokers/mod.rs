//! `podium broker` with the real binary: against a controller that a test plays, and three of them with a real server.

mod controller;
mod nodes;
