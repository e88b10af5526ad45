//! `podium plan show`: the plans there are, or how to use one.

use serde_json::Value;

use crate::cli::catalogue::{self, Catalogue, Flags, ParameterStyle};
use crate::cli::follow::items;
use crate::cli::output::{Failure, plain, text};

/// Arguments of `plan show`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The plan: module or module::name; all if left out
    plan: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

/// Runs the subcommand.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let plans = Catalogue { things: "plans", header: &["PLAN"], rows, usage };
    plans.show(arguments.plan.as_deref(), &arguments.flags)
}

fn rows(answer: &Value, all: bool) -> Vec<Vec<String>> {
    let shown = items(answer).iter().filter(|plan| all || plan["permitted"] != Value::Bool(false));
    shown.map(|plan| vec![text(plan, "name").to_owned()]).collect()
}

fn usage(plan: &Value) -> String {
    catalogue::usage(plan, "podium plan run", "", &ParameterStyle { default: "default_value", remarks })
}

fn remarks(parameter: &Value) -> Vec<String> {
    parameter.get("default_value").map(|default| format!("Default: {}", plain(default))).into_iter().collect()
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
        assert_eq!(rows(&answer, false), [["a"], ["c"]]);
        assert_eq!(rows(&answer, true), [["a"], ["b"], ["c"]]);
    }
}
