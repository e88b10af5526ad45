//! Puppet Server's environment catalog, `GET /puppet/v3/environment/:environment` of Puppet 6: applications, their
//! components, what these produce and consume, and on which node they are.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Component, Graph, Instance};

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    applications: BTreeMap<String, BTreeMap<String, Part>>,
}

#[derive(Deserialize)]
struct Part {
    node: String,
    #[serde(default)]
    produces: Vec<String>,
    #[serde(default)]
    consumes: Vec<String>,
}

/// The graph in a catalog.
pub(super) fn read(bytes: &[u8]) -> Result<Graph, String> {
    let Catalog { applications } =
        serde_json::from_slice(bytes).map_err(|error| format!("is not understood ({error})"))?;
    let mut instances = Vec::new();
    for (name, parts) in applications {
        let (kind, title) = split(&name)?;
        let component = |(name, part): (String, Part)| {
            let (kind, title) = split(&name)?;
            let Part { node, produces, consumes } = part;
            Ok(Component { kind, title, node, produces, consumes })
        };
        let components = parts.into_iter().map(component).collect::<Result<_, String>>()?;
        instances.push(Instance { kind, title, components });
    }
    Graph::of_instances(instances)
}

/// `Lamp[shop]` as `Lamp` and `shop`.
fn split(name: &str) -> Result<(String, String), String> {
    let parts = name.split_once('[').and_then(|(kind, rest)| Some((kind, rest.strip_suffix(']')?)));
    let (kind, title) = parts.ok_or_else(|| format!("has {name:?} where Type[title] is expected"))?;
    Ok((kind.to_owned(), title.to_owned()))
}
