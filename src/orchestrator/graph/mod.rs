//! The environment graph: which nodes' Puppet runs come after which others'. A document of the operator says so, or Puppet
//! Server does where it still compiles environments (Puppet 6, HTTP API, environment catalog). Docs: docs/configure.md.

mod catalog;
mod cycle;
mod document;
mod order;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::model::{Refusal, RefusalKind};
use super::sources::Source;
use crate::limits::{GRAPH_EDGES_MAX, GRAPH_NODES_MAX};
pub use order::levels;

/// Which node waits for which, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// What is made of components, sorted by type and title.
    pub instances: Vec<Instance>,
    /// Every node with those that it depends on; there is an entry for each of these.
    nodes: BTreeMap<String, BTreeSet<String>>,
}

/// An application, or the nodes of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `Lamp`.
    pub kind: String,
    /// `shop`.
    pub title: String,
    /// Its parts, sorted by type and title.
    pub components: Vec<Component>,
}

/// A part of an application, on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// `Lamp::Db`.
    pub kind: String,
    /// `shop`.
    pub title: String,
    /// Where it is.
    pub node: String,
    /// What others may need, as `Sql[shop]`.
    pub produces: Vec<String>,
    /// What it needs.
    pub consumes: Vec<String>,
}

/// Where graphs come from.
pub struct Graphs {
    directory: Option<PathBuf>,
}

impl Graphs {
    /// From `<directory>/<environment>.json` where that exists.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// The graph of an environment that exists; one without nodes if nobody says anything.
    pub fn graph(&self, source: &Source, environment: &str) -> Result<Graph, Refusal> {
        if let Some(directory) = &self.directory
            && let Some(graph) = document::load(directory, environment)?
        {
            return Ok(graph);
        }
        match source.environment_catalog(environment)? {
            Some(catalog) => {
                catalog::read(&catalog).map_err(|why| invalid(environment, "Puppet Server's environment catalog", &why))
            }
            None => Ok(Graph::default()),
        }
    }
}

impl Graph {
    /// A graph of what components produce and consume.
    fn of_instances(instances: Vec<Instance>) -> Result<Self, String> {
        let components = || instances.iter().flat_map(|instance| &instance.components);
        let mut producers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for component in components() {
            for resource in &component.produces {
                producers.entry(resource).or_default().insert(&component.node);
            }
        }
        let mut nodes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut edges = 0;
        for component in components() {
            let before = nodes.entry(component.node.clone()).or_default();
            for producer in component.consumes.iter().filter_map(|resource| producers.get(resource.as_str())).flatten()
            {
                // Components of one node are put in order by its own catalog.
                if *producer != component.node && before.insert((*producer).to_owned()) {
                    edges += 1;
                }
                check_size("dependencies", edges, GRAPH_EDGES_MAX)?;
            }
        }
        check_size("nodes", nodes.len(), GRAPH_NODES_MAX)?;
        Ok(Self { instances, nodes })
    }
}

fn check_size(what: &str, number: usize, most: usize) -> Result<(), String> {
    if number <= most { Ok(()) } else { Err(format!("has more than {most} {what}")) }
}

fn invalid(environment: &str, what: &str, why: &str) -> Refusal {
    let message = format!("The environment graph of {environment} cannot be used: {what} {why}.");
    Refusal::new(RefusalKind::ValidationError, message).with("environment", environment)
}

fn path_of(directory: &Path, environment: &str) -> PathBuf {
    directory.join(format!("{environment}.json"))
}
