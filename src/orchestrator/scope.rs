//! From a command's scope to the names of its nodes.

use std::borrow::Cow;
use std::collections::HashSet;

use super::model::{Refusal, RefusalKind, Scope};
use super::sources::query_engine::QueryEngine;
use crate::limits::{JOB_NODES_MAX, NODE_NAME_BYTES_MAX};

/// The nodes of a scope, trimmed, each once, in the order given. Names need not be known. Blocks for a query.
pub fn resolve(scope: &Scope, environment: &str, queries: &QueryEngine) -> Result<Vec<String>, Refusal> {
    let names = match scope {
        Scope::Nodes(names) => Cow::Borrowed(names),
        Scope::Query(query) => Cow::Owned(queries.certnames(query)?),
        Scope::NodeGroup(_) => {
            let message = "This server has no node classifier and cannot evaluate `node_group`: give the nodes by name in `nodes`.";
            return Err(Refusal::new(RefusalKind::ValidationError, message));
        }
    };
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
        return Err(refusal.with("target", scope.kind()));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
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
        resolve(
            &Scope::Nodes(names.iter().map(|name| (*name).to_owned()).collect()),
            "production",
            &QueryEngine::Nobody,
        )
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
        assert_eq!(
            resolve(&Scope::Query("nodes {}".into()), "p", &QueryEngine::Nobody).unwrap_err().kind,
            RefusalKind::QueryError
        );
        assert_eq!(
            resolve(&Scope::NodeGroup("x".into()), "p", &QueryEngine::Nobody).unwrap_err().kind,
            RefusalKind::ValidationError
        );
    }
}
