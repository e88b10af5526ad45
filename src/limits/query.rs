//! Limits of queries, stored facts, the node classifier and task targets.

/// Bytes of a query's text: 6,000 certificate names of 40 bytes in a list, and more than any program writes otherwise.
pub const QUERY_BYTES_MAX: usize = 256 * 1024;

/// Depth of a query's conditions: parentheses, negations, subqueries.
pub const QUERY_DEPTH_MAX: usize = 32;

/// Conditions in a query, subqueries included. Items of a list do not count: they are looked up, not compared in turn.
pub const QUERY_CONDITIONS_MAX: usize = 1000;

/// Subqueries of a query: each looks at all nodes once.
pub const QUERY_SUBQUERIES_MAX: usize = 16;

/// Regular expressions of a query: 16 MiB when compiled.
pub const QUERY_PATTERNS_MAX: usize = 64;

/// Bytes that a compiled regular expression of a query or a rule may take.
pub const QUERY_PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Comparisons that the answer to a query may cost, 64 bytes searched by a regular expression counting for one: some
/// seconds. A simple query over 10,000 nodes costs 10,000; one over their facts two million.
pub const QUERY_STEPS_MAX: u64 = 100_000_000;

/// Rows that a query with `order by` sorts, about 100 bytes each.
pub const QUERY_SORTED_ROWS_MAX: usize = 500_000;

/// Bytes of a node's facts as JSON; those of a large machine with hundreds of network interfaces have 100,000.
pub const NODE_FACTS_BYTES_MAX: usize = 512 * 1024;

/// Bytes of all nodes' facts as JSON: 15,000 each of 35,000 nodes. In memory they take about as much.
pub const FACTS_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Names of facts, at all levels, that are kept once for all nodes before those that no node has any more are dropped.
pub const FACT_NAMES_SWEEP: usize = 65_536;

/// Groups of the embedded classifier.
pub const GROUPS_MAX: usize = 1000;

/// Bytes of a group as JSON.
pub const GROUP_BYTES_MAX: usize = 256 * 1024;

/// Conditions of a group's rule; one that pins 1,000 nodes by name has as many.
pub const RULE_CONDITIONS_MAX: usize = 5000;

/// Depth of a group's rule.
pub const RULE_DEPTH_MAX: usize = 32;

/// Regular expressions of all groups' rules, which are compiled together to classify a node: mostly 10 KB each, 250 MiB at
/// most.
pub const RULES_PATTERNS_MAX: usize = 1000;

/// Levels of groups below the one for all nodes.
pub const GROUP_LEVELS_MAX: usize = 64;

/// Task targets; roles name them, and there are some per role.
pub const TASK_TARGETS_MAX: usize = 2000;

/// Bytes of a task target as JSON.
pub const TASK_TARGET_BYTES_MAX: usize = 64 * 1024;
