//! Flags that starting a job, a Puppet run or a plan have in common, and what they put into the request.

use serde_json::{Value, json};

use super::client::Client;
use super::follow::items;
use super::output::{Failure, text};
use super::values::Input;

/// Which nodes.
#[derive(Debug, Default, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct TargetFlags {
    /// Nodes, separated by commas; @FILE with one per line, - for standard input
    #[arg(short, long, value_name = "NODES")]
    nodes: Option<String>,
    /// Nodes that a query finds: PQL, or its syntax tree as a JSON array; @FILE, - for standard input
    #[arg(short, long, value_name = "QUERY")]
    query: Option<String>,
    /// Nodes of a group of the classifier
    #[arg(long, value_name = "ID")]
    node_group: Option<String>,
    /// Every node that is connected
    #[arg(long)]
    all: bool,
}

impl TargetFlags {
    /// What was typed, read and checked before anything is asked of the server.
    pub(super) fn read(&self, input: &mut Input) -> Result<Target, Failure> {
        match self {
            Self { nodes: Some(nodes), .. } => Ok(Target::Scope(json!({"nodes": input.nodes(nodes)?}))),
            Self { query: Some(query), .. } => Ok(Target::Scope(json!({"query": input.query(query)?}))),
            Self { node_group: Some(group), .. } => Ok(Target::Scope(json!({"node_group": group}))),
            Self { .. } => Ok(Target::EveryConnectedNode),
        }
    }
}

/// What [`TargetFlags`] say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// The scope of the request.
    Scope(Value),
    /// Those of the inventory.
    EveryConnectedNode,
}

impl Target {
    /// The scope of the request.
    pub(super) fn scope(self, client: &mut Client) -> Result<Value, Failure> {
        match self {
            Self::Scope(scope) => Ok(scope),
            Self::EveryConnectedNode => Ok(json!({"nodes": connected_nodes(client)?})),
        }
    }
}

fn connected_nodes(client: &mut Client) -> Result<Vec<String>, Failure> {
    let inventory = client.get("inventory")?;
    let connected = items(&inventory).iter().filter(|node| node["connected"] == Value::Bool(true));
    let names: Vec<String> = connected.map(|node| text(node, "name").to_owned()).collect();
    if names.is_empty() {
        return Err(Failure::Other("--all: no node is connected; see: podium inventory".to_owned()));
    }
    Ok(names)
}

/// About the job or plan as a whole.
#[derive(Debug, Default, clap::Args)]
pub(super) struct CommonFlags {
    #[command(flatten)]
    remarks: RemarkFlags,
    /// Print the number and do not wait for the end
    #[arg(long)]
    pub(super) background: bool,
}

impl CommonFlags {
    /// Adds them to the request.
    pub(super) fn add_to(&self, request: &mut Value, input: &mut Input) -> Result<(), Failure> {
        self.remarks.add_to(request, input)
    }
}

/// What is said of a job or a plan.
#[derive(Debug, Default, clap::Args)]
pub(super) struct RemarkFlags {
    /// For lists of jobs
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Data of your own that the job keeps: a JSON object, or @FILE with it, - for standard input
    #[arg(long, value_name = "JSON")]
    userdata: Option<String>,
    /// After so many seconds a node is given up; of a plan, the plan
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
}

impl RemarkFlags {
    /// Adds them to the request.
    pub(super) fn add_to(&self, request: &mut Value, input: &mut Input) -> Result<(), Failure> {
        if let Some(description) = &self.description {
            request["description"] = json!(description);
        }
        if let Some(userdata) = &self.userdata {
            request["userdata"] = Value::Object(input.object("--userdata", userdata)?);
        }
        if let Some(seconds) = self.timeout {
            request["timeout"] = json!(seconds);
        }
        Ok(())
    }
}

/// Noop mode. The last of the two counts, over the configuration.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
pub(super) struct NoopFlags {
    /// Only show what would be done; a task must support it
    #[arg(long, overrides_with = "no_noop")]
    noop: bool,
    /// Do it, whatever the configuration says
    #[arg(long, overrides_with = "noop")]
    no_noop: bool,
}

/// What to do in earnest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noop {
    /// Nothing.
    On,
    /// Everything, even where an agent's own configuration says noop.
    Off,
    /// As the agents are configured.
    Unsaid,
}

impl NoopFlags {
    /// With what the client's configuration says.
    pub(super) fn choose(self, configured: bool) -> Noop {
        match self {
            Self { no_noop: true, .. } => Noop::Off,
            Self { noop: true, .. } => Noop::On,
            Self { .. } if configured => Noop::On,
            Self { .. } => Noop::Unsaid,
        }
    }
}
