//! Limits of the Puppet language: texts, types and evaluations. Plans and types come from the environment's modules, so
//! whoever may put files there may make the server work; none of them may make it fall over.

/// Bytes of a file in the Puppet language: the largest plans of public modules have 30 KiB.
pub const PUPPET_SOURCE_BYTES_MAX: usize = 1024 * 1024;

/// Levels of brackets, blocks and operators within each other in a file. The parser takes less than 4 KiB of stack for each in a
/// build without optimisation, so all of them fit into a thread's 2 MiB with the evaluation below.
pub const PUPPET_NESTING_MAX: usize = 96;

/// Levels of lists and maps within each other in a plan in YAML.
pub const PUPPET_YAML_DEPTH_MAX: usize = 32;

/// Levels of a value's arrays and hashes within each other.
pub const PUPPET_VALUE_DEPTH_MAX: usize = 256;

/// Expressions evaluated from start to end, replayed ones included: some seconds of one core.
pub const PUPPET_STEPS_MAX: u64 = 5_000_000;

/// Expressions within each other that are being evaluated, calls included: about 8 KiB of stack each in a build without
/// optimisation, so that all of them fit into a thread's 2 MiB.
pub const PUPPET_CALL_DEPTH_MAX: usize = 200;

/// Bytes of all values that an evaluation makes, whether it keeps them or not.
pub const PUPPET_VALUE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Calls into the host in one evaluation: each is in the log that is replayed after every answer.
pub const PUPPET_HOST_CALLS_MAX: u32 = 100_000;

/// Elements that a range or a repetition may have.
pub const PUPPET_RANGE_MAX: i64 = 1_000_000;

/// Depth of a Puppet data type, aliases followed.
pub const TYPE_DEPTH_MAX: usize = 32;

/// Levels of types within each other that are being read, with the files of the aliases that they name: about 3 KiB of stack
/// each in a build without optimisation.
pub const TYPE_READ_DEPTH_MAX: usize = 256;

/// Nodes of a Puppet data type, aliases followed.
pub const TYPE_NODES_MAX: usize = 4096;

/// Bytes of a Puppet data type's text, or of the file of an alias.
pub const TYPE_BYTES_MAX: usize = 64 * 1024;

/// Nodes that a pattern of a data type counts for: at most 128 patterns, 128 MiB when compiled.
pub const TYPE_PATTERN_NODES: usize = TYPE_NODES_MAX / 128;

/// Bytes that a compiled regular expression may take.
pub const TYPE_REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Steps to tell whether a value is of a type, or a type within another: one for each part of the value that meets a part of the
/// type, so an array of [`PUPPET_RANGE_MAX`] elements passes. Tenths of a second.
pub const TYPE_JUDGED_STEPS_MAX: usize = 4_000_000;

/// Types within each other on the way to a part of a value, aliases followed: those that contain themselves are as deep as the
/// value. All of them fit into half of a thread's 2 MiB in a build without optimisation.
pub const TYPE_JUDGED_DEPTH_MAX: usize = 200;
