//! `podium app show`: the environment graph, that is, which node waits for which in a Puppet run. A component runs after
//! those that produce what it consumes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::open;
use super::client_settings::ConnectionFlags;
use super::follow::items;
use super::output::{EXIT_CODES, EXIT_REFUSED, Failure, Format, PrintFlags, Tone, conclude, note, plain, text};
use super::results::Line;
use crate::percent::encode;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Shows applications, their components, on which nodes these are, and in which order the nodes run
    #[command(after_long_help = EXIT_CODES)]
    Show(ShowArguments),
}

#[derive(Debug, clap::Args)]
struct ShowArguments {
    /// What to show.
    #[arg(
        value_name = "APPLICATION",
        help = "Only this application, such as Lamp, or this instance of it, such as Lamp[shop]"
    )]
    application: Option<String>,
    /// Environment [default: that of the configuration, or production]
    #[arg(short, long, alias = "env", value_name = "NAME")]
    environment: Option<String>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let Command::Show(arguments) = &arguments.command;
    conclude(show(arguments))
}

fn show(arguments: &ShowArguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let environment = arguments.environment.clone().or_else(|| client.settings.environment.clone());
    let environment = environment.unwrap_or_else(|| "production".to_owned());
    let answer = client.get(&format!("environments/{}/instances", encode(&environment)))?;
    let is_wanted = |instance: &&Value| {
        arguments.application.as_ref().is_none_or(|name| *name == title(instance) || name == text(instance, "type"))
    };
    let instances: Vec<&Value> = items(&answer).iter().filter(is_wanted).collect();
    if let (Some(name), true) = (&arguments.application, instances.is_empty()) {
        note(&format!("There is no application {name} in the environment {environment}."));
        return Ok(EXIT_REFUSED);
    }
    match arguments.print.format {
        Format::Json => output.json(&json!({"items": instances})),
        Format::Text if instances.is_empty() => {
            output.line(format!("No nodes of the environment {environment} wait for each other."));
        }
        Format::Text => render(&instances).into_iter().for_each(|(tone, line)| output.toned(tone, line)),
    }
    Ok(0)
}

fn render(instances: &[&Value]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for instance in instances {
        lines.push((Some(Tone::Strong), title(instance)));
        for component in components(instance) {
            lines.push((None, format!("  {} => {}", title(component), text(component, "node"))));
            for (key, sign) in [("produces", '+'), ("consumes", '-')] {
                lines.extend(resources(component, key).map(|name| (None, format!("    {sign} {key} {name}"))));
            }
        }
        lines.push((None, String::new()));
    }
    let all: Vec<&Value> = instances.iter().flat_map(|instance| components(instance)).collect();
    let (levels, circle) = levels(&all);
    let join = |nodes: &BTreeSet<String>| nodes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    lines.push((Some(Tone::Strong), "Order of the nodes:".to_owned()));
    lines.extend(levels.iter().enumerate().map(|(index, nodes)| (None, format!("  {}. {}", index + 1, join(nodes)))));
    if !circle.is_empty() {
        lines.push((Some(Tone::Bad), format!("  never: these depend on each other: {}", join(&circle))));
    }
    lines
}

/// `Lamp[shop]`.
fn title(object: &Value) -> String {
    format!("{}[{}]", text(object, "type"), text(object, "title"))
}

fn components(instance: &Value) -> impl Iterator<Item = &Value> {
    instance["components"].as_array().into_iter().flatten()
}

fn resources(component: &Value, key: &str) -> impl Iterator<Item = String> {
    component[key].as_array().into_iter().flatten().map(plain)
}

/// Nodes that may run at once, level by level, and those that can never start because they wait for each other.
fn levels(components: &[&Value]) -> (Vec<BTreeSet<String>>, BTreeSet<String>) {
    let mut producers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for component in components {
        for resource in resources(component, "produces") {
            producers.entry(resource).or_default().insert(text(component, "node"));
        }
    }
    let mut waiting: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for component in components {
        let node = text(component, "node");
        let before = waiting.entry(node).or_default();
        for resource in resources(component, "consumes") {
            before.extend(producers.get(&resource).into_iter().flatten().filter(|producer| **producer != node));
        }
    }
    let mut levels = Vec::new();
    loop {
        let free: BTreeSet<&str> =
            waiting.iter().filter(|(_, before)| before.is_empty()).map(|(node, _)| *node).collect();
        if free.is_empty() {
            return (levels, waiting.keys().map(|node| (*node).to_owned()).collect());
        }
        waiting.retain(|node, _| !free.contains(node));
        waiting.values_mut().for_each(|before| before.retain(|node| !free.contains(node)));
        levels.push(free.into_iter().map(str::to_owned).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Value {
        json!({"type": "Lamp", "title": "shop", "components": [
            {"type": "Lamp::Web", "title": "shop-1", "node": "web01", "consumes": ["Sql[shop]"], "produces": ["Http[1]"]},
            {"type": "Lamp::Web", "title": "shop-2", "node": "web02", "consumes": ["Sql[shop]"], "produces": ["Http[2]"]},
            {"type": "Lamp::Db", "title": "shop", "node": "db01", "produces": ["Sql[shop]"], "consumes": []},
            {"type": "Lamp::Balancer", "title": "shop", "node": "lb01", "consumes": ["Http[1]", "Http[2]"]},
        ]})
    }

    #[test]
    fn nodes_run_after_those_they_need() {
        let shop = shop();
        let lines: Vec<String> = render(&[&shop]).into_iter().map(|(_, line)| line).collect();
        let expected = "\
Lamp[shop]
  Lamp::Web[shop-1] => web01
    + produces Http[1]
    - consumes Sql[shop]
  Lamp::Web[shop-2] => web02
    + produces Http[2]
    - consumes Sql[shop]
  Lamp::Db[shop] => db01
    + produces Sql[shop]
  Lamp::Balancer[shop] => lb01
    - consumes Http[1]
    - consumes Http[2]

Order of the nodes:
  1. db01
  2. web01, web02
  3. lb01";
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn circles_are_told() {
        let component =
            |node: &str, needs: &str, gives: &str| json!({"node": node, "consumes": [needs], "produces": [gives]});
        let components = [component("a", "X", "Y"), component("b", "Y", "X"), component("c", "Z", "Z")];
        let (levels, circle) = levels(&components.iter().collect::<Vec<_>>());
        assert_eq!(levels, [BTreeSet::from(["c".to_owned()])]);
        assert_eq!(circle, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    }
}
