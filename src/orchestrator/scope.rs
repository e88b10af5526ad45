//! Names of nodes as a scope gives them, checked.

use std::collections::HashSet;

use super::model::{Refusal, RefusalKind};
use crate::limits::{JOB_NODES_MAX, NODE_NAME_BYTES_MAX};

/// The names, trimmed, each once, in the order given; refused if there are too many or none, or if one cannot be one.
/// `kind` is the key of the scope.
pub fn checked(names: &[String], kind: &str, environment: &str) -> Result<Vec<String>, Refusal> {
    if names.len() > JOB_NODES_MAX {
        let message = format!("The scope has {} nodes; a job has at most {JOB_NODES_MAX}: split it.", names.len());
        return Err(Refusal::new(RefusalKind::ValidationError, message));
    }
    let mut seen = HashSet::new();
    let names: Vec<&str> = names.iter().map(|name| name.trim()).filter(|name| seen.insert(*name)).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    if let Some(illegal) = names.iter().find(|name| !is_node_name(name)) {
        let message = format!("`{}` is not a certificate name.", illegal.chars().take(80).collect::<String>());
        return Err(Refusal::new(RefusalKind::ValidationError, message));
    }
    if names.is_empty() {
        let message = "The scope contains no nodes.";
        let refusal = Refusal::new(RefusalKind::EmptyTarget, message).with("environment", environment);
        return Err(refusal.with("target", kind));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Whether `name` can be a node's; if not, why.
pub fn check_name(name: &str) -> Result<(), String> {
    if !name.is_empty() && is_node_name(name) {
        return Ok(());
    }
    Err(format!("`{}` is not a certificate name", name.chars().take(80).collect::<String>()))
}

/// Whether `name` can stand in a PCP URI as one client: no wildcard, no separator.
fn is_node_name(name: &str) -> bool {
    name.len() <= NODE_NAME_BYTES_MAX
        && name != "*"
        && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Result<Vec<String>, Refusal> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        checked(&names, "nodes", "production")
    }

    #[test]
    fn names_are_trimmed_and_unique() {
        assert_eq!(nodes(&["b", " a ", "b", "a", ""]).unwrap(), ["b", "a"]);
    }

    #[test]
    fn says_why_not() {
        let refusal = nodes(&[" "]).unwrap_err();
        assert_eq!((refusal.kind, &refusal.details["target"]), (RefusalKind::EmptyTarget, &"nodes".into()));
        for illegal in ["*", "a/b", "a b", &"x".repeat(NODE_NAME_BYTES_MAX + 1)] {
            assert_eq!(nodes(&[illegal]).unwrap_err().kind, RefusalKind::ValidationError);
        }
    }
}
