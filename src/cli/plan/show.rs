//! `podium plan show`: the plans there are, or how to use one.

use serde_json::Value;

use crate::cli::client::open;
use crate::cli::client_settings::ConnectionFlags;
use crate::cli::follow::items;
use crate::cli::output::{Failure, Format, PrintFlags, plain, text};
use crate::percent::encode;

/// Arguments of `plan show`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The plan: module or module::name; all if left out
    plan: Option<String>,
    /// List plans too that we may not run
    #[arg(long)]
    all: bool,
    /// Environment of the plans
    #[arg(short, long, alias = "env", value_name = "NAME")]
    environment: Option<String>,
    #[command(flatten)]
    print: PrintFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let (mut client, mut output) = open(&arguments.connection, &arguments.print)?;
    let environment = arguments.environment.clone().or_else(|| client.settings.environment.clone());
    let query = environment.map(|name| format!("?environment={}", encode(&name))).unwrap_or_default();
    let path = match &arguments.plan {
        None => format!("plans{query}"),
        Some(plan) => {
            let (module, name) = plan.split_once("::").unwrap_or((plan, "init"));
            format!("plans/{}/{}{query}", encode(module), encode(name))
        }
    };
    let answer = client.get(&path)?;
    match (arguments.print.format, &arguments.plan) {
        (Format::Json, _) => output.json(&answer),
        (Format::Text, Some(_)) => output.line(usage(&answer)),
        (Format::Text, None) => match names(&answer, arguments.all) {
            names if names.is_empty() => {
                let environment = text(&answer["environment"], "name");
                output.line(format!("There are no plans in the environment {environment}."));
            }
            names => output.table(&["PLAN"], names.into_iter().map(|name| (None, vec![name])).collect()),
        },
    }
    Ok(0)
}

fn names(answer: &Value, all: bool) -> Vec<String> {
    let shown = items(answer).iter().filter(|plan| all || plan["permitted"] != Value::Bool(false));
    shown.map(|plan| text(plan, "name").to_owned()).collect()
}

fn usage(plan: &Value) -> String {
    let (name, metadata) = (text(plan, "name"), &plan["metadata"]);
    let description = text(metadata, "description");
    let mut lines = vec![if description.is_empty() { name.to_owned() } else { format!("{name} - {description}") }];
    let parameters = metadata["parameters"].as_object();
    let mut usage = format!("$ podium plan run {name}");
    for (name, parameter) in parameters.into_iter().flatten() {
        let placeholder = format!("{name}=<value>");
        usage.push_str(&if is_optional(parameter) { format!(" [{placeholder}]") } else { format!(" {placeholder}") });
    }
    lines.extend([String::new(), "USAGE:".to_owned(), usage]);
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        lines.extend([String::new(), "PARAMETERS:".to_owned()]);
        for (name, parameter) in parameters {
            let kind = parameter.get("type").map_or_else(|| "Any".to_owned(), plain);
            lines.push(format!("- {name} : {kind}"));
            lines.extend(text(parameter, "description").lines().map(|line| format!("    {line}")));
            lines.extend(parameter.get("default_value").map(|value| format!("    Default: {}", plain(value))));
        }
    }
    lines.join("\n")
}

fn is_optional(parameter: &Value) -> bool {
    parameter.get("default_value").is_some() || text(parameter, "type").starts_with("Optional[")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_plan_with_its_parameters() {
        let plan = json!({"name": "deploy::canary", "metadata": {
            "description": "Rolls out a version",
            "parameters": {
                "targets": {"type": "TargetSpec", "description": "Where"},
                "version": {"type": "String", "default_value": "'latest'"},
            },
        }});
        let expected = "deploy::canary - Rolls out a version\n\nUSAGE:\n$ podium plan run deploy::canary \
                        targets=<value> [version=<value>]\n\nPARAMETERS:\n- targets : TargetSpec\n    Where\n- version : \
                        String\n    Default: 'latest'";
        assert_eq!(usage(&plan), expected);
        let bare = json!({"name": "deploy", "metadata": {}});
        assert_eq!(usage(&bare), "deploy\n\nUSAGE:\n$ podium plan run deploy");
    }

    #[test]
    fn a_list_hides_what_may_not_be_run() {
        let answer =
            json!({"items": [{"name": "a", "permitted": true}, {"name": "b", "permitted": false}, {"name": "c"}]});
        assert_eq!(names(&answer, false), ["a", "c"]);
        assert_eq!(names(&answer, true), ["a", "b", "c"]);
    }
}
