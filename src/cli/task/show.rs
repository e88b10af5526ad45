//! `podium task show`: the tasks there are, or how to use one.

use serde_json::Value;

use crate::cli::client::open;
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::follow::items;
use crate::cli::output::{Failure, Format, PrintFlags, plain, text};
use crate::percent::encode;

/// Arguments of `task show`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The task: module or module::name; all if left out
    task: Option<String>,
    /// List private tasks too, and those that we may not run
    #[arg(long)]
    all: bool,
    /// Environment of the tasks
    #[arg(short, long, alias = "env", value_name = "NAME")]
    environment: Option<String>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub(super) fn show(arguments: &Arguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let environment = arguments.environment.clone().or_else(|| client.settings.environment.clone());
    let query = environment.map(|name| format!("?environment={}", encode(&name))).unwrap_or_default();
    let path = match &arguments.task {
        None => format!("tasks{query}"),
        Some(task) => {
            let (module, name) = task.split_once("::").unwrap_or((task, "init"));
            format!("tasks/{}/{}{query}", encode(module), encode(name))
        }
    };
    let answer = client.get(&path)?;
    match (arguments.print.format, &arguments.task) {
        (Format::Json, _) => output.json(&answer),
        (Format::Text, Some(_)) => output.line(usage(&answer)),
        (Format::Text, None) => match rows(&answer, arguments.all) {
            rows if rows.is_empty() => {
                let environment = text(&answer["environment"], "name");
                output.line(format!("There are no tasks in the environment {environment}."));
            }
            rows => output.table(&["TASK", "DESCRIPTION"], rows.into_iter().map(|row| (None, row)).collect()),
        },
    }
    Ok(0)
}

fn rows(answer: &Value, all: bool) -> Vec<Vec<String>> {
    let is_shown =
        |task: &&Value| all || task["private"] != Value::Bool(true) && task["permitted"] != Value::Bool(false);
    let row = |task: &Value| vec![text(task, "name").to_owned(), first_line(text(task, "description"))];
    items(answer).iter().filter(is_shown).map(row).collect()
}

fn first_line(description: &str) -> String {
    description.lines().next().unwrap_or_default().to_owned()
}

fn usage(task: &Value) -> String {
    let name = text(task, "name");
    let metadata = &task["metadata"];
    let description = text(metadata, "description");
    let mut lines = vec![if description.is_empty() { name.to_owned() } else { format!("{name} - {description}") }];
    let parameters = metadata["parameters"].as_object();
    let mut usage = format!("$ podium task run {name}");
    for (name, parameter) in parameters.into_iter().flatten() {
        let placeholder = format!("{name}=<value>");
        usage.push_str(&if is_optional(parameter) { format!(" [{placeholder}]") } else { format!(" {placeholder}") });
    }
    usage.push_str(" <[--nodes, -n <node-names>] | [--query, -q <'query'>] | [--all]>");
    if metadata["supports_noop"] == Value::Bool(true) {
        usage.push_str(" [--noop]");
    }
    lines.extend([String::new(), "USAGE:".to_owned(), usage]);
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        lines.extend([String::new(), "PARAMETERS:".to_owned()]);
        for (name, parameter) in parameters {
            lines.extend(parameter_lines(name, parameter));
        }
    }
    lines.join("\n")
}

fn parameter_lines(name: &str, parameter: &Value) -> Vec<String> {
    let kind = parameter.get("type").map_or_else(|| "Any".to_owned(), plain);
    let mut lines = vec![format!("- {name} : {kind}")];
    lines.extend(text(parameter, "description").lines().map(|line| format!("    {line}")));
    if let Some(default) = parameter.get("default") {
        lines.push(format!("    Default: {default}"));
    }
    if parameter["sensitive"] == Value::Bool(true) {
        lines.push("    Sensitive: its value is not shown in jobs".to_owned());
    }
    lines
}

fn is_optional(parameter: &Value) -> bool {
    parameter.get("default").is_some() || text(parameter, "type").starts_with("Optional[")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_hides_private_tasks() {
        let answer = json!({"environment": {"name": "production"}, "items": [
            {"name": "facter", "description": "Shows a fact\nand more"},
            {"name": "facter::internal", "private": true, "description": ""},
            {"name": "reboot", "permitted": false, "description": ""},
        ]});
        assert_eq!(rows(&answer, false), [["facter", "Shows a fact"]]);
        assert_eq!(rows(&answer, true).len(), 3);
    }

    #[test]
    fn one_task_with_its_parameters() {
        let task = json!({"name": "package", "metadata": {
            "description": "Manage packages", "supports_noop": true,
            "parameters": {
                "action": {"type": "Enum[install, status]", "description": "What to do"},
                "name": {},
                "token": {"type": "Optional[String]", "sensitive": true},
                "version": {"type": "String", "default": "latest"},
            },
        }});
        let expected = "package - Manage packages\n\nUSAGE:\n$ podium task run package action=<value> name=<value> \
                        [token=<value>] [version=<value>] <[--nodes, -n <node-names>] | [--query, -q <'query'>] | [--all]> [--noop]\n\nPARAMETERS:\n\
                        - action : Enum[install, status]\n    What to do\n- name : Any\n- token : Optional[String]\n    \
                        Sensitive: its value is not shown in jobs\n- version : String\n    Default: \"latest\"";
        assert_eq!(usage(&task), expected);
    }
}
