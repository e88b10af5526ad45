//! What `podium task show` and `podium plan show` have in common: what there is in an environment, and how to use one of it.

use serde_json::Value;

use super::client::open;
use super::client_settings::ConnectionFlags;
use super::output::{Failure, Format, PrintFlags, plain, text};
use crate::percent::encode;

/// One kind of what can be run.
pub(super) struct Catalogue {
    /// In the path of the API, and for people: `tasks` or `plans`.
    pub things: &'static str,
    /// Of the table of all.
    pub header: &'static [&'static str],
    /// The table's rows from the answer; with those too that are left out otherwise, if all are wanted.
    pub rows: fn(&Value, bool) -> Vec<Vec<String>>,
    /// The text about one.
    pub usage: fn(&Value) -> String,
}

/// Flags of both.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// List those too that are private, or that we may not run
    #[arg(long)]
    all: bool,
    /// Environment to look in
    #[arg(short, long, alias = "env", value_name = "NAME")]
    environment: Option<String>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Catalogue {
    /// Shows all, or the one that is named.
    pub fn show(&self, name: Option<&str>, flags: &Flags) -> Result<u8, Failure> {
        let (mut client, mut output) = open(&flags.connection, &flags.print)?;
        let environment = flags.environment.clone().or_else(|| client.settings.environment.clone());
        let query = environment.map(|name| format!("?environment={}", encode(&name))).unwrap_or_default();
        let things = self.things;
        let path = name.map_or_else(
            || format!("{things}{query}"),
            |name| {
                let (module, name) = name.split_once("::").unwrap_or((name, "init"));
                format!("{things}/{}/{}{query}", encode(module), encode(name))
            },
        );
        let answer = client.get(&path)?;
        match (flags.print.format, name) {
            (Format::Json, _) => output.json(&answer),
            (Format::Text, Some(_)) => output.line((self.usage)(&answer)),
            (Format::Text, None) => match (self.rows)(&answer, flags.all) {
                rows if rows.is_empty() => {
                    let environment = text(&answer["environment"], "name");
                    output.line(format!("There are no {things} in the environment {environment}."));
                }
                rows => output.table(self.header, rows.into_iter().map(|row| (None, row)).collect()),
            },
        }
        Ok(0)
    }
}

/// How a parameter is described, which differs a little.
pub(super) struct ParameterStyle {
    /// Key of the default value.
    pub default: &'static str,
    /// What is said after a parameter's description.
    pub remarks: fn(&Value) -> Vec<String>,
}

/// The text about one thing: its description, how to run it, its parameters. `command` runs it, and `after` follows its
/// parameters there.
pub(super) fn usage(thing: &Value, command: &str, after: &str, style: &ParameterStyle) -> String {
    let (name, metadata) = (text(thing, "name"), &thing["metadata"]);
    let description = text(metadata, "description");
    let mut lines = vec![if description.is_empty() { name.to_owned() } else { format!("{name} - {description}") }];
    let parameters = metadata["parameters"].as_object();
    let mut usage = format!("$ {command} {name}");
    for (name, parameter) in parameters.into_iter().flatten() {
        let is_optional = parameter.get(style.default).is_some() || text(parameter, "type").starts_with("Optional[");
        let placeholder = format!("{name}=<value>");
        usage.push_str(&if is_optional { format!(" [{placeholder}]") } else { format!(" {placeholder}") });
    }
    usage.push_str(after);
    lines.extend([String::new(), "USAGE:".to_owned(), usage]);
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        lines.extend([String::new(), "PARAMETERS:".to_owned()]);
        for (name, parameter) in parameters {
            let kind = parameter.get("type").map_or_else(|| "Any".to_owned(), plain);
            lines.push(format!("- {name} : {kind}"));
            lines.extend(text(parameter, "description").lines().map(|line| format!("    {line}")));
            lines.extend((style.remarks)(parameter).into_iter().map(|remark| format!("    {remark}")));
        }
    }
    lines.join("\n")
}
