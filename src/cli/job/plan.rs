//! `podium job plan`: in which order a Puppet run would go through its nodes, without running anything.

use serde_json::{Value, json};

use crate::cli::client::open;
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::command::TargetFlags;
use crate::cli::output::{Failure, Format, PrintFlags, Tone, plain, text};
use crate::cli::results::Line;
use crate::cli::values::Input;

/// Arguments of `job plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    targets: TargetFlags,
    /// Environment whose graph says which nodes run after which [default: that of the configuration]
    #[arg(short, long, alias = "env", value_name = "NAME")]
    environment: Option<String>,
    /// At most so many nodes at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: Option<u64>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let target = arguments.targets.read(&mut Input::default())?;
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let environment = arguments.environment.clone().or_else(|| client.settings.environment.clone()).unwrap_or_default();
    let mut request = json!({"scope": target.scope(&mut client)?, "environment": environment});
    if environment.is_empty() {
        request["enforce_environment"] = json!(false);
    }
    if let Some(concurrency) = arguments.concurrency {
        request["concurrency"] = json!(concurrency);
    }
    let answer = client.post("command/deploy_plan", &request)?;
    match arguments.print.format {
        Format::Json => output.json(&answer),
        Format::Text => render(&answer).into_iter().for_each(|(tone, line)| output.toned(tone, line)),
    }
    Ok(0)
}

fn render(answer: &Value) -> Vec<Line> {
    let environment = match text(&answer["environment"], "name") {
        "" => "each node's own",
        name => name,
    };
    let concurrency = match &answer["concurrency"] {
        Value::Null => "unlimited".to_owned(),
        limit => plain(limit),
    };
    let target = answer["scope"].as_object().and_then(|scope| scope.keys().next()).map_or("", String::as_str);
    let mut lines: Vec<Line> = vec![
        (None, format!("Environment:       {environment}")),
        (None, format!("Target:            {target}")),
        (None, format!("Concurrency limit: {concurrency}")),
        (None, format!("Nodes:             {}", plain(&answer["node_count"]))),
    ];
    for (level, nodes) in answer["levels"].as_array().into_iter().flatten().enumerate() {
        lines.push((None, String::new()));
        lines.push((Some(Tone::Strong), format!("Level {level}:")));
        lines.extend(nodes.as_array().into_iter().flatten().map(|node| (None, format!("  {}", plain(node)))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_numbered_from_the_nodes_that_wait_for_nobody() {
        let answer = json!({"environment": {"name": "qa"}, "scope": {"nodes": []}, "concurrency": null, "node_count": 3,
                            "levels": [["db01"], ["web01", "web02"]]});
        let lines: Vec<String> = render(&answer).into_iter().map(|(_, line)| line).collect();
        let expected = "\
Environment:       qa
Target:            nodes
Concurrency limit: unlimited
Nodes:             3

Level 0:
  db01

Level 1:
  web01
  web02";
        assert_eq!(lines.join("\n"), expected);
    }
}
