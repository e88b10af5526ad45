//! `podium webhook`: who is told of events.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{Client, open};
use super::client_settings::ConnectionFlags;
use super::follow::items;
use super::output::{EXIT_CODES, EXIT_FAILED, Failure, Format, Output, PrintFlags, Tone, conclude, note, text};
use crate::https::Method;
use crate::percent::encode;

const PATH: &str = "/podium/v1/webhooks";

/// Arguments of the subcommand.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = EXIT_CODES)]
enum Command {
    /// Lists webhooks, and how it goes with them
    List(Common),
    /// Names a server that is told of what happens from now on
    Add(AddArguments),
    /// Removes a webhook
    Remove(OneArguments),
    /// Sends a webhook something that has not happened; the exit code is 1 unless it is taken
    Test(OneArguments),
    /// Tries a webhook again at once, also one that was given up
    Resume(OneArguments),
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

#[derive(Debug, clap::Args)]
struct AddArguments {
    /// Where to.
    #[arg(help = "Where to, such as https://chat.example.com/hooks/4711")]
    url: String,
    /// Types of events, separated by commas, such as node_failed,job_finished [default: job_finished,job_aborted]
    #[arg(short, long, value_name = "TYPES", value_delimiter = ',')]
    events: Vec<String>,
    /// For people
    #[arg(short, long, value_name = "TEXT")]
    description: Option<String>,
    /// File with the secret that signs deliveries [default: one is made and shown once]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct OneArguments {
    /// The webhook's id, as the list shows it
    id: String,
    #[command(flatten)]
    common: Common,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments) -> ExitCode {
    let common = match &arguments.command {
        Command::List(common) => common,
        Command::Add(add) => &add.common,
        Command::Remove(one) | Command::Test(one) | Command::Resume(one) => &one.common,
    };
    conclude(open(&common.connection, &common.print).and_then(|(mut client, mut output)| {
        carry_out(&arguments.command, common.print.format, &mut client, &mut output)
    }))
}

fn carry_out(command: &Command, format: Format, client: &mut Client, output: &mut Output) -> Result<u8, Failure> {
    let at = |one: &OneArguments, what: &str| format!("{PATH}/{}{what}", encode(&one.id));
    match command {
        Command::List(_) => {
            let answer = client.send(Method::GET, PATH, None)?;
            match format {
                Format::Json => output.json(&answer),
                Format::Text => list(items(&answer), output),
            }
        }
        Command::Add(add) => {
            let answer = client.send(Method::POST, PATH, Some(&wish(add)?))?;
            match format {
                Format::Json => output.json(&answer),
                Format::Text => {
                    output.line(format!("Added webhook {}.", text(&answer["webhook"], "id")));
                    if let Some(secret) = answer["secret"].as_str() {
                        output.line(format!("Its secret, which is not shown again: {secret}"));
                    }
                }
            }
        }
        Command::Remove(one) => {
            client.send(Method::DELETE, &at(one, ""), None)?;
            note(&format!("Removed webhook {}.", one.id));
        }
        Command::Test(one) => {
            let answer = client.send(Method::POST, &at(one, "/test"), None)?;
            match format {
                Format::Json => output.json(&answer),
                Format::Text => output.line(text(&answer, "message")),
            }
            return Ok(if answer["delivered"] == true { 0 } else { EXIT_FAILED });
        }
        Command::Resume(one) => {
            let answer = client.send(Method::POST, &at(one, "/resume"), None)?;
            match format {
                Format::Json => output.json(&answer),
                Format::Text => note(&format!("Webhook {} is tried again.", one.id)),
            }
        }
    }
    Ok(0)
}

fn wish(add: &AddArguments) -> Result<Value, Failure> {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path)
            .map(|secret| secret.trim().to_owned())
            .map_err(|error| Failure::Usage(format!("{}: the secret cannot be read: {error}", path.display())))
    };
    let secret = add.secret_file.as_ref().map(read).transpose()?;
    Ok(json!({"url": add.url, "events": add.events, "description": add.description, "secret": secret}))
}

fn list(hooks: &[Value], output: &mut Output) {
    if hooks.is_empty() {
        return output.line("There are no webhooks.");
    }
    let row = |hook: &Value| {
        let tone = (text(hook, "state") != "active").then_some(Tone::Bad);
        let events: Vec<&str> = hook["events"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let cells = [text(hook, "id"), text(hook, "state"), text(hook, "url"), &events.join(" ")].map(str::to_owned);
        (tone, cells.into())
    };
    output.table(&["id", "state", "url", "events"], hooks.iter().map(row).collect());
    for hook in hooks.iter().filter(|hook| hook["last_error"].is_string()) {
        let (id, since, error) = (text(hook, "id"), text(hook, "failing_since"), text(hook, "last_error"));
        output.toned(Tone::Bad, format!("{id}: {} failures since {since}: {error}", hook["failures"]));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::fake::{Fake, serve};
    use crate::cli::testing::{Page, client};
    use crate::tls::testing::Pki;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn a_webhook_is_added_listed_tried_and_removed() {
        let pki = Pki::new("ca");
        let server = serve(Fake::new(), &pki);
        let mut client = client(&pki, server.local_addr().port());
        let mut say = |words: &[&str]| {
            let page = Page::default();
            let command = Line::parse_from([&["webhook"], words].concat()).arguments.command;
            (carry_out(&command, Format::Text, &mut client, &mut page.output()), page.text())
        };
        assert_eq!(say(&["list"]).1, "There are no webhooks.\n");
        let (outcome, added) = say(&["add", "https://localhost:1/x", "-e", "node_failed,job_finished"]);
        assert_eq!(outcome.unwrap(), 0);
        let id = added.split_once("Added webhook ").unwrap().1.split_once('.').unwrap().0;
        assert!(added.contains("Its secret, which is not shown again: "), "{added}");
        let listed = say(&["list"]).1;
        assert!(listed.contains(id) && listed.contains("node_failed job_finished"), "{listed}");
        // Nobody listens there.
        let (tried, message) = say(&["test", id]);
        assert_eq!(tried.unwrap(), EXIT_FAILED);
        assert!(message.contains("localhost"), "{message}");
        assert_eq!(say(&["resume", id]).0.unwrap(), 0);
        assert_eq!(say(&["remove", id]).0.unwrap(), 0);
        assert!(matches!(say(&["remove", id]).0, Err(Failure::Refused { status: 404, .. })));
        assert!(matches!(say(&["add", "http://x"]).0, Err(Failure::Refused { status: 400, .. })));
    }
}
