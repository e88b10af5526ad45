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
    let plans = Catalogue { things: "plans", header: &["PLAN", "DESCRIPTION"], rows, usage };
    plans.show(arguments.plan.as_deref(), &arguments.flags)
}

fn rows(answer: &Value, all: bool) -> Vec<Vec<String>> {
    let is_shown =
        |plan: &&Value| all || plan["private"] != Value::Bool(true) && plan["permitted"] != Value::Bool(false);
    let row = |plan: &Value| {
        let description = match text(plan, "problem") {
            "" => text(plan, "description"),
            problem => problem,
        };
        vec![text(plan, "name").to_owned(), description.lines().next().unwrap_or_default().to_owned()]
    };
    items(answer).iter().filter(is_shown).map(row).collect()
}

fn usage(plan: &Value) -> String {
    let mut usage =
        catalogue::usage(plan, "podium plan run", "", &ParameterStyle { default: "default_value", remarks });
    let problems = plan["problems"].as_array().filter(|problems| !problems.is_empty());
    if let Some(problems) = problems {
        usage.push_str("\n\nThis plan cannot be run here:");
        for problem in problems {
            let (file, message) = (text(problem, "file"), text(problem, "msg"));
            usage.push_str(&format!("\n- {file}:{}:{}: {message}", problem["line"], problem["column"]));
        }
    }
    usage
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
        let place = json!({"msg": "there is no function `x`", "file": "deploy/plans/init.pp", "line": 3, "column": 7});
        let bad = json!({"name": "deploy", "metadata": {}, "problems": [place]});
        let expected = "\n\nThis plan cannot be run here:\n- deploy/plans/init.pp:3:7: there is no function `x`";
        assert!(usage(&bad).ends_with(expected), "{}", usage(&bad));
        let bare = json!({"name": "deploy", "metadata": {}});
        assert_eq!(usage(&bare), "deploy\n\nUSAGE:\n$ podium plan run deploy");
    }

    #[test]
    fn a_list_hides_what_may_not_be_run() {
        let answer = json!({"items": [{"name": "a", "permitted": true, "description": "Does it\nwell"},
            {"name": "b", "permitted": false}, {"name": "c", "problem": "c.pp:1:2: no"}, {"name": "d", "private": true}]});
        assert_eq!(rows(&answer, false), [["a", "Does it"], ["c", "c.pp:1:2: no"]]);
        assert_eq!(rows(&answer, true).len(), 4);
    }
}
