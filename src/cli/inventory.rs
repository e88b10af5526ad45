//! `podium inventory`: shows which nodes are connected, and to which broker.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::Client;
use super::client_settings::ConnectionFlags;
use super::follow::items;
use super::output::{EXIT_FAILED, Failure, Format, Output, finish, table, text};

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these nodes; the exit code is 1 unless all are connected
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let client = Client::from_flags(&arguments.connection);
    finish(client.and_then(|mut client| show(arguments, &mut client, &mut Output::stdout())))
}

fn show(arguments: &Arguments, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let answer = if arguments.nodes.is_empty() {
        client.get("inventory")?
    } else {
        client.post("inventory", &json!({"nodes": arguments.nodes}))?
    };
    match arguments.format {
        Format::Json => output.json(&answer),
        Format::Text => output.line(render(items(&answer))),
    }
    let complete = arguments.nodes.is_empty() || items(&answer).iter().all(is_connected);
    Ok(if complete { 0 } else { EXIT_FAILED })
}

fn is_connected(node: &Value) -> bool {
    node["connected"] == Value::Bool(true)
}

fn render(nodes: &[Value]) -> String {
    if nodes.is_empty() {
        return "No node has ever been connected.".to_owned();
    }
    let row = |node: &Value| {
        let state = if is_connected(node) { "connected" } else { "not connected" };
        vec![
            text(node, "name").to_owned(),
            state.to_owned(),
            text(node, "timestamp").to_owned(),
            text(node, "broker").to_owned(),
        ]
    };
    let connected = nodes.iter().filter(|node| is_connected(node)).count();
    let table = table(&["NODE", "STATE", "SINCE", "BROKER"], nodes.iter().map(row));
    format!("{table}\n\n{connected} of {} nodes are connected.", nodes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake::{Fake, serve};
    use crate::cli::testing::{Page, client};
    use crate::tls::testing::Pki;

    #[test]
    fn a_table_and_a_count() {
        let nodes = [
            json!({"name": "web01", "connected": true, "broker": "pcp://b/server", "timestamp": "2026-03-01T10:15:30.120Z"}),
            json!({"name": "web02", "connected": false}),
        ];
        let expected = "NODE   STATE          SINCE                     BROKER\nweb01  connected      \
                        2026-03-01T10:15:30.120Z  pcp://b/server\nweb02  not connected\n\n1 of 2 nodes are connected.";
        assert_eq!(render(&nodes), expected);
        assert_eq!(render(&[]), "No node has ever been connected.");
    }

    #[test]
    fn asked_nodes_must_be_connected() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let mut shown = |names: &[&str]| {
            let page = Page::default();
            let nodes = names.iter().map(|name| (*name).to_owned()).collect();
            let arguments = Arguments { nodes, format: Format::Text, connection: ConnectionFlags::default() };
            let code = show(&arguments, &mut client, &mut page.output()).unwrap();
            (code, page.text().lines().last().unwrap().to_owned())
        };
        assert_eq!(shown(&[]), (0, "1 of 2 nodes are connected.".into()));
        assert_eq!(shown(&["web01.example.com"]), (0, "1 of 1 nodes are connected.".into()));
        assert_eq!(shown(&["web01.example.com", "x"]), (EXIT_FAILED, "1 of 2 nodes are connected.".into()));
    }
}
