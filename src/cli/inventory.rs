//! `podium inventory`: shows which nodes are connected, and to which broker.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{Client, open};
use super::client_settings::ConnectionFlags;
use super::follow::items;
use super::output::{EXIT_CODES, EXIT_FAILED, Failure, Format, Output, PrintFlags, Tone, conclude, text};
use super::values::Input;

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXIT_CODES)]
pub struct Arguments {
    /// Only these nodes; the exit code is 1 unless all are connected
    #[arg(value_name = "NODE", conflicts_with = "nodes")]
    names: Vec<String>,
    /// The same, separated by commas; @FILE with one per line, - for standard input
    #[arg(short, long, value_name = "NODES")]
    nodes: Option<String>,
    /// Show only nodes that are in this state
    #[arg(long, value_enum, value_name = "STATE")]
    state: Option<State>,
    /// Show at most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum State {
    /// To some broker.
    Connected,
    /// To none.
    Disconnected,
}

impl State {
    fn of(node: &Value) -> Self {
        if node["connected"] == Value::Bool(true) { Self::Connected } else { Self::Disconnected }
    }
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let names = match &arguments.nodes {
        Some(nodes) => Input::default().nodes(nodes),
        None => Ok(arguments.names.clone()),
    };
    conclude(names.and_then(|names| {
        let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
        show(&names, arguments, &mut client, &mut output)
    }))
}

fn show(names: &[String], arguments: &Arguments, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let mut answer = match names {
        [] => client.get("inventory")?,
        names => client.post("inventory", &json!({"nodes": names}))?,
    };
    let nodes = items(&answer);
    let connected = nodes.iter().filter(|node| State::of(node) == State::Connected).count();
    let (all, is_complete) = (nodes.len(), names.is_empty() || connected == nodes.len());
    let limit = arguments.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let is_wanted = |node: &&Value| arguments.state.is_none_or(|state| State::of(node) == state);
    let shown: Vec<Value> = nodes.iter().filter(is_wanted).take(limit).cloned().collect();
    match arguments.print.format {
        Format::Json => {
            answer["items"] = Value::Array(shown);
            output.json(&answer);
        }
        Format::Text if all == 0 => output.line("No node has ever been connected."),
        Format::Text => {
            if !shown.is_empty() {
                output.table(&["NODE", "STATE", "SINCE", "BROKER"], shown.iter().map(row).collect());
                output.line("");
            }
            output.line(format!("{connected} of {all} nodes are connected."));
        }
    }
    Ok(if is_complete { 0 } else { EXIT_FAILED })
}

fn row(node: &Value) -> (Option<Tone>, Vec<String>) {
    let (tone, state) = match State::of(node) {
        State::Connected => (None, "connected"),
        State::Disconnected => (Some(Tone::Neutral), "not connected"),
    };
    let of = |key: &str| text(node, key).to_owned();
    (tone, vec![of("name"), state.to_owned(), of("timestamp"), of("broker")])
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::fake::{Fake, serve};
    use crate::cli::testing::{Page, client};
    use crate::tls::testing::Pki;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn asked_nodes_must_be_connected() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let mut shown = |line: &str| {
            let page = Page::default();
            let words = std::iter::once("inventory").chain(line.split_whitespace());
            let arguments = Command::try_parse_from(words).unwrap().arguments;
            let code = show(&arguments.names, &arguments, &mut client, &mut page.output()).unwrap();
            (code, page.text())
        };
        let all = "NODE               STATE          SINCE                     BROKER\nweb01.example.com  connected      \
                   2026-03-01T10:15:30.120Z  pcp://broker.example.com/server\nweb02.example.com  not connected\n\n1 of \
                   2 nodes are connected.\n";
        assert_eq!(shown(""), (0, all.into()));
        assert_eq!(shown("web01.example.com").0, 0);
        let (code, text) = shown("web01.example.com x");
        assert_eq!((code, text.lines().last()), (EXIT_FAILED, Some("1 of 2 nodes are connected.")));
        let (code, text) = shown("--state disconnected");
        assert_eq!(code, 0);
        assert!(!text.contains("web01") && text.contains("web02") && text.contains("1 of 2"), "{text}");
        let (_, text) = shown("--state connected --format json");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["items"].as_array().unwrap().len(), 1);
        assert_eq!(shown("--limit 1").1.lines().count(), 4);
    }
}
