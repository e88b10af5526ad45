//! `podium task show`: the tasks there are, or how to use one.

use serde_json::Value;

use crate::cli::catalogue::{self, Catalogue, Flags, ParameterStyle};
use crate::cli::follow::items;
use crate::cli::output::{Failure, text};

/// Arguments of `task show`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The task: module or module::name; all if left out
    task: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

/// Runs the subcommand.
pub(super) fn show(arguments: &Arguments) -> Result<u8, Failure> {
    let tasks = Catalogue { things: "tasks", header: &["TASK", "DESCRIPTION"], rows, usage };
    tasks.show(arguments.task.as_deref(), &arguments.flags)
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
    let mut after = " <[--nodes, -n <node-names>] | [--query, -q <'query'>] | [--all]>".to_owned();
    if task["metadata"]["supports_noop"] == Value::Bool(true) {
        after.push_str(" [--noop]");
    }
    catalogue::usage(task, "podium task run", &after, &ParameterStyle { default: "default", remarks })
}

fn remarks(parameter: &Value) -> Vec<String> {
    let default = parameter.get("default").map(|default| format!("Default: {default}"));
    let is_sensitive = parameter["sensitive"] == Value::Bool(true);
    let secret = is_sensitive.then(|| "Sensitive: its value is not shown in jobs".to_owned());
    default.into_iter().chain(secret).collect()
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
