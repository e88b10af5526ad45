//! Configuration: HOCON files to a tree, the tree to typed settings, with every error at once and where it is.

pub mod settings;
