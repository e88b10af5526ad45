//! Limits of plans that come from the environment's modules.

/// Plans of one environment; the largest public collections of modules have some hundreds.
pub const PLAN_FILES_MAX: usize = 10_000;

/// Directories within each other below a module's `plans`.
pub const PLAN_DIRECTORIES_DEPTH_MAX: usize = 16;

/// Plans whose parameters and descriptions are kept, a few KiB each, so that lists do not read every file again.
pub const PLAN_OUTLINES_KEPT: usize = 10_000;

/// Bytes of a plan's file whose outline is kept, which is never more than the file: larger ones are read for every list.
pub const PLAN_OUTLINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a plan's description, or of a parameter's.
pub const PLAN_DESCRIPTION_BYTES_MAX: usize = 16 * 1024;

/// Problems of a plan that are told.
pub const PLAN_PROBLEMS_SHOWN: usize = 100;
