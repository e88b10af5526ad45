//! The operator's document: `{"nodes": {"web01": {"depends_on": ["db01"]}, "db01": {}}}`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::{Component, Graph, Instance, check_size, invalid, path_of};
use crate::limits::{GRAPH_BYTES_MAX, GRAPH_EDGES_MAX, GRAPH_NODES_MAX};
use crate::orchestrator::model::Refusal;
use crate::orchestrator::scope;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    nodes: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    depends_on: BTreeSet<String>,
}

/// The graph in the document of an environment, if there is one.
pub(super) fn load(directory: &Path, environment: &str) -> Result<Option<Graph>, Refusal> {
    let path = path_of(directory, environment);
    let refuse = |why: &str| invalid(environment, &path.display().to_string(), why);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(&format!("cannot be read ({error})"))),
    };
    let mut bytes = Vec::new();
    let read = file.take(GRAPH_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| refuse(&format!("cannot be read ({error})")))?;
    if bytes.len() as u64 > GRAPH_BYTES_MAX {
        return Err(refuse(&format!("has more than {GRAPH_BYTES_MAX} bytes")));
    }
    parse(environment, &bytes).map(Some).map_err(|why| refuse(&why))
}

pub(super) fn parse(environment: &str, bytes: &[u8]) -> Result<Graph, String> {
    let Document { nodes } = serde_json::from_slice(bytes).map_err(|error| format!("is no graph ({error})"))?;
    check_size("nodes", nodes.len(), GRAPH_NODES_MAX)?;
    check_size("dependencies", nodes.values().map(|entry| entry.depends_on.len()).sum(), GRAPH_EDGES_MAX)?;
    for (node, entry) in &nodes {
        scope::check_name(node).map_err(|why| format!("names a node that cannot be one: {why}"))?;
        if let Some(unknown) = entry.depends_on.iter().find(|name| !nodes.contains_key(*name)) {
            return Err(format!(
                "lets {node} depend on {unknown:?}, which is not among its nodes; correct the name, or add it with {{}}"
            ));
        }
    }
    let needed: BTreeSet<&String> = nodes.values().flat_map(|entry| &entry.depends_on).collect();
    let resource = |node: &String| format!("Node[{node}]");
    let component = |(node, entry): (&String, &Entry)| Component {
        kind: "Node".to_owned(),
        title: node.clone(),
        node: node.clone(),
        produces: needed.get(node).map(|node| resource(node)).into_iter().collect(),
        consumes: entry.depends_on.iter().map(resource).collect(),
    };
    let components: Vec<Component> = nodes.iter().map(component).collect();
    let whole = Instance { kind: "Environment".to_owned(), title: environment.to_owned(), components };
    let instances = if whole.components.is_empty() { Vec::new() } else { vec![whole] };
    Ok(Graph { instances, nodes: nodes.into_iter().map(|(node, entry)| (node, entry.depends_on)).collect() })
}
