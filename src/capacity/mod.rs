//! How many agents a host carries: planned, checked and measured.

pub mod load;
